"""Hooks of middleware as coroutines, one around the other, and who of them changed what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.errors import GraphBubbleUp

from oresearch_graph.errors import ConfigurationError, OresearchError, PolicyError, ToolError
from oresearch_graph.redaction import brief
from oresearch_graph.tools.daemon_threads import Handler, in_thread, in_thread_asking

Look = Callable[[Any], object]
"""What counts of a request or an answer, to be compared: a snapshot, for messages are mutable."""


class Hook(NamedTuple):
    """One middleware's hook, awaited."""

    name: str
    """The middleware's."""
    call: Callable[..., Awaitable[Any]]
    error: type[OresearchError] = PolicyError
    """What it raises of its own becomes."""


class Through(GraphBubbleUp):
    """An error that is the graph's own: LangChain's middleware neither retries it nor answers in
    its place."""

    def __init__(self, error: OresearchError) -> None:
        super().__init__()
        self.error = error


def overrides(middleware: AgentMiddleware[Any, Any], hook: str) -> bool:
    """It has a hook of this name."""
    return getattr(type(middleware), hook) is not getattr(AgentMiddleware, hook)


def hooks_of(stack: Sequence[AgentMiddleware[Any, Any]], hook: str) -> tuple[Hook, ...]:
    """The hooks of this name, awaited or blocking, outermost first."""
    return tuple(
        Hook(each.name, _awaited(each, hook), ToolError if "tool" in hook else PolicyError)
        for each in stack
        if overrides(each, hook) or overrides(each, f"a{hook}")
    )


def _awaited(middleware: AgentMiddleware[Any, Any], hook: str) -> Callable[..., Awaitable[Any]]:
    """The hook that the class itself has, the coroutine of two: one that blocks has a thread."""
    names = [name for name in (f"a{hook}", hook) if overrides(middleware, name)]
    line = type(middleware).__mro__
    name = min(names, key=lambda name: next(i for i, c in enumerate(line) if name in vars(c)))
    function = getattr(middleware, name)
    if name != hook:
        return function  # type: ignore[no-any-return]  # a coroutine function by its name
    return partial(in_thread_asking if hook.startswith("wrap") else in_thread, function)


class Changes:
    """Names of the middleware that changed what passed through it."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}

    def note(self, name: str) -> None:
        self.names[name] = None

    def layered(
        self, hooks: Sequence[Hook], innermost: Handler, asks: Look, answers: Look
    ) -> Handler:
        """The hooks around each other and `innermost`, the first outermost; one that observes,
        repeats or fails changes nothing."""
        handler = innermost
        for hook in reversed(hooks):
            handler = self._layer(hook, handler, asks, answers)
        return handler

    def _layer(self, hook: Hook, inner: Handler, asks: Look, answers: Look) -> Handler:
        async def layer(request: object) -> object:
            before, brought = asks(request), list[object]()
            failures: list[BaseException] = []

            async def watched(sent: object) -> object:
                if asks(sent) != before:
                    self.note(hook.name)
                try:
                    answer = await inner(sent)
                except BaseException as error:
                    failures.append(error)
                    raise
                brought.append(answers(answer))
                return answer

            answer = _whole(await called(hook, request, watched, failures=failures))
            if answers(answer) not in brought:
                self.note(hook.name)
            return answer

        return layer


async def called(
    hook: Hook, *arguments: object, failures: Sequence[BaseException] = ()
) -> object:  # fmt: skip
    """What the hook returns. Of its own it may raise anything: that becomes an error of
    ours with its name; `failures` of what it stands around pass as they are."""
    try:
        return await hook.call(*arguments)
    except (OresearchError, GraphBubbleUp, TimeoutError):
        raise
    except Exception as error:
        if any(error is failure for failure in failures):
            raise
        raise hook.error(f"{hook.name}: {brief(error)}") from error


def _whole(answer: object) -> object:
    """A model's answer as a ModelResponse; commands may set what middleware keeps, no more."""
    if isinstance(answer, AIMessage):
        return ModelResponse(result=[answer])
    if isinstance(answer, ExtendedModelResponse):
        if answer.command is not None:
            raise ConfigurationError(
                "a Command of wrap_model_call is not carried out around a researcher: return the "
                "ModelResponse alone"
            )
        return answer.model_response
    return answer


def looked_at(message: BaseMessage) -> tuple[object, ...]:
    """What counts of a message."""
    calls = [(call["name"], repr(call["args"])) for call in getattr(message, "tool_calls", ())]
    return (message.type, repr(message.content), *calls)
