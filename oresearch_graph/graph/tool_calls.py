"""Carrying out a researcher's calls: from a call step to the observation that answers it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_core.runnables.config import ensure_config, get_async_callback_manager_for_config
from pydantic import BaseModel, ConfigDict

from oresearch_graph.evidence.ledger import SourceLedger
from oresearch_graph.graph.boundary import boundary
from oresearch_graph.graph.events import Called, Observed, emit
from oresearch_graph.graph.extra_tools import answer_of_tool
from oresearch_graph.graph.observations import Display, Shown
from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.known_secrets import without_known
from oresearch_graph.tools.backend import PageReader, SearchBackend, ToolResult
from oresearch_graph.tools.crawl_page import CrawlPage
from oresearch_graph.tools.web_search import WebSearch
from oresearch_graph.trace import Call, Failure, Source, Span, Step, read_call, world_step
from oresearch_graph.trace.plain_text import title_line

if TYPE_CHECKING:
    from oresearch_graph.graph.middleware.branch import BranchMiddleware


_DISPLAYS: Final = ThreadPoolExecutor(1, "displays")
"""Choosing passages may take a second of Python: one thread takes half of the interpreter from the
event loop, and several take nearly all of it."""
_FAULT = 1_000
"""Characters of a failure that the policy is told."""


class _Answer(NamedTuple):
    """What a call brought, to be shown in its turn."""

    show: Callable[[], Shown]
    span: Span | None = None


class Observation(BaseModel):
    """What one call brought."""

    model_config = ConfigDict(frozen=True)

    text: str
    shown: tuple[int, ...] = ()
    span: Span | None = None
    """None for a call that was not carried out."""


class Caller:
    """Carries out the calls of one branch; its display keeps the branch's source ledger."""

    def __init__(
        self, run_context: RunContext, branch: int, focus: str, sources: Sequence[Source],
        search: SearchBackend, reader: PageReader, *, question: str, tokens: int,
        middleware: BranchMiddleware | None = None,
    ) -> None:  # fmt: skip
        """`tokens`: of one observation; `middleware`: what stands around the calls."""
        self._middleware = middleware
        self._state = {"question": question, "subtask": focus, "branch": branch}
        """What a tool may have injected."""
        self.run_context, self.branch, self._focus = run_context, branch, focus
        self.display = Display(SourceLedger(branch, sources), focus, tokens)
        self.failures: list[Failure] = []
        self.tries = 0
        """How often a tool was called."""
        self._seconds = min(
            run_context.settings.tool_timeout, run_context.budget.seconds_for_tools()
        )
        self._search = WebSearch(search, k=run_context.limits.results, seconds=self._seconds)
        self._crawl = CrawlPage(reader, tokens=tokens, seconds=self._seconds)

    async def carry_out(
        self, calls: Sequence[Step], earlier: Sequence[Step], calls_left: int
    ) -> list[Observation]:
        """The observations of `calls`, in order; the calls run side by side, or with middleware
        around them one after another.

        `done` are the branch's earlier calls: asking the same again brings a pointer, not a
        fetch. Beyond the `left` calls that the branch still has, none is carried out.
        """
        requests: set[tuple[str, str]] = {(step.kind, step.text.strip()) for step in earlier}
        work: list[Callable[[], Awaitable[_Answer]]] = []
        for nth, step in enumerate(calls):
            refusal = self._refusal(step, requests, calls_left)
            if self._middleware is not None:
                refusal = self._middleware.refusal(nth) or refusal
            requests.add((step.kind, step.text.strip()))
            if refusal is None:
                calls_left -= 1
                work.append(partial(self._one, step, nth))
            else:
                work.append(partial(_plain_answer, refusal))
        if self._wrapped:
            answers = [await each() for each in work]
        else:
            answers = await asyncio.gather(*(each() for each in work))
        observations = []
        # Ids are given after all calls have come back, in the order in which they were written.
        for step, (show, span) in zip(calls, answers, strict=True):
            text, source_ids = await self._in_thread(partial(self._shown, show))
            observations.append(Observation(text=text, shown=tuple(source_ids), span=span))
            emit(
                Observed(
                    branch=self.branch,
                    tool=step.tag or step.kind,
                    sources=tuple(source_ids),
                    seconds=span.seconds if span else 0.0,
                )
            )
        return observations

    def _refusal(self, step: Step, requests: set[tuple[str, str]], calls_left: int) -> str | None:
        fault = read_call(step).fault
        if fault is not None:
            return f"This call could not be carried out: {fault}."
        if (step.kind, step.text.strip()) in requests:
            return "This very call was made before; its result stands above."
        if calls_left <= 0:
            return "This call was not carried out: no tool call is left for this subtask."
        return None

    @property
    def _wrapped(self) -> bool:
        """Something stands around each call: what it shows, the next one builds on."""
        return self._middleware is not None and bool(self._middleware.stack.around_tools)

    async def _one(self, step: Step, nth: int) -> _Answer:
        call, start = read_call(step), self.run_context.clock.now()
        emit(Called(branch=self.branch, tool=call.tool, items=_items(call)))
        failures: list[Failure] = []
        show: Callable[[], Shown] = partial(_plain, "")
        with boundary(failures, "researcher", self.branch):
            if self._middleware is not None and self._wrapped:
                show = partial(_plain, *await self._middleware.carry_out(self, step, nth))
            else:
                show = await self.ask(call, self._state)
        if failures:
            self.failures += failures
            show = partial(_plain, f"This call failed: {title_line(failures[0].message, _FAULT)}")
        seconds = round(self.run_context.clock.now() - start, 3)
        span = Span(name=call.tool, branch=self.branch, start=round(start, 3), seconds=seconds)
        return _Answer(show, span)

    @staticmethod
    async def _in_thread(show: Callable[[], Shown]) -> Shown:
        loop, context = asyncio.get_running_loop(), copy_context()
        return await loop.run_in_executor(_DISPLAYS, context.run, show)

    def _shown(self, show: Callable[[], Shown]) -> Shown:
        failures: list[Failure] = []
        text, ids = "", list[int]()
        with boundary(failures, "researcher", self.branch):
            text, ids = show()
        if failures:
            self.failures += failures
            text = f"This call failed: {failures[0].message}"
        return without_known(text), ids

    async def ask(self, call: Call, state: Mapping[str, Any]) -> Callable[[], Shown]:
        """Carry the call out; what shows its answer. `state`: what may be injected into a tool.
        Raises ToolError, and whatever an extra tool raises."""
        self.tries += 1
        if call.tool == "web_search":
            most = self.run_context.limits.results
            num = min(call.num or most, most)
            work = self._search.call(call.items, num, focus=self._focus)
            result = await _as_tool(call, work)
            return lambda: self.display.hits(result.hits)
        if call.tool == "crawl_page":
            result = await _as_tool(call, self._crawl.call(call.items, focus=self._focus))
            return lambda: self.display.pages(result.pages)
        tool = self.run_context.tools[call.tool]
        async with asyncio.timeout(self._seconds):
            answer = await answer_of_tool(tool, call, {**self._state, **state})
        return lambda: self.display.answer(call, answer)


