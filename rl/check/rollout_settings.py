"""The allow-list of the engine that samples: what of vLLM changes which tokens come, or how likely
they are said to be.

The loss weighs each token by what actor and engine give it; an engine that computes another
distribution than the actor's makes every weight wrong, and nothing raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rl.check.allowance import Allowance, Test, number

if TYPE_CHECKING:
    from rl.check.problem import Launch

_ROLLOUT = "actor_rollout_ref.rollout"
_VLLM = (
    "async_scheduling", "attention_backend", "block_size", "compilation_config", "cpu_offload_gb",
    "disable_cascade_attn", "disable_custom_all_reduce", "kv_cache_memory_bytes",
    "max_num_partial_prefills", "mm_processor_cache_gb", "num_gpu_blocks_override", "swap_space",
)  # fmt: skip
"""Arguments of vLLM that cost time and memory only."""


def _tensor_parallel(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    if number(2, whole=True)(launch, value) is not None:  # `ranks_divide` wants a number
        return None
    shape = launch.shape
    if shape is None or shape.heads % value == 0 or launch.gpus % value:
        return None
    return f"does not divide the model's {shape.heads} attention heads: the engine does not start"


def _as_data(key: str) -> Test:
    return lambda launch, value: None if value in (None, launch.get(key)) else ""


def _vllm(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    """Of vLLM's own arguments those that change no probability."""
    stretched = launch.get("long_context", {})
    for name, argument in dict(value or {}).items():
        if argument is None or name in _VLLM:
            continue
        if name == "worker_extension_cls":  # `cpu_engine` names ours
            if not launch.on_cpu:
                return f"has {name}, which takes the place of verl's own: weights never arrive"
        elif name == "hf_overrides":
            others = [key for key in argument if key not in stretched and "rope" not in key]
            if others:
                return f"has {name}.{others[0]}, which the actor does not get: two models"
        else:
            return f"has {name}, which may change what is sampled or how likely it is said to be"
    return None


