"""The research graph as a harness of verifiers (0.4): it runs in this process, and each model call
of each role goes to the endpoint that verifiers gives, which records it. Search and reading are
ours, as in our own training.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import openai
import verifiers.v1 as vf
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from pydantic import Field

from oresearch_graph.errors import BudgetExhausted, OresearchError, PolicyError, PolicyOverflow
from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.policies.chat.connections import async_connections
from oresearch_graph.policies.chat.model_faults import fault_of
from oresearch_graph.policies.chat.rendering import (
    KEEP_STOP_TAG,
    before_continuation,
    read_text,
    what_to_write,
    without_repeat,
)
from oresearch_graph.policies.chat.reply import Finish, Reply
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Author, Trace, Usage, render_steps
from rl.environment import TRACE
from rl.rollouts.reward import spoiled_by
from rl.settings import FEWEST_TOKENS, RLSettings, TimeSettings, ToolSettings
from rl.tools.documents import open_documents
from rl.tools.training_tools import training_tools

_RETRIES: Final = 1
"""Of a call that failed, marked as such by the client: a recorder answers a retry of a call that it
has recorded from its record."""
_FINISHES: Final[Mapping[str, Finish]] = {"stop": "stop", "length": "length"}
_RECURSION_LIMIT: Final = 10_000
"""Steps of LangGraph; the research settings' own limits end a rollout long before."""


class ResearchHarnessConfig(vf.HarnessConfig):
    """How research is done, as in the key `oresearch` of a training configuration."""

    research: dict[str, Any] = Field(default_factory=dict)
    """ResearchSettings: execution, effort, limits, dialect."""
    turn_tokens: int = Field(default=1_024, ge=16)
    """Most tokens of one continuation by planner or researcher."""
    report_tokens: int = Field(default=4_096, ge=16)
    """Most tokens of the report."""
    window: int | None = Field(default=None, ge=64)
    """Tokens of one thread, prompts included: `data.max_prompt_length` + `max_response_length` of a
    training run. A researcher whose thread becomes full answers then, as it does in training; by
    default, and at an endpoint that counts no tokens, its branch ends when the endpoint refuses."""
    tools: ToolSettings = ToolSettings()
    seconds: TimeSettings = TimeSettings()
    request_fields: dict[str, Any] = Field(default_factory=lambda: dict(KEEP_STOP_TAG))
    """More fields of each request. A server that keeps the stop string in its reply, as vLLM does
    when it is told so, has a thread's replies in one branch."""

    @property
    def settings(self) -> RLSettings:
        """The same as a training run has it. What is wrong with `research` is told later."""
        turn, report = self.turn_tokens, self.report_tokens
        bounds = {"planner": turn, "turn": turn, "answer": turn, "report": report}
        return RLSettings(
            research={**self.research, "bounds": bounds},
            turn_tokens=turn,
            report_tokens=report,
            tools=self.tools,
            seconds=self.seconds,
        )


class ResearchHarness(vf.Harness[ResearchHarnessConfig]):
    """A rollout is one run of the graph. Its Trace is kept in verifiers' trace, for whoever scores
    it. Where infrastructure failed it raises, so that nobody does."""

    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    def __init__(self, config: ResearchHarnessConfig) -> None:
        super().__init__(config)
        self.settings = config.settings
        self.research = self.settings.research_settings  # a wrong one is told before any rollout

    async def launch(
        self, ctx: vf.ModelContext, trace: vf.Trace, runtime: vf.Runtime, endpoint: str,  # noqa: ARG002
        secret: str, mcp_urls: dict[str, str], data: vf.TaskData,  # noqa: ARG002
    ) -> vf.ProgramResult:  # fmt: skip
        _, question = self.resolve_text_prompt(data)
        tools = training_tools(
            self.settings, await asyncio.to_thread(open_documents, self.settings)
        )
        policy = EndpointPolicy(
            ctx.model, endpoint, secret,
            seconds=self.settings.seconds.call, fields=self.config.request_fields,
            window=self.config.window,
            keep_room=self.settings.report_tokens if self.research.execution == "sequential" else 0,
        )  # fmt: skip
        graph = create_research_graph(
            policy, search=tools.search, reader=tools.reader, settings=self.research
        )
        try:
            async with asyncio.timeout(self.settings.seconds.rollout):
                state = await graph.ainvoke(
                    {"question": question}, {"recursion_limit": _RECURSION_LIMIT}
                )
        finally:
            await policy.aclose()
        research: Trace = state["trace"]
        trace.info[TRACE] = research.model_dump(mode="json")
        trace.root_reply = state["report"]
        if culprit := spoiled_by(research):
            raise OresearchError(f"{culprit.name}: {culprit.message}")
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


