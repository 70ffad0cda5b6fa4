"""Middleware that cannot stand around researchers, at construction and in a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any, NotRequired

import pytest
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    FilesystemFileSearchMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelRefusalMiddleware,
    ProviderToolSearchMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    after_agent,
    after_model,
    before_agent,
    before_model,
    wrap_model_call,
    wrap_tool_call,
)
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import HumanMessage, RemoveMessage
from langchain_openai import ChatOpenAI
from langgraph.types import Command
from pydantic import SecretStr

from oresearch_graph import Policies, create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from tests.helpers.middleware_runs import QUESTION, traced
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.scripted import PAGES, Documents


class Given(AgentState[Any]):
    user: str


class Reduced(AgentState[Any]):
    notes: NotRequired[Annotated[list[str], lambda a, b: a + b, PrivateStateAttr]]


class Unknown(AgentMiddleware[Any, Any]):
    """Has a hook that later versions of LangChain may add."""


def _none(state: Any, runtime: Any) -> None: ...


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no middleware": (lambda: print, "middleware cannot be builtin_function_or_method: give"),
    "before_agent": (
        lambda: before_agent(name="Mine")(_none),
        "middleware Mine: before_agent is not supported around researchers: a researcher begins",
    ),
    "after_agent": (
        lambda: after_agent(name="Mine")(_none),
        "middleware Mine: after_agent is not supported around researchers: a researcher ends",
    ),
    "tools": (lambda: TodoListMiddleware(), "TodoListMiddleware: tools are not .*write_todos"),
    "file tools": (
        lambda: FilesystemFileSearchMiddleware(root_path="."), "tools are not taken from"
    ),
    "interrupts": (
        lambda: HumanInTheLoopMiddleware(interrupt_on={"web_search": True}),
        "HumanInTheLoopMiddleware is not supported: .* set approve_plan",
    ),
    "forgets": (
        lambda: SummarizationMiddleware(ChatOpenAI(model="x", api_key=SecretStr("x"))),
        "SummarizationMiddleware is not supported: its before_model takes messages away",
    ),
    "chooses tools": (
        lambda: LLMToolSelectorMiddleware(), "LLMToolSelectorMiddleware is not supported"
    ),
    "searches for tools": (
        lambda: ProviderToolSearchMiddleware(searchable_tools=["web_search"]),
        "ProviderToolSearchMiddleware is not supported: it changes tools",
    ),
    "waits for refusals": (
        lambda: ModelRefusalMiddleware(),
        "ModelRefusalMiddleware is not supported: .* a failure in the trace by itself",
    ),
    "jumps": (
        lambda: after_model(name="Mine", can_jump_to=["model"])(_none),
        "middleware Mine: after_model may jump to model: .*can_jump_to",
    ),
    "state of a caller": (
        lambda: before_model(name="Mine", state_schema=Given)(_none),
        "middleware Mine: state_schema has user: nobody can give it",
    ),
    "state with a reducer": (
        lambda: before_model(name="Mine", state_schema=Reduced)(_none),
        "middleware Mine: state_schema has notes: a reducer is not applied",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_stand_around_a_researcher_is_refused_at_construction(case: str):
    make, message = REFUSED[case]
    with pytest.raises(ConfigurationError, match=message) as refusal:
        create_research_graph("openai:x", middleware=[make()])
    assert "\n" not in str(refusal.value)


def test_a_hook_of_a_later_version_is_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(AgentMiddleware, "around_everything", _none, raising=False)
    monkeypatch.setattr(Unknown, "around_everything", lambda self: None, raising=False)
    with pytest.raises(ConfigurationError, match="Unknown: around_everything is not supported"):
        create_research_graph("openai:x", middleware=[Unknown()])


def test_two_of_one_name_are_refused():
    twice = [ModelCallLimitMiddleware(run_limit=2), ModelCallLimitMiddleware(run_limit=3)]
    with pytest.raises(ConfigurationError, match="ModelCallLimitMiddleware is given twice"):
        create_research_graph("openai:x", middleware=twice)


def test_middleware_around_a_model_needs_one(server: OpenAIServer):
    limit = ModelCallLimitMiddleware(run_limit=2)
    with pytest.raises(ConfigurationError, match="stands around a chat model, and researchers are"):
        create_research_graph(Policies.single(ExtractivePolicy()), middleware=[limit])
    without = create_research_graph(middleware=[limit], search=Documents(PAGES))
    with pytest.raises(ConfigurationError, match="give a model, or middleware with wrap_tool_call"):
        without.invoke(QUESTION)
    watched: list[str] = []

    @wrap_tool_call
    def watching(request: Any, handler: Any) -> Any:
        watched.append(request.tool_call["name"])
        return handler(request)

    alone = create_research_graph(middleware=[watching], search=Documents(PAGES))
    assert alone.invoke(QUESTION)["trace"].outcome == "complete"
    assert watched


FORBIDDEN: dict[str, tuple[Callable[[], Any], str]] = {
    "takes messages away": (
        lambda: before_model(name="Mine")(
            lambda state, runtime: {"messages": [RemoveMessage(id=state["messages"][0].id)]}
        ),
        "Mine adds or takes away messages",
    ),
    "adds messages": (
        lambda: before_model(name="Mine")(
            lambda state, runtime: {"messages": [HumanMessage("And?")]}
        ),
        "Mine adds or takes away messages",
    ),
    "sets unknown state": (
        lambda: before_model(name="Mine")(lambda state, runtime: {"files": {}}),
        "Mine sets files, which a researcher has not",
    ),
    "returns no dict": (
        lambda: before_model(name="Mine")(lambda state, runtime: Command(goto="end")),
        "Mine returns a Command: let it return a dict or None",
    ),
    "jumps elsewhere": (
        lambda: before_model(name="Mine")(lambda state, runtime: {"jump_to": "tools"}),
        "Mine sets jump_to=tools, which a researcher has not",
    ),
    "sends the graph elsewhere": (
        lambda: wrap_model_call(name="Mine")(
            lambda request, handler: ExtendedModelResponse(
                handler(request), Command(goto="end", update={"messages": []})
            )
        ),
        "Mine sets goto, messages, which a researcher has not",
    ),
    "changes tools": (
        lambda: wrap_model_call(name="Mine")(
            lambda request, handler: handler(request.override(tools=[]))
        ),
        "middleware changes tools, tool_choice or response_format",
    ),
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_middleware_must_not_do_ends_the_run_by_name(server: OpenAIServer, case: str):
    make, message = FORBIDDEN[case]
    with pytest.raises(ConfigurationError, match=message):
        traced(server, make())


def test_a_hook_that_returns_nothing_is_named(server: OpenAIServer):
    @wrap_model_call
    def forgetful(request: Any, handler: Any) -> Any:
        handler(request)

    trace = traced(server, wrap_model_call(name="outer")(lambda r, h: h(r)), forgetful)
    messages = [f.message for f in trace.failures if f.branch]
    assert all(m.startswith("forgetful: wrap_model_call returned no AIMessage") for m in messages)
    assert messages


def test_without_middleware_langchains_agents_are_not_loaded():
    code = (
        "import sys, oresearch_graph as o; o.create_research_graph();"
        "assert 'langchain.agents' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
