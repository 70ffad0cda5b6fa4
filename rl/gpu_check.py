"""`python -m rl.gpu_check OUT`: what only a GPU shows, on one card in at most eight minutes.

A model of Qwen2.5-7B's width with few layers and random weights: sampled by vLLM, then trained by
verl's own worker as `qwen2.5-7b_8gpu` has it (bf16, FSDP2, flash attention or sdpa) on 32k tokens
packed into one row. Measured are the memory against what `--dry-run` plans, fused against plain
log-probabilities, packed rows against rows alone, and engine against actor. Exit status: 0
measured and within bounds; 2 no GPU, or a bound exceeded or not measured. It has not run yet: see
docs/training.md.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import torch
import typer
from omegaconf import DictConfig
from rich.console import Console

from rl.launch.composition import compose_config

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

GIB: Final = 2**30
_SEED: Final = 7
_SAMPLED: Final = 128
"""Tokens of each continuation that engine and actor are compared on."""
_PROMPT: Final = 64
_PLAIN: Final = 8_192
"""Most tokens whose logits are held at once: 32k of them over 152k words take 20 GB."""


class Sizes(NamedTuple):
    """A decoder and the rows it is trained on, packed into one."""

    hidden: int = 3_584
    heads: int = 28
    kv_heads: int = 4
    mlp: int = 18_944
    vocabulary: int = 152_064
    layers: int = 4
    rows: tuple[int, ...] = (20_480, 8_192, 4_096)


class Sampled(NamedTuple):
    """A continuation by the engine."""

    prompt: list[int]
    response: list[int]
    log_probs: list[float]


@app.command()
def gpu_check(
    out: Annotated[Path, typer.Argument(help="A folder for the model and the figures.")],
    layers: Annotated[int, typer.Option(help="Layers of the model.", min=1)] = 4,
    minutes: Annotated[float, typer.Option(help="When no further part is begun.", min=1)] = 8,
) -> None:
    """Measure what only a GPU shows."""
    console = Console(soft_wrap=True)
    if not torch.cuda.is_available():
        console.print("this machine has no GPU: nothing was measured")
        raise typer.Exit(2)
    begun, sizes = time.monotonic(), Sizes(layers=layers)
    attention = "flash_attention_2" if find_spec("flash_attn") or find_spec("kernels") else "sdpa"
    folder = make_model(out / "model", sizes, "cuda")
    left = minutes * 60 - (time.monotonic() - begun)
    continuations = sample_apart(folder, out / "sampled.json", sizes, seconds=left / 2)
    figures: dict[str, Any] = {
        "card": torch.cuda.get_device_name(0), "attention": attention, "layers": layers,
        "torch": torch.__version__,
        **learn(
            one_gpu(folder, sizes, attention), sizes, continuations, until=begun + minutes * 60
        ),
    }  # fmt: skip
    figures["seconds"] = round(time.monotonic() - begun, 1)
    (out / "gpu_check.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    for name, value in figures.items():
        console.print(f"{name}: {value}", markup=False)
    if faults := exceeded(figures):
        console.print("; ".join(faults), markup=False)
        raise typer.Exit(2)


def exceeded(figures: dict[str, Any]) -> list[str]:
    """What is beyond its bound or was not measured, in words."""
    bounds = {
        "engine_actor_mean": 0.05, "fused_plain_mean": 0.01, "packed_alone_mean": 0.01,
        "memory_of_plan": 1.25,
    }  # fmt: skip
    return [
        f"{name} was not measured" if (figure := figures.get(name)) is None
        else f"{name} {figure:.3g} > {bound:g}"
        for name, bound in bounds.items()
        if (figure := figures.get(name)) is None or not figure <= bound
    ]  # fmt: skip


def make_model(folder: Path, sizes: Sizes, device: str) -> Path:
    """A Qwen2 of random weights with a tokenizer of one word, as verl wants one."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=sizes.vocabulary, hidden_size=sizes.hidden, intermediate_size=sizes.mlp,
        num_hidden_layers=sizes.layers, num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads, max_position_embeddings=max(32_768, sum(sizes.rows)),
        rope_theta=1_000_000.0, tie_word_embeddings=False, architectures=["Qwen2ForCausalLM"],
    )  # fmt: skip
    torch.manual_seed(_SEED)
    with torch.device(device):
        model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    end = "<|endoftext|>"
    words = Tokenizer(models.WordLevel({end: 0}, unk_token=end))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token=end, pad_token=end).save_pretrained(
        folder
    )
    return folder


