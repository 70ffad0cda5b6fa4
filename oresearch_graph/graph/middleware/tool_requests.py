"""wrap_tool_call around one call of a researcher, and what its observation and sources are then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables.config import ensure_config
from langgraph.prebuilt import ToolRuntime
from langgraph.prebuilt.tool_node import ToolCallRequest

from oresearch_graph.errors import ToolError
from oresearch_graph.graph.boundary import failure_of
from oresearch_graph.policies.chat.rendering_tools import asked_count, call_arguments
from oresearch_graph.tools.backend import PAGE
from oresearch_graph.trace import Call, Step, read_call
from oresearch_graph.trace.calls import item_strings
from oresearch_graph.trace.plain_text import body_text

if TYPE_CHECKING:
    from oresearch_graph.graph.middleware.turn import Turn
    from oresearch_graph.graph.observations import Showing, Shown
    from oresearch_graph.graph.tool_calls import Caller


async def carried_out(turn: Turn, caller: Caller, step: Step, key: str) -> Shown:
    """The call's observation, middleware around it, and the sources in it. Raises what nothing
    around it catches."""
    request = _request(turn, step, key)
    showings: list[Showing] = []
    failure: Exception | None = None

    async def carry_out(sent: ToolCallRequest) -> ToolMessage:
        nonlocal failure
        call = _call(sent.tool_call, request.tool_call, step, turn)
        try:
            show = await caller.ask(call, cast("Mapping[str, Any]", sent.state))
        except Exception as error:
            failure = error
            raise
        failure = None
        showings.append(caller.display.preview(show, showings))
        name, text = sent.tool_call["name"], showings[-1].text
        return ToolMessage(text, tool_call_id=key, name=name)

    around = turn.hooks.around_tools
    handler = turn.changes.layered(around, carry_out, _asked, _answered)
    async with asyncio.timeout(caller.run_context.budget.seconds_for_tools()):
        message = await handler(request)
    if not isinstance(message, ToolMessage):
        raise ToolError(
            f"{', '.join(hook.name for hook in around)}: wrap_tool_call returns no ToolMessage and "
            "would steer the graph instead: let it return what the researcher is to see"
        )
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


def _request(turn: Turn, step: Step, key: str) -> ToolCallRequest:
    tools, name, state = turn.tools, str(step.tag), turn.state(turn.branch_messages())
    runtime = turn.runtime
    return ToolCallRequest(
        tool_call=ToolCall(name=name, args=call_arguments(step) or {}, id=key, type="tool_call"),
        tool=tools[name],
        state=state,
        runtime=ToolRuntime(
            state=state, context=cast("Any", runtime.context), config=ensure_config(),
            stream_writer=runtime.stream_writer, tool_call_id=key, store=runtime.store,
            tools=list(tools.values()),
        ),
    )  # fmt: skip


def _call(sent: ToolCall, original: ToolCall, step: Step, turn: Turn) -> Call:
    """What is asked of the tool: as the policy wrote it, or as middleware has it. Raises
    ToolError."""
    name, arguments = sent["name"], sent["args"]
    if (name, arguments) == (original["name"], original["args"]):
        return read_call(step)
    if name not in turn.tools:
        raise ToolError(f"middleware calls {name!r}, which is no tool of this graph")
    if name not in ("web_search", "crawl_page"):
        return Call(tool=name, arguments=arguments)
    kind = "web_search" if name == "web_search" else "crawl_page"
    items = json.dumps({"items": item_strings(arguments, name)})
    call = read_call(Step(kind=kind, text=items))
    if call.fault is not None:
        raise ToolError(f"middleware's call of {name} cannot be carried out: {call.fault}")
    return call.model_copy(update={"num": asked_count(arguments)})


def _asked(request: ToolCallRequest) -> object:
    call = request.tool_call
    return call["name"], repr(call["args"])


def _answered(answer: object) -> object:
    return str(answer.text) if isinstance(answer, ToolMessage) else repr(answer)
