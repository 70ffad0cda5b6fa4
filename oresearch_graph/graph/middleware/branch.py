"""The middleware around one node of a researcher: before_model, wrap_model_call and after_model
around each of its steps, wrap_tool_call around each of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.graph.message import add_messages
from langgraph.runtime import get_runtime
from langgraph.types import Overwrite

from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.evidence.ledger import SourceLedger
from oresearch_graph.graph.middleware.conversation import Conversation, snapshot
from oresearch_graph.graph.middleware.layers import Changes, Hook
from oresearch_graph.graph.middleware.model_requests import model_continuation
from oresearch_graph.graph.middleware.tool_requests import tool_answer
from oresearch_graph.graph.observations import Shown
from oresearch_graph.graph.state import BranchState
from oresearch_graph.graph.tool_calls import Caller, asks
from oresearch_graph.graph.writer import Continued, Faults, Writer
from oresearch_graph.policies.chat.rendering_tools import Tools, call_id
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.tools.crawl_page import CrawlPage
from oresearch_graph.tools.web_search import WebSearch
from oresearch_graph.trace import Failure, Step, parse_policy_text
from oresearch_graph.trace.plain_text import title_line

if TYPE_CHECKING:
    from oresearch_graph.graph.middleware.stack import MiddlewareStack
    from oresearch_graph.graph.run_context import RunContext

_QUOTE: Final = "the reply broke the protocol; middleware changes its words, so that none is quoted"


class Notes(TypedDict):
    """What is kept of a branch from one step to the next."""

    private: dict[str, Any]
    """State that middleware keeps for itself."""
    reply: int | None
    """Where in the thread's steps the last reply begins."""
    observations: list[str | None]
    """Those that middleware gave, for each call of the last reply."""
    ending: str | None
    """Why the next text is the answer."""
    changed: list[str]


