"""From a name to a composed configuration: our YAML over verl's own, paths made absolute."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from transformers import AutoConfig, GenerationConfig

from oresearch_graph.errors import ConfigurationError

CONFIGS: Final = Path(__file__).parent.parent / "config"
CHECKOUT: Final = CONFIGS.parent.parent
_NOT_RUNS: Final = frozenset(("agent_loops",))

_PATHS: Final = (
    "data.train_files", "data.val_files", "trainer.default_local_dir", "trainer.resume_from_path",
    "actor_rollout_ref.rollout.agent.agent_loop_config_path", "actor_rollout_ref.model.path",
    "model.path", "actor_rollout_ref.model.hf_config_path", "model.hf_config_path",
    "oresearch.tools.path", "oresearch.judge.cache", "oresearch.traces",
)  # fmt: skip
_MAYBE_HUB: Final = frozenset(("actor_rollout_ref.model.path", "model.path"))


def config_names() -> list[str]:
    """The runs that `rl/config` holds."""
    names = (path.stem for path in CONFIGS.glob("*.yaml"))
    return sorted(name for name in names if name not in _NOT_RUNS and not name.startswith("_"))


def compose_config(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of a run: a name in `rl/config`, or the path of a YAML that builds on one.

    Relative paths count from the working directory, else from the checkout: workers run elsewhere.
    Raises ConfigurationError.
    """
    folder, stem = _place(name)
    search = f"hydra.searchpath=[file://{CONFIGS},file://{_verl_configs()}]"
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(folder), version_base=None):
            config = compose(stem, overrides=[search, *map(_addable, overrides)])
        OmegaConf.resolve(config)
    except OverrideParseException as error:
        raise ConfigurationError(
            f"{error.override} is no key=value: {_one_line(error)}; quote it for the shell"
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(f"{name}: {_one_line(error)}") from error
    _make_paths_absolute(config)
    return config


def _verl_configs() -> Path:
    """verl's own YAML, found without importing verl: the platform is chosen by what is composed."""
    spec = find_spec("verl")
    if spec is None or spec.origin is None:
        raise ConfigurationError("verl is missing: make rl-cpu, or pip install -e . --group rl")
    return Path(spec.origin).parent / "trainer" / "config"


def _addable(override: str) -> str:
    """Our own settings need no `+`: those that a file leaves out have their defaults."""
    return f"++{override}" if override.startswith(("oresearch.", "data.allow_")) else override


def _place(name: str) -> tuple[Path, str]:
    path = Path(name).expanduser()
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise ConfigurationError(f"there is no file {path}")
        return path.resolve().parent, path.stem
    if name not in config_names():
        names = ", ".join(config_names())
        raise ConfigurationError(f"{name} is no configuration; name a YAML file or one of {names}")
    return CONFIGS, name


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])


def _make_paths_absolute(config: DictConfig) -> None:
    for key in _PATHS:
        value = OmegaConf.select(config, key)
        if isinstance(value, str) and value:
            OmegaConf.update(config, key, _absolute(value, hub=key in _MAYBE_HUB))
        elif OmegaConf.is_list(value):
            OmegaConf.update(config, key, [_absolute(str(item)) for item in value])


def _absolute(value: str, *, hub: bool = False) -> str:
    if "://" in value:
        return value
    path = Path(value).expanduser()
    here = path.absolute()
    if here.exists() or path.is_absolute():
        return str(here)
    if (CHECKOUT / path).exists():
        return str(CHECKOUT / path)
    return value if hub else str(here)


def write_long_context(config: DictConfig, model_key: str) -> Path | None:
    """Write the model's own configuration with `long_context` into `hf_config_path`, where actor
    and reference read it; None where positions are not stretched.

    The only way there is: verl 0.9.1 sets attributes on a dictionary when `override_config` holds
    one (verl/utils/model.py, update_model_config). Raises ConfigurationError.
    """
    stretched: dict[str, Any] | None = OmegaConf.to_container(
        OmegaConf.select(config, "long_context") or OmegaConf.create({})
    )  # type: ignore[assignment, unused-ignore]
    folder = OmegaConf.select(config, f"{model_key}.hf_config_path")
    model = OmegaConf.select(config, f"{model_key}.path")
    if not stretched or not folder:
        return None
    try:
        model_config = AutoConfig.from_pretrained(model)
        model_config.update(stretched)
        model_config.save_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{model_key}.path: the configuration of {model} cannot be read or written to {folder}:"
            f" {_one_line(error)}"
        ) from error
    _copy_generation_config(str(model), str(folder))
    return Path(str(folder))


def _copy_generation_config(model: str, folder: str) -> None:
    try:
        GenerationConfig.from_pretrained(model).save_pretrained(folder)
    except OSError:
        return  # many models have none; verl makes one of the model's configuration
