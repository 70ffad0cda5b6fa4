"""Start-up rules about where the run happens: device, ranks, platform, folders of several nodes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from rl.launch.problem import Launch, Problem

_CPU_ATTENTION = frozenset(("sdpa", "eager"))


def device_is_there(launch: Launch) -> Iterator[Problem]:
    """A GPU file has its GPUs; a CPU file has the CPU platform."""
    device = launch.get("trainer.device")
    platform = os.environ.get("VERL_PLATFORM")
    if device == "cuda":
        if platform == "cpu":
            yield Problem(
                "trainer.device",
                "cuda, while VERL_PLATFORM=cpu in the environment asks for the CPU platform",
                "unset VERL_PLATFORM, or trainer.device=cpu",
                refused=not launch.dry_run,
            )
        elif not launch.dry_run and not _cluster(launch) and not torch.cuda.is_available():
            yield Problem(
                "trainer.device",
                "cuda, and this machine has no GPU",
                "run it where GPUs are, take cpu_tiny, or look at the plan with --dry-run",
            )
        return
    if device == "cpu" and platform not in {None, "cpu"}:
        yield Problem(
            "trainer.device",
            f"cpu, while VERL_PLATFORM={platform} in the environment asks for another platform",
            "unset VERL_PLATFORM",
        )


def _cluster(launch: Launch) -> bool:
    """Ray places the workers on other machines; this one needs no GPU."""
    return bool(os.environ.get("RAY_ADDRESS") or launch.get("ray_kwargs.ray_init.address"))


def cpu_engine(launch: Launch) -> Iterator[Problem]:
    """What was seen to work without an accelerator, and nothing else."""
    if not launch.on_cpu:
        return
    actor = "actor_rollout_ref.actor.strategy" if launch.kind == "grpo" else "engine.strategy"
    if (strategy := launch.get(actor)) != "fsdp2":
        yield Problem(
            actor, f"{strategy} does not run on CPU: it wants a device index", f"{actor}=fsdp2"
        )
    key = f"{launch.model_key}.override_config.attn_implementation"
    if (attention := launch.get(key, "flash_attention_2")) not in _CPU_ATTENTION:
        yield Problem(key, f"{attention} needs a GPU", f"+{key}=sdpa")
    if launch.kind == "grpo":
        yield from _cpu_rollout(launch)


def _cpu_rollout(launch: Launch) -> Iterator[Problem]:
    extension = "actor_rollout_ref.rollout.engine_kwargs.vllm.worker_extension_cls"
    if launch.get(extension) != (ours := "rl.cpu.vllm_worker.CpuWorkerExtension"):
        yield Problem(
            extension,
            "vLLM packs weights on CPU: their first update raises in a worker, verl waits for ever",
            f"+{extension}={ours}",
        )
    if launch.get("actor_rollout_ref.rollout.enable_sleep_mode", True):
        key = "actor_rollout_ref.rollout.enable_sleep_mode"
        yield Problem(key, "vLLM's CPU build cannot sleep", f"+{key}=false")
    key = "ray_kwargs.ray_init.num_gpus"
    if not launch.get(key) and not os.environ.get("RAY_ADDRESS"):
        yield Problem(
            key,
            "verl places its workers by a logical GPU, and Ray has none",
            f"+{key}={launch.gpus}",
        )


def ranks_divide(launch: Launch) -> Iterator[Problem]:
    """Parallel sizes divide the ranks there are."""
    parallel, padded = launch.sequence_parallel, f"{launch.model_key}.use_remove_padding"
    key = "actor_rollout_ref.actor" if launch.kind == "grpo" else "engine"
    if launch.gpus % parallel:
        yield Problem(
            f"{key}.ulysses_sequence_parallel_size",
            f"{parallel} does not divide the run's {launch.gpus} GPUs",
            "take a divisor of trainer.n_gpus_per_node × trainer.nnodes",
        )
    if parallel > 1 and not launch.get(padded, False):
        yield Problem(padded, "sequence parallelism needs packed rows", f"{padded}=true")
    if launch.kind == "sft":
        ranks, batch = launch.gpus // parallel, int(launch.get("data.train_batch_size", 1))
        if ranks and batch % ranks:
            yield Problem(
                "data.train_batch_size",
                f"{batch} does not divide among {ranks} data-parallel ranks: verl drops the rest",
                f"data.train_batch_size={-(-batch // ranks) * ranks}",
            )
        return
    tensor = int(launch.get("actor_rollout_ref.rollout.tensor_model_parallel_size", 1))
    if launch.gpus % tensor:
        yield Problem(
            "actor_rollout_ref.rollout.tensor_model_parallel_size",
            f"{tensor} does not divide the run's {launch.gpus} GPUs",
            "take a divisor of trainer.n_gpus_per_node × trainer.nnodes",
        )


def nodes_share_folders(launch: Launch) -> Iterator[Problem]:
    """Several nodes write their shards into one folder."""
    folder = Path(str(launch.get("trainer.default_local_dir", "")))
    if int(launch.get("trainer.nnodes", 1)) > 1 and not (launch.dry_run or folder.is_absolute()):
        yield Problem(
            "trainer.default_local_dir",
            f"{folder} is relative: each node would keep its shards in a folder of its own",
            "trainer.default_local_dir=/a/folder/that/all/nodes/share",
        )


RULES = (device_is_there, cpu_engine, ranks_divide, nodes_share_folders)