def one_gpu(folder: Path, sizes: Sizes, attention: str) -> DictConfig:
    """`qwen2.5-7b_8gpu` for one card and these rows."""
    actor, model = "actor_rollout_ref.actor", "actor_rollout_ref.model"
    return compose_config(
        "qwen2.5-7b_8gpu",
        [
            "trainer.n_gpus_per_node=1", f"{model}.path={folder}",
            f"+{model}.override_config.attn_implementation={attention}",
            f"{actor}.ulysses_sequence_parallel_size=1",
            f"{actor}.ppo_max_token_len_per_gpu={sum(sizes.rows)}",
        ],
    )  # fmt: skip


def sample_apart(folder: Path, file: Path, sizes: Sizes, seconds: float) -> list[Sampled]:
    """Continuations by vLLM in a process of its own, whose memory is free afterwards; none where it
    took longer."""
    process = multiprocessing.get_context("spawn").Process(
        target=_sample, args=(str(folder), str(file), sizes.vocabulary)
    )
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    if process.exitcode != 0 or not file.is_file():
        return []
    return [Sampled(*row) for row in json.loads(file.read_text(encoding="utf-8"))]


def _sample(folder: str, file: str, vocabulary: int) -> None:
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=folder, dtype="bfloat16", skip_tokenizer_init=True, max_model_len=4_096,
        gpu_memory_utilization=0.5, logprobs_mode="processed_logprobs", enforce_eager=True,
        seed=_SEED,
    )  # fmt: skip
    parameters = SamplingParams(
        temperature=1.0, max_tokens=_SAMPLED, logprobs=0, ignore_eos=True, detokenize=False
    )
    prompts = _random_rows((_PROMPT,) * 8, vocabulary)
    answers = engine.generate([{"prompt_token_ids": row} for row in prompts], parameters)
    rows = []
    for prompt, answer in zip(prompts, answers, strict=True):
        output = answer.outputs[0]
        pairs = zip(output.token_ids, output.logprobs, strict=True)
        values = [float(each[token].logprob) for token, each in pairs]
        rows.append((prompt, list(output.token_ids), values))
    Path(file).write_text(json.dumps(rows), encoding="utf-8")


def learn(
    config: DictConfig,
    sizes: Sizes,
    continuations: Sequence[Sampled] = (),
    *,
    until: float = math.inf,
) -> dict[str, Any]:
    """Two optimizer steps of verl's worker on the rows, and its log-probabilities compared. No part
    is begun after `until`, by the monotonic clock."""
    figures: dict[str, Any] = {}
    if time.monotonic() >= until:
        return figures
    _join_group()
    worker = _worker(config)
    parts: tuple[Callable[[], dict[str, Any]], ...] = (
        partial(_packed_against_alone, worker, sizes),
        partial(_engine_against_actor, worker, continuations),
        partial(fused_against_plain, sizes, config.trainer.device),
        partial(_steps, worker, config, sizes),
    )
    for part in parts:
        if time.monotonic() < until:
            figures |= part()
    return figures


