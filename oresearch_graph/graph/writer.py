"""The Writer: through it planner, researchers and summarizer let a policy write, within the run's
budget."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from langchain_core.runnables.config import ensure_config, merge_configs, var_child_runnable_config
from langgraph.constants import TAG_NOSTREAM

from oresearch_graph.errors import BudgetExhausted, PolicyOverflow, PolicyTimeout
from oresearch_graph.graph.budget import Account, Budget
from oresearch_graph.graph.clock import Clock
from oresearch_graph.graph.near_misses import near_miss
from oresearch_graph.graph.shortening import forced_answer, shortened
from oresearch_graph.policies.chat.metering import Cost, metered
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.policy import Continuation, Policy
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.text.repetition import repetition, stutter
from oresearch_graph.threads import Thread
from oresearch_graph.trace import (
    Failure,
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
        self, policy: Policy, budget: Budget, settings: ResearchSettings, clock: Clock,
        tools: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.policy, self.budget, self.settings = policy, budget, settings
        self.clock, self.tools = clock, tuple(tools)
        self.ask = policy.continue_thread
        """By which the policy is asked: middleware may stand around it."""
        self.usage: list[Usage] = []
        self.spans: list[Span] = []
        self.faults: list[Failure] = []
        """Of servers that took more than they were allowed."""

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
                    except BudgetExhausted:
                        # An answer has been kept for; another turn is more than is left.
                        if (answering := forced_answer(thread)) is None:
                            raise
                        thread, stop = answering, [close_tag("subtask_answer")]
                        continue
                    steps = self._steps(thread, text, last)
                    wrong = [*last.faults, *faults(steps)]
                    if last.stop == "length":
                        cut = self._failure(thread, "cut", "cut by the token limit", None)
                        return Continued(steps=steps, failures=(*rejected, cut), room=last.room)
                    spent = corrections >= self.settings.corrections or self._is_spent(thread)
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

    def _is_spent(self, thread: Thread) -> bool:
        """No other try is left for: what was written stands."""
        last = thread.forced is not None or thread.role != "researcher"
        return self.budget.spent_for(thread.role, thread.branch, last=last) is not None

    async def _complete(
        self, thread: Thread, stop: Sequence[str], on_text: Callable[[str], None] | None
    ) -> tuple[str, Continuation]:
        """One text, continued where the token limit cut it."""
        text, given = thread.pending, ""
        for attempt in range(self.settings.continuations + 1):
            longer = thread.model_copy(update={"pending": text}) if text else thread
            try:
                last = await self._continued(longer, stop, on_text)
            except (PolicyOverflow, BudgetExhausted):
                if attempt == 0:
                    raise
                break  # what was written before stands, cut
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

    async def _continued(
        self, thread: Thread, stop: Sequence[str], on_text: Callable[[str], None] | None
    ) -> Continuation:
        """One continuation, paid for. A chat model's requests are each asked for; what another
        policy does is one call, of which nothing is known before."""
        account = Account(self.budget, thread.role, thread.branch, last=thread.forced is not None)
        reserved = None if isinstance(self.policy, ChatPolicy) else account.reserve(Cost(0, 1))
        place = {"role": thread.role, "branch": thread.branch}
        whole = Usage(role=thread.role, model=self.policy.name, calls=1, unanswered=1)
        start = self.clock.now()
        try:
            with unstreamed(thread.role), metered(thread.role, thread.branch, account) as meter:
                last = await self.ask(thread, stop, on_text=on_text)
            whole = last.usage
            return last
        finally:
            if reserved is not None:
                account.settle(reserved, 1, Usage(role=thread.role) if meter.usage else whole)
            unmetered = [] if reserved is None else [whole.model_copy(update=place)]
            self.usage += meter.usage or unmetered
            self.faults += [
                self._failure(thread, "budget", fault, None) for fault in account.faults
            ]
            seconds = self.clock.now() - start
            self.spans.append(
                Span(
                    name="model", branch=thread.branch, start=round(start, 3),
                    seconds=round(seconds, 3),
                )
            )  # fmt: skip

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


@contextmanager
def unstreamed(role: Role) -> Iterator[None]:
    """Protocol text is no part of the run's own chat messages: researchers alone are heard, by
    those who ask for subgraphs."""
    if role == "researcher":
        yield
        return
    config = merge_configs(ensure_config(), {"tags": [TAG_NOSTREAM]})
    token = var_child_runnable_config.set(config)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


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
