"""The rubrics stage: verified claims of accepted traces become what RL judges a question by.

The claims themselves become key points, or a model writes from them, a bounded number at a time;
what it wrote is kept in the work folder and not asked for again. A question whose claims do not
bear enough key points gets no truth: none is invented.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console

from datagen.records import Judgement, Record, Seed, SeedTruth
from datagen.rubrics.key_points import points_from_claims
from datagen.rubrics.material import Material, accepted_traces, materials
from datagen.rubrics.model_truth import SCHEMA, VERSION, TruthDraft, read_written, writing_messages
from datagen.run.folder import Counts, Work
from datagen.run.in_flight import ProgressLines, in_flight
from datagen.run.record_files import KeyedRecords, read_records, write_records
from datagen.run.trace_shelf import TraceShelf
from datagen.settings.rubrics import RubricSettings
from oresearch_graph.errors import ConfigurationError, PolicyError
from oresearch_graph.judging.answers import VerdictFault
from oresearch_graph.judging.judge_model import JudgeStats, OneJudge, Spent
from oresearch_graph.policies.chat.text_model import TextModel
from oresearch_graph.rows.ground_truth import GroundTruth

_WRITTEN: Final = "rubrics.jsonl"


def make_rubrics(work: Work) -> Counts:
    """Write the truth of every seed with accepted traces. Raises ConfigurationError, and
    PolicyError when the model kept failing: the truths that came stand, and the stage is not
    finished."""
    run, settings = work.run, work.settings.rubrics
    if not run.judged.exists():
        raise ConfigurationError(f"{run.judged}: not there: run the judge stage first")
    accepted = accepted_traces(read_records(run.judged, Judgement))
    seeds = {seed.id: seed for seed in read_records(run.seeds, Seed) if seed.key_points}
    questions = materials(accepted, seeds, TraceShelf(run.traces), settings.foreign_reports)
    counts = {"seeds": len(accepted), "with_truth": 0, "without_truth": 0, "key_points": 0}
    if settings.model is None:
        truths = _from_claims(questions, settings)
        write_records(run.rubrics, _counted(truths, counts))
    else:
        counts["refused"] = 0
        _by_model(work, questions, counts)
    counts["without_truth"] = counts["seeds"] - counts["with_truth"]
    return counts


def _from_claims(questions: Iterator[Material], settings: RubricSettings) -> Iterator[SeedTruth]:
    for material in questions:
        points = (*material.seed_points, *points_from_claims(material, settings.most_points))
        if len(points) >= settings.fewest_points:
            traces = tuple(report.trace for report in material.reports)
            yield SeedTruth(
                seed=material.seed, question=material.question,
                truth=GroundTruth(key_points=points), by="claims", traces=traces,
            )  # fmt: skip


def _by_model(work: Work, questions: Iterator[Material], counts: Counts) -> None:
    file = work.run.work / _WRITTEN
    with KeyedRecords(file, StoredTruth, lambda record: record.key) as truths:
        writer = TruthWriter(work.settings.rubrics, truths, work.console)
        asyncio.run(writer.run(questions))
        write_records(work.run.rubrics, _counted(_model_truths(writer, counts), counts))
    if writer.without:
        seed, reason = next(iter(writer.without.items()))
        work.say(
            f"{len(writer.without):,} questions have no truth, one of them {seed}: {reason}; "
            "they are tried again when the stage is run again"
        )
    if writer.gave_up is not None:
        raise PolicyError(
            f"the model failed on {work.settings.rubrics.give_up_after} questions in a row, run "
            f"the stage again to go on; the last failure: {writer.gave_up}"
        )


def _model_truths(writer: TruthWriter, counts: Counts) -> Iterator[SeedTruth]:
    for key in writer.keys.values():
        if (record := writer.truths.get(key)) is not None:
            counts["refused"] += record.refused
            yield record.truth


def _counted(truths: Iterator[SeedTruth], counts: Counts) -> Iterator[SeedTruth]:
    for truth in truths:
        counts["with_truth"] += 1
        counts["key_points"] += len(truth.truth.key_points)
        yield truth


class StoredTruth(Record):
    """What a model wrote on one question."""

    key: str
    truth: SeedTruth
    refused: int
    tokens: int | None = None
    cost: float | None = None
    """US dollars."""


@dataclass
class TruthWriter:
    """One run over the questions. Afterwards `keys` and `without` say how each one stands."""

    settings: RubricSettings
    truths: KeyedRecords[StoredTruth]
    console: Console
    keys: dict[str, str] = field(default_factory=dict)
    """The key of each seed's truth."""
    without: dict[str, str] = field(default_factory=dict)
    """Why a seed has none."""
    spending: Spent = field(default_factory=Spent)
    gave_up: str | None = None

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a model that cannot be had."""
        settings, stats = self.settings, JudgeStats()
        model = TextModel(
            settings.model or "", settings.base_url, concurrency=settings.concurrency,
            tries=settings.tries, timeout=settings.timeout,
            price=None if settings.price is None else settings.price.price,
        )  # fmt: skip
        self._model = OneJudge(model, lambda: stats, cold=True, schema=SCHEMA)
        self._failed = self._done = 0
        self._progress = ProgressLines(self.console, settings.progress_seconds)

    async def run(self, materials: Iterable[Material]) -> None:
        """Raises ConfigurationError when what was written cannot be kept."""
        try:
            await in_flight(self._open(materials), self._one, self.settings.concurrency)
        finally:
            await self._model.aclose()
        if self.spending.calls:
            self._progress.tell(self._line(), last=True)

    def _open(self, materials: Iterable[Material]) -> Iterator[Material]:
        """The questions that nothing was written on yet."""
        for material in materials:
            if not material.facts:
                self.without[material.seed] = "no verified claim stands by itself"
                continue
            key = self.keys[material.seed] = self._key(material)
            if key in self.truths:
                self._done += 1
            else:
                yield material

    def _key(self, material: Material) -> str:
        settings = self.settings
        seed_points = [point.model_dump() for point in material.seed_points]
        facts = [[claim.prose, claim.quote] for group in material.facts for claim in group]
        texts = [report.text for report in material.reports]
        basis = [
            VERSION,
            settings.model,
            settings.fewest_points,
            settings.most_points,
            seed_points,
            facts,
            texts,
        ]
        whole = json.dumps([*basis, material.seed, material.question, material.foreign])
        return hashlib.sha256(whole.encode()).hexdigest()

    async def _one(self, material: Material) -> None:
        if self.gave_up is not None:
            self.without[material.seed] = f"not asked, the model kept failing: {self.gave_up}"
            return
        spending = Spent()
        try:
            draft = await self._draft(material, spending)
        except PolicyError as error:
            self._fail(material.seed, f"{self._model.name}: {error}")
        except VerdictFault as fault:
            self.without[material.seed] = f"{self._model.name}: {fault}"
            self._failed = 0  # the server is there: another question may fare better
        else:
            await asyncio.to_thread(self.truths.keep, self._to_store(material, draft, spending))
            self._failed, self._done = 0, self._done + 1
        self.spending.add(spending)
        self._progress.tell(self._line())

    async def _draft(self, material: Material, spending: Spent) -> TruthDraft:
        fewest, most = self.settings.fewest_points, self.settings.most_points
        return await self._model.opinion(
            writing_messages(material, most),
            lambda text: read_written(text, material, fewest, most),
            spending,
        )

    def _fail(self, seed: str, reason: str) -> None:
        self.without[seed] = reason
        self._failed += 1
        if self._failed >= self.settings.give_up_after:
            self.gave_up = reason

    def _to_store(self, material: Material, draft: TruthDraft, spending: Spent) -> StoredTruth:
        truth = SeedTruth(
            seed=material.seed, question=material.question, truth=draft.truth,
            by=self._model.name, traces=tuple(report.trace for report in material.reports),
        )  # fmt: skip
        return StoredTruth(
            key=self.keys[material.seed], truth=truth, refused=draft.refused,
            tokens=spending.tokens, cost=spending.cost,
        )  # fmt: skip

    def _line(self) -> str:
        parts = [f"{self._done:,} questions have a truth"]
        if self.without:
            parts.append(f"{len(self.without):,} have none")
        return ", ".join([*parts, *self.spending.in_words()])
