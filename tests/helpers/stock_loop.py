"""One script for our agent loop and for verl's stock `ToolAgentLoop`: both ask one engine, which
answers nothing but the exact prompts it knows.

The stock loop holds a conversation, which a turn without a call ends; a thread of ours is one
growing assistant message. They meet in a chat template that puts no markers around assistant and
tool messages, so that the conversation reads as the thread does: one conversation for each thread
of ours. A sequential run has one thread; what ends a role's part of it without a call stands for
a tool that says nothing. Nothing of the stock loop is replaced: template, tool parser and tools
are its settings.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, Final

from omegaconf import DictConfig
from verl.experimental.agent_loop.agent_loop import (
    AgentLoopOutput,
    DictConfigWrap,
    ToolListWrap,
)
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop
from verl.experimental.agent_loop.tool_parser import FunctionCall, ToolParser
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import OpenAIFunctionToolSchema
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.rollout.replica import TokenOutput

from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, render_step, render_steps
from rl.launch.composition import compose_config
from rl.rollouts.agent_loop import ResearchAgentLoop
from rl.rollouts.graph import RolloutGraph
from rl.rollouts.log import RolloutLog
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.worker import RolloutWorker
from rl.settings import from_config
from rl.tiny.base_model import as_pretrained, make_tokenizer
from rl.tools.training_tools import training_tools
from tests.helpers.rl_engine import SAMPLING, ScriptedEngine, ScriptedLedgerPolicy, log_prob
from tests.helpers.stock_script import PAGES, QUESTION, InstantDocuments, research_turns

TEMPLATE: Final = (
    "{% for m in messages %}{% if m.role in ['system', 'user'] %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% if m.role == 'user' %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    # verl takes an observation's ids as the difference of two renderings: what stands before it,
    # here as in a rollout, is a close tag.
    "{% else %}{{ m.content }}{% if m.tool_calls %}{{ '</web_search>' }}{% endif %}"
    "{% endif %}{% endfor %}"
)
"""ChatML, whose assistant's message opens behind the question and never ends."""


@ToolParser.register("research_tags")
class TagParser(ToolParser):
    """Reads the protocol's calls as verl's hermes parser reads `<tool_call>`. A tag is a call when
    a tool has its name."""

    async def extract_tool_calls(
        self, responses_ids: list[int], tools: list[OpenAIFunctionToolSchema] | None = None
    ) -> tuple[str, list[FunctionCall]]:
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(None, self.tokenizer.decode, responses_ids)
        names = "|".join(tool.function.name for tool in tools or ())
        pattern = re.compile(rf"<({names})>(.*?)</\1>", re.DOTALL)
        calls = [
            FunctionCall(name=found[1], arguments=json.dumps({"text": found[2]}))
            for found in pattern.finditer(text)
        ]
        return pattern.sub("", text), calls


class KnownPrompts:
    """The engine of both loops: answers a prompt that it was taught, fails at any other."""

    def __init__(self) -> None:
        self.answers: dict[tuple[int, ...], tuple[list[int], list[float]]] = {}
        self.calls = 0

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        await asyncio.sleep(0)  # lets the other rollouts in, as a call of a server does
        self.calls += 1
        ids, log_probs = self.answers[tuple(prompt_ids)]
        return TokenOutput(
            token_ids=list(ids), log_probs=list(log_probs), stop_reason="completed",
            extra_fields={"max_global_steps": 3},
        )  # fmt: skip


class _Ours(ResearchAgentLoop):
    """Ours with documents at hand: a worker of its own instead of the process'."""

    worker: RolloutWorker

    def _worker(self) -> RolloutWorker:
        return self.worker


@dataclass
class Match:
    """A script both loops can play."""

    config: DictConfig
    tokens: ThreadTokens
    engine: KnownPrompts
    worker: RolloutWorker
    conversations: list[list[dict[str, str]]]
    """The stock loop's prompts: one for each thread, the summarizer's last. Those that run side
    by side in ours are neighbours of equal `stages`."""
    stages: list[str]
    tools: list[FunctionTool] = field(default_factory=list)

    async def ours(self) -> list[AgentLoopOutput]:
        """One rollout, as verl's worker runs it."""
        loop = _Ours(**self._arguments())
        loop.worker = self.worker
        truth = GroundTruth(
            key_points=(KeyPoint(text="the Moon causes tides", needs=(("Moon",), ("tides",))),)
        ).to_json()
        return await loop.run(
            dict(SAMPLING.parameters),
            raw_prompt=[{"role": "user", "content": QUESTION}],
            reward_model={"ground_truth": truth},
        )

    async def stock(self) -> list[AgentLoopOutput]:
        """The same by the stock loop: one conversation for each of the rollout's threads."""
        loop = ToolAgentLoop(**self._arguments(), tools=ToolListWrap(self.tools))
        rows: list[AgentLoopOutput] = []
        for _, stage in groupby(
            zip(self.stages, self.conversations, strict=True), key=lambda pair: pair[0]
        ):
            rows += await asyncio.gather(
                *(loop.run(dict(SAMPLING.parameters), raw_prompt=prompt) for _, prompt in stage)
            )
        return rows

    def _arguments(self) -> dict[str, Any]:
        return {
            "trainer_config": DictConfigWrap(self.config),
            "server_manager": self.engine,
            "tokenizer": self.tokens.tokenizer,
            "processor": None,
            "dataset_cls": RLHFDataset,
            "data_config": DictConfigWrap(self.config.data),
            "hf_model_type": "qwen2",
        }


