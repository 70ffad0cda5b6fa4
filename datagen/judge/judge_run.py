"""JudgeRun: asks for the verdicts that are not there yet, a bounded number at a time.

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
from datagen.run.in_flight import ProgressLines, in_flight
from datagen.run.record_files import KeyedRecords
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
class JudgeRun:
    """One run over the candidates. Afterwards `keys` and `unjudged` say how each one stands."""

    judge: TraceJudge
    settings: JudgeSettings
    candidates: Candidates
    verdicts: KeyedRecords[Judgement]
    console: Console
    keys: dict[str, str] = field(default_factory=dict)
    """The key of each candidate's verdict."""
    unjudged: dict[str, str] = field(default_factory=dict)
    """Why a candidate has no verdict."""
    judged_here: int = 0
    """Candidates judged in this run; the others' verdicts stood."""
    spending: Spent = field(default_factory=Spent)
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
        if self.judged_here or self.spending.calls:
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
            stands = self.verdicts.get(key)
            if stands is not None and stands.judged is not None:
                self._stood += 1
                continue
            yield _Item(trace, seed, key)

    def _key(self, trace: Trace, seed: str) -> str:
        content = trace.model_dump_json(include=_JUDGED)
        basis = self.judge.basis(self.candidates.seeds.get(seed))
        basis_text = json.dumps([basis, content], ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(basis_text.encode("utf-8", "surrogatepass")).hexdigest()

    async def _one(self, item: _Item) -> None:
        if self.gave_up is not None:
            self.unjudged[item.trace.id] = f"not asked, the judge kept failing: {self.gave_up}"
            return
        spending = Spent()
        judgement = await self._judged(item, spending)
        self.spending.add(spending)
        await asyncio.to_thread(self.verdicts.keep, self._with_costs(judgement, spending))
        if judgement.unjudged is None:
            self.judged_here += 1
            self._failed = 0
        else:
            self.unjudged[item.trace.id] = judgement.unjudged
            self._failed += 1
            if self._failed >= self.settings.give_up_after:
                self.gave_up = judgement.unjudged
        self._progress.tell(self._line())

    async def _judged(self, item: _Item, spending: Spent) -> Judgement:
        seed = self.candidates.seeds.get(item.seed)
        try:
            judged, agreement = await self.judge.judge(item.trace, seed, spending)
        except JudgeError as error:
            return Judgement(id=item.trace.id, seed=item.seed, unjudged=str(error), key=item.key)
        return Judgement(
            id=item.trace.id, seed=item.seed, judged=judged, agreement=agreement, key=item.key
        )

    def _with_costs(self, judgement: Judgement, spending: Spent) -> Judgement:
        """With what earlier failed runs spent on the same verdict."""
        before = self.verdicts.get(judgement.key)
        tokens = known_sum((spending.tokens, before.tokens if before else None))
        cost = known_sum((spending.cost, before.cost if before else None))
        return judgement.model_copy(update={"tokens": tokens, "cost": cost})

    def _line(self) -> str:
        parts = [f"{self._stood + self.judged_here:,} of {len(self.candidates.passed):,} judged"]
        if self.unjudged:
            parts.append(f"{len(self.unjudged):,} unjudged")
        return ", ".join([*parts, *self.spending.told()])
