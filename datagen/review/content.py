"""What an item of the sample says, as a hash: a word on it counts for this content alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from datagen.records import SeedTruth
from datagen.run.folder import RunFolder
from datagen.run.record_files import read_records
from datagen.run.review_result import RUBRIC
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.trace import text_hash

_READ: Final = {"question", "steps", "sources"}
"""What of a trace people judge: not when it was made, nor what it cost."""


def contents(run: RunFolder, items: Collection[str]) -> dict[str, str]:
    """The hash of each of these traces and rubrics; one that is not there has none."""
    shelf = TraceShelf(run.traces)
    hashes = {
        item: _hash(shelf.get(item).model_dump_json(include=_READ))
        for item in items
        if item in shelf
    }
    for truth in read_records(run.rubrics, SeedTruth):
        if (name := f"{RUBRIC}{truth.seed}") in items:
            hashes[name] = _hash(truth.model_dump_json(include={"question", "truth"}))
    return hashes


def _hash(text: str) -> str:
    return text_hash(text)[:16]
