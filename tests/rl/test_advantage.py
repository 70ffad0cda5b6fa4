"""One advantage per rollout: values by hand, and a gradient that does not depend on the split."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from verl.trainer.ppo.core_algos import (
    agg_loss,
    compute_grpo_outcome_advantage,
    get_adv_estimator_fn,
    get_policy_loss_fn,
)
from verl.workers.config import ActorConfig

from rl.learning.advantage import ESTIMATOR, rollout_advantages, rollout_grpo, row_weights
from rl.learning.groups import parse_row_key

# Of each rollout: its reward and its tokens, a token being a place in the toy model's logits.
Rollouts = dict[str, tuple[float, list[int]]]


def test_advantages_are_the_ones_computed_by_hand():
    advantages = rollout_advantages({"a_0": 1.0, "a_1": 0.0, "b_0": 0.5, "b_1": 0.5, "b_2": 0.2})
    # a: mean 0.5, standard deviation (n − 1) √0.5. b: mean 0.4, deviation √0.03.
    assert advantages["a_0"] == pytest.approx(0.5 / math.sqrt(0.5), abs=1e-5)
    assert advantages["a_1"] == pytest.approx(-0.5 / math.sqrt(0.5), abs=1e-5)
    assert advantages["b_2"] == pytest.approx(-0.2 / math.sqrt(0.03), abs=1e-4)


def test_without_the_deviation_it_is_the_gap_to_the_mean():
    advantages = rollout_advantages({"a_0": 1.0, "a_1": 0.25}, by_std=False)
    assert advantages == {"a_0": 0.375, "a_1": -0.375}


def test_a_single_rollout_has_no_advantage_and_never_its_reward():
    assert rollout_advantages({"a_0": 0.9}) == {"a_0": None}
    tokens, _ = estimate(["a_0_0"], [[0.9]], [[1]])
    assert tokens.tolist() == [[0.0]]


def test_the_estimator_is_found_in_verls_registry():
    assert get_adv_estimator_fn(ESTIMATOR) is rollout_grpo


def test_every_sampled_token_of_every_row_gets_the_rollouts_advantage():
    keys = ["a_0_0", "a_0_1", "a_1_0", "a_1_1"]
    mask = [[1, 0, 1], [1, 1, 0], [0, 1, 0], [1, 0, 0]]
    tokens, returns = estimate(keys, [[0.0, 0.0, 1.0]] * 2 + [[0.0, 0.0, 0.0]] * 2, mask)
    up = 0.5 / math.sqrt(0.5)
    want = [[up, 0, up], [up, up, 0], [0, -up, 0], [-up, 0, 0]]
    assert tokens.tolist() == [pytest.approx(row, abs=1e-5) for row in want]
    assert returns is tokens


def test_the_reward_is_the_last_rows_even_where_its_mask_is_zero():
    keys = ["a_0_1", "a_0_0", "a_1_0"]
    tokens, _ = estimate(keys, [[1.0], [7.0], [0.0]], [[0], [1], [1]])
    assert tokens[1].item() == pytest.approx(0.5 / math.sqrt(0.5), abs=1e-5)


def test_rollouts_of_one_row_get_what_verls_grpo_gives_them():
    rewards = torch.tensor([[0.3], [0.8], [0.1], [0.9], [0.9]])
    mask, uids = torch.ones(5, 1), ["a", "a", "a", "b", "b"]
    ours, _ = rollout_grpo(rewards, mask, ["a_0_0", "a_1_0", "a_2_0", "b_0_0", "b_1_0"])
    verls, _ = compute_grpo_outcome_advantage(rewards.clone(), mask, uids)
    assert torch.allclose(ours, verls, atol=1e-5)


def test_the_deviation_is_left_out_where_the_configuration_says_so():
    tokens, _ = rollout_grpo(
        torch.tensor([[1.0], [0.0]]),
        torch.ones(2, 1),
        ["a_0_0", "a_1_0"],
        config={"norm_adv_by_std_in_grpo": False},
    )
    assert tokens.tolist() == [[0.5], [-0.5]]


def test_keys_and_rows_have_to_pair():
    with pytest.raises(ValueError, match="1 row keys were given for 2 rows"):
        rollout_grpo(torch.zeros(2, 1), torch.ones(2, 1), ["a_0_0"])
    with pytest.raises(ValueError, match="uid_session_index"):
        parse_row_key("a_0")


def test_equal_weights_are_the_ones_computed_by_hand():
    weights = row_weights([3, 1, 2, 0], ["a_0_0", "a_0_1", "a_1_0", "b_0_0"])
    # Six tokens in two rollouts that have any: three each; the rollouts hold four and two.
    assert weights.tolist() == [0.75, 0.75, 1.5, 1.0]


@st.composite
def splits(draw: st.DrawFn) -> tuple[Rollouts, dict[str, list[int]]]:
    """Rollouts of two prompts, and where each is cut into rows."""
    rollouts: Rollouts = {}
    cuts: dict[str, list[int]] = {}
    for uid in ("a", "b"):
        for session in range(draw(st.integers(2, 3))):
            tokens = draw(st.lists(st.integers(0, 5), min_size=1, max_size=8))
            rollouts[f"{uid}_{session}"] = (draw(st.sampled_from([0.0, 0.2, 0.6, 1.0])), tokens)
            inner = st.integers(1, max(len(tokens) - 1, 1))
            cuts[f"{uid}_{session}"] = sorted(draw(st.sets(inner, max_size=3)))
    return rollouts, cuts


@given(splits(), st.sampled_from(["tokens", "equal"]), st.randoms())
def test_the_gradient_does_not_change_when_rollouts_are_split_permuted_or_padded(
    drawn: Any, weight: Any, random: Any
):
    rollouts, cuts = drawn
    whole = rows_of(rollouts, {})
    split = rows_of(rollouts, cuts)
    random.shuffle(split)
    split.insert(0, ("pad_0_0", 0.0, []))
    for mode in ("token-mean", "token-sum"):
        before = gradient(whole, mode, weight)
        assert torch.allclose(before, gradient(split, mode, weight), atol=1e-6)


def test_the_gradient_of_a_mean_over_rows_does_change_when_a_rollout_is_split():
    rollouts: Rollouts = {"a_0": (1.0, [0, 1, 2, 3]), "a_1": (0.0, [4, 5])}
    whole, split = rows_of(rollouts, {}), rows_of(rollouts, {"a_0": [1]})
    before = gradient(whole, "seq-mean-token-mean", "tokens")
    assert not torch.allclose(before, gradient(split, "seq-mean-token-mean", "tokens"), atol=1e-3)


def test_equal_weights_give_a_long_rollout_no_more_say_than_a_short_one():
    rollouts: Rollouts = {"a_0": (1.0, [0] * 8), "a_1": (0.0, [1] * 2)}
    equal = gradient(rows_of(rollouts, {}), "token-mean", "equal")
    by_tokens = gradient(rows_of(rollouts, {}), "token-mean", "tokens")
    # Logit 0 is pushed by the long rollout, logit 1 by the short one.
    assert equal[0].item() == pytest.approx(-equal[1].item(), abs=1e-6)
    assert abs(by_tokens[0].item()) > 1.5 * abs(by_tokens[1].item())


def rows_of(rollouts: Rollouts, cuts: dict[str, list[int]]) -> list[tuple[str, float, list[int]]]:
    """Rows as key, reward and tokens, each rollout cut at the given places."""
    rows = []
    for rollout, (reward, tokens) in rollouts.items():
        ends = [0, *(cut for cut in cuts.get(rollout, []) if cut < len(tokens)), len(tokens)]
        parts = [tokens[a:b] for a, b in pairwise(ends)]
        rows += [(f"{rollout}_{place}", reward, part) for place, part in enumerate(parts)]
    return rows


def gradient(rows: list[tuple[str, float, list[int]]], mode: str, weight: Any) -> torch.Tensor:
    """Of verl's own PPO loss with respect to six logits, one toy distribution for every token."""
    width = max(len(tokens) for _, _, tokens in rows)
    ids = torch.tensor([tokens + [0] * (width - len(tokens)) for _, _, tokens in rows])
    mask = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for _, _, t in rows])
    rewards = torch.zeros(mask.shape)
    rewards[:, -1] = torch.tensor([reward for _, reward, _ in rows])
    keys = [key for key, _, _ in rows]
    advantages, _ = rollout_grpo(rewards, mask, keys, rollout_weight=weight)
    logits = torch.linspace(-0.2, 0.3, 6).requires_grad_()
    log_prob = torch.log_softmax(logits, dim=-1)[ids]
    loss, _ = get_policy_loss_fn("vanilla")(
        old_log_prob=log_prob.detach() - 0.05,
        log_prob=log_prob,
        advantages=advantages,
        response_mask=mask,
        loss_agg_mode=mode,
        config=ActorConfig(strategy="fsdp", rollout_n=1, use_dynamic_bsz=True),
    )
    loss.backward()
    assert logits.grad is not None
    return logits.grad


def estimate(keys: list[str], rewards: list[list[float]], mask: list[list[int]]) -> Any:
    return rollout_grpo(torch.tensor(rewards), torch.tensor(mask), keys)


def test_padding_rows_add_nothing_to_a_mean_over_tokens():
    loss = torch.tensor([[1.0, 3.0], [9.0, 9.0]])
    mask = torch.tensor([[1, 1], [0, 0]])
    assert agg_loss(loss, mask, "token-mean").item() == 2.0
