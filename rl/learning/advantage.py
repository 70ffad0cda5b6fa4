"""One advantage per rollout, whatever number of rows it was split into.

A rollout's reward is compared with those of the other rollouts of its prompt and the result is
given to every token the policy sampled in any of its rows (GRPO, arXiv 2402.03300; without the
division by the standard deviation: Dr. GRPO, arXiv 2503.20783). Registered with verl as
`rollout_grpo`. With loss_agg_mode token-mean the gradient does not change when a rollout's rows
are split; with seq-mean-token-mean it does, because each row counts once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import torch
from verl.trainer.ppo.core_algos import register_adv_est

from rl.learning.groups import last_rows, parse_row_key

ESTIMATOR: Final = "rollout_grpo"
"""The value of `algorithm.adv_estimator`."""

RolloutWeight = Literal["tokens", "equal"]


def rollout_advantages(
    rewards: Mapping[str, float], *, by_std: bool = True, epsilon: float = 1e-6
) -> dict[str, float | None]:
    """Advantage per rollout (`{uid}_{session}`) among the rollouts of its prompt.

    None where the prompt has no second rollout: there is nothing to compare with. The standard
    deviation is the sample's (n − 1), as in verl.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for rollout in rewards:
        groups[rollout.rsplit("_", 1)[0]].append(rollout)
    advantages: dict[str, float | None] = {}
    for members in groups.values():
        if len(members) < 2:
            advantages[members[0]] = None
            continue
        scores = torch.tensor([rewards[rollout] for rollout in members], dtype=torch.float64)
        gaps = scores - scores.mean()
        values = gaps / (scores.std() + epsilon) if by_std else gaps
        advantages.update(zip(members, values.tolist(), strict=True))
    return advantages


def row_weights(sampled: Sequence[int], keys: Sequence[str]) -> torch.Tensor:
    """One factor per row, shape (rows,), that makes all rollouts weigh the same under token-mean:
    N_tokens / (N_rollouts · tokens of the rollout). 1 for rows of a rollout without tokens.
    `sampled`: tokens of each row that are trained on."""
    rollouts = [parse_row_key(key).rollout for key in keys]
    tokens: Counter[str] = Counter()
    for rollout, count in zip(rollouts, sampled, strict=True):
        tokens[rollout] += count
    counts = [count for count in tokens.values() if count]
    mean = sum(counts) / max(len(counts), 1)
    factors = [mean / tokens[rollout] if tokens[rollout] else 1.0 for rollout in rollouts]
    return torch.tensor(factors, dtype=torch.float32)


def row_advantages(
    scores: torch.Tensor,
    sampled: Sequence[int],
    index: Sequence[str],
    config: Mapping[str, Any] | None = None,
    *,
    epsilon: float = 1e-6,
    rollout_weight: RolloutWeight = "tokens",
) -> torch.Tensor:
    """The advantage of each row's tokens, shape (rows,).

    `scores`: each row's reward, shape (rows,); a rollout's is that of its last row. `sampled`:
    tokens of each row that are trained on. `index` holds the rows' keys, not the prompts' ids. Rows
    of a prompt with a single rollout get 0, never their reward; the replay buffer leaves such
    prompts out before.
    """
    keys = [str(key) for key in index]
    if len(keys) != len(scores):
        raise ValueError(f"{len(keys)} row keys were given for {len(scores)} rows")
    rewards = {rollout: float(scores[place]) for rollout, place in last_rows(keys).items()}
    by_std = bool(config.get("norm_adv_by_std_in_grpo", True)) if config is not None else True
    by_rollout = rollout_advantages(rewards, by_std=by_std, epsilon=epsilon)
    values = [by_rollout[parse_row_key(key).rollout] or 0.0 for key in keys]
    rows = torch.tensor(values, dtype=torch.float32)
    return rows * row_weights(sampled, keys) if rollout_weight == "equal" else rows


@register_adv_est(ESTIMATOR)  # type: ignore[untyped-decorator, unused-ignore]
def rollout_grpo(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    index: Sequence[str],
    config: Mapping[str, Any] | None = None,
    epsilon: float = 1e-6,
    rollout_weight: RolloutWeight = "tokens",
    **_: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`row_advantages` as verl's estimators are called: of matrices (rows, response length), and as
    advantages and returns (the same tensor), 0 where the mask is."""
    rows = row_advantages(
        token_level_rewards.sum(dim=-1),
        response_mask.sum(dim=-1).int().tolist(),
        index,
        config,
        epsilon=epsilon,
        rollout_weight=rollout_weight,
    )
    advantages = rows.to(response_mask.device).unsqueeze(-1) * response_mask
    return advantages, advantages