SAMPLING: Final = (
    Allowance("actor_rollout_ref.hybrid_engine", (True,),
        "is of verl's separate trainer: no engine gets weights", "{setting}=true",
        "trainer/ppo/v1/trainer_base.py:368 _enable_hybrid_replicas"),
    Allowance(f"{_ROLLOUT}.name", ("vllm",),
        "does not know the stop parameters that end a turn at its tag, which are vLLM's",
        "{setting}=vllm", "workers/rollout/sglang_rollout/async_sglang_server.py:333 tokenizer"),
    Allowance(f"{_ROLLOUT}.mode", ("async",), "is no mode of verl 0.9.1", "{setting}=async",
        "workers/config/rollout.py:268 mode"),
    Allowance(f"{_ROLLOUT}.nnodes", (0,), "is of verl's separate trainer", "{setting}=0",
        "workers/config/rollout.py:160 nnodes"),
    Allowance(f"{_ROLLOUT}.agent.default_agent_loop", ("oresearch",), "is not the research graph",
        "{setting}=oresearch", "trainer/ppo/v1/agent_loop_tq.py:80 default_agent_loop"),
    Allowance(f"{_ROLLOUT}.agent.custom_async_server.path", (None,),
        "takes the place of the engine's server", "{setting}=null", "tests/rl/test_vllm_server.py"),
    Allowance(f"{_ROLLOUT}.calculate_log_probs", (True,),
        "leaves out the engine's log-probabilities, without which neither the mismatch with the"
        " actor is known nor algorithm.rollout_correction applied",
        "{setting}=true", "trainer/ppo/v1/trainer_base.py:1662 calculate_log_probs"),
    Allowance(f"{_ROLLOUT}.logprobs_mode", ("processed_logprobs",),
        "leaves the temperature out of the engine's log-probabilities, and the actor's have it",
        "{setting}=processed_logprobs",
        "workers/rollout/vllm_rollout/vllm_async_server.py:338 logprobs_mode"),
    Allowance(f"{_ROLLOUT}.top_p", (1,),
        "samples from a cut distribution, and the actor knows the whole one: every ratio is wrong"
        " by what was cut", "{setting}=1", "trainer/ppo/v1/agent_loop_tq.py:66 top_p"),
    Allowance(f"{_ROLLOUT}.top_k", (-1, 0),
        "samples from a cut distribution, and the actor knows the whole one: every ratio is wrong"
        " by what was cut", "{setting}=-1", "trainer/ppo/v1/agent_loop_tq.py:67 top_k"),
    Allowance(f"{_ROLLOUT}.do_sample", (True,),
        "is read by nothing in this trainer: rollouts are sampled all the same", "{setting}=true",
        "trainer/ppo/v1/agent_loop_tq.py:116 do_sample"),
    Allowance(f"{_ROLLOUT}.full_determinism", (False,),
        "gives every request of a replica the same seed: rollouts of a group that are sampled in"
        " one are the same, and nothing can be compared",
        "{setting}=false", "workers/rollout/vllm_rollout/vllm_async_server.py:627 seed"),
    *(Allowance(f"{_ROLLOUT}.{name}", (),
        f"is not data.max_{name}, by which rows are cut and capacities are checked",
        f"{{setting}}=${{data.max_{name}}}",
        f"workers/rollout/vllm_rollout/vllm_async_server.py:612 {name}", f"`data.max_{name}`",
        _as_data(f"data.max_{name}")) for name in ("prompt_length", "response_length")),
    Allowance(f"{_ROLLOUT}.repetition_penalty", (1.0,), "is read by nothing in this trainer",
        "{setting}=1.0", "trainer/ppo/v1/agent_loop_tq.py:68 repetition_penalty"),
    Allowance(f"{_ROLLOUT}.ignore_eos", (False,), "has the policy write on behind its end",
        "{setting}=false", "workers/rollout/vllm_rollout/vllm_async_server.py:624 ignore_eos"),
    Allowance(f"{_ROLLOUT}.over_sample_rate", (0,), "is read by nothing in this trainer",
        "{setting}=0", "workers/config/rollout.py:179 over_sample_rate"),
    Allowance(f"{_ROLLOUT}.dtype", ("bfloat16", "float32", "float16", "half"),
        "is no precision of vLLM without quantization", "{setting}=bfloat16",
        "workers/rollout/vllm_rollout/vllm_async_server.py:326 dtype"),
    Allowance(f"{_ROLLOUT}.quantization", (None,),
        "samples from rounded weights, which are not the actor's", "{setting}=null",
        "workers/rollout/vllm_rollout/vllm_async_server.py:1211 quantization"),
    Allowance(f"{_ROLLOUT}.quantization_config_file", (None,),
        "samples from rounded weights, which are not the actor's", "{setting}=null",
        "workers/rollout/vllm_rollout/vllm_async_server.py:1211 quantization"),
    Allowance(f"{_ROLLOUT}.qat.enable", (False,),
        "samples from rounded weights, which are not the actor's", "{setting}=false",
        "workers/rollout/vllm_rollout/vllm_async_server.py:1216 enable"),
    Allowance(f"{_ROLLOUT}.mtp.enable", (False,), "samples with heads that are not trained",
        "{setting}=false", "workers/rollout/vllm_rollout/vllm_async_server.py:378 mtp"),
    Allowance(f"{_ROLLOUT}.enable_rollout_routing_replay", (False,),
        "records experts that no row of ours carries to the actor", "{setting}=false",
        "workers/rollout/vllm_rollout/vllm_async_server.py:437 enable_rollout_routing_replay"),
    Allowance(f"{_ROLLOUT}.disaggregation.enabled", (False,),
        "splits the engine in a way that was never tried", "{setting}=false",
        "workers/config/rollout.py:274 disaggregation"),
    Allowance(f"{_ROLLOUT}.multi_turn.enable", (False,),
        "is of verl's own tools; turns are the research graph's", "{setting}=false",
        "tests/rl/test_agent_loop.py"),
    Allowance(f"{_ROLLOUT}.tensor_model_parallel_size", (),
        "does not divide the model's heads: the engine does not start", "a divisor of both",
        "workers/rollout/vllm_rollout/vllm_async_server.py:342 tensor_parallel_size",
        "a divisor of the model's heads", _tensor_parallel),
    Allowance(f"{_ROLLOUT}.checkpoint_engine.backend", ("naive",),
        "is of verl's separate trainer; this one sets naive", "{setting}=naive",
        "trainer/ppo/v1/trainer_base.py:382 naive"),
    Allowance(f"{_ROLLOUT}.engine_kwargs.vllm", (),
        "has an argument that may change what is sampled or how likely it is said to be",
        "leave it out",
        "workers/rollout/vllm_rollout/vllm_async_server.py:349 engine_kwargs",
        "`hf_overrides` as `long_context`; " + ", ".join(f"`{name}`" for name in _VLLM), _vllm),
)  # fmt: skip
