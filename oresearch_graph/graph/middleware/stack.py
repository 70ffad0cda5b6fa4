"""The middleware of a graph: what of it stands around researchers, and what is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelCallLimitMiddleware
from langchain.agents.middleware.types import OmitFromSchema

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.middleware.branch import BranchMiddleware
from oresearch_graph.graph.middleware.layers import hooks_of, overrides
from oresearch_graph.graph.state import BranchState

if TYPE_CHECKING:
    from oresearch_graph.graph.run_context import RunContext

_AROUND: Final = ("wrap_model_call", "before_model", "after_model", "wrap_tool_call")
_WHY: Final[dict[str, str]] = {
    "before_agent": "a researcher begins within a run: do it before the graph is invoked, or in "
    "before_model",
    "after_agent": "a researcher ends within a run: do it with the graph's result",
}
_TOOLS: Final = "it changes tools, which the protocol sets: give the graph those that are wanted"
_REFUSED: Final[dict[str, str]] = {
    "HumanInTheLoopMiddleware": "its after_model interrupts behind a model's reply, which would be "
    "asked for and paid again: set approve_plan, by which a person is asked first",
    "SummarizationMiddleware": "its before_model takes messages away, which a trace cannot forget: "
    "observations are cut to the context by themselves",
    "LLMToolSelectorMiddleware": _TOOLS,
    "ProviderToolSearchMiddleware": _TOOLS,
    "ModelRefusalMiddleware": "a reply comes to it as protocol text, which tells no refusal: one "
    "is a failure in the trace by itself",
}
"""LangChain's, by name: an earlier version has not all of them."""


class MiddlewareStack:
    """A graph's middleware, the first outermost, as create_agent has it."""

    def __init__(self, middleware: Sequence[AgentMiddleware[Any, Any]]) -> None:
        """Raises ConfigurationError for what cannot stand around a researcher."""
        self.names: tuple[str, ...] = ()
        for each in middleware:
            if (fault := _fault(each)) is not None:
                raise ConfigurationError(fault)
            if each.name in self.names:
                raise ConfigurationError(f"middleware {each.name} is given twice: give it once")
            self.names += (each.name,)
        self.transformers = [t for each in middleware for t in getattr(each, "transformers", ())]
        self.before = hooks_of(middleware, "before_model")
        self.around_model = hooks_of(middleware, "wrap_model_call")
        self.after = tuple(reversed(hooks_of(middleware, "after_model")))
        self.around_tools = hooks_of(middleware, "wrap_tool_call")
        self.keys = frozenset(key for each in middleware for key, _ in _own_keys(each))
        """Of the state that middleware keeps for itself."""
        self.limits = [each for each in middleware if isinstance(each, ModelCallLimitMiddleware)]

    @property
    def asks_model(self) -> bool:
        """Something of it stands around a chat model."""
        return bool(self.before or self.around_model or self.after)

    def of_branch(self, run_context: RunContext, state: BranchState) -> BranchMiddleware:
        """What stands around one node of a branch."""
        return BranchMiddleware(self, run_context, state)


def _fault(each: object) -> str | None:
    """Why it cannot be, in one line."""
    if not isinstance(each, AgentMiddleware):
        return f"middleware cannot be {type(each).__name__}: give instances of AgentMiddleware"
    for kind in type(each).__mro__:
        if kind.__name__ in _REFUSED and kind.__module__.startswith("langchain."):
            return f"middleware {each.name} is not supported: {_REFUSED[kind.__name__]}"
    for hook, function in vars(AgentMiddleware).items():
        plain = hook[1:] if hook.startswith("a") and hook[1:] in vars(AgentMiddleware) else hook
        if not inspect.isfunction(function) or hook.startswith("_") or not overrides(each, hook):
            continue
        if plain not in _AROUND:
            why = _WHY.get(plain, "it is unknown here: leave it out")
            return f"middleware {each.name}: {hook} is not supported around researchers: {why}"
        if jumps := set(getattr(getattr(each, hook), "__can_jump_to__", ())) - {"end"}:
            return (
                f"middleware {each.name}: {hook} may jump to {', '.join(sorted(jumps))}: a "
                "researcher can be ended alone, can_jump_to=['end']"
            )
    if tools := [str(getattr(tool, "name", tool)) for tool in getattr(each, "tools", None) or ()]:
        return (
            f"middleware {each.name}: tools are not taken from middleware ({', '.join(tools)}): "
            "give them to create_research_graph(tools=…)"
        )
    for key, fault in _own_keys(each):
        if fault:
            return f"middleware {each.name}: state_schema has {key}: {fault}"
    return None


def _own_keys(middleware: AgentMiddleware[Any, Any]) -> Iterator[tuple[str, str | None]]:
    """The keys of state that are its own, each with why it cannot be kept for a branch."""
    hints = get_type_hints(middleware.state_schema, include_extras=True)
    for key, hint in hints.items():
        if key not in AgentState.__annotations__:
            yield key, _unkept(list(_metadata(hint)))


def _metadata(hint: object) -> Iterator[object]:
    yield from getattr(hint, "__metadata__", ())
    for each in get_args(hint):
        yield from _metadata(each)


def _unkept(metadata: Sequence[object]) -> str | None:
    if not any(isinstance(each, OmitFromSchema) and each.input for each in metadata):
        return (
            "nobody can give it to a researcher: annotate it with PrivateStateAttr, or read "
            "request.runtime.context"
        )
    if any(inspect.isroutine(each) for each in metadata):
        return "a reducer is not applied: return the whole value, and annotate it without"
    return None
