"""Start-up rules about what is outside the configuration: the machine (device, ranks, platform,
folders of several nodes), the judge and the documents."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import torch

from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.keys import Address, environment_key, is_real, require_privacy
from oresearch_graph.redaction import public_name
from rl.check.problem import Launch, Problem
from rl.rows.truths import truth_sizes
from rl.settings import RewardJudgeSettings
from rl.tools.documents import check_documents

_CPU_ATTENTION = frozenset(("sdpa", "eager"))
_SECONDS: Final = 5.0
"""How long the judge's server may take to accept a connection."""


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
        elif not launch.dry_run and not launch.on_cluster and not torch.cuda.is_available():
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
        ranks, batch = launch.gpus // parallel, launch.whole("data.train_batch_size", 1)
        if ranks and batch % ranks:
            yield Problem(
                "data.train_batch_size",
                f"{batch} does not divide among {ranks} data-parallel ranks: verl drops the rest",
                f"data.train_batch_size={-(-batch // ranks) * ranks}",
            )
        return
    if launch.gpus % (engine := launch.replica):
        tensor = launch.whole("actor_rollout_ref.rollout.tensor_model_parallel_size", 1)
        which = "tensor_model" if engine == tensor else "data"
        yield Problem(
            f"actor_rollout_ref.rollout.{which}_parallel_size",
            f"an engine of {engine} does not divide the run's {launch.gpus} GPUs",
            "take a divisor of trainer.n_gpus_per_node × trainer.nnodes",
        )


def nodes_share_folders(launch: Launch) -> Iterator[Problem]:
    """Several nodes write their shards into one folder."""
    folder = Path(str(launch.get("trainer.default_local_dir", "")))
    if launch.whole("trainer.nnodes", 1) > 1 and not (launch.dry_run or folder.is_absolute()):
        yield Problem(
            "trainer.default_local_dir",
            f"{folder} is relative: each node would keep its shards in a folder of its own",
            "trainer.default_local_dir=/a/folder/that/all/nodes/share",
        )


def judge_is_there(launch: Launch) -> Iterator[Problem]:
    """A model judge has a model, and a server that answers."""
    judge = launch.settings.judge
    if judge.kind != "model":
        return
    if not judge.model:
        yield Problem(
            "oresearch.judge.model",
            "kind=model names no model: nothing would give quality",
            "oresearch.judge.model=… oresearch.judge.base_url=…, or judge.kind=exact_facts",
            refused=not launch.dry_run,
        )
        return
    yield from _can_be_asked(judge, "oresearch.judge", refused=not launch.dry_run)


def audit_is_there(launch: Launch) -> Iterator[Problem]:
    """The audit's model has a server; where it does not answer, that costs no rollout. What it
    cannot judge by, the questions' rule says."""
    audit = launch.settings.audit
    if audit.share and audit.judge.kind == "model":
        yield from _can_be_asked(audit.judge, "oresearch.audit.judge", refused=False)


def _can_be_asked(judge: RewardJudgeSettings, key: str, *, refused: bool) -> Iterator[Problem]:
    """A server or the provider's key, which goes nowhere in clear. `refused`: a server that does
    not answer."""
    try:
        secret = environment_key("OPENAI_API_KEY")
    except ConfigurationError as error:
        yield Problem("OPENAI_API_KEY", str(error), "export OPENAI_API_KEY anew")
        return
    if not judge.base_url and not secret:
        yield Problem(
            f"{key}.base_url",
            f"{judge.model} has no server and OPENAI_API_KEY is not set",
            f"{key}.base_url=http://host:port/v1, or set OPENAI_API_KEY",
        )
    yield from _servers(judge, key, refused=refused)
    if is_real(secret):
        yield from _in_clear(judge, key)


