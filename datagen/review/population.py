"""Who can be drawn for review: every judged trace and every rubric, with its stratum, and the hash
of what an item says: a decision on it counts for this content alone.

Ids are held, traces are not. A trace's execution is read off the head of its line.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from datagen.records import Judgement, Seed, SeedTruth
from datagen.run.folder import RunFolder
from datagen.run.record_files import file_lines, read_records
from datagen.run.review_result import RUBRIC
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.trace import text_hash
from oresearch_graph.trace.files import read_trace_line

Group = Literal["accepted", "rejected", "rubric"]

# A quote inside a JSON string is escaped: neither can match within a question's text.
_HEAD: Final = re.compile(rb'\{"version":[12],"id":')
_ID: Final = re.compile(rb'"id":"([^"\\]*)"')
_EXECUTION: Final = re.compile(rb'"protocol":\{"dialect":"\w+","execution":"(\w+)"')
_REVIEWED: Final = {"question", "steps", "sources"}
"""What of a trace people judge: not when it was made, nor what it cost."""


class Member(NamedTuple):
    """One thing that can be drawn."""

    item: str
    group: Group
    stratum: str
    """Language / domain / execution / band of quality; for rubrics language / domain."""
    quality: float | None
    agreement: float | None


def population(run: RunFolder, bands: Sequence[float]) -> list[Member]:
    """All that was judged, and all rubrics; what is unjudged is not there."""
    kinds = {
        seed.id: f"{seed.language or 'unknown'}/{seed.domain or 'unknown'}"
        for seed in read_records(run.seeds, Seed)
    }
    members = list(_judged(run, bands, kinds))
    for truth in read_records(run.rubrics, SeedTruth):
        kind = kinds.get(truth.seed, "unknown/unknown")
        members.append(Member(f"{RUBRIC}{truth.seed}", "rubric", kind, None, None))
    return members


def _judged(run: RunFolder, bands: Sequence[float], kinds: dict[str, str]) -> Iterator[Member]:
    executions = dict(_executions(run.traces))
    for judgement in read_records(run.judged, Judgement):
        if judgement.quality is not None:
            kind = kinds.get(judgement.seed, "unknown/unknown")
            execution = executions.get(judgement.id, "unknown")
            stratum = f"{kind}/{execution}/{band(judgement.quality, bands)}"
            group: Group = "accepted" if judgement.accepted else "rejected"
            yield Member(judgement.id, group, stratum, judgement.quality, judgement.agreement)


def band(quality: float, borders: Sequence[float]) -> str:
    """The band that a quality falls in; a border belongs to the band above it."""
    edges = [0.0, *borders, 1.0]
    at = bisect_right(borders, quality)
    return f"{edges[at]:g}-{edges[at + 1]:g}"


def _executions(files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    for path in files:
        for line in file_lines(path):
            yield _execution(path, line.number, line.text)


def _execution(path: Path, number: int, line: bytes) -> tuple[str, str]:
    name, execution = _ID.search(line, 0, 400), _EXECUTION.search(line)
    if name is not None and execution is not None and _HEAD.match(line) is not None:
        return name[1].decode(), execution[1].decode()
    trace = read_trace_line(path, number, line)
    return trace.id, trace.execution


def contents(run: RunFolder, items: Collection[str]) -> dict[str, str]:
    """The hash of each of these traces and rubrics; one that is not there has none."""
    shelf = TraceShelf(run.traces)
    hashes = {
        item: _content_hash(shelf.get(item).model_dump_json(include=_REVIEWED))
        for item in items
        if item in shelf
    }
    for truth in read_records(run.rubrics, SeedTruth):
        if (name := f"{RUBRIC}{truth.seed}") in items:
            hashes[name] = _content_hash(truth.model_dump_json(include={"question", "truth"}))
    return hashes


def _content_hash(text: str) -> str:
    return text_hash(text)[:16]
