"""One researcher: a subgraph that thinks, calls, observes, and answers its subtask.

`reason` continues the thread by one model call, `observe` carries out the calls it made,
`conclude` hands the findings back. Each is a checkpointed step; a failure ends the branch with
the steps it has, and its siblings go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from oresearch_graph.evidence.ledger import NOTICE
from oresearch_graph.graph.allowance import BranchAllowance
from oresearch_graph.graph.boundary import boundary
from oresearch_graph.graph.events import SubtaskFailed, SubtaskFinished, SubtaskStarted, emit
from oresearch_graph.graph.node import Node
from oresearch_graph.graph.plan_message import show_call
from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.graph.run_context_pool import RunContextPool
from oresearch_graph.graph.state import BranchInput, BranchState, Findings
from oresearch_graph.graph.tool_calls import Caller, asks, interleave, until_call
from oresearch_graph.prompts import NO_EVIDENCE
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.text.words import names_and_figures
from oresearch_graph.threads import Citable, Next, Thread
from oresearch_graph.tools.known_sources import known_first
from oresearch_graph.trace import (
    ANSWER_KINDS,
    Failure,
    Protocol,
    Source,
    Step,
    Trace,
    Usage,
    ViolationCode,
    close_tag,
    read_call,
    violations,
    world_step,
)

if TYPE_CHECKING:
    from oresearch_graph.graph.middleware.branch import BranchMiddleware

_WRITTEN: frozenset[ViolationCode] = frozenset((
    "stray_text", "missing_open_tag", "missing_close_tag", "nested_tag", "malformed_call",
    "misplaced_report", "turn_without_think", "misplaced_plan", "misplaced_subtask",
    "branch_without_turn", "step_outside_branch", "step_after_answer",
))  # fmt: skip
"""What a policy can be told to write otherwise at once."""
_BYTES: Final = 4
"""Of a token, in any script: a guess that costs nothing."""


class Researcher:
    """The nodes of the research subgraph."""

    def __init__(self, pool: RunContextPool) -> None:
        self.pool = pool

    async def reason(
        self, state: BranchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """One continuation of the thread, when it is the branch's turn."""
        branch = state["task"].branch
        async with self.pool.at_work(state["task"].run, runtime.context) as run_context:
            run_context.restore_branch(state)
            run_context.budget.begin(branch)
            with run_context.queue.held(branch):
                seconds = run_context.budget.remaining_seconds("researcher")
                await run_context.queue.enter(branch, seconds)
                return await self._reasoned(state, run_context)

    async def _reasoned(self, state: BranchState, run_context: RunContext) -> dict[str, Any]:
        branch, steps_before = state["task"].branch, list(state.get("steps", []))
        started = state["started"] if "started" in state else run_context.clock.now()
        new, failures = self._opening(state, run_context), list[Failure]()
        writer, around = run_context.writer("researcher", branch), run_context.around(state)
        allowance = BranchAllowance(state, run_context)
        if not steps_before and (failure := allowance.never_begun()):
            return {"started": started, "steps": new, "faults": [failure], "ended": True}
        steps, room = tuple[Step, ...](), None
        with boundary(failures, "researcher", branch):
            write = writer.write if around is None else partial(around.write, writer)
            continuation = await write(
                _thread(state, run_context, [*steps_before, *new]),
                self._stops(run_context, forced=state.get("forced", False)),
                lambda steps_new: [
                    *self._faults([*steps_before, *new], steps_new, run_context.protocol),
                    *_unfounded(state, steps_new, run_context),
                ],
                seconds=allowance.seconds(started),
            )
            steps, room = continuation.steps, continuation.room
            failures += continuation.failures
        failures += writer.faults
        visible, waiting = until_call(steps)
        ended = state.get("forced", False) or not any(map(asks, steps))
        if ended:
            run_context.budget.end(branch)
        update = {
            "started": started,
            "steps": [*new, *visible],
            "waiting": waiting,
            "turns": state.get("turns", 0) + 1,
            "room": room,
            "ended": ended,
            "faults": failures,
            "spent": writer.usage,
            "timings": writer.spans,
        }
        return update if around is None else around.update(update)

    async def observe(
        self, state: BranchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The calls just written, answered; a notice goes with them when limits come near."""
        async with self.pool.at_work(state["task"].run, runtime.context) as run_context:
            run_context.restore_branch(state)
            with run_context.queue.held(state["task"].branch):
                return await self._observed(state, run_context)

    async def _observed(self, state: BranchState, run_context: RunContext) -> dict[str, Any]:
        branch, branch_steps, waiting = (
            state["task"].branch,
            state["steps"],
            state.get("waiting", []),
        )
        *earlier, request = filter(asks, branch_steps)
        calls = [request, *filter(asks, waiting)]
        around = run_context.around(state)
        allowance = BranchAllowance(state, run_context)
        tokens = allowance.observation_tokens(len(calls))
        caller = self._caller(state, run_context, tokens, around)
        for call in calls:
            show_call(state["task"].run, read_call(call))
        calls_left = run_context.limits.tool_calls - len(earlier)
        observations = await caller.carry_out(calls, earlier, calls_left)
        size = sum(len(each.text.encode("utf-8", "replace")) for each in observations)
        run_context.budget.grow(branch, size // _BYTES)
        reason = around and around.ending
        reason = reason or allowance.limit_reached(len(earlier) + len(calls))
        steps = interleave(waiting, observations, branch, _notice(reason))
        usage = Usage(
            role="researcher",
            branch=branch,
            model=run_context.policy("researcher", branch).name,
            tool_calls=caller.tries,
        )
        run_context.budget.charge(usage)
        update = {
            "steps": steps,
            "waiting": [],
            "forced": reason is not None,
            "seen": caller.display.ledger.take_changed(),
            "faults": caller.failures,
            "spent": [usage],
            "timings": [o.span for o in observations if o.span],
        }
        return update if around is None else around.update(update)

    async def conclude(
        self, state: BranchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The findings, whether the subtask was answered or not."""
        async with self.pool.at_work(state["task"].run, runtime.context) as run_context:
            run_context.queue.leave(state["task"].branch)
            run_context.budget.end(state["task"].branch)
        failures = list(state.get("faults", []))
        answers = [s for s in state.get("steps", []) if s.kind == "subtask_answer"]
        if any(step.text.strip() in {"", NO_EVIDENCE} for step in answers):
            failures.append(_no_evidence(state["task"].branch))
        findings = Findings(
            branch=state["task"].branch,
            steps=tuple(state.get("steps", [])),
            failures=tuple(failures),
            usage=tuple(state.get("spent", [])),
            spans=tuple(state.get("timings", [])),
            has_sources=_has_sources(state),
            changed_by=tuple(state.get("middleware", {}).get("changed", ())),
        )
        if findings.answered or findings.reported:
            calls = sum(map(asks, findings.steps))
            sources = len(state.get("seen", []))
            emit(SubtaskFinished(branch=findings.branch, sources=sources, tool_calls=calls))
        else:
            message = failures[-1].message if failures else "it ended without an answer"
            emit(SubtaskFailed(branch=findings.branch, message=message))
        return {"findings": [findings], "sources": state.get("seen", [])}

    def _opening(self, state: BranchState, run_context: RunContext) -> list[Step]:
        """What the world writes before the policy's first word: in parallel, the subtask."""
        if state.get("steps"):
            return []
        emit(SubtaskStarted(branch=state["task"].branch, subtask=state["task"].subtask))
        if run_context.protocol.execution == "sequential":
            return []
        return [world_step("subtask", state["task"].subtask, branch=state["task"].branch)]

    @staticmethod
    def _stops(run_context: RunContext, *, forced: bool) -> list[str]:
        if forced:
            return [close_tag("subtask_answer")]
        names = ["web_search", "crawl_page", *run_context.tools, "subtask_answer"]
        if run_context.protocol.execution == "sequential":
            names.append("suggested_answer")
        return [close_tag(name) for name in names]

    @staticmethod
    def _faults(branch_steps: Sequence[Step], new: Sequence[Step], protocol: Protocol) -> list[str]:
        """What the policy should write otherwise, in its words."""
        trace = Trace(question="", steps=(*branch_steps, *new), sources=(), protocol=protocol)
        faults = [
            violation.message
            for violation in violations(trace, written_from=len(branch_steps))
            if violation.code in _WRITTEN and (violation.step or 0) >= len(branch_steps)
        ]
        if not any(asks(step) or step.kind in ANSWER_KINDS for step in new):
            faults.append("write a tool call, or <subtask_answer> to end the subtask")
        return faults

    def _caller(
        self, state: BranchState, run_context: RunContext, tokens: int,
        middleware: BranchMiddleware | None,
    ) -> Caller:  # fmt: skip
        sources = [*state["task"].known, *state.get("seen", [])]
        search, reader = run_context.search, run_context.reader
        if state["task"].run.follow_up:
            search, reader = known_first(search, reader, sources)
        return Caller(
            run_context, state["task"].branch, state["task"].subtask, sources, search, reader,
            question=state["task"].run.question, tokens=tokens, middleware=middleware,
        )  # fmt: skip


def citable(source: Source, asked: Sequence[str]) -> Citable:
    """A source with its names and, as the question writes them, those of `asked` that it holds."""
    text = f"{source.title}\n{source.text}"
    folded = text.casefold()
    held = (name for name in asked if name.casefold() in folded)
    return Citable(id=source.id, names=tuple(dict.fromkeys([*held, *names_and_figures(text)])))


@lru_cache(maxsize=4_096)  # each turn has those of the turns before
def _nameless(number: int) -> Citable:
    return Citable(id=number)


def _thread(state: BranchState, run_context: RunContext, branch_steps: Sequence[Step]) -> Thread:
    """The branch's thread, with what may come next in it."""
    observed = any(step.kind == "observation" for step in branch_steps)
    sources, forced = state.get("seen", []), state.get("forced", False)
    begins = run_context.protocol.execution == "sequential" and not branch_steps
    names: Sequence[str] = ()
    citables = tuple(_nameless(source.id) for source in sources)
    if run_context.constrained:
        names = names_and_figures(f"{state['task'].run.question}\n{state['task'].subtask}")
        citables = tuple(citable(source, names) for source in sources)
    expected = Next(
        tag="subtask_answer" if forced else "subtask" if begins else "think",
        calls=("web_search", "crawl_page", *run_context.tools),
        may_answer=observed,
        sources=citables,
        names=names,
        addresses=tuple(source.url for source in sources if not source.read),
    )
    return run_context.thread(
        state["task"].run,
        expected,
        role="researcher",
        branch=state["task"].branch,
        steps=(*state["task"].before, *branch_steps),
        forced=forced,
    )


def _no_evidence(branch: int) -> Failure:
    return Failure(
        name="no_evidence",
        fault="policy",
        message="no evidence was found",
        role="researcher",
        branch=branch,
    )


def _has_sources(state: BranchState) -> bool:
    """Something stands behind what it may answer."""
    return any(source.text for source in (*state["task"].known, *state.get("seen", [])))


def _unfounded(state: BranchState, new: Sequence[Step], run_context: RunContext) -> list[str]:
    """An answer before anything was looked for. In training it is judged as it is."""
    looked = any(step.kind == "observation" for step in state.get("steps", []))
    if looked or _has_sources(state) or state.get("forced") or not run_context.settings.corrections:
        return []
    if not any(s.kind == "subtask_answer" and s.text.strip() != NO_EVIDENCE for s in new):
        return []
    return ["the answer has no source: search first, then answer from what was shown"]


def _notice(reason: str | None) -> str:
    return "" if reason is None else f"{NOTICE}{reason}. Write the subtask's answer now."


class _Ended(TypedDict):
    """What the way after `reason` is chosen by: LangGraph reads no more of the state for it."""

    ended: bool


def _after_reason(state: _Ended) -> Literal["observe", "conclude"]:
    return "conclude" if state["ended"] else "observe"


def research_subgraph(
    pool: RunContextPool,
) -> CompiledStateGraph[BranchState, ResearchSettings, BranchInput, BranchState]:
    """The subgraph that `Send` starts once for each subtask."""
    nodes = Researcher(pool)
    graph = StateGraph(BranchState, context_schema=ResearchSettings, input_schema=BranchInput)
    graph.add_node("reason", Node(nodes.reason))
    graph.add_node("observe", Node(nodes.observe))
    graph.add_node("conclude", Node(nodes.conclude))
    graph.add_edge(START, "reason")
    graph.add_conditional_edges("reason", _after_reason)
    graph.add_edge("observe", "reason")
    graph.add_edge("conclude", END)
    return graph.compile(name="researcher")
