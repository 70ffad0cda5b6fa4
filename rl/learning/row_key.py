"""The names of training rows in verl's queue: `{uid}_{session}_{index}`.

A uid is one prompt of one step, a session one rollout of it, an index one row of that rollout; the
rows come in the order in which the agent loop gave them, so the highest index is the summarizer's
(upstream: verl/trainer/ppo/v1/agent_loop_tq.py, `_agent_loop_postprocess`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


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
