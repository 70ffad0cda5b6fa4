"""Which rows make one optimizer step: whole prompts, as many steps as prompts ask for.

verl cuts a batch into mini-batches by counting rows, so a rollout with five rows makes more steps
than one with a single row, and its rows fall into different steps. Here the prompts of a batch are
dealt out first; each mini-batch is then filled with padding rows to one common size, because a
worker cuts its share of the batch into equal parts (upstream: verl/workers/engine_workers.py,
`train_mini_batch` with `num_mini_batch`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from verl.utils.seqlen_balancing import calculate_workload, get_seqlen_balanced_partitions

from rl.learning.groups import parse_row_key


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
