"""`filter --explain ID`: what the rules say of one candidate, each with the text that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rapidfuzz import process
from rich.console import Console
from rich.text import Text

from datagen.filter.registry import Rules
from datagen.records import Finding
from datagen.run.folder import Work
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.command.terminal import harmless, line
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Step, Trace

_AROUND: Final = 120
_LONGEST: Final = 600
"""Characters of context on each side, and of an offending text before its middle is left out."""


def explain_candidate(work: Work, candidate: str, console: Console) -> None:
    """Print the candidate's findings, worked out from its trace.

    Raises ConfigurationError with near ids for one that is not there.
    """
    shelf = TraceShelf(work.run.traces)
    if candidate not in shelf:
        near = [match[0] for match in process.extract(candidate, list(shelf), limit=3)]
        hint = f"; near it: {', '.join(near)}" if near else "; the run has no traces yet"
        raise ConfigurationError(f"there is no candidate {candidate!r} in {work.run.root}{hint}")
    trace = shelf.get(candidate)
    findings = Rules(work.settings.filter).findings(trace)
    console.print(line(f"{candidate}: {trace.question}", "bold"))
    if not findings:
        console.print(Text("passed: no rule finds anything", "green"))
    for finding in findings:
        console.print()
        for text in _finding_text(trace, finding):
            console.print(text, soft_wrap=True)


def _finding_text(trace: Trace, finding: Finding) -> Iterator[Text]:
    place = "" if finding.branch is None else f", subtask {finding.branch}"
    step = None
    if finding.step is not None:
        step = trace.steps[finding.step]
        place = f", step {finding.step} <{step.tag or 'stray'}>{place}"
    yield Text.assemble((finding.rule, "bold red"), harmless(place))
    yield Text(f"  {_flat(finding.message)}")
    if step is not None and finding.start is not None and finding.end is not None:
        yield _in_context(step, finding.start, finding.end)
    elif step is not None:
        more = "…" if len(step.text) > _AROUND else ""
        yield Text(f"  {_flat(step.text[:_AROUND])}{more}", "dim")


def _in_context(step: Step, start: int, end: int) -> Text:
    """The offending text, marked, between what stands around it."""
    before, after = step.text[max(0, start - _AROUND) : start], step.text[end : end + _AROUND]
    text = step.text[start:end]
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]} […] {text[-half:]}"
    opening = "…" if start > _AROUND else ""
    closing = "…" if end + _AROUND < len(step.text) else ""
    return Text.assemble(
        "  ", (f"{opening}{_flat(before)}", "dim"), ("⟦", "red"), (_flat(text), "red"),
        ("⟧", "red"), (f"{_flat(after)}{closing}", "dim"),
    )  # fmt: skip


def _flat(text: str) -> str:
    """On one line, control characters shown as marks."""
    return harmless(text.replace("\n", " ⏎ ").replace("\t", " "))
