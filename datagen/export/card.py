"""The data set's card: README.md, whose head lets `datasets.load_dataset(folder, name)` open it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import yaml

from datagen.export.candidates import SPLITS, SeedOrigin
from datagen.export.columns import CONFIGS
from datagen.export.rows import RowMaker
from datagen.run.folder import Counts, Work
from datagen.run.stamps import read_stamp
from oresearch_graph.rows.lengths import WINDOWS

_STAGES: Final = ("seeds", "generate", "filter", "judge", "review", "rubrics")
_ROW_KINDS: Final[dict[str, str]] = {
    "sft-threads": "One row a thread, in the context it was written in: what `rl.sft` trains on.",
    "sft-linear": "One row a trajectory; every `[n]` is a number that its observations show.",
    "messages": "Whole trajectories as OpenAI messages, calls as tool calls.",
    "sharegpt": "Whole trajectories as ShareGPT turns, calls as tags.",
    "preference": "Two candidates of one seed whose judged quality differs by the margin.",
    "rl": "Questions with what their reports are judged by, for verl (the JSON Lines file beside "
    "the Parquet file is what `python -m rl.rl_rows` reads).",
    "rl-selection": "Mean and variance of the judge's scores of each question's candidates.",
    "sources": "What each trajectory was shown of each address: citations point into it.",
}
_HOSTS: Final = 20


def write_card(
    folder: Path, work: Work, maker: RowMaker, seeds: Iterable[SeedOrigin], counts: Counts
) -> None:
    """Write it beside the row files, which must be there."""
    parts = [
        *_head(folder, work, maker),
        *_rows(folder, counts),
        *_made_by(maker),
        *_funnel(work, counts),
        *_rights(maker, seeds),
        *_lengths(work, maker),
        *_left_out(maker),
    ]
    (folder / "README.md").write_text("\n".join(parts) + "\n", "utf-8")


def _head(folder: Path, work: Work, maker: RowMaker) -> Iterator[str]:
    settings = work.settings.export
    front: dict[str, Any] = {
        "pretty_name": settings.title,
        "license": settings.license or "unknown",
        "language": sorted(name for name in maker.languages if name != "unknown"),
        "tags": ["deep-research", "agents", "synthetic"],
        "configs": list(_configs(folder)),
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    yield from ("---", head.rstrip(), "---", "", f"# {settings.title}", "")
    if maker.extractive:
        yield (
            f"> **Warning.** {maker.extractive} of {maker.traces} traces were written without a "
            "language model, by copying passages (`extractive` among `models`). They were let in "
            "by name (`export.allow_extractive`) and teach quoting only.\n"
        )
    if settings.page_text == "hash":
        yield "The text of pages is replaced by its SHA-256; spans can be proved against the pages."
    if settings.scrub:
        counts = maker.admission.scrubber.counts
        kinds = ", ".join(f"{n} × {kind}" for kind, n in counts.most_common())
        yield f"Personal data was replaced: {kinds or 'none was found'}."
    else:
        yield "Personal data was not looked for (`export.scrub` is off)."


def _configs(folder: Path) -> Iterator[dict[str, Any]]:
    """Each configuration with the files of one format that are there."""
    for name in CONFIGS:
        kind = "parquet" if list((folder / name).glob("*.parquet")) else "jsonl"
        files = [
            {"split": split, "path": f"{name}/{split}.{kind}"}
            for split in SPLITS
            if (folder / name / f"{split}.{kind}").exists()
        ]
        if files:
            default = {"default": True} if name == "sft-threads" else {}
            yield {"config_name": name, **default, "data_files": files}


def _rows(folder: Path, counts: Counts) -> Iterator[str]:
    yield from ("", "## Rows", "", "| configuration | rows | what a row is |", "|---|---:|---|")
    for name, meaning in _ROW_KINDS.items():
        if (folder / name).is_dir():
            yield f"| `{name}` | {counts.get(f'{name}_rows', 0)} | {meaning} |"
    yield (
        "\nSplits are drawn by the hash of the seed: all that was made of one question stands in "
        "one split. `python -m datagen verify FOLDER` proves every span and hash again."
    )


def _made_by(maker: RowMaker) -> Iterator[str]:
    yield from ("", "## Teachers", "", "| model | traces |", "|---|---:|")
    yield from (f"| {_plain(name)} | {count} |" for name, count in maker.models.most_common())
    yield "\nRows are told under the plain training prompt, whose protocol fingerprints are: " + (
        ", ".join(f"{e} `{p.fingerprint}`" for e, p in maker.admission.protocols.items()) + "."
    )
    if maker.admission.restated:
        yield (
            f"{maker.admission.restated} traces were made under another prompt (teachers were "
            "asked for visible reasoning, had short prompts, or other limits held): their rows are "
            "restated."
        )
    if maker.admission.constrained:
        yield (
            f"{maker.admission.constrained} of {maker.traces} traces were held to the protocol's "
            "grammar by the model's server: tags, calls and cited numbers could be no others "
            "(`filter.allow_constrained` leaves such traces out)."
        )
    yield (
        "In `sft-linear`, and in what is made of it, citation numbers are rewritten so that an "
        "address has one number in a row; nothing else of the policy's text is changed."
    )


def _funnel(work: Work, counts: Counts) -> Iterator[str]:
    yield from ("", "## Funnel", "", "| stage | counted |", "|---|---|")
    for stage in _STAGES:
        stamp = read_stamp(work.run, stage)
        cell = _listing(stamp.counts) if stamp else "not recorded"
        yield f"| {stage} | {cell} |"
    yield f"| export | {_listing(counts)} |"


def _listing(counts: Counts) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _rights(maker: RowMaker, seeds: Iterable[SeedOrigin]) -> Iterator[str]:
    licenses = Counter(seed.license or "unknown" for seed in seeds)
    yield from ("", "## Licences", "", "| licence of the question | seeds |", "|---|---:|")
    yield from (f"| {_plain(name)} | {count} |" for name, count in licenses.most_common())
    yield (
        "\nThe licences of the pages that observations quote are unknown: they were not recorded. "
        "Their hosts, by the number of traces that saw them:\n"
    )
    yield from (f"- {_plain(host)}: {count}" for host, count in maker.hosts.most_common(_HOSTS))
    if len(maker.hosts) > _HOSTS:
        yield f"- and {len(maker.hosts) - _HOSTS} more"


def _lengths(work: Work, maker: RowMaker) -> Iterator[str]:
    tokenizer = work.settings.export.tokenizer
    by = f"Counted with `{Path(tokenizer).name}`" if tokenizer else (
        "Estimated: a token for each CJK character and for every four other characters"
    )  # fmt: skip
    heads = ["configuration", "rows", "tokens", "median", "p90", "p99", "longest"]
    heads += [f"over {window // 1024}k" for window in WINDOWS]
    yield from ("", "## Lengths in tokens", "", f"{by}. Prompts are counted with their rows.", "")
    yield from (_line(heads), "|---|" + "---:|" * (len(heads) - 1))
    for name, lengths in maker.lengths().items():
        if lengths.longest is not None:
            numbers = [lengths.rows, lengths.tokens, *lengths.percentiles.values()]
            numbers += [lengths.longest, *lengths.over.values()]
            yield _line([name, *(f"{number:,}" for number in numbers)])


def _plain(text: str) -> str:
    """Text from outside as one line in which nothing is Markdown's or HTML's."""
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _left_out(maker: RowMaker) -> Iterator[str]:
    refused, admission = maker.admission.refused, maker.admission
    if refused or maker.left_out:
        yield from ("", "## Left out", "")
    for reason, count in refused.most_common():
        yield f"- {count} traces: {reason} (first: {_plain(admission.first[reason])})"
    for where, count in maker.left_out.most_common():
        config, _, reason = where.partition(": ")
        first = f" (first: {_plain(maker.unproved[config])})" if reason == "unproved" else ""
        yield f"- {count} traces not in {config}: {reason}{first}"
