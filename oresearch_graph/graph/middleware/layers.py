"""Hooks of middleware as coroutines, one around the other, and who of them changed what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

from langchain.agents.middleware import AgentMiddleware
from langgraph.errors import GraphBubbleUp

from oresearch_graph.errors import (
    BudgetExhausted,
    ConfigurationError,
    OresearchError,
    PolicyError,
    ToolError,
)
from oresearch_graph.redaction import brief
from oresearch_graph.tools.daemon_threads import Handler, in_thread, in_thread_asking

Snapshot = Callable[[Any], object]
"""What counts of a request or an answer, which are mutable."""


class Hook(NamedTuple):
    """One middleware's hook, awaited."""

    name: str
    """The middleware's."""
    call: Callable[..., Awaitable[Any]]
    error: type[OresearchError] = PolicyError
    """What it raises of its own becomes."""

    async def outcome(self, *arguments: object, failures: Sequence[BaseException] = ()) -> object:
        """What the hook returns. Of its own it may raise anything: that becomes an error of ours
        with its name; `failures` of what it stands around pass as they are."""
        try:
            return await self.call(*arguments)
        except (OresearchError, GraphBubbleUp, TimeoutError):
            raise
        except Exception as error:
            if any(error is failure for failure in failures):
                raise
            raise self.error(f"{self.name}: {brief(error)}") from error


class PassThrough(GraphBubbleUp):
    """An error of the graph's own, its argument: LangChain's middleware never answers it."""


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

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = dict.fromkeys(names)

    def note(self, name: str) -> None:
        self.names[name] = None

    def compose(
        self, hooks: Sequence[Hook], innermost: Handler, of_request: Snapshot, of_answer: Snapshot,
        read: Callable[[Hook, Any], object],
    ) -> Handler:  # fmt: skip
        """The hooks around `innermost`, the first outermost; one that observes, repeats or fails
        changes nothing, but for a tool's. `read`: what a hook returned, as an answer, or raises."""

        def layer(hook: Hook, inner: Handler) -> Handler:
            async def handler(request: object) -> object:
                before, answers = of_request(request), list[object]()
                failures: list[BaseException] = []

                async def watched(sent: object) -> object:
                    if of_request(sent) != before:
                        self.note(hook.name)
                    try:
                        answer = await inner(sent)
                    except (BudgetExhausted, ConfigurationError) as error:
                        failures.append(PassThrough(error))
                        raise failures[-1] from error
                    except BaseException as error:
                        failures.append(error)
                        raise
                    answers.append(of_answer(answer))
                    return answer

                try:
                    answer = read(hook, await hook.outcome(request, watched, failures=failures))
                except Exception as error:
                    if hook.error is ToolError and not any(error is each for each in failures):
                        self.note(hook.name)
                    raise
                if of_answer(answer) not in answers:
                    self.note(hook.name)
                return answer

            return handler

        composed = reduce(lambda inner, hook: layer(hook, inner), reversed(hooks), innermost)

        async def outermost(request: object) -> object:
            try:
                return await composed(request)
            except PassThrough as passed:
                raise passed.args[0] from None

        return outermost
