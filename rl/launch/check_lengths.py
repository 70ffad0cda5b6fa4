"""Start-up rules about lengths: a thread must fit the row, the row the engine and the actor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from oresearch_graph.prompts import system_prompt
from rl.launch.problem import Launch, Problem, existing_folder
from rl.launch.thread_budget import QUESTION, estimated_opening, thread_budgets
from rl.rollouts.thread_tokens import ThreadTokens

_ROLLOUT = "actor_rollout_ref.rollout"
_OVERRIDES = f"{_ROLLOUT}.engine_kwargs.vllm.hf_overrides"


def opening_tokens(launch: Launch) -> int:
    """Tokens of system prompt and question: counted where the tokenizer is on this machine."""
    folder = launch.model_folder
    if folder is None or not (folder / "tokenizer_config.json").is_file():
        return estimated_opening(launch.settings)
    thread = ThreadTokens(
        AutoTokenizer.from_pretrained(folder), launch.get("data.apply_chat_template_kwargs", {})
    )
    return len(thread.opening(system_prompt(launch.research), "")) + QUESTION // 4


def threads_fit(launch: Launch) -> Iterator[Problem]:
    """A row's prompt and response hold the longest thread."""
    prompt = int(launch.get("data.max_prompt_length", 0))
    response = int(launch.get("data.max_response_length", 0))
    budgets = thread_budgets(launch.settings, opening_tokens(launch))
    context = max(budgets, key=lambda budget: budget.prompt)
    written = max(budgets, key=lambda budget: budget.response)
    if context.prompt > prompt:
        yield Problem(
            "data.max_prompt_length",
            f"{prompt} cannot hold a {context.thread}'s context of {context.prompt} tokens",
            f"set it to {context.prompt}, or lower oresearch.turn_tokens or"
            " oresearch.research.max_subtasks",
        )
    if written.response > response:
        yield Problem(
            "data.max_response_length",
            f"{response} cannot hold a {written.thread}'s {written.response} tokens"
            f" ({written.terms})",
            f"set it to {written.response}, or lower oresearch.research.max_steps,"
            " observation_tokens or oresearch.turn_tokens",
        )


def rows_fit(launch: Launch) -> Iterator[Problem]:
    """The engine's context and the actor's packed batch hold the longest row."""
    row = int(launch.get("data.max_prompt_length", 0)) + int(
        launch.get("data.max_response_length", 0)
    )
    window = launch.get(f"{_ROLLOUT}.max_model_len")
    if window is not None and int(window) < row:
        yield Problem(
            f"{_ROLLOUT}.max_model_len",
            f"{window} is less than data.max_prompt_length + data.max_response_length = {row}",
            f"set it to {row}",
        )
    batched = int(launch.get(f"{_ROLLOUT}.max_num_batched_tokens", 0))
    if not launch.get(f"{_ROLLOUT}.enable_chunked_prefill", True) and batched < row:
        yield Problem(
            f"{_ROLLOUT}.max_num_batched_tokens",
            f"{batched} cannot take a context of {row} tokens in one piece",
            f"set it to {row}, or {_ROLLOUT}.enable_chunked_prefill=true",
        )
    if launch.get("actor_rollout_ref.actor.use_dynamic_bsz", False):
        yield from _packed(launch, "actor_rollout_ref.actor.ppo_max_token_len_per_gpu", row)


def _packed(launch: Launch, key: str, row: int) -> Iterator[Problem]:
    held = int(launch.get(key, 0)) * launch.sequence_parallel
    if held < row:
        yield Problem(
            key,
            f"{launch.get(key)} × sequence parallel size {launch.sequence_parallel} = {held}"
            f" cannot hold a row of {row} tokens",
            f"set it to {-(-row // launch.sequence_parallel)}, or raise"
            " ulysses_sequence_parallel_size",
        )


def sft_rows_fit(launch: Launch) -> Iterator[Problem]:
    """The packed batch holds the longest row."""
    if launch.get("data.use_dynamic_bsz", True):
        row = int(launch.get("data.max_length", 0))
        yield from _packed(launch, "data.max_token_len_per_gpu", row)


def same_positions(launch: Launch) -> Iterator[Problem]:
    """Engine, actor and reference stretch positions alike (verl/utils/model.py,
    update_model_config: a dictionary in override_config raises in every worker)."""
    folder_key = f"{launch.model_key}.hf_config_path"
    override = launch.get(f"{launch.model_key}.override_config", {})
    for name in ("rope_scaling", "rope_parameters"):
        if isinstance(override.get(name), dict):
            yield Problem(
                f"{launch.model_key}.override_config.{name}",
                "verl 0.9.1 cannot set a dictionary in the model's configuration",
                f"put it under long_context and set {folder_key} to a folder for it",
            )
    wanted = _rope(launch.get("long_context", {}))
    if launch.kind == "grpo" and (engine := _rope(launch.get(_OVERRIDES, {}))) != wanted:
        yield Problem(
            _OVERRIDES,
            f"the engine stretches positions by {engine or 'nothing'}, actor and reference by"
            f" {wanted or 'nothing'}: they would disagree about every token",
            f"{_OVERRIDES}=${{long_context}}",
        )
    if wanted and not launch.get(folder_key):
        yield Problem(
            folder_key,
            "long_context reaches actor and reference through a folder, and none is named",
            f"{folder_key}=${{trainer.default_local_dir}}/model_config",
        )


def _rope(settings: dict[str, Any]) -> dict[str, Any]:
    return dict(settings.get("rope_parameters") or settings.get("rope_scaling") or {})


def model_window(launch: Launch) -> Iterator[Problem]:
    """The model knows as many positions as a row has (verl refuses it, but in a worker)."""
    key = f"{_ROLLOUT}.max_model_len" if launch.kind == "grpo" else "data.max_length"
    row, stretched = launch.get(key), launch.get("long_context.max_position_embeddings")
    folder = existing_folder(launch.get(f"{launch.model_key}.path"))
    if row is None or (stretched is None and folder is None):
        return
    known = stretched
    if known is None:
        config = AutoConfig.from_pretrained(folder)
        known = getattr(config, "max_position_embeddings", None)
    if known is not None and int(row) > int(known):
        yield Problem(
            key,
            f"{row} is more than the {known} positions that the model knows",
            f"lower it to {known}, or stretch positions as qwen2.5-72b_multinode.yaml does",
        )
