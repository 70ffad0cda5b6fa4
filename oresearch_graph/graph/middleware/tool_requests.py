"""wrap_tool_call around one call of a researcher, and what its observation and sources are then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables.config import ensure_config
from langgraph.prebuilt import ToolRuntime
from langgraph.prebuilt.tool_node import ToolCallRequest

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.graph.boundary import failure_of
from oresearch_graph.graph.middleware.layers import Hook
from oresearch_graph.policies.chat.rendering_tools import call_arguments
from oresearch_graph.tools.backend import PAGE
from oresearch_graph.trace import Call, Step, read_call
from oresearch_graph.trace.plain_text import body_text

if TYPE_CHECKING:
    from oresearch_graph.graph.middleware.branch import BranchMiddleware
    from oresearch_graph.graph.observations import Showing, Shown
    from oresearch_graph.graph.tool_calls import Caller


async def tool_answer(branch: BranchMiddleware, caller: Caller, step: Step, key: str) -> Shown:
    """The observation of a call, middleware around it, and the sources in it. Raises what nothing
    around it catches."""
    request, around = _request(branch, step, key), branch.stack.around_tools
    showings: list[Showing] = []
    failure: Exception | None = None

    async def carry_out(sent: ToolCallRequest) -> ToolMessage:
        nonlocal failure
        name = sent.tool_call["name"]
        try:
            if sent.tool not in (branch.tools[str(step.tag)], branch.tools.get(name)):
                raise ConfigurationError(
                    f"{', '.join(hook.name for hook in around)}: the tool of a request is none of "
                    "its call: give another tool_call"
                )
            show = await caller.ask(_call(sent.tool_call, step, branch.tools), sent.state)
        except Exception as error:
            failure = error
            raise
        failure = None
        showings.append(caller.display.preview(show, showings))
        return ToolMessage(showings[-1].text, tool_call_id=key, name=name)

    handler = branch.changes.compose(around, carry_out, _look, attrgetter("text"), _message)
    async with asyncio.timeout(caller.run_context.budget.seconds_for_tools()):
        message = await handler(request)
    if isinstance(failure, ConfigurationError):
        raise failure
    if failure is not None:
        caller.failures.append(failure_of(failure, "researcher", caller.branch))
    text = str(message.text)
    if showings:
        return caller.display.settle(showings, text)
    if message.status == "error":
        return body_text(text, PAGE), []
    # What middleware says in a tool's place can be cited as a tool's answer can.
    call = Call(tool=request.tool_call["name"], arguments=request.tool_call["args"])
    return caller.display.text(call, text)


def _request(branch: BranchMiddleware, step: Step, key: str) -> ToolCallRequest:
    name, state = str(step.tag), branch.state(branch.messages())
    runtime = branch.runtime
    return ToolCallRequest(
        tool_call=ToolCall(name=name, args=call_arguments(step) or {}, id=key, type="tool_call"),
        tool=branch.tools[name],
        state=state,
        runtime=ToolRuntime(
            state=state, context=cast("Any", runtime.context), config=ensure_config(),
            stream_writer=runtime.stream_writer, tool_call_id=key, store=runtime.store,
            tools=list(branch.tools.values()),
        ),
    )  # fmt: skip


def _call(sent: ToolCall, step: Step, tools: Collection[str]) -> Call:
    """What is asked of the tool, as the policy or middleware has it. Raises ToolError."""
    name, arguments = sent["name"], sent["args"]
    if (name, arguments) == (step.tag, call_arguments(step) or {}):
        return read_call(step)
    if name not in tools:
        raise ToolError(f"middleware calls {name!r}, which is no tool of this graph")
    kind = name if name in ("web_search", "crawl_page") else "tool_call"
    text = json.dumps(arguments, default=str)
    call = read_call(Step.model_validate({"kind": kind, "name": name, "text": text}))
    if call.fault is not None:
        raise ToolError(f"middleware's call of {name} cannot be carried out: {call.fault}")
    return call


def _look(request: ToolCallRequest) -> object:
    """A snapshot of a request: its call, and the state that a tool may have injected."""
    call, state = request.tool_call, request.state
    injected = {key: state[key] for key in state if key != "messages"}
    return call["name"], repr(call["args"]), repr(injected)


def _message(hook: Hook, answer: object) -> ToolMessage:
    if not isinstance(answer, ToolMessage):
        raise ToolError(
            f"{hook.name}: wrap_tool_call returns no ToolMessage and would steer the graph "
            "instead: let it return what the researcher is to see"
        )
    return answer
