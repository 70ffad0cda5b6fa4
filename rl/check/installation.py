"""The start-up rule that what the run will import is installed: verl imports much of it in its
workers, minutes later, and some of it only for the attention, the logger or the optimizer chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from rl.check.problem import Launch, Problem

_ALL: Final = "pip install -e . --group rl"
_KERNELS: Final = "pip install kernels, which fetches a compiled one at the start"
_FLASH: Final = {
    "flash_attention_2": (("flash_attn", "kernels"),
        f"pip install flash-attn==2.8.3 --no-build-isolation, or {_KERNELS}"),
    "flash_attention_3": (("flash_attn_interface", "kernels"), _KERNELS),
}  # fmt: skip
"""Modules one of which an attention needs, and what installs one. transformers takes `kernels`
where the first is not there (modeling_utils.py, _check_and_adjust_attn_implementation)."""
_LOGGERS: Final = frozenset((
    "clearml", "mlflow", "swanlab", "tensorboard", "trackio", "wandb",
))  # fmt: skip
"""Of `trainer.logger`, those that are a module of that name."""


def modules_are_there(launch: Launch) -> Iterator[Problem]:
    """Every module that this configuration has its processes import."""
    if launch.kind == "grpo":
        for module in ("ray", "transfer_queue", "vllm"):
            yield from _missing(launch, "actor_rollout_ref.rollout.name", (module,), _ALL)
    yield from _attention(launch)
    for logger in launch.files("trainer.logger"):
        if logger in _LOGGERS:
            yield from _missing(launch, "trainer.logger", (logger,), f"pip install {logger}")
    if launch.get(f"{launch.model_key}.use_liger", False):
        key, line = f"{launch.model_key}.use_liger", "pip install 'liger-kernel>=0.8.2'"
        yield from _missing(launch, key, ("liger_kernel",), line)
    if launch.whole(f"{launch.model_key}.lora_rank"):
        yield from _missing(launch, f"{launch.model_key}.lora_rank", ("peft",), _ALL)
    optimizer = "actor_rollout_ref.actor.optim" if launch.kind == "grpo" else "optim"
    home = str(launch.get(f"{optimizer}.optimizer_impl", "torch.optim")).partition(".")[0]
    yield from _missing(launch, f"{optimizer}.optimizer_impl", (home,), f"pip install {home}")


def _attention(launch: Launch) -> Iterator[Problem]:
    key = f"{launch.model_key}.override_config.attn_implementation"
    attention = str(launch.get(key, "flash_attention_2"))
    if attention in _FLASH and not launch.on_cpu:
        modules, line = _FLASH[attention]
        yield from _missing(launch, key, modules, line, of=f" for {attention}")


def _missing(
    launch: Launch, key: str, modules: tuple[str, ...], line: str, of: str = ""
) -> Iterator[Problem]:
    """A problem where none of the modules is there; told and not refused where this machine only
    plans, or where workers run on others."""
    if any(find_spec(module) for module in modules):
        return
    yield Problem(
        key,
        f"there is no module {' or '.join(modules)}{of}: the run would end in its workers",
        line,
        refused=not (launch.dry_run or launch.on_cluster),
    )
