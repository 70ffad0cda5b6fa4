"""Groups: the rows of one rollout, the rollouts of one prompt, and which groups a policy can learn
from.

A row's name in verl's queue is `{uid}_{session}_{index}`: a uid is one prompt of one step, a
session one rollout of it, an index one row of that rollout. The rows come in the order in which the
agent loop gave them, so the highest index is the summarizer's (upstream:
verl/trainer/ppo/v1/agent_loop_tq.py, `_agent_loop_postprocess`).

A group is left out when fewer than two of its rollouts are there to compare, or when their
`quality` does not differ: the shaped total may still differ by calls or form, and training on that
alone teaches form without content (see `GroupSettings`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from oresearch_graph.errors import OresearchError

LeftOut = Literal["too_few", "no_signal"]


class RowKey(NamedTuple):
    """One row's name, taken apart."""

    uid: str
    session: str
    row: int

    @property
    def rollout(self) -> str:
        """The name of the rollout it belongs to."""
        return f"{self.uid}_{self.session}"


def parse_row_key(key: str) -> RowKey:
    """The parts of a row's name. Raises ValueError for any other text."""
    parts = key.rsplit("_", 2)
    if len(parts) != 3 or not parts[2].isdigit():
        raise ValueError(f"a row's key is uid_session_index, not {key!r}")
    return RowKey(parts[0], parts[1], int(parts[2]))


def last_rows(keys: Iterable[str]) -> dict[str, int]:
    """Place of each rollout's last row in the keys, by rollout, in order of first appearance."""
    last: dict[str, tuple[int, int]] = {}
    for place, key in enumerate(map(parse_row_key, keys)):
        if key.rollout not in last or last[key.rollout][0] < key.row:
            last[key.rollout] = (key.row, place)
    return {rollout: place for rollout, (_, place) in last.items()}


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