async def _as_tool(call: Call, work: Awaitable[ToolResult]) -> ToolResult:
    """The call's result, told to LangChain's callbacks as the run of a tool."""
    manager = get_async_callback_manager_for_config(ensure_config())
    if not manager.handlers:
        return await work
    inputs = {"queries" if call.tool == "web_search" else "urls": list(call.items)}
    about, text = {"name": call.tool}, json.dumps(inputs, ensure_ascii=False)
    run = await manager.on_tool_start(about, text, inputs=inputs, name=call.tool)
    try:
        result = await work
    except BaseException as error:
        await run.on_tool_error(error)
        raise
    await run.on_tool_end(result.model_dump(mode="json"))
    return result


def _plain(text: str, ids: Sequence[int] = ()) -> Shown:
    return text, list(ids)


async def _plain_answer(text: str) -> _Answer:
    return _Answer(partial(_plain, text))


def _items(call: Call) -> tuple[str, ...]:
    return call.items or (json.dumps(call.arguments or {}, ensure_ascii=False),)


def asks(step: Step) -> bool:
    """True for a call that is carried out: one that was never closed asks for nothing yet."""
    return step.is_call and step.closed is not None


def until_call(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """The steps up to the first call, and what was written behind it.

    Loose text right behind the call stays with it: the token that ends a tag may carry some.
    """
    end = next((i for i, step in enumerate(steps) if asks(step)), len(steps)) + 1
    while end < len(steps) and steps[end].kind == "stray":
        end += 1
    return list(steps[:end]), list(steps[end:])


def interleave(
    waiting: Sequence[Step], observations: Sequence[Observation], branch: int, notice: str
) -> list[Step]:
    """Each observation behind its call; calls that waited come in between."""
    texts = [observation.text for observation in observations]
    if notice:
        texts[-1] = f"{texts[-1]}\n\n{notice}"
    answers = iter([world_step("observation", text, branch=branch) for text in texts])
    steps = [next(answers)]
    for step in waiting:
        steps.append(step)
        if asks(step):
            steps.append(next(answers))
    return steps
