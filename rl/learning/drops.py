"""Of which classes a step's rollouts were dropped, and when that is too many to go on.

What is left of a step that infrastructure thinned out is no sample of what the policy does: a judge
that fails on long reports leaves the short ones. A share is told of, more than half ends the run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from rl.learning.groups import RolloutsUnusable
from rl.rollouts.log import RolloutRecord

_log = logging.getLogger("oresearch.rl")

WARNS: Final = 0.1
STOPS: Final = 0.5
"""Shares of a step's rollouts; above them."""
_FIXES: Final[Mapping[str, str]] = {
    "judge_error": "look at the judge's server, or name an oresearch.judge.second_model",
    "tool_error": "look at the search service; oresearch.tools.timeout, tries and concurrency say "
    "how it is asked",
    "model_error": "look at the engine's log",
    "timeout": "the engine is slow or stands: look at its log, or raise oresearch.seconds.call and "
    "branch",
    "deadline": "rollouts take longer than oresearch.seconds.rollout: raise it, or give the engine "
    "less at one time",
    "budget": "rollouts run out of time: raise oresearch.seconds.rollout and branch",
    "not_covered": "rollouts run out of time: raise oresearch.seconds.rollout and branch",
    "nothing_sampled": "the engine gives no tokens: look at its log",
}
_DEFECT: Final = "a defect: the workers' log has its traceback"


def drop_shares(records: Sequence[RolloutRecord]) -> dict[str, float]:
    """The share of a step's rollouts that each class dropped, the largest first. A rollout that
    several classes dropped counts for each."""
    counts = Counter(name for record in records for name in sorted(record.dropped_by))
    return {name: count / len(records) for name, count in counts.most_common()}


def watch_drops(records: Sequence[RolloutRecord]) -> dict[str, float]:
    """The shares of a training step as metrics; see `warn_of_drops`. Raises RolloutsUnusable where
    more than STOPS were dropped, by one class or by several."""
    shares = drop_shares(records)
    dropped = sum(bool(record.dropped_by) for record in records) / max(1, len(records))
    if dropped > STOPS:
        fixes = "; ".join(_line(name, share) for name, share in shares.items())
        raise RolloutsUnusable(
            f"{dropped:.0%} of the step's {len(records)} rollouts were dropped: {fixes}. Training "
            "ends, for the rest is no sample of what the policy does; checkpoints are kept, and it "
            "resumes from the last one"
        )
    warn_of_drops(records, "the step")
    return {f"oresearch/dropped/{name}": share for name, share in shares.items()}


def warn_of_drops(records: Sequence[RolloutRecord], of: str) -> None:
    """A warning for each class that dropped more than WARNS. `of`: what the rollouts belong to."""
    for name, share in drop_shares(records).items():
        if share > WARNS:
            _log.warning("of %s's %d rollouts %s", of, len(records), _line(name, share))


def _line(name: str, share: float) -> str:
    fix = _FIXES.get(name.rpartition(".")[2], _DEFECT)
    return f"{share:.0%} were dropped by {name}: {fix}"
