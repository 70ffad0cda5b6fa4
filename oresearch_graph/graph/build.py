"""create_research_graph: the graph that answers, writes traces and is trained.

prepare → plan → (approve_plan) → research × K → summarize → mend → verify → (structure)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.vectorstores import VectorStore
from langgraph.cache.base import BaseCache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer, Send
from pydantic import BaseModel
from typing_extensions import TypeIs

from oresearch_graph.environment import resolve_settings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.budget import Budget
from oresearch_graph.graph.checkpoints import knowing_records
from oresearch_graph.graph.clock import Clock, worked
from oresearch_graph.graph.extra_tools import extra_tools
from oresearch_graph.graph.mend import Mender
from oresearch_graph.graph.node import InvokedGraph, Node
from oresearch_graph.graph.planner import Planner
from oresearch_graph.graph.researcher import research_subgraph
from oresearch_graph.graph.run_context import RunContext, described
from oresearch_graph.graph.run_context_pool import RunContextPool
from oresearch_graph.graph.state import (
    BranchInput,
    BranchTask,
    ResearchInput,
    ResearchOutput,
    ResearchState,
    spans_of,
    usage_of,
    written_steps,
)
from oresearch_graph.graph.summarizer import Summarizer
from oresearch_graph.graph.verify import Closer, Structurer, structuring
from oresearch_graph.known_secrets import remember_within
from oresearch_graph.policies.chat.model_objects import ChatModel, chat_model, model_name
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.policies.models import Policies, chat_policies
from oresearch_graph.policies.policy import Policy
from oresearch_graph.prompts import protocol
from oresearch_graph.redaction import redacted
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import visible
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.tools.choose import choose_backend, search_backend

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware

    from oresearch_graph.graph.middleware.stack import MiddlewareStack

Model: TypeAlias = str | ChatModel | Policy | Policies
Search: TypeAlias = str | Path | SearchBackend | BaseRetriever | VectorStore | BaseTool
ResearchGraph: TypeAlias = CompiledStateGraph[
    ResearchState, ResearchSettings, ResearchInput, ResearchOutput
]


def create_research_graph(
    model: Model | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] = (),
    *,
    middleware: Sequence[AgentMiddleware[Any, Any]] = (),
    search: Search | None = None,
    reader: PageReader | None = None,
    settings: ResearchSettings | None = None,
    response_format: type[BaseModel] | dict[str, Any] | None = None,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
    cache: BaseCache[Any] | None = None,
    interrupt_before: list[str] | None = None,
    interrupt_after: list[str] | None = None,
    debug: bool = False,
    name: str = "research",
) -> ResearchGraph:
    """A compiled graph: a question (or chat messages) in, a cited report and a Trace out.

    `model` writes: a model's name, a chat model, a policy, or `Policies` with one per role; left
    out, the settings' model, and without one the extractive policy, which needs no key. `tools`
    are extra tools that researchers may call. `search` finds documents: a name such as `tavily`,
    the Path of a folder, a retriever, a vector store, a search tool or a backend of your own; left
    out, as the settings say.
    `reader` opens pages, where the backend's own will not do. `middleware` is LangChain's, around
    researchers: what it changes marks the Trace (`Trace.changed_by`). With `response_format` the
    report is also given as `structured_response`.

    `settings` fix what a run's context does not set; the context (`context={"effort": "quick"}`)
    beats them. Raises ConfigurationError for what cannot work.
    """
    base = resolve_settings(settings, _as_settings(model, search))
    extra = extra_tools(tools)
    remember_within(model, extra, search, reader, list(middleware))
    stack = _stack(middleware, model)
    if search is not None and not isinstance(search, str | Path):
        search_backend(search, base)  # what cannot search is refused here, not in a run
    about = described(list(extra.values()))

    def build(settings: ResearchSettings) -> RunContext:
        policies = _policies(model, settings, list(extra.values()))
        if response_format is not None:
            structuring(policies.summarizer)
        if stack is not None and stack.asks_model:
            _require_chat(policies, stack.names)
        backend, own_reader = _documents(search, settings)
        clock = Clock()
        return RunContext(
            settings=settings,
            policies=policies,
            search=backend,
            reader=reader or own_reader,
            tools=extra,
            budget=Budget(settings, clock),
            clock=clock,
            protocol=protocol(settings, about),
            owned=model is None or isinstance(model, str),
            middleware=stack,
        )

    pool = RunContextPool(base, build, _objects(base, model, search, reader, extra, stack))
    planner = Planner(pool, about)
    summarizer, closer = Summarizer(pool), Closer(pool, last=response_format is None)
    graph = StateGraph(
        ResearchState,
        context_schema=ResearchSettings,
        input_schema=ResearchInput,
        output_schema=ResearchOutput,
    )
    graph.add_node("prepare", Node(planner.prepare))
    graph.add_node("plan", Node(planner.plan))
    graph.add_node("approve_plan", Node(planner.approve_plan))
    graph.add_node("research", research_subgraph(pool))
    graph.add_node("summarize", Node(summarizer.summarize))
    graph.add_node("mend", Node(Mender(pool).mend))
    graph.add_node("verify", Node(closer.verify))
    graph.add_edge(START, "prepare")
    graph.add_edge("prepare", "plan")
    graph.add_conditional_edges("plan", _after_plan, ["approve_plan", "research", "summarize"])
    graph.add_conditional_edges("approve_plan", next_research, ["research", "summarize"])
    graph.add_conditional_edges("research", next_research, ["research", "summarize"])
    graph.add_conditional_edges("summarize", _after_summary, ["mend", "verify"])
    graph.add_edge("mend", "verify")
    if response_format is None:
        graph.add_edge("verify", END)
    else:
        graph.add_node("structure", Node(Structurer(pool, response_format).structure))
        graph.add_edge("verify", "structure")
        graph.add_edge("structure", END)
    if isinstance(checkpointer, BaseCheckpointSaver):
        shaped = [response_format] if isinstance(response_format, type) else []
        checkpointer = knowing_records(checkpointer, shaped)
    plain = graph.compile(
        checkpointer=checkpointer,
        store=store,
        cache=cache,
        interrupt_before=interrupt_before,
        interrupt_after=interrupt_after,
        debug=debug,
        name=name,
        transformers=stack.transformers if stack is not None else None,
    )
    compiled: ResearchGraph = InvokedGraph.of(plain, base.max_runs)
    pool.schema = lambda: compiled.context_schema or ResearchSettings
    return compiled


def _after_plan(state: ResearchState) -> list[Send] | str:
    # `update_state`, by which Studio forks, runs routes without a runtime.
    return "approve_plan" if state["run"].approve_plan else next_research(state)


def _after_summary(state: ResearchState) -> Literal["mend", "verify"]:
    return "mend" if state["run"].verifies and state.get("sources") else "verify"


def next_research(state: ResearchState) -> list[Send] | Literal["summarize"]:
    """Send a researcher to every subtask at once; in sequence, to the next one not yet done."""
    by_branch = {findings.branch: findings for findings in state.get("findings", [])}
    open_ones = [i for i in range(1, len(state["subtasks"]) + 1) if i not in by_branch]
    if not open_ones or any(findings.reported for findings in by_branch.values()):
        return "summarize"
    if state["run"].protocol.execution == "sequential":
        open_ones = open_ones[:1]
    elif by_branch:
        return "summarize"
    return [Send("research", _branch_input(state, branch)) for branch in open_ones]


def _branch_input(state: ResearchState, branch: int) -> BranchInput:
    execution = state["run"].protocol.execution
    task = BranchTask(
        run=state["run"],
        branch=branch,
        subtask=state["subtasks"][branch - 1],
        before=visible(written_steps(state), "researcher", branch, execution),
        known=tuple(state.get("sources", [])),
        worked=worked(spans_of(state)),
        spent=tuple(usage_of(state)),
    )
    return {"task": task}


def _stack(
    middleware: Sequence[AgentMiddleware[Any, Any]], model: Model | None
) -> MiddlewareStack | None:
    """The middleware around researchers. Raises ConfigurationError for what cannot stand there."""
    if not middleware:
        return None
    # LangChain's agents take a fifth of a second to import.
    from oresearch_graph.graph.middleware.stack import MiddlewareStack

    stack = MiddlewareStack(middleware)
    if stack.asks_model and (isinstance(model, Policies) or _is_policy(model)):
        policies = model if isinstance(model, Policies) else Policies.single(model)
        _require_chat(policies, stack.names)
    return stack


def _require_chat(policies: Policies, names: Sequence[str]) -> None:
    for policy in policies.researchers:
        if not isinstance(policy, ChatPolicy):
            raise ConfigurationError(
                f"middleware {', '.join(names)} stands around a chat model, and researchers are "
                f"{policy.name}: give a model, or middleware with wrap_tool_call alone"
            )


def _as_settings(model: Model | None, search: Search | None) -> ResearchSettings:
    """What names given as arguments say, as settings: an explicit layer of its own."""
    values: dict[str, Any] = {}
    if isinstance(model, str):
        values["model"] = model
    if isinstance(search, Path):
        values |= {"search": "corpus", "corpus": str(search)}
    elif isinstance(search, str):
        values["search"] = search
    return ResearchSettings(**values)


_NAMED: Final[tuple[str, ...]] = (
    "model", "base_url", "planner_model", "researcher_models", "summarizer_model", "verifier_model",
    "search", "corpus",
)  # fmt: skip
"""Settings without which another model would write, or other documents be read."""


def _objects(
    base: ResearchSettings, model: Model | None, search: Search | None, reader: PageReader | None,
    tools: Iterable[str], stack: MiddlewareStack | None,
) -> dict[str, str]:  # fmt: skip
    """What a graph was made with, by argument or setting."""
    explicit = {name: getattr(base, name) for name in _NAMED if name in base.model_fields_set}
    objects: dict[str, str] = {
        name: redacted(str(value)) for name, value in explicit.items() if value
    }
    if isinstance(model, Policies):
        objects["model"] = ", ".join(dict.fromkeys(model.names.values()))
    elif _is_policy(model):
        objects["model"] = redacted(model.name)
    elif model is not None and not isinstance(model, str):
        objects["model"] = model_name(chat_model(model).model)
    if search is not None and not isinstance(search, str | Path):
        objects["search"] = redacted(str(getattr(search, "name", "") or type(search).__name__))
    if reader is not None:
        objects["reader"] = redacted(reader.name)
    if names := ", ".join(tools):
        objects["tools"] = names
    if stack is not None:
        objects["middleware"] = redacted(", ".join(stack.names))
    return objects


def _is_policy(model: object) -> TypeIs[Policy]:
    return hasattr(model, "continue_thread")


def _policies(
    model: Model | None, settings: ResearchSettings, tools: Sequence[BaseTool]
) -> Policies:
    if isinstance(model, Policies):
        return model
    if _is_policy(model):
        return Policies.single(model)
    if isinstance(model, Runnable):
        policy = ChatPolicy(
            model,
            rendering=settings.rendering,
            dialect=settings.dialect,
            tools=tools,
            timeout=settings.model_timeout,
            concurrency=settings.concurrency,
            temperature=settings.temperature,
            max_output_tokens=settings.max_output_tokens,
            price=settings.prices.get(model_name(chat_model(model).model)),
        )
        return Policies.single(policy)
    models = (settings.model, settings.planner_model, settings.summarizer_model)
    if not any(models) and not settings.researcher_models:
        return Policies.single(ExtractivePolicy())
    return chat_policies(settings, tools, parameters=settings.parameters)


def _documents(
    search: Search | None, settings: ResearchSettings
) -> tuple[SearchBackend, PageReader]:
    if search is None or isinstance(search, str | Path):
        return choose_backend(settings)
    return search_backend(search, settings)
