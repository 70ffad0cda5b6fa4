"""What is left of a run for people: report and trace on disk, and a summary of how it ended."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Trace, TraceWriter, known_sum

STATUS = {"complete": 0, "partial": 3, "failed": 1}
"""Exit status by outcome."""


class Places(NamedTuple):
    """Where a run leaves report and trace."""

    report: Path
    trace: Path


def places_for(question: str, out: Path | None, trace: Path | None) -> Places:
    """The paths asked for, else a folder named after the question."""
    slug = re.sub(r"[^\w]+", "-", question.lower()).strip("-")[:60] or "run"
    folder = Path("out") / slug
    return Places(out or folder / "report.md", trace or folder / "trace.jsonl")


def save(places: Places, trace: Trace, report: str | None) -> None:
    """Write the trace, then the report. Raises ConfigurationError for a path that cannot be."""
    try:
        with TraceWriter(places.trace) as writer:
            writer.write(trace)
        if report is not None:
            places.report.parent.mkdir(parents=True, exist_ok=True)
            places.report.write_text(report, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: cannot be written: {error.strerror}; choose another --out"
        ) from error


def print_report(report: str) -> None:
    """The report on standard output: rendered on a terminal, else as it is."""
    console = Console()
    if console.is_terminal:
        # Markdown would run the lines of the reference list together.
        console.print(Markdown(re.sub(r"\n(?=\[\d+\]\. )", "  \n", report)))
    else:
        print(report)  # noqa: T201 - the report is this command's output


def print_summary(console: Console, trace: Trace, report: str | None, places: Places) -> None:
    """How the run ended, what it cost, where its files are."""
    lines = [f"outcome: {trace.outcome}"]
    lines += [f"  {f.name} ({f.fault}): {f.message}" for f in trace.failures]
    if trace.citations is not None and trace.citations.claims:
        claims = trace.citations.claims
        supported = sum(claim.status == "supported" for claim in claims)
        cited = len({number for claim in claims for number in claim.sources})
        lines.append(
            f"citations: {supported} of {len(claims)} cited sentences supported, "
            f"{cited} source records cited"
        )
    lines.append(f"usage: {usage_line(trace)}")
    if report is not None:
        lines.append(f"report: {places.report}")
    lines.append(f"trace:  {places.trace}")
    console.print(Text("\n".join(lines)), soft_wrap=True)


def usage_line(trace: Trace) -> str:
    """Calls, tokens and money of a run; what is unknown is left out."""
    tokens = known_sum(
        count for usage in trace.usage for count in (usage.prompt_tokens, usage.completion_tokens)
    )
    money = known_sum(usage.cost for usage in trace.usage)
    parts = [
        f"{sum(usage.calls for usage in trace.usage)} model calls",
        f"{sum(usage.tool_calls for usage in trace.usage)} tool calls",
    ]
    parts += [] if tokens is None else [f"{tokens:.0f} tokens"]
    parts += [] if money is None else [f"${money:.4f}"]
    return ", ".join(parts)


def print_next(console: Console, question: str) -> None:
    """After a run without a model: the exact commands for one's own documents and keys."""
    asked = shlex.quote(question)
    console.print(
        Text(
            "next, your own folder:  oresearch run "
            f"{asked} --corpus DIR\n"
            "next, a model and the web:  OPENAI_API_KEY=… TAVILY_API_KEY=… oresearch run "
            f"{asked}"
        ),
        soft_wrap=True,
    )


def as_json(trace: Trace, report: str | None, places: Places) -> str:
    """The run as one JSON object."""
    told: dict[str, Any] = {
        "outcome": trace.outcome,
        "report": report,
        "failures": [failure.model_dump() for failure in trace.failures],
        "citations": None,
        "usage": [usage.model_dump() for usage in trace.usage],
        "report_path": str(places.report) if report is not None else None,
        "trace_path": str(places.trace),
        "trace_id": trace.id,
    }
    if trace.citations is not None:
        told["citations"] = {
            "precision": trace.citations.precision,
            "coverage": trace.citations.coverage,
            "claims": len(trace.citations.claims),
        }
    return json.dumps(told, ensure_ascii=False)
