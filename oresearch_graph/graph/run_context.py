"""What the nodes of one run share in one process: policies, tools, budget, protocol; and the Writer
through which planner, researchers and summarizer let a policy write."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from langchain_core.tools import BaseTool

from oresearch_graph.errors import PolicyOverflow, PolicyTimeout
from oresearch_graph.graph.budget import Budget
from oresearch_graph.graph.near_misses import near_miss
from oresearch_graph.graph.shortening import shortened
from oresearch_graph.graph.state import Run
from oresearch_graph.judging.verifier import Verifier
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.models import Policies
from oresearch_graph.policies.policy import Continuation, Policy
from oresearch_graph.policies.serving import BranchQueue, Serving, adapted
from oresearch_graph.prompts import system_prompt
from oresearch_graph.settings import Part, ResearchSettings, settings_from
from oresearch_graph.text.repetition import repetition, stutter
from oresearch_graph.threads import Next, Thread
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.trace import (
    Failure,
    Protocol,
    Role,
    Span,
    Step,
    Usage,
    close_tag,
    open_tag,
    parse_policy_text,
    world_step,
)
from oresearch_graph.trace.validation import FrozenModel

Faults = Callable[[Sequence[Step]], list[str]]
"""What is wrong with newly written steps, in words for the policy; empty: nothing."""


class Continued(FrozenModel):
    """What came of one continuation."""

    steps: tuple[Step, ...] = ()
    failures: tuple[Failure, ...] = ()
    room: int | None = None
    """Tokens left in the thread's context, where the policy knows."""


