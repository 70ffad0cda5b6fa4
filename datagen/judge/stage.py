"""The judge stage: what passed the filter is scored, and the best of each seed are chosen.

A verdict is kept in work/judged.jsonl the moment it comes, under the hash of all that it rests
on. So a killed run goes on where it was, and a changed threshold decides anew without a question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from datagen.judge.deciding import Rank, choose, is_accepted
from datagen.judge.judges import judge_from
from datagen.judge.judging import Candidates, Judging
from datagen.records import Filtered, Judgement, Seed
from datagen.run.folder import RunFolder
from datagen.run.kept_records import KeptRecords
from datagen.run.record_files import read_records, write_records
from datagen.run.trace_shelf import TraceShelf
from datagen.run.work import Counts, Work
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
    with KeptRecords(run.work / _VERDICTS, Judgement, lambda verdict: verdict.key) as verdicts:
        judging = Judging(trace_judge, settings, candidates, verdicts, work.console)
        asyncio.run(judging.run())
        counts = _decide(work, judging, trace_judge.criteria)
        counts |= {"without_seed": orphans} if orphans else {}
    _tell_unjudged(work, judging, counts["unjudged"])
    if judging.gave_up is not None:
        raise JudgeError(
            f"the judge failed on {settings.give_up_after} candidates in a row, run the stage "
            f"again to go on; the last failure: {judging.gave_up}"
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


def _decide(work: Work, judging: Judging, criteria: tuple[str, ...]) -> Counts:
    """Write every candidate's judgement, in the filter's order. Verdicts are read twice: of the
    first time only the accepted ones' scores are held."""
    settings = work.settings.judge
    ranks = [
        Rank(j.seed, j.id, j.judged.quality, j.agreement)
        for j in _judgements(judging)
        if j.judged is not None and is_accepted(j, settings, criteria)
    ]
    accepted = frozenset(rank.id for rank in ranks)
    best = choose(ranks, settings.keep_per_seed)
    unjudged = 0

    def decided() -> Iterator[Judgement]:
        nonlocal unjudged
        for j in _judgements(judging):
            unjudged += j.judged is None
            yield j.model_copy(update={"accepted": j.id in accepted, "chosen": j.id in best})

    total = write_records(work.run.judged, decided())
    return {
        "judged": total - unjudged,
        "unjudged": unjudged,
        "accepted": len(accepted),
        "chosen": len(best),
    }


def _judgements(judging: Judging) -> Iterator[Judgement]:
    """What is known of each candidate. One verdict serves all that have the same content."""
    for trace_id, seed in judging.candidates.passed.items():
        key = judging.keys.get(trace_id, "")
        judgement = judging.verdicts.get(key) or Judgement(id=trace_id, seed=seed, key=key)
        reason = None if judgement.judged else judging.unjudged.get(trace_id, judgement.unjudged)
        update = {"id": trace_id, "seed": seed, "unjudged": reason}
        yield judgement.model_copy(update={**update, "accepted": False, "chosen": False})


def _tell_unjudged(work: Work, judging: Judging, unjudged: int) -> None:
    if not unjudged:
        return
    reason = next(iter(judging.unjudged.values()))
    work.console.print(
        f"{unjudged:,} unjudged, one of them: {reason}; they are tried again when the stage is "
        "run again",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
