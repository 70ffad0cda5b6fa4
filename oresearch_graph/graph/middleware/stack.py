"""The middleware of a graph: what of it stands around researchers, and what is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from copy import copy
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    NotRequired,
    Required,
    get_args,
    get_origin,
    get_type_hints,
)

from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    HumanInTheLoopMiddleware,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.middleware.types import OmitFromSchema

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.middleware.layers import hooks_of, overrides
from oresearch_graph.graph.middleware.turn import Hooks, Turn
from oresearch_graph.graph.state import BranchState

if TYPE_CHECKING:
    from oresearch_graph.graph.run_context import RunContext

_AROUND: Final = ("wrap_model_call", "before_model", "after_model", "wrap_tool_call")
_WHY: Final[dict[str, str]] = {
    "before_agent": "a researcher begins within a run: do it before the graph is invoked, or in "
    "before_model",
    "after_agent": "a researcher ends within a run: do it with the graph's result",
}
_REFUSED: Final[dict[type[AgentMiddleware[Any, Any]], str]] = {
    HumanInTheLoopMiddleware: "its after_model interrupts behind a model's reply, which would be "
    "asked for and paid again: set approve_plan, by which a person is asked first",
    SummarizationMiddleware: "its before_model takes messages away, which a trace cannot forget: "
    "observations are cut to the context by themselves",
    LLMToolSelectorMiddleware: "its wrap_model_call chooses tools, which the protocol sets: give "
    "the graph those that are wanted",
}


class MiddlewareStack:
    """A graph's middleware, the first outermost, as create_agent has it."""

    def __init__(self, middleware: Sequence[AgentMiddleware[Any, Any]]) -> None:
        """Raises ConfigurationError for what cannot stand around a researcher."""
        names: set[str] = set()
        for each in middleware:
            if (fault := _fault(each)) is not None:
                raise ConfigurationError(fault)
            if each.name in names:
                raise ConfigurationError(f"middleware {each.name} is given twice: give it once")
            names.add(each.name)
        stack = [_with_pages(each) for each in middleware]
        self.names = tuple(each.name for each in stack)
        self.transformers = [make for each in stack for make in getattr(each, "transformers", ())]
        self.hooks = Hooks(
            before=hooks_of(stack, "before_model"),
            around_model=hooks_of(stack, "wrap_model_call"),
            after=tuple(reversed(hooks_of(stack, "after_model"))),
            around_tools=hooks_of(stack, "wrap_tool_call"),
            keys=frozenset(key for each in stack for key, _ in _own_keys(each)),
            limits=tuple(each for each in stack if isinstance(each, ModelCallLimitMiddleware)),
        )

    @property
    def asks_model(self) -> bool:
        """Something of it stands around a chat model."""
        return bool(self.hooks.before or self.hooks.around_model or self.hooks.after)

    def turn(self, run_context: RunContext, state: BranchState) -> Turn:
        """What stands around one node of a branch."""
        return Turn(self.hooks, state, run_context)


def _fault(each: object) -> str | None:
    """Why it cannot be, in one line."""
    if not isinstance(each, AgentMiddleware):
        return (
            f"middleware cannot be {type(each).__name__}: give instances of LangChain's "
            "AgentMiddleware"
        )
    for kind, why in _REFUSED.items():
        if isinstance(each, kind):
            return f"middleware {each.name} is not supported: {why}"
    for hook, function in vars(AgentMiddleware).items():
        plain = hook[1:] if hook.startswith("a") and hook[1:] in vars(AgentMiddleware) else hook
        if not inspect.isfunction(function) or hook.startswith("_") or not overrides(each, hook):
            continue
        if plain not in _AROUND:
            why = _WHY.get(plain, "it is unknown here: leave it out")
            return f"middleware {each.name}: {hook} is not supported around researchers: {why}"
        jumps = set(getattr(getattr(each, hook), "__can_jump_to__", ())) - {"end"}
        if jumps:
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
    shared = AgentState.__annotations__.keys()
    hints = get_type_hints(middleware.state_schema, include_extras=True)
    for key, hint in hints.items():
        if key not in shared:
            yield key, _unkept(list(_metadata(hint)))


def _metadata(hint: object) -> Iterator[object]:
    if get_origin(hint) in (NotRequired, Required):
        yield from _metadata(get_args(hint)[0])
    elif get_origin(hint) is Annotated:
        kind, *metadata = get_args(hint)
        yield from metadata
        yield from _metadata(kind)


def _unkept(metadata: Sequence[object]) -> str | None:
    if not any(isinstance(each, OmitFromSchema) and each.input for each in metadata):
        return (
            "nobody can give it to a researcher: annotate it with PrivateStateAttr, or read "
            "request.runtime.context"
        )
    if any(inspect.isroutine(each) for each in metadata):
        return "a reducer is not applied: return the whole value, and annotate it without"
    return None


def _with_pages(each: AgentMiddleware[Any, Any]) -> AgentMiddleware[Any, Any]:
    """A researcher's input are pages: what is to read its input reads tool messages too."""
    if isinstance(each, PIIMiddleware) and each.apply_to_input and not each.apply_to_tool_results:
        reading = copy(each)
        reading.apply_to_tool_results = True
        return reading
    return each
