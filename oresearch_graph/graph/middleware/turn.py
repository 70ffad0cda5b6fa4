"""One step of a researcher with middleware around it: before_model, wrap_model_call, after_model,
and wrap_tool_call around each of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, cast

from langchain.agents.middleware import ModelCallLimitMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.graph.message import add_messages
from langgraph.runtime import get_runtime
from langgraph.types import Overwrite

from oresearch_graph.errors import BudgetExhausted, ConfigurationError, OresearchError, PolicyError
from oresearch_graph.evidence.ledger import SourceLedger
from oresearch_graph.graph.middleware.conversation import Conversation, call_id
from oresearch_graph.graph.middleware.layers import Changes, Hook, Through, called, looked_at
from oresearch_graph.graph.middleware.tool_requests import carried_out
from oresearch_graph.graph.observations import Shown
from oresearch_graph.graph.state import BranchState
from oresearch_graph.graph.tool_calls import Caller, asks
from oresearch_graph.graph.writer import Continued, Faults, Writer
from oresearch_graph.policies.chat.model_objects import model_name
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.rendering_tools import Tools
from oresearch_graph.policies.chat.reply import read_message
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.tools.crawl_page import CrawlPage
from oresearch_graph.tools.web_search import WebSearch
from oresearch_graph.trace import Failure, Step, Usage, open_tag, parse_policy_text
from oresearch_graph.trace.plain_text import title_line

if TYPE_CHECKING:
    from oresearch_graph.graph.run_context import RunContext

_REASON: Final = 300
"""Characters of why a branch was ended."""
_LAST_CALL: Final = "one model call is left for this subtask"


class Hooks(NamedTuple):
    """What a graph's middleware does, in the order in which it is called."""

    before: tuple[Hook, ...]
    around_model: tuple[Hook, ...]
    after: tuple[Hook, ...]
    around_tools: tuple[Hook, ...]
    keys: frozenset[str]
    """Of the state that middleware keeps for itself."""
    limits: tuple[ModelCallLimitMiddleware[Any, Any], ...]


class Notes(TypedDict, total=False):
    """What is kept of a branch from one step to the next."""

    private: dict[str, Any]
    """State that middleware keeps for itself."""
    begins: list[int]
    """Where in the thread's steps the policy was asked for more."""
    answers: dict[str, str]
    """Observations that middleware gave, by call id."""
    ending: str | None
    """Why the next text is the answer."""
    changed: list[str]


