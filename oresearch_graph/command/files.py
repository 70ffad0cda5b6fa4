"""`oresearch check`, `view`, `verify`: what is wrong with traces and reports, and how they look."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

from oresearch_graph.command.terminal import harmless, json_line
from oresearch_graph.errors import ConfigurationError, TraceFileError
from oresearch_graph.evidence.citations import in_words
from oresearch_graph.evidence.report_check import (
    CheckedClaim,
    CheckedReport,
    check_report,
    cited_addresses,
)
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.choose import web_reader
from oresearch_graph.trace import Trace, Violation, read_traces, violations
from oresearch_graph.trace.private_files import write_private
from oresearch_graph.trace.record import WARNINGS
from oresearch_graph.trace.references import same_address
from oresearch_graph.view.page import traces_page

_STANDARD_INPUT: Final = "standard input"


def check_files(paths: Sequence[Path], *, as_json: bool) -> int:
    """0 when every trace is well-formed or owns up to what it lacks, 1 when not, 2 unreadable.

    A file without a trace counts as unreadable: a check of nothing must not pass.
    """
    status = 0
    for path in paths:
        try:
            status = max(status, _check(path, as_json=as_json))
        except TraceFileError as error:
            typer.echo(f"oresearch: {harmless(str(error))}", err=True)
            status = 2
    return status


def _check(path: Path, *, as_json: bool) -> int:
    status, count = 0, 0
    for trace in _traces(path):
        count += 1
        faults = violations(trace)
        typer.echo(_as_json(trace, faults) if as_json else harmless(_as_text(trace, faults)))
        if any(not violation.declared for violation in faults):
            status = 1
    if not count:
        name = _STANDARD_INPUT if str(path) == "-" else path
        raise TraceFileError(f"{name}: holds no trace")
    return status


def _traces(path: Path) -> Iterator[Trace]:
    if str(path) != "-":
        yield from read_traces(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / _STANDARD_INPUT
        copy.write_bytes(sys.stdin.buffer.read())
        try:
            yield from read_traces(copy)
        except TraceFileError as error:
            raise TraceFileError(str(error).replace(str(copy), copy.name)) from error


def _as_text(trace: Trace, faults: Sequence[Violation]) -> str:
    count = f"{len(faults)} violation{'s' * (len(faults) > 1)}" if faults else "well-formed"
    lines = [f"{trace.id or '(no id)'}  {trace.outcome}  {count}"]
    for violation in faults:
        place = "" if violation.step is None else f" step {violation.step}"
        branch = "" if violation.branch is None else f" subtask {violation.branch}"
        mark = " (declared)" if violation.declared else ""
        lines.append(f"  {violation.code}{place}{branch}: {violation.message}{mark}")
    lines += [f"  failure {f.name} ({f.fault}): {' '.join(f.message.split())}"
              for f in trace.failures]  # fmt: skip
    return "\n".join(lines)


def _as_json(trace: Trace, faults: Sequence[Violation]) -> str:
    summary = {
        "id": trace.id,
        "outcome": trace.outcome,
        "violations": [violation.model_dump() for violation in faults],
        "failures": [failure.model_dump() for failure in trace.failures],
    }
    return json_line(summary)


MOST: Final = 100
"""Traces on one page: what a browser still opens at once."""


def view_files(paths: Sequence[Path], out: Path | None, ids: Sequence[str]) -> int:
    """Write the page and tell its place. Raises ConfigurationError, TraceFileError."""
    traces: list[Trace] = []
    for trace in _select(paths, ids):
        traces.append(trace)
        if len(traces) > MOST:
            raise ConfigurationError(f"more than {MOST} traces: choose some with --id")
    if missing := [trace_id for trace_id in ids if all(trace.id != trace_id for trace in traces)]:
        raise ConfigurationError(f"no trace has the id {missing[0]!r}")
    if not traces:
        raise ConfigurationError(f"{', '.join(map(str, paths))}: there is no trace to show")
    place = out or paths[0].with_suffix(".html")
    if any(place.resolve() == path.resolve() for path in paths):
        raise ConfigurationError(f"{place} is the trace file itself: name another with --out")
    try:
        write_private(place, traces_page(traces))
    except OSError as error:
        raise ConfigurationError(f"{place}: cannot be written: {error.strerror}") from error
    typer.echo(str(place))
    return 0


def _select(paths: Sequence[Path], ids: Sequence[str]) -> Iterator[Trace]:
    for path in paths:
        for trace in read_traces(path):
            if not ids or trace.id in ids:
                yield trace


_QUOTE: Final = 300
"""Characters of a passage that are shown."""
_LARGEST: Final = 50_000_000
"""Bytes of a file that is read."""


class VerifyingModel(NamedTuple):
    """The chat model that reads the cited passages; neither name nor server: none does."""

    model: str | None
    base_url: str | None
    votes: int | None


def verify_file(
    report: Path, sources: Path | None, settings: ResearchSettings, verifying: VerifyingModel, *,
    fetch: bool, max_pages: int, as_json: bool,
) -> int:  # fmt: skip
    """Print the claims of a report. 1 when something speaks against one, else 0.

    Raises CitationsNotUnderstood, ConfigurationError.
    """
    from oresearch_graph.policies.chat.servers import served_model

    text = _file_text(report)
    if verifying.votes is not None and not (verifying.model or verifying.base_url):
        raise ConfigurationError("--votes are a model's: give --model or --base-url too")
    if verifying.base_url and not verifying.model:
        verifying = verifying._replace(model=asyncio.run(served_model(verifying.base_url)))
    records = [] if sources is None else list(_records(sources))
    unread: Mapping[str, str] = {}
    if fetch or sources is None:
        known = {same_address(str(record.get("url", ""))) for record in records}
        wanted = [url for url in cited_addresses(text) if same_address(url) not in known]
        pages, unread = asyncio.run(_pages(wanted[:max_pages], settings))
        records += pages
        unread |= dict.fromkeys(wanted[max_pages:], f"beyond --max-pages {max_pages}")
    checked = check_report(text, records)
    if verifying.model:
        checked = asyncio.run(_read_by_model(checked, verifying.model, verifying))
    typer.echo(
        _claims_as_json(checked, unread) if as_json else harmless(_claims_as_text(checked, unread))
    )
    if checked.accuracy is None:
        typer.echo("oresearch: nothing is known of any cited sentence", err=True)
    return int(any(claim.warns for claim in checked.citations.claims))


async def _read_by_model(
    checked: CheckedReport, model: str, verifying: VerifyingModel
) -> CheckedReport:
    """The claims as a model leaves them; what that took goes to standard error."""
    from oresearch_graph.judging.verifier import Verifier

    verifier = Verifier(model, base_url=verifying.base_url, votes=verifying.votes or 1)
    try:
        checked, findings = await verifier.check(checked)
    finally:
        await verifier.aclose()
    words = [f"{findings.decided} decided", f"{findings.undecided} without a verdict that counts"]
    words += [f"{findings.spent.calls} calls", *findings.spent.in_words()]
    typer.echo(f"oresearch: {model} read the passages: {', '.join(words)}", err=True)
    for fault in dict.fromkeys(findings.faults):
        typer.echo(f"oresearch: not verified: {harmless(fault)}", err=True)
    return checked


def _file_text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigurationError(f"{path}: longer than {_LARGEST:,} bytes")
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    """The sources of a file: a line each, or the lines of traces, which hold theirs."""
    for number, line in enumerate(_file_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{path}:{number}: is no JSON: {error}") from error
        if not isinstance(record, dict):
            raise ConfigurationError(f"{path}:{number}: is no object with url, title and text")
        held = record.get("sources")
        records = held if isinstance(held, list) else [record]
        if not all(isinstance(each, dict) for each in records):
            raise ConfigurationError(f"{path}:{number}: a source is no object")
        yield from records


async def _pages(
    urls: Sequence[str], settings: ResearchSettings
) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """The pages behind the addresses, and why others could not be read."""
    if not urls:
        return [], {}
    pages = await web_reader(settings).read(urls, "")
    read = [page.model_dump(include={"url", "title", "text"}) for page in pages if not page.fault]
    return [*read], {page.url: page.fault for page in pages if page.fault}


def _claims_as_text(checked: CheckedReport, unread: Mapping[str, str]) -> str:
    blocks = [_claim(number, claim) for number, claim in enumerate(checked, 1)]
    accuracy = "–" if checked.accuracy is None else f"{checked.accuracy:.2f}"
    faults = [f"not read: {url}: {fault}" for url, fault in unread.items()]
    summary = f"cited sentences: {in_words(checked.counts)}; citation accuracy {accuracy}"
    return "\n\n".join([*blocks, "\n".join([*faults, summary])])


def _claim(number: int, claim: CheckedClaim) -> str:
    lines = [f"{number}. {claim.status.replace('_', ' ')}: {' '.join(claim.sentence.split())}"]
    lines.append(f"   cites {' '.join(claim.marks)}: {', '.join(claim.sources) or 'no source'}")
    if claim.missing:
        word = "missing" if claim.status in WARNINGS else "not seen there"
        lines.append(f"   {word}: {'; '.join(claim.missing)}")
    if claim.quote is not None:
        quote = " ".join(claim.quote.split())
        lines.append(f"   passage: {quote[:_QUOTE]}{'…' * (len(quote) > _QUOTE)}")
    return "\n".join(lines)


def _claims_as_json(checked: CheckedReport, unread: Mapping[str, str]) -> str:
    return json_line({
        "claims": [vars(claim) for claim in checked],
        "counts": checked.counts,
        "accuracy": checked.accuracy,
        "sentences": checked.citations.sentences,
        "unread": unread,
    })  # fmt: skip
