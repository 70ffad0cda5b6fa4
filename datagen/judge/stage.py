"""The judge stage: what passed the filter is scored, and the best of each seed are chosen.

A verdict is kept in work/judged.jsonl the moment it comes, under the hash of all that it rests
on. So a killed run goes on where it was, and a changed threshold decides anew without a question.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from datagen.judge.judge_run import Candidates, JudgeRun
from datagen.judge.judges import judge_from
from datagen.records import Filtered, Judgement, Seed
from datagen.run.folder import Counts, RunFolder, Work
from datagen.run.record_files import KeyedRecords, read_records, write_records
from datagen.run.trace_shelf import TraceShelf
from datagen.settings.judge import JudgeSettings
from oresearch_graph.errors import ConfigurationError, JudgeError

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
