"""What the start-up check works on and what it says: a launch, and a problem of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from omegaconf import DictConfig, OmegaConf

from oresearch_graph.settings import ResearchSettings
from rl.settings import RLSettings

Kind = Literal["grpo", "sft"]


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

    @property
    def model_key(self) -> str:
        return "actor_rollout_ref.model" if self.kind == "grpo" else "model"

    @property
    def engine_key(self) -> str:
        """Where the trained model's FSDP settings stand."""
        return "actor_rollout_ref.actor.fsdp_config" if self.kind == "grpo" else "engine"

    @property
    def model_folder(self) -> Path | None:
        """The model's folder; None for the name of a hub's model."""
        return existing_folder(self.get(f"{self.model_key}.path"))

    @property
    def on_cpu(self) -> bool:
        return str(self.get("trainer.device")) == "cpu"

    @property
    def gpus(self) -> int:
        """Ranks of the whole run; logical ones on CPU."""
        return int(self.get("trainer.n_gpus_per_node", 1)) * int(self.get("trainer.nnodes", 1))

    @property
    def sequence_parallel(self) -> int:
        key = "actor_rollout_ref.actor" if self.kind == "grpo" else "engine"
        return int(self.get(f"{key}.ulysses_sequence_parallel_size", 1))

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
