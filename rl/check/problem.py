"""What the start-up check works on and what it says: a launch, and a problem of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from omegaconf import DictConfig, OmegaConf

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from rl.check.model_shape import ModelShape, model_shape
from rl.learning.mismatch import compute_precision
from rl.settings import RLSettings

Kind = Literal["grpo", "sft"]
PLACES: Final[dict[Kind, tuple[str, str]]] = {
    "grpo": ("actor_rollout_ref.model", "actor_rollout_ref.actor.fsdp_config"),
    "sft": ("model", "engine"),
}
"""Where the trained model and its FSDP settings stand."""


class Problem(NamedTuple):
    """One thing that would train wrongly, or (`refused` false) that should be known."""

    setting: str
    """The line of the YAML, as a key that can be given on the command line."""
    what: str
    fix: str
    refused: bool = True


@dataclass(frozen=True)
class Launch:
    """A composed configuration about to be started."""

    config: DictConfig
    kind: Kind
    settings: RLSettings
    dry_run: bool = False

    @cached_property
    def research(self) -> ResearchSettings:
        """The graph's settings. Raises ConfigurationError."""
        return self.settings.research_settings

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever YAML holds
        """The resolved value at a dotted key; `default` where it is missing or null."""
        value = OmegaConf.select(self.config, key, default=default)
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=True)
        return default if value is None else value

    def whole(self, key: str, default: int = 0, least: int | None = None) -> int:
        """The whole number at a key. Raises ConfigurationError."""
        value = self.get(key, default)
        if isinstance(value, bool) or not str(value).removeprefix("-").isdecimal():
            raise ConfigurationError(f"{key}: {value!r} is no whole number")
        if least is not None and int(value) < least:
            raise ConfigurationError(f"{key}: {value!r} is less than {least}")
        return int(value)

    @property
    def model_key(self) -> str:
        return PLACES[self.kind][0]

    @property
    def engine_key(self) -> str:
        return PLACES[self.kind][1]

    @property
    def model_folder(self) -> Path | None:
        """The model's folder; None for the name of a hub's model."""
        return existing_folder(self.get(f"{self.model_key}.path"))

    @property
    def on_cpu(self) -> bool:
        return str(self.get("trainer.device")) == "cpu"

    @property
    def on_cluster(self) -> bool:
        """Ray places the workers on other machines than this one."""
        return bool(os.environ.get("RAY_ADDRESS") or self.get("ray_kwargs.ray_init.address"))

    @property
    def gpus(self) -> int:
        """Ranks of the whole run; logical ones on CPU."""
        return self.whole("trainer.n_gpus_per_node", 1, 1) * self.whole("trainer.nnodes", 1, 1)

    @property
    def sequence_parallel(self) -> int:
        """Ranks that share one row; verl reads the older of the two keys where it is above 1."""
        size = self.whole(f"{self.engine_key}.ulysses_sequence_parallel_size", 1, 1)
        older = self.whole("actor_rollout_ref.actor.ulysses_sequence_parallel_size", 1, 1)
        return max(size, older) if self.kind == "grpo" else size

    @property
    def replica(self) -> int:
        """GPUs of one engine (verl/workers/engine_workers.py, infer_world_size)."""
        kinds = ("tensor_model", "data", "pipeline_model")
        keys = (f"actor_rollout_ref.rollout.{kind}_parallel_size" for kind in kinds)
        return math.prod(self.whole(key, 1, 1) for key in keys)

    @property
    def row(self) -> int:
        """Tokens of the longest row."""
        if self.kind == "sft":
            return self.whole("data.max_length")
        return self.whole("data.max_prompt_length") + self.whole("data.max_response_length")

    @property
    def precision(self) -> str:
        """What the trained model computes in: `fp32`, `bf16` or `fp16`."""
        return compute_precision(self.get(self.engine_key, {}))

    @property
    def shape(self) -> ModelShape | None:
        """Of the trained model; None where it is neither a folder nor known by name."""
        return model_shape(self.get(f"{self.model_key}.path"))

    def files(self, key: str) -> list[str]:
        """The paths at a key that holds one or a list."""
        value = self.get(key, [])
        return [value] if isinstance(value, str) else [str(path) for path in value]


Rule = Callable[[Launch], Iterator[Problem]]


def existing_folder(value: object) -> Path | None:
    """The folder that a setting names, if it is there."""
    if not value:
        return None
    folder = Path(str(value)).expanduser()
    return folder if folder.is_dir() else None