def judge_serves_step(launch: Launch) -> Iterator[Problem]:
    """All reports of a step are judged before the watchdog ends it, even where each request takes
    the whole of its time-out. A worker judges its own share of the rollouts."""
    judge, seconds = launch.settings.judge, launch.settings.seconds
    if judge.kind != "model":
        return
    workers = int(launch.get("actor_rollout_ref.rollout.agent.num_workers", 1))
    orders = truth_sizes(launch.files("data.train_files")).orders
    requests = math.ceil(most_rollouts(launch) / workers) * judge.votes * orders
    left = seconds.step - seconds.rollout
    needed = math.ceil(requests / judge.concurrency) * judge.timeout
    if needed <= left:
        return
    at_once = math.ceil(requests / max(1, left // judge.timeout))
    fix = f"oresearch.judge.concurrency={at_once}"
    if left < judge.timeout:
        fix = f"oresearch.seconds.step={seconds.rollout + judge.timeout:g} {fix}"
    yield Problem(
        "oresearch.judge.concurrency",
        f"{judge.concurrency} at one time in each of {workers} workers: their {requests} requests"
        f" take {needed:g} s by judge.timeout = {judge.timeout:g} s, and a step has {left:g} s"
        " after its rollouts",
        fix,
    )


def most_rollouts(launch: Launch) -> int:
    """Rollouts of one step, those of refilled prompts among them."""
    prompts = int(launch.get("data.train_batch_size", 1)) + launch.settings.groups.refill
    return prompts * int(launch.get("actor_rollout_ref.rollout.n", 1))


def _in_clear(judge: RewardJudgeSettings, key: str) -> Iterator[Problem]:
    """The key goes to other machines by https only."""
    for name in ("base_url", "second_base_url"):
        if address := Address.of(getattr(judge, name) or ""):
            try:
                require_privacy(address.url, "OPENAI_API_KEY")
            except ConfigurationError as error:
                fix = "https, ORESEARCH_ALLOW_PLAIN_HTTP=1, or OPENAI_API_KEY set to EMPTY"
                yield Problem(f"{key}.{name}", str(error), fix)


def _servers(judge: RewardJudgeSettings, key: str, *, refused: bool) -> Iterator[Problem]:
    addresses = {"base_url": judge.base_url, "second_base_url": judge.second_base_url}
    for name, url in addresses.items():
        if url and (why := _unreachable(url)):
            yield Problem(
                f"{key}.{name}",
                f"{public_name(url)} {why}",
                "start the judge's server, or correct the address",
                refused=refused,
            )


def _unreachable(url: str) -> str | None:
    """Why no connection can be made; None if it can."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "is not an address"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "is not an address: it begins with http:// or https://"
    try:
        with socket.create_connection((parts.hostname, port), timeout=_SECONDS):
            return None
    except OSError as error:
        return f"cannot be reached ({error.strerror or error})"


def documents_are_there(launch: Launch) -> Iterator[Problem]:
    """The tools' folder, record, service or key is there."""
    try:
        check_documents(launch.settings)
    except OresearchError as error:
        source = launch.settings.tools.source
        key = "address" if source == "service" and launch.settings.tools.address else "path"
        setting = "research.search" if source == "live" else f"tools.{key}"
        fix = "correct it, or take the embedded documents: oresearch.tools.source=python"
        yield Problem(f"oresearch.{setting}", str(error), fix)


def time_limits_nest(launch: Launch) -> Iterator[Problem]:
    """A rollout's time limits contain each other."""
    seconds = launch.settings.seconds
    for inner, outer in (("call", "branch"), ("branch", "rollout"), ("rollout", "step")):
        within, allowed = getattr(seconds, inner), getattr(seconds, outer)
        if within > allowed:
            yield Problem(
                f"oresearch.seconds.{inner}",
                f"{within:g} s is longer than seconds.{outer} = {allowed:g} s, which ends it first",
                f"oresearch.seconds.{inner}={allowed:g}",
            )


SFT_RULES = (device_is_there, cpu_engine, ranks_divide, nodes_share_folders)
GRPO_RULES = (
    judge_is_there,
    judge_serves_step,
    audit_is_there,
    documents_are_there,
    time_limits_nest,
    *SFT_RULES,
)
