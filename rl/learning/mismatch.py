"""When engine and actor differ too much to be one model: the first step of a start is not taken.

Both hold the same weights, so what differs is arithmetic, and little. A wrong context, attention
over a slice of the row or other positions differ by a hundred times as much, raise nothing, and
train on ratios of two models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from oresearch_graph.errors import OresearchError

if TYPE_CHECKING:
    from omegaconf import DictConfig

BOUNDS: Final = {"fp32": 0.01, "bf16": 0.05, "fp16": 0.05}
"""Mean |Δ log p| of a sampled token, by what the actor computes in."""
_ROUNDING: Final = 1e-6
_NAMES: Final = {"float32": "fp32", "32": "fp32", "bfloat16": "bf16", "float16": "fp16",
                 "half": "fp16", "16": "fp16"}  # fmt: skip


class EngineDisagrees(OresearchError):
    """Engine and actor give the same tokens probabilities too different to be of one model."""


def compute_precision(engine: Mapping[str, Any]) -> str:
    """What a trained model computes in, of its FSDP section: `fp32`, `bf16` or `fp16`.

    verl reads `mixed_precision` alone, and `dtype` nowhere (workers/engine/fsdp/
    transformer_impl.py, _build_fsdp_module).
    """
    mixed = engine.get("mixed_precision") or {}
    name = str(mixed.get("param_dtype", "bf16")).removeprefix("torch.")
    return _NAMES.get(name, name)


def mismatch_bound(config: DictConfig, bound: float | None) -> float:
    """The bound that holds: `oresearch.mismatch_bound`, or the one of the actor's precision."""
    if bound is not None:
        return bound
    return BOUNDS.get(compute_precision(config.actor_rollout_ref.actor.fsdp_config), BOUNDS["bf16"])


def require_agreement(difference: float, bound: float) -> None:
    """Raises EngineDisagrees where the mean |Δ log p| of a step is above the bound."""
    if difference - bound <= _ROUNDING:
        return
    raise EngineDisagrees(
        f"engine and actor differ by {difference:.3g} in a sampled token's log-probability on "
        f"average, more than oresearch.mismatch_bound = {bound:g}: they are not one model, and "
        "nothing was trained. Compare attention, ulysses_sequence_parallel_size, precision, "
        "positions (long_context) and temperature of both, and whether the engine got the weights; "
        "raise the bound only for a difference that is meant"
    )
