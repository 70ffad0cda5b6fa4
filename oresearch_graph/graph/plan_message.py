"""The plan as a chat message: chats show it from planning to the report, and in it, as a run is
streamed, what researchers call.

It is a message of the state while it is shown: useStream, which agent-chat-ui is made of, loses its
place among messages that are streamed alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    RemoveMessage,
    ToolMessage,
    message_chunk_to_message,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langgraph.config import get_config
from langgraph.graph.message import push_message

from oresearch_graph.graph.state import Run
from oresearch_graph.trace import Call


def plan_messages(run: Run, subtasks: Sequence[str]) -> list[BaseMessage]:
    """The plan of a run that began with a chat message, each subtask as a call of a tool."""
    if not run.chat:
        return []
    chunk = _chunk(run, (("research", {"subtask": subtask}) for subtask in subtasks))
    push_message(chunk, state_key=None)
    return [message_chunk_to_message(chunk)]


def show_call(run: Run, call: Call) -> None:
    """Stream the plan with one more call. Said by the graph's node, as few chats listen to
    subgraphs; not behind an approval, where a stream begins that knows no plan to add to."""
    if not run.chat or run.approve_plan:
        return
    arguments = call.arguments or {"asked": " | ".join(call.items)}
    config = get_config()
    place = config["metadata"]["langgraph_checkpoint_ns"].rpartition("|")[0]
    of_graph = {"langgraph_checkpoint_ns": place, "langgraph_node": "research"}
    said: RunnableConfig = {**config, "metadata": {**config["metadata"], **of_graph}}
    with set_config_context(said) as context:
        context.run(push_message, _chunk(run, [(call.tool, arguments)]), state_key=None)


def without_plan(run: Run | None, messages: Sequence[AnyMessage] | None) -> list[RemoveMessage]:
    """What takes the run's plan out of the messages, and what a chat has answered its calls."""
    plans = [m for m in messages or () if run and m.id == _id(run) and isinstance(m, AIMessage)]
    calls = {call["id"] for plan in plans for call in plan.tool_calls}
    answers = [m for m in messages or () if isinstance(m, ToolMessage) and m.tool_call_id in calls]
    return [RemoveMessage(id=str(message.id)) for message in (*plans, *answers)]


def _chunk(run: Run, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> AIMessageChunk:
    chunks = [
        tool_call_chunk(name=name, args=json.dumps(arguments, ensure_ascii=False), id=uuid4().hex)
        for name, arguments in calls
    ]
    return AIMessageChunk(content="", tool_call_chunks=chunks, id=_id(run))


def _id(run: Run) -> str:
    return f"{run.id}-plan"
