"""The beginning of a run: the question is taken in, split into subtasks, and the plan approved."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.approval import decide
from oresearch_graph.graph.boundary import boundary
from oresearch_graph.graph.budget import Account
from oresearch_graph.graph.events import Planned, TimeForecast, emit
from oresearch_graph.graph.near_misses import repeats_prompt
from oresearch_graph.graph.plan_message import plan_messages, without_plan
from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.graph.run_context_pool import RunContextPool
from oresearch_graph.graph.state import ResearchState, Run, subtask_list
from oresearch_graph.policies.chat.metering import metered
from oresearch_graph.policies.serving import Serving, adapted, forecast
from oresearch_graph.prompts import follow_up, protocol
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.text.language import report_language
from oresearch_graph.threads import Next
from oresearch_graph.tools.choose import prepare
from oresearch_graph.trace import Failure, Step, close_tag, list_items, violations
from oresearch_graph.trace.plain_text import body_text
from oresearch_graph.trace.record import Trace

_log = logging.getLogger("oresearch_graph")


class Planner:
    """The nodes before research."""

    def __init__(self, pool: RunContextPool, tools: Sequence[tuple[str, str]]) -> None:
        self.pool, self.tools = pool, tools

    async def prepare(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """Take in the question and start a run; what an earlier run left is the ledger."""
        settings = self.pool.settings(runtime.context)
        question, messages = _question(state)
        # The input has already replaced `question`: what was asked before is the last run's.
        earlier, report = state["run"].asked if "run" in state else "", state.get("report")
        follows = bool(state.get("sources")) and bool(earlier) and bool(report)
        storable, withheld = self.pool.explicit(runtime.context).storable
        run = Run(
            id=uuid.uuid4().hex,
            started=time.time(),
            question=follow_up(question, earlier, report or "") if follows else question,
            asked=question,
            language=settings.language or await asyncio.to_thread(report_language, question),
            protocol=protocol(settings, self.tools),
            follow_up=follows,
            chat=not messages,
            approve_plan=settings.approve_plan,
            settings=storable,
            withheld=withheld,
            objects=self.pool.objects,
        )
        async with self.pool.at_work(run, runtime.context) as run_context:
            models = ", ".join(dict.fromkeys(run_context.policies.names.values()))
            _log.info("run %s began: %s", run.id, models, extra={"run_id": run.id})
            run_context.require_prices()
            await prepare(run_context.search)
            account = Account(run_context.budget, "planner")
            with metered("planner", None, account) as meter:
                run = await self._served(run, run_context, runtime)
        return {
            "messages": [*without_plan(state.get("run"), state.get("messages")), *messages],
            "question": question,
            "run": run,
            "plan": [],
            "subtasks": [],
            "findings": Overwrite([]),
            "failures": Overwrite([]),
            "usage": Overwrite(meter.usage),
            "spans": Overwrite([]),
            "summary": [],
            "report": None,
            "citations": None,
            "structured_response": None,
        }

    async def _served(
        self, run: Run, run_context: RunContext, runtime: Runtime[ResearchSettings]
    ) -> Run:
        """The run with what its models' servers can do; a slow one gets its forecast."""
        serving = Serving()
        with suppress(TimeoutError):
            async with asyncio.timeout(run_context.budget.remaining_seconds("planner")):
                serving = await run_context.policies.serving()
        # A verifier that cannot be had is known before anything is paid for.
        await asyncio.to_thread(run_context.verifier, serving)
        run_context.require_prices()
        settings = adapted(self.pool.settings(runtime.context), serving)
        if serving.slow and serving.pace and (seconds := forecast(settings.limits, serving)):
            emit(TimeForecast(seconds=round(seconds), pace=round(serving.pace, 1),
                          limit=settings.limits.seconds))  # fmt: skip
        parallel = settings.execution == "parallel"
        constrained = settings.constrained and serving.grammar and parallel
        known = protocol(settings, self.tools).model_copy(update={"constrained": constrained})
        return run.model_copy(
            update={
                "serving": serving,
                "protocol": known,
                "verifies": run_context.can_verify,
            }
        )

    async def plan(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The planner's subtask list; where it fails, the question is the one subtask."""
        async with self.pool.at_work(state["run"], runtime.context) as run_context:
            return await self._planned(state, run_context)

    async def _planned(self, state: ResearchState, run_context: RunContext) -> dict[str, Any]:
        run = state["run"]
        run_context.restore(state)
        run_context.queue.clear()
        expected = Next(tag="subtask_list", items=run_context.limits.subtasks)
        thread = run_context.thread(run, expected, role="planner")
        writer, failures = run_context.writer("planner"), list[Failure]()
        prompt = _own_lines(thread.system, run_context.settings)
        steps: list[Step] = []
        with boundary(failures, "planner"):
            continuation = await writer.write(
                thread,
                [close_tag("subtask_list")],
                lambda new: _plan_faults(new, prompt),
                seconds=run_context.budget.remaining_seconds("planner"),
            )
            steps = list(continuation.steps)
            failures += continuation.failures
        failures += writer.faults
        subtasks = _subtasks_of(steps)
        if not subtasks or repeats_prompt(subtasks, prompt):
            fallback = subtask_list([state["question"]])
            # The first list counts; in training nothing is put before what was sampled.
            steps = [fallback, *steps] if subtasks else [*steps, fallback]
            subtasks = [state["question"]]
            failures.append(_fallback(failures))
        within, beyond = _within(subtasks, run_context)
        emit(Planned(subtasks=tuple(within)))
        return {
            "messages": plan_messages(run, within),
            "plan": steps,
            "subtasks": within,
            "failures": [*failures, *beyond],
            "usage": writer.usage,
            "spans": writer.spans,
        }

    async def approve_plan(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """Wait until a person approves, edits or rejects the plan."""
        subtasks, run = state["subtasks"], state["run"]
        async with self.pool.at_work(run, runtime.context) as run_context:
            decision = decide(state["question"], subtasks, run_context)
        if decision.action == "reject":
            why = f"the plan was rejected{': ' if decision.reason else ''}{decision.reason}"
            failure = Failure(name="plan_rejected", fault="person", message=why, role="planner")
            moved = [failure.model_copy(update={"branch": i + 1}) for i in range(len(subtasks))]
            return {"subtasks": [], "failures": [failure, *moved]}
        if decision.action == "approve":
            return {}
        emit(Planned(subtasks=tuple(decision.subtasks)))
        subtasks = decision.subtasks
        return {
            "messages": plan_messages(run, subtasks),
            "plan": [subtask_list(subtasks)],
            "subtasks": subtasks,
        }


def _question(state: ResearchState) -> tuple[str, list[HumanMessage]]:
    """The question, and the message to add when it did not come as one."""
    messages, question = state.get("messages") or [], body_text(state.get("question") or "").strip()
    new_messages = [HumanMessage(question)]
    if messages and messages[-1].type == "human":
        text = body_text(messages[-1].text).strip()
        # A run that died left its message unanswered; a question given since then is another one.
        unanswered = "run" in state and text == state["run"].asked and question not in ("", text)
        if not unanswered:
            question, new_messages = text, []
    if not question:
        raise ConfigurationError("the question is empty: give `question`, or a human message")
    return question, new_messages


def _own_lines(system: str, settings: ResearchSettings) -> str:
    """The prompt's lines that no plan may repeat: an embedder may have named subtasks in it. As in
    training, what was written is a plan where nothing is corrected."""
    addition = settings.prompts.get("planner", "").strip()
    return system.replace(addition, "") if settings.corrections else ""


def _plan_faults(steps: Sequence[Step], prompt: str) -> list[str]:
    """What is wrong with a plan, in words for the planner."""
    trace = Trace(question="", steps=tuple(steps), sources=())
    codes = {
        "no_subtask_list", "repeated_subtask_list", "empty_subtask_list", "copied_subtask",
        "stray_text", "missing_open_tag", "missing_close_tag", "nested_tag", "step_outside_branch",
    }  # fmt: skip
    faults = [violation.message for violation in violations(trace) if violation.code in codes]
    if repeats_prompt(trace.subtasks, prompt):
        faults.append("the list repeats the instructions; write subtasks of the question")
    return faults


def _subtasks_of(steps: Sequence[Step]) -> list[str]:
    return list(next((list_items(s.text) for s in steps if s.kind == "subtask_list"), ()))


def _fallback(failures: Sequence[Failure]) -> Failure:
    why = f": {failures[-1].message}" if failures else ""
    return Failure(
        name="plan_fallback",
        fault=failures[-1].fault if failures else "policy",
        message=f"no plan could be had, the question is the one subtask{why}",
        role="planner",
    )


def _within(subtasks: list[str], run_context: RunContext) -> tuple[list[str], list[Failure]]:
    """As many subtasks as the limit allows and the budget can bring to an answer; each one beyond
    is named."""
    most = run_context.limits.subtasks
    finished, limit = run_context.budget.branches(min(len(subtasks), most))
    why = f"the limit is {most}"
    if finished < min(len(subtasks), most):
        why, most = f"the {limit} budget is enough for {finished}", finished
    failures = [
        Failure(
            name="not_covered",
            fault="policy",
            message=f"subtask {number} was dropped, {why}: {subtasks[number - 1]}",
            role="planner",
            branch=number,
        )
        for number in range(most + 1, len(subtasks) + 1)
    ]
    return subtasks[:most], failures