class Turn:
    """The middleware around one node of a branch."""

    def __init__(self, hooks: Hooks, state: BranchState, run_context: RunContext) -> None:
        notes = cast("Notes", state.get("middleware", {}))
        self.hooks, self.run_context, self._branch_state = hooks, run_context, state
        self._start = len(state["task"].before)
        self._private = dict(notes.get("private", {}))
        self._begins = list(notes.get("begins", []))
        self.answers = dict(notes.get("answers", {}))
        self._ending = notes.get("ending")
        self.changes = Changes()
        for name in notes.get("changed", []):
            self.changes.note(name)
        self._edits: dict[int, tuple[str, str]] = {}
        """Observations that are to read otherwise, by their place in the branch."""
        self.runtime = get_runtime(ResearchSettings)
        self.rendering = Tools(tuple(run_context.tools), run_context.protocol.dialect)

    @cached_property
    def tools(self) -> dict[str, BaseTool]:
        """What a researcher may call, by name."""
        tools = (WebSearch(self.run_context.search), CrawlPage(self.run_context.reader))
        return {tool.name: tool.as_langchain_tool() for tool in tools} | self.run_context.tools

    def state(self, messages: Sequence[BaseMessage]) -> dict[str, Any]:
        """What hooks see as an agent's state."""
        task = self._branch_state["task"]
        place = {"question": task.run.question, "subtask": task.subtask, "branch": task.branch}
        return {**place, **self._private, "messages": list(messages)}

    @property
    def ending(self) -> str | None:
        """Why the next text has to be the answer."""
        for limit in self.hooks.limits:
            for scope, most in (("thread", limit.thread_limit), ("run", limit.run_limit)):
                calls = self._private.get(f"{scope}_model_call_count", 0)
                if most is not None and calls + 1 >= most:
                    return _LAST_CALL
        return self._ending

    def update(self, update: dict[str, Any]) -> dict[str, Any]:
        """A node's update of the branch's state, with what middleware did to it."""
        notes = Notes(
            private=self._private, begins=self._begins, answers=self.answers, ending=self._ending,
            changed=list(self.changes.names),
        )  # fmt: skip
        if not self._edits:
            return {**update, "middleware": notes}
        steps = list(self._branch_state["steps"])
        task, earlier = self._branch_state["task"], self._branch_state.get("seen", [])
        ledger = SourceLedger(task.branch, [*task.known, *earlier])
        for at, (before, after) in self._edits.items():
            steps[at] = steps[at].model_copy(update={"text": after})
            ledger.reshow(before, after)
        ids = {source.id for source in (*earlier, *ledger.take_changed())}
        return {
            **update, "middleware": notes, "steps": Overwrite([*steps, *update["steps"]]),
            "seen": Overwrite([source for source in ledger.sources if source.id in ids]),
        }  # fmt: skip

    async def write(
        self, writer: Writer, thread: Thread, stop: Sequence[str], faults: Faults, *, seconds: float
    ) -> Continued:
        """See Writer. A hook that jumps to the end before the model is asked leaves the branch
        without an answer, and a Failure says so."""
        self._begins.append(len(thread.steps))
        async with asyncio.timeout(seconds):
            request = await self._before(thread)
        if request is None:
            return Continued(failures=(self._ended(thread),))
        writer.ask = partial(self._continued, writer)
        continued = await writer.write(request, stop, faults, seconds=seconds)
        async with asyncio.timeout(seconds):
            steps = await self._after(request, continued.steps)
        return continued.model_copy(update={"steps": tuple(steps)})

    async def _before(self, thread: Thread) -> Thread | None:
        conversation = self.conversation(thread)
        messages = conversation.messages
        for hook in self.hooks.before:
            messages, jumps = await self._updated(hook, messages)
            if jumps:
                return None
        texts = {message.id: str(message.text) for message in messages}
        for place in conversation.places:
            before, after = str(place.message.text), texts[place.message.id]
            if isinstance(place.message, ToolMessage) and before != after:
                (at,) = place.steps
                if at >= self._start:
                    self._edits[at - self._start] = (before, after)
        return conversation.edited(messages)

    async def _after(self, thread: Thread, steps: Sequence[Step]) -> Sequence[Step]:
        self._ending, self.answers = None, {}
        if not (self.hooks.after and steps):
            return steps
        first = len(thread.steps)
        both = thread.model_copy(update={"steps": (*thread.steps, *steps), "pending": ""})
        conversation = self.conversation(both)
        messages = conversation.messages
        for hook in self.hooks.after:
            messages, jumps = await self._updated(hook, messages, answers=True)
            if jumps:
                break
        ids = {place.message.id for place in conversation.places if first in place.steps}
        return [s for message in messages if message.id in ids for s in conversation.steps(message)]

    async def _updated(
        self, hook: Hook, messages: list[AnyMessage], *, answers: bool = False
    ) -> tuple[list[AnyMessage], bool]:
        """The messages as a hook of before_model or after_model leaves them, and whether it ends
        the branch. `answers`: it may answer calls that wait."""
        before = {message.id: looked_at(message) for message in messages}
        update = await called(hook, self.state(messages), self.runtime)
        if update is not None and not isinstance(update, Mapping):
            kind = type(update).__name__
            raise ConfigurationError(f"{hook.name} returns a {kind}: let it return a dict or None")
        fields = dict(update or {})
        jump, more = fields.pop("jump_to", None), fields.pop("messages", [])
        unknown = sorted(fields.keys() - self.hooks.keys)
        if unknown or jump not in (None, "end"):
            names = ", ".join([*unknown, *([] if jump is None else [f"jump_to={jump}"])])
            raise ConfigurationError(f"{hook.name} sets {names}, which a researcher has not")
        self._private |= fields
        after = cast("list[AnyMessage]", add_messages(cast("Any", list(messages)), more))
        added = [message for message in after if message.id not in before]
        gives = [m for m in added if answers and isinstance(m, ToolMessage)]
        beside = [m for m in added if m not in gives and not jump]
        if beside or len(after) - len(added) < len(before):
            raise ConfigurationError(
                f"{hook.name} adds or takes away messages around the model, which a trace cannot "
                "forget: do it in wrap_model_call"
            )
        self.answers |= {message.tool_call_id: str(message.text) for message in gives}
        if added or any(before.get(m.id, looked_at(m)) != looked_at(m) for m in after) or jump:
            self.changes.note(hook.name)
        if jump:
            why = next((str(m.text) for m in reversed(added) if isinstance(m, AIMessage)), "")
            self._ending = title_line(
                f"{hook.name} ended the research: {why}".rstrip(": "), _REASON
            )
        return [message for message in after if message.id in before], bool(jump)

    def refusal(self, nth: int) -> str | None:
        """The observation of the branch's nth call, from 1, where it is not to be carried out."""
        if (answer := self.answers.get(self._key(nth))) is not None:
            return answer
        return f"This call was not carried out: {self._ending}." if self._ending else None

    async def carry_out(self, caller: Caller, step: Step, nth: int) -> Shown:
        """See `carried_out`; the branch's nth call."""
        return await carried_out(self, caller, step, self._key(nth))

    def _key(self, nth: int) -> str:
        return call_id(nth + sum(map(asks, self._branch_state["task"].before)))

    def branch_messages(self) -> list[AnyMessage]:
        """The branch until now."""
        task = self._branch_state["task"]
        thread = Thread(
            id=task.run.id, system="", question=task.run.question, role="researcher",
            branch=task.branch, steps=(*task.before, *self._branch_state.get("steps", [])),
        )  # fmt: skip
        return self.conversation(thread).messages

    def _ended(self, thread: Thread) -> Failure:
        return Failure(
            name="not_covered", fault="person", role="researcher", branch=thread.branch,
            message=f"subtask {thread.branch} was not answered: {self._ending}",
        )  # fmt: skip

    def conversation(self, thread: Thread) -> Conversation:
        return Conversation(thread, self.rendering, self._start, self._begins)

    async def _continued(
        self, writer: Writer, thread: Thread, stop: Sequence[str], *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:  # fmt: skip
        """One continuation, with what stands around the model."""
        policy = writer.policy
        if not self.hooks.around_model or not isinstance(policy, ChatPolicy):
            return await policy.continue_thread(thread, stop, on_text=on_text)
        conversation, tools = self.conversation(thread), list(self.tools.values())
        attempts: list[tuple[object, Continuation]] = []
        failure: OresearchError | None = None
        names = dict(self.changes.names)

        async def ask(request: ModelRequest[Any]) -> ModelResponse[Any]:
            nonlocal failure
            failure = None
            try:
                edited = conversation.edited(request.messages, request.system_message)
                continuation = await self._policy(policy, request, tools).continue_thread(
                    edited, stop, on_text=on_text
                )
            except (BudgetExhausted, ConfigurationError) as error:
                failure = error
                raise Through(error) from error
            except PolicyError as error:
                failure = error
                raise
            reply = conversation.reply(self._steps(thread, continuation))
            reply.response_metadata["model_name"] = continuation.usage.model
            attempts.append((looked_at(reply), continuation))
            return ModelResponse(result=[reply])

        request = ModelRequest(
            model=policy.model, messages=conversation.messages, tools=[*tools],
            system_message=conversation.system, runtime=cast("Any", self.runtime),
            state=cast("Any", self.state(conversation.messages)),
        )  # fmt: skip
        handler = self.changes.layered(
            self.hooks.around_model, ask, partial(_request, policy), _response
        )
        try:
            response = await handler(request)
        except Through as through:
            raise through.error from None
        reply = next((m for m in reversed(response.result) if isinstance(m, AIMessage)), None)
        if reply is None:
            raise PolicyError(
                "wrap_model_call returned no AIMessage: return the model's or another"
            )
        look = looked_at(reply)
        for earlier, continuation in reversed(attempts):
            if earlier == look:
                return continuation
        text = conversation.text_of(reply)
        tags = [step for step in parse_policy_text(text, self.rendering.extra) if step.tag]
        if isinstance(failure, BudgetExhausted | ConfigurationError) or (failure and not tags):
            self.changes.names = names
            raise failure  # words about an error are no answer
        policy_text = self.rendering.read(thread, stop, read_message(reply)._replace(finish="stop"))
        return Continuation(**policy_text._asdict(), usage=Usage(role=thread.role))

    def _steps(self, thread: Thread, continuation: Continuation) -> tuple[Step, ...]:
        opened = open_tag(thread.forced) if thread.forced and not thread.pending else ""
        text = f"{opened}{continuation.given}{continuation.text}"
        return parse_policy_text(text, self.rendering.extra)

    def _policy(
        self, policy: ChatPolicy, request: ModelRequest[Any], tools: Sequence[BaseTool]
    ) -> ChatPolicy:
        """Who is asked: the branch's own policy, or one for the model that a request names."""
        if list(request.tools) != list(tools) or request.tool_choice or request.response_format:
            raise ConfigurationError(
                "middleware changes tools, tool_choice or response_format of a researcher's "
                "request, which the protocol sets: leave them as they are"
            )
        if request.model is policy.model and not request.model_settings:
            return policy
        return self.run_context.other_policy(policy, request.model, request.model_settings)


def _request(policy: ChatPolicy, request: ModelRequest[Any]) -> object:
    """A snapshot. Usage names another model; one of the same name it cannot tell."""
    model, system = request.model, request.system_message
    alike = model_name(getattr(model, "bound", model)) == policy.name
    return (
        None if system is None else looked_at(system),
        tuple(map(looked_at, request.messages)),
        repr(sorted(request.model_settings.items())),
        id(model) if alike and model is not policy.model else None,
    )


def _response(response: ModelResponse[Any]) -> object:
    return tuple(map(looked_at, response.result))