async def match(execution: str, subtasks: int = 1, turns: int = 2) -> Match:
    """Plays the script once, with an engine that writes, and keeps what is needed to play it
    again: the answer to every prompt, and what the world said."""
    config = match_config(execution, subtasks, turns)
    settings, documents = from_config(config), InstantDocuments()
    tokens = ThreadTokens(as_pretrained(make_tokenizer(PAGES.values(), words=2_000)))
    tokens.tokenizer.chat_template = TEMPLATE
    scripted = ScriptedEngine(tokens, research_turns(subtasks, turns))
    policy = ScriptedLedgerPolicy(scripted, tokens, SAMPLING, name="scripted")
    graph = RolloutGraph(settings, "scripted")
    rollout = await graph.run(QUESTION, policy, training_tools(settings, (documents, documents)))
    assert rollout.trace is not None
    assert rollout.trace.outcome == "complete"
    engine = KnownPrompts()
    for (_, prompt), (_, _, ids) in zip(scripted.prompts, scripted.written, strict=True):
        engine.answers[tuple(prompt)] = ids, [log_prob(token) for token in ids]
    first = {thread.id: thread for thread, _, _ in reversed(scripted.written)}
    threads = [first[row.thread] for row in rollout.rows]
    handed_on = ("subtask_list", "subtask_answer") if execution == "sequential" else ()
    return Match(
        config, tokens, engine,
        RolloutWorker(
            settings, tokens, RolloutLog(), model="scripted", documents=(documents, documents)
        ),
        conversations=[_prompt(thread) for thread in threads],
        stages=[thread.role for thread in threads],
        tools=_tools(rollout.trace.steps, handed_on),
    )  # fmt: skip


def match_config(execution: str, subtasks: int, turns: int) -> DictConfig:
    """The CPU configuration with room for the script, and the stock loop's settings beside ours."""
    stock = "actor_rollout_ref.rollout.multi_turn"
    return compose_config(
        "cpu_tiny",
        [
            f"oresearch.research.execution={execution}",
            f"oresearch.research.max_subtasks={subtasks}",
            f"oresearch.research.max_steps={turns + 2}",
            f"oresearch.research.max_tool_calls={turns + 1}",
            "oresearch.research.observation_tokens=800",
            "oresearch.research.results_per_query=4",
            f"oresearch.turn_tokens={SAMPLING.turn_tokens}",
            f"oresearch.report_tokens={SAMPLING.report_tokens}",
            "oresearch.traces=null",
            "data.max_prompt_length=30000",
            "data.max_response_length=30000",
            "actor_rollout_ref.rollout.max_model_len=100000",
            f"{stock}.enable=true",
            f"{stock}.format=research_tags",
            f"{stock}.max_tool_response_length=100000",
        ],
    )


def _prompt(thread: Thread) -> list[dict[str, str]]:
    """A thread's context before its first call, as messages."""
    prompt = [
        {"role": "system", "content": thread.system},
        {"role": "user", "content": thread.question},
    ]
    if thread.steps:
        prompt.append({"role": "assistant", "content": render_steps(thread.steps)})
    return prompt


def _tools(steps: Sequence[Step], handed_on: Sequence[str]) -> list[FunctionTool]:
    """Tools that answer at once what the world answered in the recorded run."""
    said: dict[tuple[str, str], str] = {
        (call.kind, call.text): render_step(answer)
        for call, answer in pairwise(steps)
        if answer.kind == "observation"
    }

    def tool(name: str) -> FunctionTool:
        async def answer(text: str) -> str:
            return said[name, text] if name not in handed_on else ""

        schema = {"name": name, "description": "", "parameters": _ONE_TEXT}
        made = OpenAIFunctionToolSchema.model_validate({"type": "function", "function": schema})
        return FunctionTool(name, answer, made, is_async=True)

    return [tool(name) for name in ("web_search", "crawl_page", *handed_on)]


_ONE_TEXT: Final = {
    "type": "object",
    "properties": {"text": {"type": "string", "description": ""}},
    "required": ["text"],
}
