"""The sampled tokens of a step, packed into one row: what the driver computes on.

A matrix as wide as the longest row is mostly padding, for a planner's row is a fiftieth of a
researcher's; and most tokens of a row are the world's, on which no number here depends. So each
field is reduced to its tokens with mask 1, row after row, handed to verl's own functions as one
row, and spread out again where it is written back. What verl logs of single rows (perplexities,
and all that has `_seq` in its name) is computed row by row; rows without a sampled token, which
upstream counts as rows of probability 1, are in none of it. Upstream pads in the driver at
verl/trainer/ppo/v1/trainer_base.py:1673, 1749 and 1919.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from tensordict import TensorDict
from verl.protocol import DataProto
from verl.trainer.ppo.core_algos import agg_loss
from verl.trainer.ppo.metric_utils import (
    compute_data_metrics,
    compute_throughout_metrics,
    compute_timing_metrics,
)
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_add_to_batch
from verl.utils.debug.metrics import calculate_debug_metrics

DRIVER_BYTES: Final = 40, 65
"""What the driver takes at most of each token of a response and of each sampled one besides, its
fields included: measured with 35 % and with all of them sampled."""
_OF_ROWS: Final = ("_seq", "ppl")
"""Parts of the names under which verl logs what it first reduces over each row."""


class SampledTokens:
    """Which tokens of a step's rows the policy sampled, by the rows' masks (jagged)."""

    def __init__(self, response_mask: torch.Tensor) -> None:
        self._offsets = response_mask.offsets()
        self._places = response_mask.values().bool()
        self.counts = [int(row.sum()) for row in response_mask.unbind()]
        """Sampled tokens of each row."""

    def pick(self, field: torch.Tensor) -> torch.Tensor:
        """A jagged field's values at these tokens, all rows in one."""
        return field.values()[self._places]

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """The inverse: a jagged field with such values, 0 at the world's tokens."""
        whole = torch.zeros(len(self._places), dtype=values.dtype)
        whole[self._places] = values
        return torch.nested.nested_tensor_from_jagged(whole, offsets=self._offsets)

    def rows(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Such values, row by row."""
        return list(values.split(self.counts))

    def repeated(self, of_rows: torch.Tensor) -> torch.Tensor:
        """One value a row as values of its tokens."""
        return of_rows.repeat_interleave(torch.tensor(self.counts))


def row_sums(field: torch.Tensor) -> torch.Tensor:
    """Of a jagged field, shape (rows,)."""
    return torch.stack([row.sum() for row in field.unbind()])


class Correction(NamedTuple):
    """What verl's rollout correction makes of sampled tokens."""

    kept: torch.Tensor
    """1 for tokens that are trained on, 0 for those it rejects."""
    weights: torch.Tensor | None
    """Of each token; None where the setting weighs none."""
    metrics: dict[str, float]


def correct(
    tokens: SampledTokens, engine: torch.Tensor, actor: torch.Tensor, setting: Mapping[str, Any]
) -> Correction:
    """Upstream's correction of the tokens' log-probabilities by `algorithm.rollout_correction`, for
    settings that look at tokens (rl/check/learning_settings.py). Needs one token at least."""
    whole = _corrected(engine, actor, setting)
    pairs = zip(tokens.rows(engine), tokens.rows(actor), strict=True)
    rows = [_corrected(*pair, setting).metrics for pair in pairs if len(pair[0])]
    of_rows = {
        name: _over_rows(name, rows)
        for name in whole.metrics
        if any(part in name for part in _OF_ROWS)
    }
    return whole._replace(metrics=whole.metrics | of_rows)


def _corrected(engine: torch.Tensor, actor: torch.Tensor, setting: Mapping[str, Any]) -> Correction:
    """Of these tokens as one row."""
    fields = {"rollout_log_probs": engine, "old_log_probs": actor,
              "response_mask": torch.ones(len(engine), dtype=torch.int64)}  # fmt: skip
    data, metrics = compute_rollout_correction_and_add_to_batch(_one_row(fields), setting)
    weights = data.batch.get("rollout_is_weights", None)
    return Correction(
        data.batch["response_mask"][0], None if weights is None else weights[0], metrics
    )


def _over_rows(name: str, rows: Sequence[Mapping[str, float]]) -> float:
    """What verl logs under the name, of what it logs of each row alone."""
    if name.endswith("_std"):
        means = torch.tensor([row[f"{name.removesuffix('_std')}_mean"] for row in rows])
        return float(means.std()) if len(rows) > 1 else 0.0
    values = torch.tensor([row[name] for row in rows])
    if name.endswith(("_max", "_max_deviation")):
        return float(values.max())
    return float(values.min() if name.endswith("_min") else values.mean())


def log_prob_metrics(
    tokens: SampledTokens,
    entropy: torch.Tensor,
    actor: torch.Tensor,
    engine: torch.Tensor | None,
    config: Mapping[str, Any],
) -> dict[str, float]:
    """What upstream logs of the actor's pass over the sampled tokens: their entropy, and how the
    two probabilities differ. `config` is the actor's."""
    mask = torch.ones((1, len(actor)), dtype=torch.int64)
    mean = agg_loss(
        loss_mat=entropy[None],
        loss_mask=mask,
        loss_agg_mode=config["loss_agg_mode"],
        loss_scale_factor=config["loss_scale_factor"],
        global_batch_size=sum(count > 0 for count in tokens.counts),
    )
    metrics = {"actor/entropy": float(mean)}
    if engine is not None:
        fields = {"rollout_log_probs": engine, "old_log_probs": actor, "response_mask": mask[0],
                  "responses": mask[0]}  # fmt: skip
        metrics.update(calculate_debug_metrics(_one_row(fields)))
    return metrics


def _one_row(fields: Mapping[str, torch.Tensor]) -> DataProto:
    return DataProto.from_dict({name: value[None] for name, value in fields.items()})


def batch_metrics(
    data: TensorDict, real: Sequence[bool], timing: dict[str, float], gpus: int
) -> dict[str, Any]:
    """What upstream logs of a step's rows and its seconds. `real`: which rows are no padding."""
    chosen = torch.tensor(real) if any(real) else torch.ones(len(real), dtype=torch.bool)
    prompt, response = (data[name].offsets().diff() for name in ("prompts", "responses"))
    scores = row_sums(data["rm_scores"])[chosen, None]
    # The queue gives a tensor or a list of what is no tensor.
    turns = np.array([int(getattr(value, "data", value)) for value in data["num_turns"]])
    turns = turns.astype(np.int32)[chosen.numpy()]
    # What these functions read of a DataProto. Of matrices: their widths, and tokens with mask 1.
    whole = SimpleNamespace(
        batch={"prompt_length": prompt.float(), "response_length": response.float()},
        meta_info={"global_token_num": (prompt + response).tolist()},
    )
    rows = SimpleNamespace(
        batch={
            "token_level_scores": scores,
            "token_level_rewards": scores,
            **{name: data[name].values() for name in ("advantages", "returns", "response_mask")},
            "prompts": torch.empty(0, int(prompt.max())),
            "responses": torch.empty(0, int(response.max())),
            "prompt_length": prompt[chosen].float(),
            "response_length": response[chosen].float(),
        },
        non_tensor_batch={"__num_turns__": turns},
    )
    return {
        **compute_data_metrics(rows, use_critic=False),
        **compute_timing_metrics(whole, timing),
        **compute_throughout_metrics(whole, timing, gpus),
        "training/num_turns/mean": turns.mean(),
        "training/num_turns/max": turns.max(),
        "training/num_turns/min": turns.min(),
    }


def staleness_metrics(tags: Sequence[Mapping[str, Any]], step: int) -> dict[str, float]:
    """How old the weights were that sampled the rows: those of the step before, here."""
    first, last = (
        np.array([tag[name] for tag in tags]) for name in ("min_global_steps", "max_global_steps")
    )
    measured = {"trajectory_spans": last - first + 1, "trajectory_staleness": step - 1 - last,
                "trajectory_staleness_worst": step - 1 - first}  # fmt: skip
    return {
        f"training/off_policy/{name}/{stat}": float(getattr(values, stat)())
        for name, values in measured.items()
        for stat in ("mean", "max", "min")
    }
