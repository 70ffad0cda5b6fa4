"""Near misses: what unconstrained models write beside the protocol, read as what it stands for.

The sampled text stays as it is; the tags and the list that it lacks are the world's. Nothing is an
answer or a report that no evidence came before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from oresearch_graph.graph.state import subtask_list
from oresearch_graph.threads import Thread
from oresearch_graph.trace import ANSWER_KINDS, Step, StepKind, list_items, open_tag
from oresearch_graph.trace.report_form import find_headings, lines_of

_FENCE: Final = re.compile(r"`{3}\w*")
_MARKS: Final = " \t\r\n`*+-•.)0123456789"
"""What stands around tags in a code fence, in back-ticks or in a list."""
_LONGEST: Final = 300
"""Characters of a subtask that no tag marks as one."""
_ECHO: Final = 16
"""Characters of a line from which on it was copied, if it stands in the prompt."""


class Reading(NamedTuple):
    """What a near miss is read as."""

    steps: tuple[Step, ...]
    """The sampled text whole, with what the world adds."""
    elements: tuple[Step, ...]
    """Those of the steps that belong to the protocol: other faults are looked for in them."""
    reasons: tuple[str, ...] = ()
    certain: bool = True
    """False: a guess, for a policy that could not be brought to write it otherwise."""

    def because(self, reason: str, *, certain: bool = True) -> Reading:
        return self._replace(reasons=(*self.reasons, reason), certain=self.certain and certain)

    def replaced(self, step: Step, *others: Step) -> Reading:
        """With other steps in the place of one; loose text among them is no element."""
        elements = [other for other in others if other.kind != "stray"]
        return self._replace(
            steps=_replaced(self.steps, step, others),
            elements=_replaced(self.elements, step, elements),
        )


def near_miss(thread: Thread, steps: Sequence[Step]) -> Reading | None:
    """What the steps of a continuation that breaks the protocol were meant to be; None where
    nothing tells."""
    reading = Reading(tuple(steps), tuple(step for step in steps if not _is_marks(step)))
    if any(step.text.strip() for step in steps if _is_marks(step)):
        reading = reading.because("the marks around tags were passed over")
    if reading.elements:
        reading = _with_end(reading, thread)
        match thread.role:
            case "planner":
                reading = _as_plan(reading)
            case "researcher":
                reading = _as_answer(reading, thread)
            case "summarizer":
                reading = _as_report(reading)
    return reading if reading.reasons else None


def repeats_prompt(subtasks: Sequence[str], prompt: str) -> bool:
    """True where a line of a plan was copied from the prompt."""
    text = " ".join(prompt.split()).casefold()
    lines = (" ".join(subtask.split()).strip(" .…:;").casefold() for subtask in subtasks)
    return any(len(line) >= _ECHO and line in text for line in lines)


def _is_marks(step: Step) -> bool:
    return step.kind == "stray" and not _FENCE.sub("", step.text).strip(_MARKS)


def _with_end(reading: Reading, thread: Thread) -> Reading:
    """With the close tag that the last element lacks. A call ends with its line."""
    last = reading.elements[-1]
    answers = last.kind in ANSWER_KINDS and _has_evidence(thread)
    ends = answers or last.is_call or last.kind == "subtask_list"
    if last.closed or not last.text.strip() or not ends:
        return reading
    start = len(last.text) - len(last.text.lstrip())
    line = last.text.find("\n", start)
    end = line if last.is_call and line > 0 else len(last.text)
    closed = last.model_copy(update={"text": last.text[:end], "closed": "world"})
    rest = Step(kind="stray", text=last.text[end:], branch=last.branch)
    read = reading.replaced(last, closed, *([rest] if rest.text else []))
    return read.because(f"{open_tag(str(last.tag))} without its close tag was read to its end")


def _as_plan(reading: Reading) -> Reading:
    lists = [step for step in reading.elements if step.kind == "subtask_list"]
    subtasks = [step for step in reading.elements if step.kind == "subtask"]
    reason = "<subtask> was read as a line of the <subtask_list>"
    if lists and "<subtask>" in lists[0].text:
        lines = lists[0].model_copy(update={"text": "\n".join(list_items(lists[0].text))})
        return reading._replace(elements=(lines,)).because(reason)
    if subtasks and not any(step.text.strip() for step in lists):
        plan = subtask_list(_lines(subtasks))
        certain = len(reading.elements) == len(subtasks) + len(lists)
        return Reading((plan, *reading.steps), (plan,), reading.reasons, reading.certain).because(
            reason, certain=certain
        )
    if len(reading.elements) == 1 and _is_list(reading.elements[0]):
        tagged = _tagged(reading.elements[0], "subtask_list")
        reading = reading.replaced(reading.elements[0], tagged)
        return reading.because("a list without a tag was read as the <subtask_list>")
    return reading


def _as_answer(reading: Reading, thread: Thread) -> Reading:
    *before, last = reading.elements
    if last.kind != "stray" or not _has_evidence(thread):
        return reading
    if any(step.kind not in {"think", "plan"} for step in before):
        return reading
    reading = reading.replaced(last, _tagged(last, "subtask_answer"))
    reason = "text without a tag was read as the <subtask_answer>"
    return reading.because(reason, certain=False)


def _as_report(reading: Reading) -> Reading:
    text = reading.elements[0]
    if len(reading.elements) > 1 or text.kind != "stray":
        return reading
    if not any(find_headings(lines_of(text.text), ())):
        return reading
    reading = reading.replaced(text, _tagged(text, "suggested_answer"))
    return reading.because("a report without a tag was read as the <suggested_answer>")


def _has_evidence(thread: Thread) -> bool:
    """A summarizer is not asked without any."""
    return thread.role == "summarizer" or bool(thread.next and thread.next.sources)


def _tagged(step: Step, kind: StepKind) -> Step:
    branch = step.branch if kind == "subtask_answer" else None
    return step.model_copy(
        update={"kind": kind, "branch": branch, "opened": "world", "closed": "world"}
    )


def _lines(subtasks: Sequence[Step]) -> list[str]:
    if len(subtasks) == 1:
        return list(list_items(subtasks[0].text))
    return [" ".join(step.text.split()) for step in subtasks if step.text.strip()]


def _is_list(step: Step) -> bool:
    """Two or more marked lines, with at most a line above them that announces them."""
    text = _FENCE.sub("", step.text) if step.kind == "stray" else ""
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]
    if lines and (lines[0].startswith("#") or lines[0].endswith((":", "："))):
        del lines[0]
    marked = (list_items(line) != (line,) and len(line) <= _LONGEST for line in lines)
    return len(lines) > 1 and all(marked)


def _replaced(steps: Sequence[Step], step: Step, others: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(new for old in steps for new in (others if old is step else (old,)))