class BranchMiddleware:
    """The middleware around one node of a branch."""

    def __init__(self, stack: MiddlewareStack, run_context: RunContext, state: BranchState) -> None:
        self.stack, self.run_context, self._branch_state = stack, run_context, state
        nothing = Notes(private={}, reply=None, observations=[], ending=None, changed=[])
        self._notes = nothing | cast("Notes", state.get("middleware", {}))
        self.changes = Changes(self._notes["changed"])
        self._edits: dict[int, tuple[str, str]] = {}
        """Observations that are to read otherwise, by their place in the branch."""
        self.runtime = get_runtime(ResearchSettings)
        self.rendering = Tools(tuple(run_context.tools), run_context.protocol.dialect)

    @cached_property
    def tools(self) -> dict[str, BaseTool]:
        """What a researcher may call, by name."""
        tools = (WebSearch(self.run_context.search), CrawlPage(self.run_context.reader))
        return {tool.name: tool.as_langchain_tool() for tool in tools} | self.run_context.tools

    def state(self, messages: Sequence[AnyMessage]) -> dict[str, Any]:
        """What hooks see as an agent's state."""
        task = self._branch_state["task"]
        place = {"question": task.run.question, "subtask": task.subtask, "branch": task.branch}
        return {**place, **self._notes["private"], "messages": list(messages)}

    def set_state(self, hook: Hook, fields: Mapping[str, Any]) -> None:
        """Keep what a hook sets. Raises ConfigurationError for what is no middleware's own."""
        if unknown := ", ".join(sorted(fields.keys() - self.stack.keys)):
            raise ConfigurationError(f"{hook.name} sets {unknown}, which a researcher has not")
        self._notes["private"] = {**self._notes["private"], **fields}

    @property
    def ending(self) -> str | None:
        """Why the next text has to be the answer."""
        for limit in self.stack.limits:
            for scope, most in (("thread", limit.thread_limit), ("run", limit.run_limit)):
                if most == self._notes["private"].get(f"{scope}_model_call_count", 0) + 1:
                    return "one model call is left for this subtask"
        return self._notes["ending"]

    def update(self, update: dict[str, Any]) -> dict[str, Any]:
        """A node's update of the branch's state, with what middleware did to it."""
        update["middleware"] = self._notes | {"changed": list(self.changes.names)}
        if not self._edits:
            return update
        steps = list(self._branch_state["steps"])
        task, earlier = self._branch_state["task"], self._branch_state.get("seen", [])
        ledger = SourceLedger(task.branch, [*task.known, *earlier])
        for at, (before, after) in self._edits.items():
            steps[at] = steps[at].model_copy(update={"text": after})
            ledger.reshow(before, after)
        ids = {source.id for source in (*earlier, *ledger.take_changed())}
        update["steps"] = Overwrite([*steps, *update["steps"]])
        update["seen"] = Overwrite([source for source in ledger.sources if source.id in ids])
        return update

    async def write(
        self, writer: Writer, thread: Thread, stop: Sequence[str], faults: Faults, *, seconds: float
    ) -> Continued:
        """See Writer. A hook that jumps to the end before the model is asked leaves the branch
        without an answer, and a Failure says so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        async with asyncio.timeout_at(end):
            request = await self._before(thread)
        self._notes["reply"] = len(thread.steps)
        if request is None:
            why = f"subtask {thread.branch} was not answered: {self._notes['ending']}"
            place: Any = {"role": "researcher", "branch": thread.branch}
            failure = Failure(name="not_covered", fault="person", message=why, **place)
            return Continued(failures=(failure,))
        writer.ask = partial(model_continuation, self, writer.policy)
        seconds = max(0.001, end - loop.time())
        continued = await writer.write(request, stop, faults, seconds=seconds)
        async with asyncio.timeout_at(end):
            steps = await self.after(request, continued.steps)
            changes = steps != continued.steps
            failures = [await self._checked(request, f, changes) for f in continued.failures]
        return continued.model_copy(update={"steps": steps, "failures": tuple(failures)})

    async def _before(self, thread: Thread) -> Thread | None:
        conversation = Conversation(thread, self.rendering, self._notes["reply"])
        messages, jumps = conversation.messages, False
        try:
            for hook in self.stack.before:
                messages, jumps = await self._updated(hook, messages)
                if jumps:
                    return None
        except OresearchError:
            if hook.name not in [limit.name for limit in self.stack.limits]:
                messages = self._withheld(hook, messages)
            raise
        finally:
            self._record(conversation, messages)
        return conversation.edited(messages)

    def _withheld(self, hook: Hook, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
        """Without the last observations: what a hook refuses may stand there for others to read."""
        last = max(i for i, m in enumerate(messages) if not isinstance(m, ToolMessage))
        blank = [m.model_copy(update={"content": "(withheld)"}) for m in messages[last + 1 :]]
        if blank:
            self.changes.note(hook.name)
        return [*messages[: last + 1], *blank]

    def _record(self, conversation: Conversation, messages: Sequence[AnyMessage]) -> None:
        """Keep what observations of this branch are to read from now on."""
        start = len(self._branch_state["task"].before)
        for message in messages:
            if isinstance(message, ToolMessage):
                (piece,) = conversation.pieces(message)
                before, after = conversation.thread.steps[piece.position].text, piece.step.text
                if before != after and piece.position >= start:
                    self._edits[piece.position - start] = (before, after)

    async def after(self, thread: Thread, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """The steps of a reply as after_model leaves them."""
        self._notes |= {"ending": None, "observations": []}
        if not (self.stack.after and steps):
            return steps
        first, answers = len(thread.steps), dict[str, str]()
        both = thread.model_copy(update={"steps": (*thread.steps, *steps), "pending": ""})
        conversation = Conversation(both, self.rendering, first)
        messages = conversation.messages
        for hook in self.stack.after:
            messages, jumps = await self._updated(hook, messages, answers)
            if jumps:
                break
        ids = [p.message.id for p in conversation.places if p.steps and p.steps[0] >= first]
        pieces = [piece for m in messages if m.id in ids for piece in conversation.pieces(m)]
        self._notes["observations"] = [answers.get(str(p.call)) for p in pieces if asks(p.step)]
        return tuple(piece.step for piece in pieces)

    async def _checked(self, thread: Thread, failure: Failure, changes: bool) -> Failure:
        """A failure without the words of a reply that after_model changes."""
        if failure.rejected is not None:
            steps = parse_policy_text(failure.rejected, self.rendering.extra)
            state = cast("BranchState", {**self._branch_state, "middleware": self._notes})
            apart, changes = BranchMiddleware(self.stack, self.run_context, state), True
            with suppress(OresearchError):
                changes = await apart.after(thread, steps) != steps
        quotes = changes and failure.name != "cut"
        return failure.model_copy(update={"rejected": None, "message": _QUOTE} if quotes else {})

    async def _updated(
        self, hook: Hook, messages: list[AnyMessage], answers: dict[str, str] | None = None
    ) -> tuple[list[AnyMessage], bool]:
        """The messages as a hook of before_model or after_model leaves them, and whether it ends
        the branch. `answers` takes what it answers to calls."""
        before = {message.id: snapshot(message) for message in messages}
        update = await hook.outcome(self.state(messages), self.runtime)
        if update is not None and not isinstance(update, Mapping):
            kind = type(update).__name__
            raise ConfigurationError(f"{hook.name} returns a {kind}: let it return a dict or None")
        fields = dict(update or {})
        jump, more = fields.pop("jump_to", None), fields.pop("messages", [])
        self.set_state(hook, fields if jump in (None, "end") else {f"jump_to={jump}": True})
        after = cast("list[AnyMessage]", add_messages(cast("Any", list(messages)), more))
        same = [message for message in after if message.id in before]
        added = [message for message in after if message.id not in before]
        results = [m for m in added if isinstance(m, ToolMessage) and answers is not None]
        if len(same) < len(before) or (len(added) > len(results) and not jump):
            raise ConfigurationError(
                f"{hook.name} adds or takes away messages around the model, which a trace cannot "
                "forget: do it in wrap_model_call"
            )
        if answers is not None:
            answers |= {result.tool_call_id: str(result.text) for result in results}
        if jump or added or any(before[message.id] != snapshot(message) for message in same):
            self.changes.note(hook.name)
        if jump:
            why = next((str(m.text) for m in reversed(added) if isinstance(m, AIMessage)), "")
            reason = f"{hook.name} ended the research: {why}".rstrip(": ")
            self._notes["ending"] = title_line(reason)
        return same, bool(jump)

    def refusal(self, nth: int) -> str | None:
        """The observation of the last reply's nth call, from 0, that is not to be carried out."""
        texts, ending = self._notes["observations"], self._notes["ending"]
        text = texts[nth] if nth < len(texts) else None
        return f"This call was not carried out: {ending}." if ending and text is None else text

    async def carry_out(self, caller: Caller, step: Step, nth: int) -> Shown:
        """See `tool_answer`; the last reply's nth call, from 0."""
        earlier = (*self._branch_state["task"].before, *self._branch_state["steps"])
        return await tool_answer(self, caller, step, call_id(sum(map(asks, earlier)) + nth))

    def messages(self) -> list[AnyMessage]:
        """The branch until now, with all calls of the last reply."""
        task, state = self._branch_state["task"], self._branch_state
        steps = (*task.before, *state.get("steps", []), *state.get("waiting", []))
        thread = Thread(
            id=task.run.id, system="", question=task.run.question, role="researcher",
            branch=task.branch, steps=steps,
        )  # fmt: skip
        return Conversation(thread, self.rendering, self._notes["reply"]).messages