def _packed_against_alone(worker: Any, sizes: Sizes) -> dict[str, float]:  # noqa: ANN401 - verl's
    short = [row[: max(2, _PLAIN // len(sizes.rows))] for row in _rows(sizes)]
    return _compared("packed_alone", _log_probs(worker, short), _alone(worker, short))


def _engine_against_actor(worker: Any, continuations: Sequence[Sampled]) -> dict[str, float]:  # noqa: ANN401
    """Nothing where the engine gave nothing."""
    if not continuations:
        return {}
    engine = torch.tensor([value for each in continuations for value in each.log_probs])
    return _compared("engine_actor", engine, _of_responses(worker, continuations))


@torch.no_grad()
def fused_against_plain(sizes: Sizes, device: str) -> dict[str, float]:
    """verl's fused kernel on whole weights: under FSDP2 it cannot be used (`use_fused_kernels`)."""
    from verl.utils.device import get_torch_device
    from verl.utils.experimental.torch_functional import FusedLinearForPPO

    get_torch_device().empty_cache()
    tokens = min(_PLAIN, sum(sizes.rows))
    torch.manual_seed(_SEED)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    hidden = torch.randn(1, tokens, sizes.hidden, device=device, dtype=dtype)
    weight = torch.randn(sizes.vocabulary, sizes.hidden, device=device, dtype=dtype) * 0.02
    words = torch.randint(sizes.vocabulary, (1, tokens), device=device)
    fused, _ = FusedLinearForPPO().forward(hidden, weight, words, temperature=1.0)
    logits = torch.log_softmax((hidden @ weight.t()).float(), dim=-1)
    plain = logits.gather(-1, words.unsqueeze(-1)).squeeze(-1)
    return _compared("fused_plain", fused.float().cpu(), plain.cpu())


def _steps(worker: Any, config: DictConfig, sizes: Sizes) -> dict[str, Any]:  # noqa: ANN401 - verl's
    """Memory and time of a step in which the optimizer has its moments already."""
    from verl.utils.device import get_torch_device

    from rl.check.problem import Launch
    from rl.plan.memory import memory
    from rl.settings import from_config

    device, rows = get_torch_device(), _rows(sizes)
    worker.train_batch(_batch(rows, learns=True))
    device.reset_peak_memory_stats()
    begun = time.monotonic()
    worker.train_batch(_batch(rows, learns=True))
    device.synchronize()
    seconds, peak = time.monotonic() - begun, device.max_memory_allocated()
    launch = Launch(config, "grpo", from_config(config), dry_run=True)
    shape = launch.shape
    planned = memory(launch, shape).learning if shape else 0
    return {
        "tokens": sum(sizes.rows), "step_seconds": round(seconds, 2),
        "memory_gib": round(peak / GIB, 2), "planned_gib": round(planned / GIB, 2),
        "memory_of_plan": round(peak / planned, 3) if planned else None,
    }  # fmt: skip


def _join_group() -> None:
    """One rank, as torchrun would make it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ranks = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1",
             "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    os.environ.update(ranks)


def _worker(config: DictConfig) -> Any:  # noqa: ANN401 - verl's
    """verl's training worker as verl/workers/engine_workers.py builds the actor."""
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig
    from verl.workers.utils.losses import ppo_loss

    part = config.actor_rollout_ref
    model, actor = omega_conf_to_dataclass(part.model), omega_conf_to_dataclass(part.actor)
    engine = actor.engine
    engine.use_dynamic_bsz = True
    engine.max_token_len_per_gpu = engine.infer_max_token_len_per_gpu = (
        part.actor.ppo_max_token_len_per_gpu
    )
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model", model_config=model, engine_config=engine,
            optimizer_config=actor.optim, checkpoint_config=actor.checkpoint,
        )
    )  # fmt: skip
    worker.set_loss_fn(partial(ppo_loss, config=actor))
    worker.reset()
    return worker


def _rows(sizes: Sizes) -> list[list[int]]:
    return _random_rows(sizes.rows, sizes.vocabulary)


def _random_rows(lengths: Sequence[int], vocabulary: int) -> list[list[int]]:
    source = torch.Generator().manual_seed(_SEED)
    return [torch.randint(1, vocabulary, (n,), generator=source).tolist() for n in lengths]


def _batch(rows: Sequence[list[int]], *, learns: bool = False) -> Any:  # noqa: ANN401 - verl's
    """Rows of one prompt token each, as they come out of verl's queue."""
    from verl.utils import tensordict_utils

    def nested(values: list[torch.Tensor]) -> torch.Tensor:
        return torch.nested.as_nested_tensor(values, layout=torch.jagged)

    ids = [torch.tensor(row) for row in rows]
    masks = [torch.ones(len(row) - 1, dtype=torch.int64) for row in rows]
    ones = [mask.float() for mask in masks]
    tensors = {
        "input_ids": nested(ids),
        "position_ids": nested([torch.arange(len(row)) for row in rows]),
        "prompts": nested([row[:1] for row in ids]),
        "responses": nested([row[1:] for row in ids]),
        "response_mask": nested(masks), "loss_mask": nested(masks),
    }  # fmt: skip
    if learns:
        tensors |= {
            "old_log_probs": nested([-10 * one for one in ones]),
            "advantages": nested(ones),
        }
    plain = {"temperature": 1.0, "global_batch_size": len(rows), "compute_loss": learns}
    return tensordict_utils.get_tensordict(tensors, non_tensor_dict=plain)


def _log_probs(worker: Any, rows: Sequence[list[int]]) -> torch.Tensor:  # noqa: ANN401 - verl's
    """Of every token but the first of each row, the rows packed into one."""
    output = worker.infer_batch(_batch(rows))["log_probs"].float().cpu()
    return torch.cat([row[:-1] for row in output.unbind()])


def _alone(worker: Any, rows: Sequence[list[int]]) -> torch.Tensor:  # noqa: ANN401 - verl's
    return torch.cat([_log_probs(worker, [row]) for row in rows])


def _of_responses(worker: Any, continuations: Sequence[Sampled]) -> torch.Tensor:  # noqa: ANN401
    rows = [each.prompt + each.response for each in continuations]
    parts = _log_probs(worker, rows).split([len(row) - 1 for row in rows])
    pairs = zip(parts, continuations, strict=True)
    return torch.cat([part[-len(each.response) :] for part, each in pairs])


def _compared(name: str, first: torch.Tensor, second: torch.Tensor) -> dict[str, float]:
    gap = (first.double() - second.double()).abs()
    return {f"{name}_mean": float(gap.mean()), f"{name}_max": float(gap.max())}


if __name__ == "__main__":
    app()
