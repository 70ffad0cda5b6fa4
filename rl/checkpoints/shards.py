"""A checkpoint of verl's FSDP engine: where it is, and whether it was written to its end."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

from oresearch_graph.errors import ConfigurationError

_LATEST: Final = "latest_checkpointed_iteration.txt"


class Checkpoint(NamedTuple):
    """A whole checkpoint."""

    model: Path
    """The folder with the shards: `global_step_N/actor` of GRPO, `global_step_N` of SFT."""
    step: str
    ranks: int


def find_checkpoint(place: Path) -> Checkpoint:
    """The checkpoint in a run's folder (its latest), in `global_step_N` or in its `actor`.

    Raises ConfigurationError for a folder that is none, or was not written to its end.
    """
    folder = _latest(place) if (place / _LATEST).is_file() else place
    model = folder / "actor" if (folder / "actor").is_dir() else folder
    ranks = _ranks(model)
    step = model.parent if model.name == "actor" else model
    for needed in (*_shards(model, ranks), model / "huggingface" / "config.json"):
        _require(model, needed)
    if not (step / "data.pt").is_file() and not (step / "data_0.pt").is_file():
        raise _half(model, "data.pt, which is written last, is missing")
    return Checkpoint(model, step.name, ranks)


def _latest(run: Path) -> Path:
    return run / f"global_step_{(run / _LATEST).read_text(encoding='utf-8').strip()}"


def _ranks(model: Path) -> int:
    """How many shards there are, as the engine's own file says."""
    file = model / "fsdp_config.json"
    if not model.is_dir():
        raise ConfigurationError(f"there is no checkpoint {model}; name a global_step_N folder")
    if not file.is_file():
        raise (
            _half(model, "fsdp_config.json is missing")
            if list(model.glob("*.pt"))
            else (
                ConfigurationError(
                    f"{model} is no checkpoint of verl's FSDP engine; name a global_step_N folder"
                )
            )
        )
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["world_size"])
    except (ValueError, KeyError, TypeError) as error:
        raise _half(model, "fsdp_config.json cannot be read") from error


def _shards(model: Path, ranks: int) -> list[Path]:
    return [model / f"model_world_size_{ranks}_rank_{rank}.pt" for rank in range(ranks)]


def _require(model: Path, file: Path) -> None:
    if not file.is_file():
        raise _half(model, f"{file.relative_to(model)} is missing")
    # torch.save writes a zip archive whose directory is at the end.
    if file.suffix == ".pt" and not zipfile.is_zipfile(file):
        raise _half(model, f"{file.name} is cut off")


def _half(model: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{model} was not written to its end: {why}; take an earlier global_step_N"
    )