class Writer:
    """Writes on behalf of one role in one branch, within the run's budget."""

    def __init__(
        self, policy: Policy, budget: Budget, settings: ResearchSettings, *,
        began: float, tools: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`began` is the run's start on the wall clock, which spans count from."""
        self.policy, self.budget, self.settings = policy, budget, settings
        self.began, self.tools = began, tuple(tools)
        self.usage: list[Usage] = []
        self.spans: list[Span] = []

    async def write(
        self, thread: Thread, stop: Sequence[str], faults: Faults, *, seconds: float,
        on_text: Callable[[str], None] | None = None,
    ) -> Continued:  # fmt: skip
        """Continue the thread until its text is complete and, if corrections last, well-formed.

        Raises PolicyError, or PolicyTimeout after `seconds`; BudgetExhausted before a call that
        the run's budget does not allow.
        """
        rejected: list[Failure] = []
        corrections = shortenings = 0
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        text, last = await self._complete(thread, stop, on_text)
                    except PolicyOverflow as overflow:
                        shorter = shortened(thread, overflow)
                        if shorter is None or shortenings >= _SHORTENINGS:
                            raise
                        rejected += [] if shortenings else [_overflowed(thread, overflow)]
                        shortenings += 1
                        thread = shorter
                        stop = [close_tag(thread.forced)] if thread.forced else stop
                        continue
                    steps = self._steps(thread, text, last)
                    wrong = [*last.faults, *faults(steps)]
                    if last.stop == "length":
                        cut = self._failure(thread, "cut", "cut by the token limit", None)
                        return Continued(steps=steps, failures=(*rejected, cut), room=last.room)
                    spent = corrections >= self.settings.corrections
                    # Without corrections, as in training, what was written is what is judged.
                    lenient = bool(wrong and self.settings.corrections)
                    if lenient and (reading := near_miss(thread, steps)):
                        rest = [*last.faults, *faults(reading.elements)]
                        if spent or (reading.certain and not rest):
                            message = "; ".join(reading.reasons)
                            rejected.append(self._failure(thread, "recovered", message, None))
                            steps, wrong = reading.steps, rest
                    if not wrong:
                        return Continued(steps=steps, failures=tuple(rejected), room=last.room)
                    reason = "; ".join(wrong)
                    if spent:
                        broken = self._failure(thread, "grammar", reason, None)
                        return Continued(steps=steps, failures=(*rejected, broken), room=last.room)
                    corrections += 1
                    rejected.append(self._failure(thread, "repaired", reason, text))
                    thread = thread.model_copy(
                        update={"corrections": (*thread.corrections, (text, reason))}
                    )
        except TimeoutError as error:
            raise PolicyTimeout(
                f"{thread.role}: no text within {seconds:.0f} s; raise the time-out or the budget"
            ) from error

    async def _complete(
        self, thread: Thread, stop: Sequence[str], on_text: Callable[[str], None] | None
    ) -> tuple[str, Continuation]:
        """One text, continued where the token limit cut it."""
        text, given = thread.pending, ""
        for attempt in range(self.settings.continuations + 1):
            self.budget.require(thread.role)
            start = time.time()
            try:
                last = await self.policy.continue_thread(
                    thread.model_copy(update={"pending": text}) if text else thread,
                    stop, on_text=on_text,
                )  # fmt: skip
            except PolicyOverflow:
                if attempt == 0:
                    raise
                break  # what was written before stands, cut
            self._account(thread, last, start)
            given = given or last.given
            text += last.given + last.text
            cut = last.stop == "length"
            end = _loop(thread, text) if cut or thread.constrained else None
            if not (cut or end):
                break
            if attempt == self.settings.continuations:
                return _ended(thread, text, end, last.model_copy(update={"given": given}))
            text = text[:end]  # a constrained continuation brings it to its end
        return text, last.model_copy(update={"given": given})

    def _account(self, thread: Thread, last: Continuation, start: float) -> None:
        usage = last.usage.model_copy(update={"role": thread.role, "branch": thread.branch})
        self.usage.append(usage)
        self.budget.charge(usage)
        self.spans.append(
            Span(
                name="model",
                branch=thread.branch,
                start=round(start - self.began, 3),
                seconds=round(time.time() - start, 3),
            )
        )

    def _steps(self, thread: Thread, text: str, last: Continuation) -> tuple[Step, ...]:
        opened = open_tag(thread.forced) if thread.forced else ""
        steps = list(parse_policy_text(opened + text, self.tools))
        if thread.forced and steps:
            steps[0] = steps[0].model_copy(update={"opened": "world", "lead": "\n\n"})
        if last.given and steps:
            steps[0] = steps[0].model_copy(update={"opened": "given"})
        if last.closed_by_world and steps:
            steps[-1] = steps[-1].model_copy(update={"closed": "world"})
        if last.hidden_reasoning and not any(step.kind == "think" for step in steps):
            steps.insert(steps[0].kind == "subtask" if steps else 0, world_step("think", ""))
        whole_run = {"subtask_list", "suggested_answer"}
        if thread.role == "researcher" and self.settings.execution == "parallel":
            whole_run = set()  # what it writes as the run's is its branch's all the same
        return tuple(
            step.model_copy(update={"branch": None if step.kind in whole_run else thread.branch})
            for step in steps
        )

    @staticmethod
    def _failure(thread: Thread, name: str, message: str, rejected: str | None) -> Failure:
        return Failure.model_validate(
            {
                "name": name,
                "fault": "policy",
                "message": message,
                "role": thread.role,
                "branch": thread.branch,
                "rejected": rejected,
            }
        )


def _loop(thread: Thread, text: str) -> int | None:
    """Where a text begins to repeat itself. A short answer says nothing twice; a report may, in its
    conclusion, and one that is held to its findings has the form that they have."""
    if thread.constrained and thread.next is not None and thread.next.report:
        return None
    _, tag, answer = text.rpartition(open_tag("subtask_answer"))
    if thread.role == "researcher" and thread.constrained and (tag or thread.forced):
        ends = [end for end in (repetition(answer, 2), stutter(answer)) if end is not None]
        return len(text) - len(answer) + min(ends) if ends else None
    return repetition(text)


def _ended(
    thread: Thread, text: str, end: int | None, last: Continuation
) -> tuple[str, Continuation]:
    """A constrained answer that no continuation brought to its end: its whole sentences."""
    opened = open_tag("subtask_answer")
    before, tag, answer = text.rpartition(opened)
    if not (thread.constrained and thread.role == "researcher" and (tag or thread.forced)):
        return text, last
    kept = answer[: None if end is None else end - len(before) - len(tag)]
    kept = kept[: max((m.end() for m in _CITED.finditer(kept)), default=0)]
    text = f"{before}{tag}{kept}{close_tag('subtask_answer')}"
    return text, last.model_copy(update={"closed_by_world": True, "stop": "length"})


_CITED: Final = re.compile(r"\[\d+\][.!?。！？]?")
"""The end of a sentence under the grammar."""


def _overflowed(thread: Thread, overflow: PolicyOverflow) -> Failure:
    message = f"what the {thread.role} reads was cut, to fit its context: {overflow}"
    return Failure(
        name="cut", fault="infrastructure", message=message, role=thread.role, branch=thread.branch
    )


_SHORTENINGS: Final = 4


_RUNS: Final = 1_000
"""Runs remembered at one time; an abandoned run is forgotten when so many others went on."""


@dataclass
class RunContext:
    """The working things of one run."""

    settings: ResearchSettings
    policies: Policies
    search: SearchBackend
    reader: PageReader
    tools: dict[str, BaseTool]
    """The embedder's extra tools by name."""
    budget: Budget
    protocol: Protocol
    began: float
    owned: bool = False
    """The policies were made for this run, and end with it."""
    queue: BranchQueue = field(init=False)
    _verifier: Verifier | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.queue = BranchQueue(self.settings.branches_at_once)

    @property
    def can_verify(self) -> bool:
        """A report is to be read against its sources, and there is a model that can."""
        chats = isinstance(self.policies.summarizer, ChatPolicy)
        return self.settings.verifies and (chats or bool(self.settings.verifier_model))

    def verifier(self, serving: Serving) -> Verifier | None:
        """The model that reads reports against their sources: the settings' own, or the
        summarizer's, which is served so; None where there is none or none is wanted. May block."""
        if self._verifier is None and self.can_verify:
            self._verifier = self._made(serving)
        return self._verifier

    def _made(self, serving: Serving) -> Verifier:
        settings, summarizer = self.settings, self.policies.summarizer
        votes, concurrency = settings.verifier_votes, settings.concurrency
        if settings.verifier_model or not isinstance(summarizer, ChatPolicy):
            name, at, server = (settings.verifier_model or "").partition("@http")
            base_url = f"http{server}" if at else settings.base_url
            return Verifier(
                name, base_url=base_url, votes=votes, concurrency=concurrency,
                allow_plain_http=settings.allow_plain_http,
            )  # fmt: skip
        model = summarizer.model
        return Verifier(model, votes=votes, concurrency=concurrency, serving=serving)

    async def aclose(self) -> None:
        """Close what was opened for the run."""
        if self._verifier is not None:
            await self._verifier.aclose()
        if self.owned:
            await self.policies.aclose()

    def policy(self, role: Role, branch: int | None = None) -> Policy:
        return self.policies.of(role, branch)

    def writer(self, role: Role, branch: int | None = None) -> Writer:
        return Writer(
            self.policy(role, branch),
            self.budget,
            self.settings,
            began=self.began,
            tools=tuple(self.tools),
        )

    @property
    def constrained(self) -> bool:
        """Threads are held to the grammar, where their server takes one."""
        return self.settings.constrained and self.protocol.execution == "parallel"

    def thread(
        self, run: Run, expected: Next, *, role: Role, branch: int | None = None,
        steps: Sequence[Step] = (), forced: bool = False,
    ) -> Thread:  # fmt: skip
        """The thread of a role, to be continued by what is expected."""
        sequential = self.protocol.execution == "sequential"
        place = {"planner": "plan", "researcher": branch, "summarizer": "report"}[role]
        parts: dict[Role, Part] = {
            "planner": "planner", "researcher": "answer" if forced else "turn",
            "summarizer": "report",
        }  # fmt: skip
        return Thread(
            id=run.id if sequential else f"{run.id}-{place}",
            system=system_prompt(self.settings, described(list(self.tools.values())), role),
            question=run.question,
            role=role,
            branch=branch,
            steps=tuple(steps),
            forced=expected.tag if forced else None,
            next=expected,
            by_role=self.settings.by_role,
            constrained=self.constrained,
            bound=getattr(self.settings.limits.bounds, parts[role]),
            language=run.language,
        )


def described(tools: Sequence[BaseTool]) -> list[tuple[str, str]]:
    """The tools as (name, what it does with which arguments), for the system prompt."""
    return [(tool.name, f"{' '.join(tool.description.split())} {tool.args}") for tool in tools]


def _adapts(before: ResearchSettings, after: ResearchSettings, run: Run) -> bool:
    return before != after and adapted(before, run.serving) == after


Build = Callable[[ResearchSettings, float], RunContext]
"""Makes the run_context of a run with these settings that began at this time. May block."""


class RunContextPool:
    """The run_context of the runs in this process, made when first asked for."""

    def __init__(self, base: ResearchSettings, build: Build) -> None:
        self.base, self._build = base, build
        self._kept: OrderedDict[str, RunContext] = OrderedDict()

    def settings(self, context: object) -> ResearchSettings:
        """The graph's settings with what a run's context sets explicitly."""
        settings = settings_from(context)
        if settings is None or not settings.model_fields_set:
            return self.base
        explicit = {name: getattr(settings, name) for name in settings.model_fields_set}
        return self.base.model_copy(update=explicit)

    async def of(self, run: Run, context: object) -> RunContext:
        """The run_context of a run; made anew when its settings were changed on the way."""
        settings = adapted(self.settings(context), run.serving)
        # A state may be edited: a run that begins later would have time without end.
        began = min(run.started + run.waited, time.time())
        before = run_context = self._kept.get(run.id)
        if run_context is None or run_context.settings != settings:
            run_context = await asyncio.to_thread(self._build, settings, began)
            if run.id in self._kept and self._kept[run.id].settings == settings:
                run_context = self._kept[run.id]
            self._kept[run.id] = run_context
            if before is not None and before.owned and _adapts(before.settings, settings, run):
                # It was made before it was known how its models are served.
                await before.policies.aclose()
        run_context.began = run_context.budget.started = began
        self._kept.move_to_end(run.id)
        while len(self._kept) > _RUNS:
            self._kept.popitem(last=False)
        return run_context

    async def release(self, run: Run) -> None:
        """The run is over: forget it, and close what was opened for it."""
        run_context = self._kept.pop(run.id, None)
        if run_context is not None:
            await run_context.aclose()
