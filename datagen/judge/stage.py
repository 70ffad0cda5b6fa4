"""The judge stage: what passed the filter is scored, and the best of each seed are chosen.

A verdict is kept in work/judged.jsonl the moment it comes, under the hash of all that it rests on.
So a killed run goes on where it was, and a changed threshold decides anew without a question. A
judge that fails leaves a candidate unjudged with its reason; what was spent on it is kept, the next
run asks again. After many failures in a row the rest is left for the next run."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rich.console import Console

from datagen.judge.judges import TraceJudge, judge_from
from datagen.records import Filtered, Judgement, Seed
from datagen.run.folder import Counts, RunFolder, Work
from datagen.run.in_flight import ProgressLines, in_flight
from datagen.run.record_files import KeyedRecords, read_records, write_records
from datagen.run.trace_shelf import TraceShelf
from datagen.settings.judge import JudgeSettings
from oresearch_graph.errors import ConfigurationError, JudgeError
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
        return ", ".join([*parts, *self.spending.in_words()])


_VERDICTS: Final = "judged.jsonl"


def judge(work: Work) -> Counts:
    """Judge what has no verdict, then decide. Raises ConfigurationError, and JudgeError when the
    judge kept failing: the verdicts that came stand, and the stage is not finished."""
    run, settings = work.run, work.settings.judge
    if not run.filtered.exists():
        raise ConfigurationError(f"{run.filtered}: not there: run the filter stage first")
    trace_judge = judge_from(settings)
    candidates, orphans = _candidates(run)
    _restore(run)
    with KeyedRecords(run.work / _VERDICTS, Judgement, lambda verdict: verdict.key) as verdicts:
        judge_run = JudgeRun(trace_judge, settings, candidates, verdicts, work.console)
        asyncio.run(judge_run.run())
        counts = _decide(work, judge_run, trace_judge.criteria)
        counts |= {"without_seed": orphans} if orphans else {}
    _tell_unjudged(work, judge_run, counts["unjudged"])
    if judge_run.gave_up is not None:
        raise JudgeError(
            f"the judge failed on {settings.give_up_after} candidates in a row, run the stage "
            f"again to go on; the last failure: {judge_run.gave_up}"
        )
    return counts


def _candidates(run: RunFolder) -> tuple[Candidates, int]:
    """What passed the filter, and how many of it whose seed was dropped since: a question that is
    a benchmark's, or a repeat, is not trained on because its trace is there already."""
    passed = {f.id: f.seed for f in read_records(run.filtered, Filtered) if f.passed}
    seeds: dict[str, Seed] = {}
    seed_ids: set[str] = set()
    for seed in read_records(run.seeds, Seed):
        seed_ids.add(seed.id)
        if seed.key_points:
            seeds[seed.id] = seed
    with_seed = {trace: seed for trace, seed in passed.items() if seed in seed_ids}
    return Candidates(with_seed, seeds, TraceShelf(run.traces)), len(passed) - len(with_seed)


def _restore(run: RunFolder) -> None:
    """The work folder may have been deleted: what was judged stands in the stage's file too."""
    verdicts = run.work / _VERDICTS
    if run.judged.exists() and not verdicts.exists():
        write_records(verdicts, (j for j in read_records(run.judged, Judgement) if j.judged))


def _decide(work: Work, judge_run: JudgeRun, criteria: tuple[str, ...]) -> Counts:
    """Write every candidate's judgement, in the filter's order. Verdicts are read twice: of the
    first time only the accepted ones' scores are held."""
    settings = work.settings.judge
    ranks = [
        Rank(j.seed, j.id, j.judged.quality, j.agreement)
        for j in _judgements(judge_run)
        if j.judged is not None and is_accepted(j, settings, criteria)
    ]
    accepted = frozenset(rank.id for rank in ranks)
    best = choose(ranks, settings.keep_per_seed)
    unjudged = 0

    def decided() -> Iterator[Judgement]:
        nonlocal unjudged
        for j in _judgements(judge_run):
            unjudged += j.judged is None
            yield j.model_copy(update={"accepted": j.id in accepted, "chosen": j.id in best})

    total = write_records(work.run.judged, decided())
    return {
        "judged": total - unjudged,
        "unjudged": unjudged,
        "accepted": len(accepted),
        "chosen": len(best),
    }


def _judgements(judge_run: JudgeRun) -> Iterator[Judgement]:
    """What is known of each candidate. One verdict serves all that have the same content."""
    for trace_id, seed in judge_run.candidates.passed.items():
        key = judge_run.keys.get(trace_id, "")
        judgement = judge_run.verdicts.get(key) or Judgement(id=trace_id, seed=seed, key=key)
        reason = None if judgement.judged else judge_run.unjudged.get(trace_id, judgement.unjudged)
        update = {"id": trace_id, "seed": seed, "unjudged": reason}
        yield judgement.model_copy(update={**update, "accepted": False, "chosen": False})


def _tell_unjudged(work: Work, judge_run: JudgeRun, unjudged: int) -> None:
    if not unjudged:
        return
    reason = next(iter(judge_run.unjudged.values()))
    work.say(
        f"{unjudged:,} unjudged, one of them: {reason}; they are tried again when the stage is "
        "run again"
    )


class Rank(NamedTuple):
    """An accepted candidate among its siblings."""

    seed: str
    id: str
    quality: float
    agreement: float | None

    @property
    def order(self) -> tuple[float, float, int, str]:
        """The best first: by quality, then by agreement, then the earlier candidate."""
        number = self.id.rpartition(".")[2]
        agreed = -1.0 if self.agreement is None else self.agreement
        return -self.quality, -agreed, int(number) if number.isdecimal() else 0, self.id


def is_accepted(judgement: Judgement, settings: JudgeSettings, criteria: Sequence[str]) -> bool:
    """Whether a verdict is above every threshold; `criteria` names its scores in order."""
    judged = judgement.judged
    if judged is None or judged.quality < settings.min_quality:
        return False
    least, agreed = settings.min_agreement, judgement.agreement
    if least is not None and agreed is not None and agreed < least:
        return False
    by_name = dict(zip(criteria, judged.scores, strict=False))
    return all(by_name[name].score >= low for name, low in settings.min_scores.items())


def choose(ranks: Iterable[Rank], keep: int) -> frozenset[str]:
    """The ids of the best `keep` of each seed."""
    by_seed: dict[str, list[Rank]] = defaultdict(list)
    for rank in ranks:
        by_seed[rank.seed].append(rank)
    return frozenset(
        rank.id
        for siblings in by_seed.values()
        for rank in sorted(siblings, key=lambda rank: rank.order)[:keep]
    )
