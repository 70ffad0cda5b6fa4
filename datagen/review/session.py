"""One reviewer's session: the items in order, what is known of each, and the decisions so far.

Other sessions may append decisions at any moment. A reviewer sees nothing of what others said.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from datagen.records import Decision, Filtered, Judgement, SeedTruth
from datagen.review.sample import SampleItem, current_sample, decisions_on, read_decisions
from datagen.run.folder import Work
from datagen.run.record_files import RecordWriter, read_records
from datagen.run.review_result import RUBRIC
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Trace


class ReviewProgress(NamedTuple):
    """How far a reviewer is."""

    accepted: int
    rejected: int
    whole: int


class ReviewSession:
    """What the pages of one server show, and where its decisions go."""

    def __init__(self, work: Work, reviewer: str) -> None:
        """Raises ConfigurationError for a name that cannot be told apart, or an empty sample."""
        if not reviewer.strip() or not reviewer.isprintable() or len(reviewer) > 60:
            raise ConfigurationError("--reviewer: give a name of at most 60 printable characters")
        self.run, self.reviewer = work.run, reviewer.strip()
        sample = current_sample(work)
        self.items: tuple[SampleItem, ...] = (*sample.items, *sample.queue)
        self.random = len(sample.items)
        """So many of the items are the random sample; the rest is the queue."""
        if not self.items:
            raise ConfigurationError(f"{work.run.root}: no judged trace and no rubric to review")
        items = {item.item for item in self.items}
        self.judgements = {j.id: j for j in read_records(work.run.judged, Judgement)
                           if j.id in items}  # fmt: skip
        self.filtered = {f.id: f for f in read_records(work.run.filtered, Filtered)
                         if f.id in items}  # fmt: skip
        self.truths = {f"{RUBRIC}{t.seed}": t for t in read_records(work.run.rubrics, SeedTruth)
                       if f"{RUBRIC}{t.seed}" in items}  # fmt: skip
        self._shelf = TraceShelf(work.run.traces)
        self._path = work.run.review / "decisions.jsonl"
        self._writer = RecordWriter(self._path, Decision)
        self._lock = threading.Lock()
        self._read: tuple[int, dict[str, Decision]] = (-1, {})

    def close(self) -> None:
        self._writer.close()

    def trace(self, item: str) -> Trace | None:
        """The trace of an item; None when the run holds it no longer."""
        return self._shelf.get(item) if item in self._shelf else None

    def own_decisions(self) -> dict[str, Decision]:
        """This reviewer's last word on each item, other processes of theirs included."""
        size = self._path.stat().st_size
        if self._read[0] != size:
            decisions = decisions_on(self.items, read_decisions(self._path))
            mine = {item: by_reviewer[self.reviewer] for item, by_reviewer in decisions.items()
                   if self.reviewer in by_reviewer}  # fmt: skip
            self._read = (size, mine)
        return self._read[1]

    def decide(self, number: int, *, accept: bool, reason: str) -> None:
        """Say a word on the item of this place; on the disk when it returns."""
        decision = Decision(
            item=self.items[number].item,
            reviewer=self.reviewer,
            accept=accept,
            reason=reason,
            content=self.items[number].content,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with self._lock:
            self._writer.write(decision)

    def next_open(self, after: int) -> int | None:
        """The place of the next undecided item behind this one, from the start again at the end."""
        decisions = self.own_decisions()
        around = [*range(after + 1, len(self.items)), *range(after + 1)]
        return next((n for n in around if self.items[n].item not in decisions), None)

    def progress(self) -> ReviewProgress:
        decisions = self.own_decisions()
        verdicts = [decisions[item.item].accept for item in self.items if item.item in decisions]
        return ReviewProgress(verdicts.count(True), verdicts.count(False), len(self.items))

    def numbered(self) -> Iterable[tuple[int, SampleItem, Decision | None]]:
        """Every item with its place and this reviewer's word."""
        decisions = self.own_decisions()
        return ((n, item, decisions.get(item.item)) for n, item in enumerate(self.items))
