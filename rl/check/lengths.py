"""Lengths: how long a thread's rows can become, and the start-up rules that a thread fits the row,
the row the engine and the actor.

The figures are worst cases: every continuation as long as it may be, every observation full. A
researcher's last continuation is its answer, so it makes at most one tool call less than it has
steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from transformers import AutoConfig, AutoTokenizer

from oresearch_graph.limits import Limits
from oresearch_graph.prompts import system_prompt
from oresearch_graph.trace import Role
from rl.check.problem import Launch, Problem, existing_folder
from rl.rollouts.thread_tokens import ThreadTokens
from rl.settings import RLSettings

_ROLLOUT = "actor_rollout_ref.rollout"
_OVERRIDES = f"{_ROLLOUT}.engine_kwargs.vllm.hf_overrides"
OBSERVATION_FRAME: Final = 64
"""Tokens of an observation's tags, of a notice in it and of what stands between two steps."""
OBSERVATION_OVERHEAD: Final = 1.25
"""`observation_tokens` counts what sources say; titles, addresses and queries come on top."""
SUBTASK_LINE: Final = 100
"""Tokens of one subtask as the world repeats it at the head of a branch."""
QUESTION: Final = 400
"""Tokens of a question, where no tokenizer is at hand to count real ones."""


class ThreadBudget(NamedTuple):
    """The longest row of one kind of thread, in tokens."""

    thread: Role | str
    prompt: int
    response: int
    terms: str
    """How the response came about, in numbers."""

    @property
    def total(self) -> int:
        return self.prompt + self.response


def estimated_opening(settings: RLSettings) -> int:
    """Tokens of the system prompt and a question at 3.5 characters a token; a tokenizer that was
    trained on English needs fewer."""
    return round(len(system_prompt(settings.research_settings)) / 3.5) + QUESTION


def observation_length(settings: RLSettings) -> int:
    """Tokens of one full observation."""
    tokens = settings.research_settings.limits.observation_tokens * OBSERVATION_OVERHEAD
    return round(tokens) + OBSERVATION_FRAME


def thread_budgets(settings: RLSettings, opening: int) -> list[ThreadBudget]:
    """The longest row of each kind of thread; one in sequential execution.

    `opening`: tokens of system prompt and question.
    """
    limits, turn = settings.research_settings.limits, settings.turn_tokens
    calls, observation = most_calls_possible(limits), observation_length(settings)
    branch = limits.steps * turn + calls * observation
    terms = f"{limits.steps} steps × {turn} + {calls} observations × {observation}"
    if settings.research_settings.execution == "sequential":
        whole = turn + limits.subtasks * branch + settings.report_tokens
        terms = (
            f"plan {turn} + {limits.subtasks} subtasks × ({terms})"
            f" + report {settings.report_tokens}"
        )
        return [ThreadBudget("sequential", opening, whole, terms)]
    answers = turn + limits.subtasks * (SUBTASK_LINE + turn)
    report = settings.report_tokens
    return [
        ThreadBudget("planner", opening, turn, f"plan {turn}"),
        ThreadBudget("researcher", opening + turn + SUBTASK_LINE, branch, terms),
        ThreadBudget("summarizer", opening + answers, report, f"report {report}"),
    ]


def most_calls_possible(limits: Limits) -> int:
    """Calls that one subtask can hold: a turn of the policy under training ends at its call's
    close tag, and the last turn is the answer."""
    return max(0, min(limits.tool_calls, limits.steps - 1))


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
    prompt = launch.whole("data.max_prompt_length")
    response = launch.whole("data.max_response_length")
    budgets = thread_budgets(launch.settings, opening_tokens(launch))
    context = max(budgets, key=lambda budget: budget.prompt)
    output = max(budgets, key=lambda budget: budget.response)
    if context.prompt > prompt:
        yield Problem(
            "data.max_prompt_length",
            f"{prompt} cannot hold a {context.thread}'s context of {context.prompt} tokens",
            f"set it to {context.prompt}, or lower oresearch.turn_tokens or"
            " oresearch.research.max_subtasks",
        )
    if output.response > response:
        yield Problem(
            "data.max_response_length",
            f"{response} cannot hold a {output.thread}'s {output.response} tokens ({output.terms})",
            f"set it to {output.response}, or lower oresearch.research.max_steps,"
            " observation_tokens or oresearch.turn_tokens",
        )


def rows_fit(launch: Launch) -> Iterator[Problem]:
    """The engine's context and the actor's packed batch hold the longest row."""
    key = f"{_ROLLOUT}.max_model_len"
    row, window = launch.row, launch.whole(key, 0)
    if launch.get(key) is not None and window < row:
        yield Problem(
            key,
            f"{window} is less than data.max_prompt_length + data.max_response_length = {row}",
            f"set it to {row}",
        )
    batched = launch.whole(f"{_ROLLOUT}.max_num_batched_tokens")
    if not launch.get(f"{_ROLLOUT}.enable_chunked_prefill", True) and batched < row:
        yield Problem(
            f"{_ROLLOUT}.max_num_batched_tokens",
            f"{batched} cannot take a context of {row} tokens in one piece",
            f"set it to {row}, or {_ROLLOUT}.enable_chunked_prefill=true",
        )
    if launch.get("actor_rollout_ref.actor.use_dynamic_bsz", False):
        yield from _packed(launch, "actor_rollout_ref.actor.ppo_max_token_len_per_gpu", row)


def _packed(launch: Launch, key: str, row: int) -> Iterator[Problem]:
    capacity = launch.whole(key) * launch.sequence_parallel
    if capacity < row:
        yield Problem(
            key,
            f"{launch.get(key)} × sequence parallel size {launch.sequence_parallel} = {capacity}"
            f" cannot hold a row of {row} tokens",
            f"set it to {-(-row // launch.sequence_parallel)}, or raise"
            " ulysses_sequence_parallel_size",
        )


def sft_rows_fit(launch: Launch) -> Iterator[Problem]:
    """The packed batch holds the longest row."""
    if launch.get("data.use_dynamic_bsz", True):
        yield from _packed(launch, "data.max_token_len_per_gpu", launch.row)


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
    rope = _rope(launch.get("long_context", {}))
    if launch.kind == "grpo" and (engine := _rope(launch.get(_OVERRIDES, {}))) != rope:
        yield Problem(
            _OVERRIDES,
            f"the engine stretches positions by {engine or 'nothing'}, actor and reference by"
            f" {rope or 'nothing'}: they would disagree about every token",
            f"{_OVERRIDES}=${{long_context}}",
        )
    if rope and not launch.get(folder_key):
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
    positions = stretched
    if positions is None:
        config = AutoConfig.from_pretrained(folder)
        positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and launch.whole(key) > int(positions):
        yield Problem(
            key,
            f"{row} is more than the {positions} positions that the model knows",
            f"lower it to {positions}, or stretch positions as qwen2.5-72b_multinode.yaml does",
        )
