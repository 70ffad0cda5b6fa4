"""How a rollout asks the engine, by verl's configuration and ours. Loads nothing of verl."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from rl.rollouts.ledger_policy import Sampling
from rl.settings import RLSettings


def sampling_of(config: DictConfig, settings: RLSettings, parameters: dict[str, Any]) -> Sampling:
    """How the engine is asked, by verl's configuration and ours."""
    rollout = config.actor_rollout_ref.rollout
    window = rollout.max_model_len or rollout.prompt_length + rollout.response_length
    return Sampling(
        parameters=parameters,
        window=int(window),
        turn_tokens=settings.turn_tokens,
        report_tokens=settings.report_tokens,
        seconds=settings.seconds.call,
    )
