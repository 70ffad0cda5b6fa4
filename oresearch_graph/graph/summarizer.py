"""The summarizer: one report from the answers of all subtasks, or that there is no evidence; and
`response_format`, the delivered report once more, as the structure an embedder asked for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from langgraph.runtime import Runtime
from pydantic import BaseModel

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.evidence.citations import sentences_of
from oresearch_graph.graph.boundary import boundary
from oresearch_graph.graph.budget import Budget
from oresearch_graph.graph.events import ReportText, emit
from oresearch_graph.graph.run_context import RunContextPool
from oresearch_graph.graph.state import Findings, ResearchState, add_usage, written_steps
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.policy import Policy
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.repetition import words_of
from oresearch_graph.text.scripts import has_cjk
from oresearch_graph.text.words import names_and_figures, terms
from oresearch_graph.threads import Citable, Next, SectionPlan, Thread, visible
from oresearch_graph.trace import (
    Failure,
    Protocol,
    Source,
    Step,
    Trace,
    Usage,
    ViolationCode,
    close_tag,
    violations,
)
from oresearch_graph.trace.answer import parse_answer

_INSTRUCTION = "Fill in the structure from this report alone. Leave out what it does not say."


def structuring(policy: Policy) -> ChatPolicy:
    """The policy, if it can fill in a structure; raises ConfigurationError if it cannot."""
    if not isinstance(policy, ChatPolicy):
        raise ConfigurationError(
            f"response_format needs a chat model, the summarizer is {policy.name}: set model"
        )
    return policy


class Structurer:
    """The node that fills `structured_response` with the summarizer's model."""

    def __init__(
        self, pool: RunContextPool, response_format: type[BaseModel] | dict[str, Any]
    ) -> None:
        self.pool, self.response_format = pool, response_format

    async def structure(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The report as a structure; None without a report, or with a failure that says why."""
        run, report, trace = state["run"], state.get("report"), state["trace"]
        if report is None:
            await self.pool.release(run)
            return {"structured_response": None}
        run_context = await self.pool.of(run, runtime.context)
        thread = Thread(
            id=f"{run.id}-structure", system=_INSTRUCTION, question=report, role="summarizer"
        )
        answer, usage, failures = None, list[Usage](), list[Failure]()
        with boundary(failures, "summarizer"):
            policy = structuring(run_context.policy("summarizer"))
            answer, used = await policy.structured(thread, self.response_format)
            usage.append(used)
        await self.pool.release(run)
        closed = {
            "failures": (*trace.failures, *failures),
            "usage": tuple(add_usage(trace.usage, usage)),
        }
        return {"structured_response": answer, "trace": trace.model_copy(update=closed)}


_WRITTEN: Final[frozenset[ViolationCode]] = frozenset((
    "no_suggested_answer", "step_after_report", "stray_text", "missing_open_tag",
    "missing_close_tag", "nested_tag", "no_introduction", "no_body", "no_conclusion",
    "no_references", "heading_language",
))  # fmt: skip


class Summarizer:
    """The nodes after research."""

    def __init__(self, pool: RunContextPool) -> None:
        self.pool = pool

    async def summarize(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The report; or, without any evidence, that there is none."""
        run, findings = state["run"], state.get("findings", [])
        if any(branch.reported for branch in findings):
            return {}
        if not state.get("sources") or not any(branch.answered for branch in findings):
            return {"failures": _why_nothing(state, findings)}
        run_context = await self.pool.of(run, runtime.context)
        _restore(run_context.budget, state)
        before = visible(written_steps(state), "summarizer", None, run.protocol.execution)
        expected = Next(tag="suggested_answer")
        if run_context.constrained:
            expected = await asyncio.to_thread(_expected, state)
        thread = run_context.thread(run, expected, role="summarizer", steps=before)
        writer, failures = run_context.writer("summarizer"), list[Failure]()
        steps: tuple[Step, ...] = ()
        with boundary(failures, "summarizer"):
            continuation = await writer.write(
                thread,
                [close_tag("suggested_answer")],
                lambda new: _report_faults(new, run.language, run.protocol),
                seconds=run_context.budget.remaining_seconds(),
                on_text=lambda text: emit(ReportText(text=text)),
            )
            steps = continuation.steps
            failures += continuation.failures
        return {
            "summary": list(steps),
            "failures": failures,
            "usage": writer.usage,
            "spans": writer.spans,
        }


def _expected(state: ResearchState) -> Next:
    """The report: a section for each subtask, of what its answer cites, as it stands there. Small
    models that wrote it anew put their own findings wrong. What two answers say alike is said once,
    and no section is of that alone."""
    sources, sections = {s.id: s for s in state.get("sources", [])}, []
    asked = "\n".join([state["run"].question, *state["subtasks"]])
    cited, said = dict[int, None](), set[str]()
    for findings, subtask in zip(state.get("findings", []), state["subtasks"], strict=False):
        answer = next((s.text for s in findings.steps if s.kind == "subtask_answer"), "")
        statements = []
        for statement in _statements(answer):
            if statement.words in said or not statement.numbers <= sources.keys():
                continue
            shown = [sources[number] for number in statement.numbers]
            if _says_something(statement.plain, shown, asked, state["run"].language):
                said.add(statement.words)
                cited |= dict.fromkeys(sorted(statement.numbers))
                statements.append(statement.text)
        if statements:
            sections.append(SectionPlan(heading=_heading(subtask), statements=tuple(statements)))
    names = names_and_figures(asked)
    return Next(
        tag="suggested_answer",
        sources=tuple(Citable.of(sources[number], names) for number in cited or sources),
        names=names,
        sections=tuple(sections),
    )


class _Statement(NamedTuple):
    text: str
    """A line, with its marks."""
    plain: str
    words: str
    numbers: set[int]


_MARKS: Final = re.compile(r"\[[^\[\]]*\]")
_ENDS: Final = (".", "。", "!", "?", "！", "？")
_ITEM: Final = re.compile(r"^(?:[-*•]|\d{1,3}[.)])\s+")


def _statements(answer: str) -> Iterator[_Statement]:
    """Its cited sentences."""
    parsed = parse_answer(answer)
    for start, end, marks in sentences_of(parsed):
        text = _ITEM.sub("", " ".join(parsed.text[start:end].split()), count=1)
        if marks and "<" not in text:
            plain = _MARKS.sub(" ", text)
            if not plain.rstrip().endswith(_ENDS):
                text += _ENDS[has_cjk(plain)]
            yield _Statement(text, plain, words_of(text), {mark.number for mark in marks})


def _says_something(statement: str, cited: Sequence[Source], asked: str, language: str) -> bool:
    """False for a mere title, and where nothing beyond what was asked stands in the sources: "There
    is no information about the span in the given text [1001]"; in another language it may."""
    said = set(terms(statement))
    own = said - set(terms(asked))
    if not own:
        return not any(said <= set(terms(source.title)) for source in cited)
    texts = "\n".join(f"{source.title}\n{source.text}" for source in cited)
    return not own.isdisjoint(terms(texts)) or detect_language(texts) != language


_LONGEST: Final = 80
"""Characters of a heading."""


def _heading(subtask: str) -> str:
    line = " ".join(subtask.translate(str.maketrans("<>[]#", "()()·")).split()).rstrip(".?:;")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _restore(budget: Budget, state: ResearchState) -> None:
    for usage in state.get("usage", []):
        budget.restore(usage.role, usage.branch, [usage])
    for branch in state.get("findings", []):
        budget.restore("researcher", branch.branch, branch.usage)


def _report_faults(new: Sequence[Step], language: str, protocol: Protocol) -> list[str]:
    """What the summarizer should write otherwise."""
    trace = Trace(question="", language=language, steps=tuple(new), sources=(), protocol=protocol)
    return [violation.message for violation in violations(trace) if violation.code in _WRITTEN]


def _why_nothing(state: ResearchState, findings: Sequence[Findings]) -> list[Failure]:
    """No evidence, unless a recorded failure is the reason that there is none."""
    failed = [f for branch in findings for f in branch.failures if f.fault != "policy"]
    if not state["subtasks"] and not state.get("failures"):
        why = "the plan was edited until no subtask was left"
        return [Failure(name="plan_rejected", fault="person", message=why, role="planner")]
    if failed or not state["subtasks"]:
        return []
    sources = len(state.get("sources", []))
    message = f"no evidence was found for this question ({sources} sources were looked at)"
    return [Failure(name="no_evidence", fault="policy", message=message, role="summarizer")]