class ResearchEnvConfig(vf.SingleAgentEnvConfig):
    """One seat. The harness is no program, so no machine is rented for it."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class ResearchEnv(vf.SingleAgentEnv, vf.Env[ResearchEnvConfig]):
    """The environment that goes with the taskset."""


@dataclass(frozen=True)
class _Chat:
    """A thread as it stands at the endpoint."""

    messages: tuple[dict[str, Any], ...]
    text: str = ""
    """Of the thread: what stands in the messages."""
    tokens: int = 0
    """Of the messages, as the endpoint counted them; 0 where it did not."""


class EndpointPolicy:
    """Writes as every role of one rollout. To the graph it is no chat model: nothing is given or
    verified for it, and nobody asks how it is served.

    A thread is a chat that only grows. What it was opened with (the plan, its subtask, its
    siblings' answers) stands in its first user message and is nobody's reply there. After that a
    reply goes back exactly as it came, thinking that was delivered apart included, and what the
    world wrote is a user message. verifiers stores common beginnings of chats once: it finds one
    branch for each thread, and each reply in one branch.
    """

    def __init__(
        self, model: str, endpoint: str, secret: str, *, seconds: float, fields: Mapping[str, Any],
        window: int | None = None, keep_room: int = 0,
    ) -> None:  # fmt: skip
        """`seconds` of one call; `fields` are more fields of each request; `window` tokens of one
        thread, of which researchers leave `keep_room` to later roles."""
        self.name, self._fields = model, dict(fields)
        self._window, self._keep_room = window, keep_room
        self._client = openai.AsyncOpenAI(
            base_url=endpoint, api_key=secret, timeout=seconds, max_retries=_RETRIES,
            http_client=async_connections(endpoint),
        )  # fmt: skip
        self._chats: dict[str, _Chat] = {}

    async def aclose(self) -> None:
        """Close the connections to the endpoint."""
        await self._client.close()

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        """Raises BudgetExhausted where the thread's context is full, PolicyError when the endpoint
        fails after its tries."""
        text = render_steps(thread.steps) + before_continuation(thread)
        chat = self._chats.get(thread.id)
        if chat is None or not text.startswith(chat.text):
            chat = _Chat(({"role": "system", "content": thread.system},))
        if (left := self._left(chat.tokens)) is not None and left < FEWEST_TOKENS:
            raise BudgetExhausted("context", chat.tokens, chat.tokens + left)
        messages = (*chat.messages, *_news(thread, chat))
        answer = await self._ask(messages, stop, thread.bound)
        reply = _reply(answer)
        piece = read_text(thread, stop, without_repeat(thread, reply))
        whole = piece.text.endswith(reply.text) and not piece.closed_by_world
        message = _as_it_came(answer) if whole else {"role": "assistant", "content": piece.text}
        used = (reply.prompt_tokens or 0) + (reply.completion_tokens or 0)
        self._chats[thread.id] = _Chat((*messages, message), text + piece.text, used)
        reserve = self._keep_room if thread.role != "summarizer" else 0
        if on_text is not None:
            on_text(piece.text)
        return Continuation(
            text=piece.text,
            stop="end" if piece.stop == "think" else piece.stop,
            reasoning=piece.reasoning,
            closed_by_world=piece.closed_by_world,
            room=None if (left := self._left(used)) is None else left - reserve,
            usage=Usage(
                role=thread.role, model=self.name, calls=1, prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
            ),
        )  # fmt: skip

    def _left(self, used: int) -> int | None:
        """Tokens that a thread still has; None where that is not known."""
        return self._window - used if self._window is not None and used else None

    async def _ask(
        self, messages: Sequence[dict[str, Any]], stop: Sequence[str], bound: int | None
    ) -> ChatCompletion:
        sent: Any = list(messages)
        try:
            answer = await self._client.chat.completions.create(
                model=self.name, messages=sent, stop=list(stop), max_tokens=bound,
                extra_body=self._fields,
            )  # fmt: skip
        except openai.OpenAIError as error:
            fault = fault_of(error, self.name)
            if isinstance(fault, PolicyOverflow):
                # As in our own training: what fills a policy's context is its own.
                raise BudgetExhausted("context", fault.prompt or 0, fault.context or 0) from error
            if not isinstance(fault, PolicyError):
                fault = fault.final(self.name, 1 + _RETRIES)
            raise fault from error
        if not answer.choices:
            raise PolicyError(f"{self.name}: the endpoint answered without a choice: see its log")
        return answer


def _news(thread: Thread, chat: _Chat) -> list[dict[str, Any]]:
    """What the chat has not been told yet: of a new one the question first, then what was written
    since, then what is asked for in words."""
    question = thread.user_message() if len(chat.messages) == 1 else ""
    shown = render_steps(thread.steps)[len(chat.text) :]
    last: Author = thread.steps[-1].author if thread.steps else "world"
    ask = what_to_write(thread, "policy" if thread.pending else last)
    content = "\n\n".join(part.strip() for part in (question, shown, ask) if part.strip())
    return [{"role": "user", "content": content}] if content else []


def _reply(answer: ChatCompletion) -> Reply:
    choice, usage = answer.choices[0], answer.usage
    stopped_by = (choice.model_extra or {}).get("stop_reason", "")
    return Reply(
        text=choice.message.content or "",
        reasoning=next(iter(_thinking(choice.message).values()), None),
        finish=_FINISHES.get(choice.finish_reason),
        stop_string=stopped_by if isinstance(stopped_by, str) else None,
        ended=not isinstance(stopped_by, str),  # vLLM's null: the model ended by itself
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
    )


def _as_it_came(answer: ChatCompletion) -> dict[str, Any]:
    """The reply as a message of the chat."""
    message = answer.choices[0].message
    return {"role": "assistant", "content": message.content, **_thinking(message)}


def _thinking(message: ChatCompletionMessage) -> dict[str, str]:
    """What was thought outside the content, under the name that the server has for it."""
    more = message.model_extra or {}
    names = ("reasoning_content", "reasoning")
    return {name: more[name] for name in names if isinstance(more.get(name), str) and more[name]}
