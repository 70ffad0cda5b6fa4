"""Authoring: a model writes the truth of each question, a bounded number at a time; what it wrote
is kept in the work folder and not asked for again."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rich.console import Console

from datagen.records import Record, SeedTruth
from datagen.rubrics.material import Material
from datagen.rubrics.writing import SCHEMA, VERSION, Written, read_written, writing_messages
from datagen.run.in_flight import in_flight
from datagen.run.kept_records import KeptRecords
from datagen.run.progress_lines import ProgressLines
from datagen.settings.rubrics import RubricSettings
from oresearch_graph.errors import PolicyError
from oresearch_graph.judging.judge_model import JudgeStats, OneJudge, Spent
from oresearch_graph.judging.prompt import VerdictFault
from oresearch_graph.policies.chat.limiter import AdaptiveLimiter
from oresearch_graph.policies.chat.model_call import Patience


class KeptTruth(Record):
    """What a model wrote on one question."""

    key: str
    truth: SeedTruth
    refused: int
    tokens: int | None = None
    cost: float | None = None
    """US dollars."""


@dataclass
class Authoring:
    """One run over the questions. Afterwards `keys` and `without` say how each one stands."""

    settings: RubricSettings
    kept: KeptRecords[KeptTruth]
    console: Console
    keys: dict[str, str] = field(default_factory=dict)
    """The key of each seed's truth."""
    without: dict[str, str] = field(default_factory=dict)
    """Why a seed has none."""
    spent: Spent = field(default_factory=Spent)
    gave_up: str | None = None

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a model that cannot be had."""
        told, stats = self.settings, JudgeStats()
        self._model = OneJudge(
            told.model or "", told.base_url, Patience(timeout=told.timeout, tries=told.tries),
            AdaptiveLimiter(told.concurrency), True, lambda: stats, schema=SCHEMA,
            price=None if told.price is None else told.price.price,
        )  # fmt: skip
        self._failed = self._done = 0
        self._progress = ProgressLines(self.console, told.progress_seconds)

    async def run(self, materials: Iterable[Material]) -> None:
        """Raises ConfigurationError when what was written cannot be kept."""
        try:
            await in_flight(self._open(materials), self._one, self.settings.concurrency)
        finally:
            await self._model.aclose()
        if self.spent.calls:
            self._progress.tell(self._line(), last=True)

    def _open(self, materials: Iterable[Material]) -> Iterator[Material]:
        """The questions that nothing was written on yet."""
        for material in materials:
            if not material.facts:
                self.without[material.seed] = "no verified claim stands by itself"
                continue
            key = self.keys[material.seed] = self._key(material)
            if key in self.kept:
                self._done += 1
            else:
                yield material

    def _key(self, material: Material) -> str:
        told = self.settings
        given = [point.model_dump() for point in material.given]
        facts = [[claim.prose, claim.quote] for group in material.facts for claim in group]
        texts = [report.text for report in material.reports]
        basis = [VERSION, told.model, told.fewest_points, told.most_points, given, facts, texts]
        whole = json.dumps([*basis, material.seed, material.question, material.foreign])
        return hashlib.sha256(whole.encode()).hexdigest()

    async def _one(self, material: Material) -> None:
        if self.gave_up is not None:
            self.without[material.seed] = f"not asked, the model kept failing: {self.gave_up}"
            return
        spent = Spent()
        try:
            written = await self._written(material, spent)
        except PolicyError as error:
            self._fail(material.seed, f"{self._model.name}: {error}")
        except VerdictFault as fault:
            self.without[material.seed] = f"{self._model.name}: {fault}"
            self._failed = 0  # the server is there: another question may fare better
        else:
            await asyncio.to_thread(self.kept.keep, self._kept(material, written, spent))
            self._failed, self._done = 0, self._done + 1
        self.spent.add(spent)
        self._progress.tell(self._line())

    async def _written(self, material: Material, spent: Spent) -> Written:
        fewest, most = self.settings.fewest_points, self.settings.most_points
        return await self._model.opinion(
            writing_messages(material, most),
            lambda text: read_written(text, material, fewest, most),
            spent,
        )

    def _fail(self, seed: str, reason: str) -> None:
        self.without[seed] = reason
        self._failed += 1
        if self._failed >= self.settings.give_up_after:
            self.gave_up = reason

    def _kept(self, material: Material, written: Written, spent: Spent) -> KeptTruth:
        truth = SeedTruth(
            seed=material.seed, question=material.question, truth=written.truth,
            by=self._model.name, traces=tuple(report.trace for report in material.reports),
        )  # fmt: skip
        return KeptTruth(
            key=self.keys[material.seed], truth=truth, refused=written.refused,
            tokens=spent.tokens, cost=spent.cost,
        )  # fmt: skip

    def _line(self) -> str:
        parts = [f"{self._done:,} questions have a truth"]
        if self.without:
            parts.append(f"{len(self.without):,} have none")
        return ", ".join([*parts, *self.spent.told()])
