"""Groups: the rollouts of one prompt, and which groups a policy can learn from.

A group is left out when fewer than two of its rollouts are there to compare, or when their
`quality` does not differ: the shaped total may still differ by calls or form, and training on that
alone teaches form without content (see `GroupSettings`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oresearch_graph.errors import OresearchError
from rl.learning.row_key import last_rows, parse_row_key

LeftOut = Literal["too_few", "no_signal"]


class RolloutsOutOfOrder(OresearchError):
    """The rollouts of a step cannot be trained on: infrastructure failed, not the policy."""


@dataclass(frozen=True)
class Rollout:
    """A rollout whose rows are there, described by its last row's extra fields."""

    key: str
    """Of its last row."""
    facts: Mapping[str, Any]
    """The row's `extra_fields` as the agent loop wrote them."""

    @property
    def uid(self) -> str:
        return parse_row_key(self.key).uid

    @property
    def scores(self) -> Mapping[str, float]:
        """The `reward_extra_info`: the total, its parts, and counts."""
        found: Mapping[str, float] = self.facts.get("reward_extra_info") or {}
        return found

    @property
    def quality(self) -> float:
        """Raises RolloutsOutOfOrder where the agent loop let an unscored rollout through."""
        value = self.scores.get("quality")
        if value is None or math.isnan(value):
            raise RolloutsOutOfOrder(
                f"rollout {self.key} came without quality; the agent loop has to drop what "
                "could not be judged, by returning []"
            )
        return float(value)


def last_keys(keys: Sequence[str]) -> list[str]:
    """The key of each rollout's last row."""
    return [keys[place] for place in last_rows(keys).values()]


def reason_left_out(rollouts: Sequence[Rollout], tolerance: float | None) -> LeftOut | None:
    """Why the policy cannot learn from these rollouts of one prompt; None when it can.

    A tolerance of None trains on every group that has two rollouts.
    """
    if len(rollouts) < 2:
        return "too_few"
    qualities = [rollout.quality for rollout in rollouts]
    # Judges' verdicts are means of few votes: a hair's breadth is rounding, not a difference.
    if tolerance is not None and max(qualities) - min(qualities) <= tolerance + 1e-9:
        return "no_signal"
    return None
