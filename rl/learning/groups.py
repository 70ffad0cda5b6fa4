"""Groups: the rows of one rollout, the rollouts of one prompt; which groups a policy can learn
from, and which make one optimizer step.

A row's name in verl's queue is `{uid}_{session}_{index}`: a uid is one prompt of one step, a
session one rollout of it, an index one row of that rollout. The rows come in the order in which the
agent loop gave them, so the highest index is the summarizer's (upstream:
verl/trainer/ppo/v1/agent_loop_tq.py, `_agent_loop_postprocess`).

A group is left out when fewer than two of its rollouts are there to compare, or when their
`quality` does not differ: the shaped total may still differ by calls or form, and training on that
alone teaches form without content (see `GroupSettings`).

verl cuts a batch into mini-batches by counting rows, so a rollout with five rows makes more steps
than one with a single row, and its rows fall into different steps. Here the prompts of a batch are
dealt out first; each mini-batch is then filled with padding rows to one common size, because a
worker cuts its share of the batch into equal parts (upstream: verl/workers/engine_workers.py,
`train_mini_batch` with `num_mini_batch`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from verl.utils.seqlen_balancing import calculate_workload, get_seqlen_balanced_partitions

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


class RolloutsUnusable(OresearchError):
    """The rollouts of a step cannot be trained on: infrastructure failed, not the policy."""


@dataclass(frozen=True)
class QueuedRollout:
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
        scores: Mapping[str, float] = self.facts.get("reward_extra_info") or {}
        return scores

    @property
    def quality(self) -> float:
        """Raises RolloutsUnusable where the agent loop let an unscored rollout through."""
        value = self.scores.get("quality")
        if value is None or math.isnan(value):
            raise RolloutsUnusable(
                f"rollout {self.key} came without quality; the agent loop has to drop what "
                "could not be judged, by returning []"
            )
        return float(value)


def last_keys(keys: Sequence[str]) -> list[str]:
    """The key of each rollout's last row."""
    return [keys[place] for place in last_rows(keys).values()]


def reason_left_out(rollouts: Sequence[QueuedRollout], tolerance: float | None) -> LeftOut | None:
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


class MiniBatches(NamedTuple):
    """How a batch is cut."""

    of_prompt: dict[str, int]
    """The mini-batch of each prompt, by uid."""
    steps: int
    """Mini-batches: optimizer steps of one pass over the batch."""
    ranks: int
    """Data-parallel workers."""
    rows_per_rank: int
    """Rows of one mini-batch on one worker, padding included."""

    @property
    def rows(self) -> int:
        """Rows of the whole batch, padding included."""
        return self.steps * self.ranks * self.rows_per_rank

    def without_muted(self, keys: Sequence[str], teaching: Container[str]) -> list[str]:
        """The rows, in the order that `arrange` gave them, of those optimizer steps that have one
        among `teaching`; a worker cuts what it gets of them into so many fewer steps."""
        rows, parts = self.rows_per_rank, self.ranks * self.steps
        by_part = [list(keys[part * rows : (part + 1) * rows]) for part in range(parts)]
        taught = {
            part % self.steps
            for part, members in enumerate(by_part)
            if any(key in teaching for key in members)
        }
        return [
            key
            for part, members in enumerate(by_part)
            if part % self.steps in taught
            for key in members
        ]


def plan_mini_batches(
    keys: Sequence[str], prompts_per_step: int, ranks: int, multiple: int = 1
) -> MiniBatches:
    """Deal the prompts of these rows out to mini-batches with about as many rows each.

    `multiple`: rows of one worker's mini-batch are a multiple of it (the micro-batch's size).
    """
    sizes = Counter(parse_row_key(key).uid for key in keys)
    steps = math.ceil(len(sizes) / prompts_per_step)
    most = math.ceil(len(sizes) / steps)
    rows, prompts, of_prompt = [0] * steps, [0] * steps, {}
    for uid, size in sizes.most_common():
        open_ones = [place for place in range(steps) if prompts[place] < most]
        place = min(open_ones, key=lambda place: rows[place])
        rows[place] += size
        prompts[place] += 1
        of_prompt[uid] = place
    rows_per_rank = math.ceil(max(rows) / (ranks * multiple)) * multiple
    return MiniBatches(of_prompt, steps, ranks, rows_per_rank)


def arrange(plan: MiniBatches, keys: Sequence[str], lengths: Sequence[int]) -> list[list[int]]:
    """Places of the rows for each worker, its mini-batches one after the other.

    `keys` and `lengths` (tokens) are of the padded batch; rows of prompts that the plan does not
    know are padding and fill what is missing. Workers get about the same work in each step.
    """
    if len(keys) != plan.rows:
        raise ValueError(f"the plan is for {plan.rows} rows, the batch has {len(keys)}")
    members: list[list[int]] = [[] for _ in range(plan.steps)]
    padding: list[int] = []
    for place, key in enumerate(keys):
        step = plan.of_prompt.get(parse_row_key(key).uid)
        (padding if step is None else members[step]).append(place)
    for part in members:
        while len(part) < plan.ranks * plan.rows_per_rank:
            part.append(padding.pop())
    shares: list[list[int]] = [[] for _ in range(plan.ranks)]
    for part in members:
        for rank, share in enumerate(_balanced(part, lengths, plan.ranks)):
            shares[rank] += share
    return shares


def _balanced(part: list[int], lengths: Sequence[int], ranks: int) -> list[list[int]]:
    if ranks == 1:
        return [part]
    work = calculate_workload(torch.tensor([lengths[place] for place in part]))
    shares = get_seqlen_balanced_partitions(work, k_partitions=ranks, equal_size=True)
    return [[part[place] for place in share] for share in shares]
