"""What the stages behind generate accept: a pilot's candidates go through them as all will."""

from __future__ import annotations

from collections.abc import Collection

from datagen.records import Judgement
from datagen.run.record_files import read_records
from datagen.run.work import Work
from datagen.stages import BY_NAME, run_stage


def accepted_candidates(work: Work, candidates: Collection[str]) -> set[str]:
    """Those of the candidates that the filter passes and the judge accepts."""
    for name in ("filter", "judge"):
        run_stage(BY_NAME[name], work)
    judgements = read_records(work.run.judged, Judgement)
    return {
        judgement.id
        for judgement in judgements
        if judgement.accepted and judgement.id in candidates
    }
