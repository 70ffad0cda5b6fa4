"""The extra tools of researchers: any LangChain tool, under a name that can be a tag. What
LangGraph injects into a tool (state, store, runtime) is injected here too, and Documents that a
tool hands over as its artifact are sources of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.prebuilt import ToolNode
from pydantic import BaseModel

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.redaction import brief
from oresearch_graph.tools.daemon_threads import answer_of
from oresearch_graph.tools.providers.retriever import DocumentShelf
from oresearch_graph.trace import PROTOCOL_TAGS, Call
from oresearch_graph.trace.calls import json_value

_NO_TAG: Final = re.compile(r"[^0-9A-Za-z_]")
_DOCUMENTS: Final = 50
"""Of one answer, at most."""


class ToolAnswer(NamedTuple):
    """What a tool said, and the documents behind it."""

    content: Any
    documents: tuple[Document, ...] = ()


def extra_tools(tools: Sequence[BaseTool | Callable[..., Any]]) -> dict[str, BaseTool]:
    """The tools by name. A name becomes a tag: what no tag may hold is an underscore there. Raises
    ConfigurationError for a name of the protocol's own, or of another tool."""
    extra = dict[str, BaseTool]()
    for each in tools:
        instance = each if isinstance(each, BaseTool) else tool(each)
        name = _NO_TAG.sub("_", instance.name)
        name = f"tool_{name}" if not name or name[0].isdigit() else name
        if name in PROTOCOL_TAGS or name in extra:
            owner = "the protocol's own" if name in PROTOCOL_TAGS else "another tool's"
            raise ConfigurationError(
                f"a tool cannot be called {instance.name!r}: the tag <{name}> is {owner}; rename it"
            )
        extra[name] = (
            instance if name == instance.name else instance.model_copy(update={"name": name})
        )
    return extra


async def answer_of_tool(extra: BaseTool, call: Call, state: Mapping[str, Any]) -> ToolAnswer:
    """What the tool answers to a researcher's call. Raises what it raises, and ToolError for an
    answer that would steer the graph."""
    request = ToolCall(
        name=extra.name, args=_typed(call.arguments or {}, extra.args), id=call.tool,
        type="tool_call",
    )  # fmt: skip
    answer: Any
    if _is_injected(extra):
        messages = [HumanMessage(str(state["subtask"])), AIMessage("", tool_calls=[request])]
        node = ToolNode([extra], handle_tool_errors=False)
        answer = await node.ainvoke({**state, "messages": messages})
        answer = answer["messages"][-1] if isinstance(answer, dict) else answer
    else:
        answer = await answer_of(extra, request)
    if not isinstance(answer, ToolMessage):
        raise ToolError(
            f"the tool {extra.name} gives no answer and would steer the graph instead: let it "
            "return what it knows"
        )
    if answer.status == "error":
        raise ToolError(f"the tool {extra.name} failed: {brief(answer.text)}")
    artifact = answer.artifact if isinstance(answer.artifact, list | tuple) else [answer.artifact]
    documents = [each for each in artifact if isinstance(each, Document)]
    return ToolAnswer(answer.content, tuple(documents[:_DOCUMENTS]))


def shelf_of(name: str) -> DocumentShelf:
    """Addresses for the documents of a tool."""
    return DocumentShelf(shelf=name.replace("_", "-").lower())


def _is_injected(extra: BaseTool) -> bool:
    """Some argument is no model's to give."""
    schema = extra.args_schema
    if not isinstance(schema, type) or not issubclass(schema, BaseModel):
        return False  # of an MCP server
    return not set(schema.model_fields) <= set(extra.args)


def _typed(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, lists and objects among them that a model wrote as JSON text read."""
    typed = dict(arguments)
    for name, field in schema.items():
        value = typed.get(name)
        if isinstance(value, str) and isinstance(field, Mapping) and not _takes_text(field):
            inside = json_value(value)
            typed[name] = value if inside is None else inside
    return typed


def _takes_text(field: Mapping[str, Any]) -> bool:
    """A schema's `type` is one name or several."""
    options = field.get("anyOf") or ()
    schemas = [field, *(each for each in options if isinstance(each, Mapping))]
    kinds = [schema.get("type") for schema in schemas]
    return any(kind == "string" or (isinstance(kind, list) and "string" in kind) for kind in kinds)
