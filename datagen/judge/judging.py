"""Judging: asks for the verdicts that are not there yet, a bounded number at a time.

A judge that fails leaves a candidate unjudged with its reason; what was spent on it is kept, the
next run asks again. After many failures in a row the rest is left for the next run.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rich.console import Console

from datagen.judge.judges import TraceJudge
from datagen.records import Judgement, Seed
from datagen.run.in_flight import in_flight
from datagen.run.kept_records import KeptRecords
from datagen.run.progress_lines import ProgressLines
from datagen.run.trace_shelf import TraceShelf
from datagen.settings.judge import JudgeSettings
from oresearch_graph.errors import JudgeError
from oresearch_graph.judging.judge_model import Spent
from oresearch_graph.trace import Trace
from oresearch_graph.trace.record import known_sum

_JUDGED: Final = {"question", "steps", "sources", "citations"}
"""What of a trace a verdict rests on: not when it was made, nor what it cost."""


class Candidates(NamedTuple):
    """What is to be judged: ids in memory, traces on the disk."""

    passed: Mapping[str, str]
    """The seed's id of each candidate that passed the filter."""
    seeds: Mapping[str, Seed]
    """Seeds by id, those with key points at least."""
    shelf: TraceShelf


class _Item(NamedTuple):
    trace: Trace
    seed: str
    key: str


@dataclass
class Judging:
    """One run over the candidates. Afterwards `keys` and `unjudged` say how each one stands."""

    judge: TraceJudge
    settings: JudgeSettings
    candidates: Candidates
    kept: KeptRecords[Judgement]
    console: Console
    keys: dict[str, str] = field(default_factory=dict)
    """The key of each candidate's verdict."""
    unjudged: dict[str, str] = field(default_factory=dict)
    """Why a candidate has no verdict."""
    asked: int = 0
    """Candidates judged in this run; the others' verdicts stood."""
    spent: Spent = field(default_factory=Spent)
    gave_up: str | None = None
    """The last failure, when the judge failed too often in a row."""

    def __post_init__(self) -> None:
        self._failed = self._stood = 0
        self._progress = ProgressLines(self.console, self.settings.progress_seconds)

    async def run(self) -> None:
        """Raises ConfigurationError when a verdict cannot be written; those before it stand."""
        try:
            await in_flight(self._open(), self._one, self.settings.concurrency)
        finally:
            await self.judge.aclose()
        if self.asked or self.spent.calls:
            self._progress.tell(self._line(), last=True)

    def _open(self) -> Iterator[_Item]:
        """Candidates without a verdict, made as they are wanted."""
        for trace_id, seed in self.candidates.passed.items():
            lacks = self.judge.lacks(self.candidates.seeds.get(seed))
            if lacks is not None:
                self.unjudged[trace_id] = lacks
                continue
            trace = self.candidates.shelf.get(trace_id)
            key = self._key(trace, seed)
            self.keys[trace_id] = key
            stands = self.kept.get(key)
            if stands is not None and stands.judged is not None:
                self._stood += 1
                continue
            yield _Item(trace, seed, key)

    def _key(self, trace: Trace, seed: str) -> str:
        content = trace.model_dump_json(include=_JUDGED)
        basis = self.judge.basis(self.candidates.seeds.get(seed))
        told = json.dumps([basis, content], ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()

    async def _one(self, item: _Item) -> None:
        if self.gave_up is not None:
            self.unjudged[item.trace.id] = f"not asked, the judge kept failing: {self.gave_up}"
            return
        spent = Spent()
        judgement = await self._judged(item, spent)
        self.spent.add(spent)
        await asyncio.to_thread(self.kept.keep, self._with_costs(judgement, spent))
        if judgement.unjudged is None:
            self.asked += 1
            self._failed = 0
        else:
            self.unjudged[item.trace.id] = judgement.unjudged
            self._failed += 1
            if self._failed >= self.settings.give_up_after:
                self.gave_up = judgement.unjudged
        self._progress.tell(self._line())

    async def _judged(self, item: _Item, spent: Spent) -> Judgement:
        seed = self.candidates.seeds.get(item.seed)
        try:
            judged, agreement = await self.judge.judge(item.trace, seed, spent)
        except JudgeError as error:
            return Judgement(id=item.trace.id, seed=item.seed, unjudged=str(error), key=item.key)
        return Judgement(
            id=item.trace.id, seed=item.seed, judged=judged, agreement=agreement, key=item.key
        )

    def _with_costs(self, judgement: Judgement, spent: Spent) -> Judgement:
        """With what earlier vain runs spent on the same verdict."""
        before = self.kept.get(judgement.key)
        tokens = known_sum((spent.tokens, before.tokens if before else None))
        cost = known_sum((spent.cost, before.cost if before else None))
        return judgement.model_copy(update={"tokens": tokens, "cost": cost})

    def _line(self) -> str:
        parts = [f"{self._stood + self.asked:,} of {len(self.candidates.passed):,} judged"]
        if self.unjudged:
            parts.append(f"{len(self.unjudged):,} unjudged")
        return ", ".join([*parts, *self.spent.told()])
