"""verl and vLLM on CPU: a platform plug-in, and every override of upstream code there is.

Loaded by verl itself in each process (`VERL_USE_EXTERNAL_MODULES=rl.cpu.platform`). The platform is
registered always and chosen by `VERL_PLATFORM=cpu`; the overrides are applied only then, so on
GPUs this file does nothing. Each override names the upstream line it answers and refuses to load
when that line is not there, because a changed upstream may need another answer or none.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
import torch
import torch.distributed
from ray.runtime_context import RuntimeContext
from torch.distributed.fsdp import CPUOffloadPolicy
from verl.plugin.platform import PlatformRegistry
from verl.plugin.platform.platform_base import PlatformBase

ENVIRONMENT: Final[dict[str, str]] = {
    "VERL_PLATFORM": "cpu",
    "VERL_USE_EXTERNAL_MODULES": "rl.cpu.platform",
    # verl/workers/engine/base.py: the FSDP engine is registered for cuda and npu only.
    "VERL_ENGINE_DEVICE": "cuda",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_SGL_KERNEL": "0",
    "VLLM_USE_V2_MODEL_RUNNER": "0",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""What every process of a CPU run needs: the driver's environment and Ray's `runtime_env`."""

RUN_ID: Final = "ORESEARCH_RUN_ID"
"""Names the run in every process of it."""

WORKER_EXTENSION: Final = "rl.cpu.vllm_worker.CpuWorkerExtension"


class UpstreamChanged(ImportError):
    """A line of verl or vLLM that an override answers is not there: check the override anew."""


class UpstreamLine(NamedTuple):
    """An upstream line and the override that answers it."""

    package: str
    file: str
    line: str
    override: str


UPSTREAM_LINES: Final = (
    UpstreamLine(
        "verl",
        "utils/distributed.py",
        'backend = f"cpu:gloo,{get_device_name()}:{get_nccl_backend()}"',
        "torch refuses the same device twice in a backend string: it is named once",
    ),
    UpstreamLine(
        "verl",
        "third_party/vllm/__init__.py",
        "package_version = get_version(package_name)",
        "the CPU build is called vllm-cpu; its version is told for vllm, with `+cpu`",
    ),
    UpstreamLine(
        "vllm",
        "platforms/__init__.py",
        "return substr in vllm_version",
        "without `+cpu` in the version vLLM loads its AVX-512 library and dies by SIGILL",
    ),
    UpstreamLine(
        "verl",
        "workers/engine/fsdp/transformer_impl.py",
        "offload_policy = CPUOffloadPolicy(pin_memory=True)",
        "memory is pinned for an accelerator only",
    ),
    UpstreamLine(
        "verl",
        "workers/rollout/vllm_rollout/vllm_rollout.py",
        "job_id = ray.get_runtime_context().get_job_id()",
        "it names the socket for weights, and the first job of every local cluster is 01000000: "
        "two runs on one machine would share a socket and hang; the run's own id is added",
    ),
    UpstreamLine(
        "vllm",
        "model_executor/layers/utils.py",
        "ops._supports_onednn",
        "packed linear weights would not see an update: rl/cpu/vllm_worker.py keeps them unpacked",
    ),
)


def check_upstream() -> None:
    """Raises UpstreamChanged, naming file and override, where an answered line is not there."""
    for upstream in UPSTREAM_LINES:
        spec = importlib.util.find_spec(upstream.package)
        if spec is None or spec.origin is None:
            raise UpstreamChanged(f"{upstream.package} is not installed: make rl-cpu")
        file = Path(spec.origin).parent / upstream.file
        if not file.is_file() or upstream.line not in file.read_text(encoding="utf-8"):
            raise UpstreamChanged(
                f"{upstream.package}/{upstream.file} does not hold `{upstream.line}`; "
                f"rl/cpu/platform.py answers it ({upstream.override}): install rl/cpu.lock"
            )


class _CpuDevice:
    """What verl asks of `torch.cuda`, of a CPU: memory as the machine has it, no streams."""

    @staticmethod
    def is_available() -> bool:
        return False

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> str:
        return "cpu"

    @staticmethod
    def get_device_name(*_: object) -> str:
        return "cpu"

    @staticmethod
    def get_rng_state(*_: object) -> Any:  # noqa: ANN401 - a tensor
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: Any, *_: object) -> None:  # noqa: ANN401 - a tensor
        torch.set_rng_state(state)

    @staticmethod
    def mem_get_info(*_: object) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.available, memory.total

    @staticmethod
    def _nothing(*_: object, **__: object) -> None:
        return None

    @staticmethod
    def _no_bytes(*_: object) -> int:
        return 0

    manual_seed = manual_seed_all = staticmethod(torch.manual_seed)
    memory_allocated = memory_reserved = _no_bytes
    max_memory_allocated = max_memory_reserved = _no_bytes
    set_device = synchronize = empty_cache = ipc_collect = _nothing
    reset_peak_memory_stats = set_per_process_memory_fraction = _nothing


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):
    """verl's platform interface (verl/plugin/platform/platform_base.py) for a machine without an
    accelerator. Ray's resource is a logical `GPU`: `ray_init.num_gpus` says how many ranks fit."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = _CpuDevice()

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:  # noqa: ARG002
        return os.environ.get("VERL_PLATFORM") == "cpu"

    def current_device(self) -> str:
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:  # noqa: ARG002
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:  # noqa: ARG002
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        """False: weights reach the engine through shared memory."""
        return False

    def cudart(self) -> None:
        return None


def _name_each_device_once(init: Callable[..., Any]) -> Callable[..., Any]:
    def init_process_group(backend: object = None, *rest: Any, **options: Any) -> Any:  # noqa: ANN401
        if isinstance(backend, str) and "," in backend:
            backend = ",".join(dict.fromkeys(backend.split(",")))
        return init(backend, *rest, **options)

    return init_process_group


def _tell_vllm_cpu(version: Callable[[str], str]) -> Callable[[str], str]:
    def vllm_cpu_version(distribution_name: str) -> str:
        if distribution_name == "vllm":
            return f"{version('vllm-cpu')}+cpu"
        return version(distribution_name)

    return vllm_cpu_version


def _job_id_with_run_id(job_id: Callable[..., str]) -> Callable[..., str]:
    def get_job_id(self: RuntimeContext) -> str:
        return f"{job_id(self)}-{os.environ.get(RUN_ID, '0')}"

    return get_job_id


def _without_pinning(init: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: CPUOffloadPolicy, pin_memory: bool = True) -> None:  # noqa: ARG001, N807
        init(self, pin_memory=False)

    return __init__


def apply_overrides() -> None:
    """Apply every override of this process. Raises UpstreamChanged."""
    check_upstream()
    torch.distributed.init_process_group = _name_each_device_once(
        torch.distributed.init_process_group
    )
    version = _tell_vllm_cpu(importlib.metadata.version)
    importlib.metadata.version = version  # type: ignore[assignment]  # the name of its parameter
    RuntimeContext.get_job_id = _job_id_with_run_id(RuntimeContext.get_job_id)
    CPUOffloadPolicy.__init__ = _without_pinning(CPUOffloadPolicy.__init__)


if os.environ.get("VERL_PLATFORM") == "cpu":
    apply_overrides()
