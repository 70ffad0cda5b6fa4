"""How far the engine that sampled and the actor that is trained disagree on the same tokens.

Both hold the same weights, so what differs is arithmetic: kernels, precision, or a wrong context.
verl logs the difference of probabilities; a KL divergence and the largest difference of
log-probabilities show what an importance ratio is made of.
"""

from __future__ import annotations

import torch


def mismatch(
    engine: torch.Tensor, actor: torch.Tensor, response_mask: torch.Tensor
) -> dict[str, float]:
    """KL(engine ‖ actor) per sampled token and the largest |Δ|, over tokens with mask 1.

    Log-probabilities of shape (rows, response length). The k3 estimate: never negative, unbiased
    for tokens sampled by the engine. Empty where nothing was sampled.
    """
    sampled = response_mask.bool()
    if not bool(sampled.any()):
        return {}
    gap = (actor.double() - engine.double())[sampled]
    return {
        "oresearch/mismatch/kl": float((gap.exp() - 1.0 - gap).mean()),
        "oresearch/mismatch/max_log_prob_difference": float(gap.abs().max()),
    }
