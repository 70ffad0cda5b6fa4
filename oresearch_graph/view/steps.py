"""The plan and each branch's steps, folded, with who wrote them and what is remarked on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, assert_never

from oresearch_graph.trace.record import Trace
from oresearch_graph.trace.step import Step, StepKind
from oresearch_graph.view.markup import Html, joined, tag

LONGEST: Final = 60_000
"""Characters of a step that are shown; the trace file has the rest."""
_FIRST: Final = 110
"""Characters of a folded step's first line."""


class Remark(NamedTuple):
    """A finding of anybody's, with the place that shows it."""

    by: str
    """Who found it: `violation`, a filter's or a judge's name."""
    label: str
    """The code or the rule."""
    message: str
    step: int | None = None
    """Index into `Trace.steps`."""
    start: int | None = None
    """`steps[step].text[start:end]` is the offending span."""
    end: int | None = None
    declared: bool = False


def step_id(key: str, index: int) -> str:
    """The id of a step on the page."""
    return f"{key}-step-{index}"


def plan(trace: Trace) -> Html:
    """The subtasks, each a link to its branch."""
    if not trace.subtasks:
        return tag("p", "There is no plan.")
    return tag("ol", *(tag("li", text, dir="auto") for text in trace.subtasks), class_="plan")


def branches(trace: Trace, key: str, remarks: Sequence[Remark]) -> Html:
    """Every step but the plan's and the report's own, by branch; then those that belong to none."""
    groups: dict[int | None, list[int]] = {}
    for index, step in enumerate(trace.steps):
        if step.kind != "stray" or step.text.strip():
            groups.setdefault(step.branch, []).append(index)
    alone = groups.pop(None, [])
    parts = [_branch(trace, key, number, groups[number], remarks) for number in sorted(
        number for number in groups if number is not None)]  # fmt: skip
    if alone:
        title = "Planner and summarizer, as written"
        parts.append(_group(f"{key}-frame", title, _step_list(trace, key, alone, remarks)))
    return joined(*parts)


def _branch(
    trace: Trace, key: str, number: int, indexes: Sequence[int], remarks: Sequence[Remark]
) -> Html:
    subtasks = trace.subtasks
    subtask = next((trace.steps[i].text for i in indexes if trace.steps[i].kind == "subtask"), "")
    title = subtasks[number - 1] if number <= len(subtasks) else subtask.strip()
    calls = sum(trace.steps[index].is_call for index in indexes)
    heading = f"Subtask {number}: {title}"
    more = f"{len(indexes)} steps, {calls} calls"
    return _group(f"{key}-branch-{number}", heading, _step_list(trace, key, indexes, remarks), more)


def _group(name: str, title: str, steps: Html, more: str | None = None) -> Html:
    return tag(
        "details",
        tag("summary", tag("span", title, dir="auto"),
            tag("span", f" · {more}", class_="small") if more else None),
        steps, class_="branch", id=name,
    )  # fmt: skip


def _step_list(trace: Trace, key: str, indexes: Sequence[int], remarks: Sequence[Remark]) -> Html:
    remarks_at: dict[int, list[Remark]] = {}
    for remark in remarks:
        if remark.step is not None:
            remarks_at.setdefault(remark.step, []).append(remark)
    items = (_step(trace.steps[i], step_id(key, i), i, remarks_at.get(i, [])) for i in indexes)
    return tag("div", *items, class_="steps")


def _step(step: Step, name: str, index: int, remarks: Sequence[Remark]) -> Html:
    first = " ".join(step.text[:400].split())
    first = first if len(first) <= _FIRST else f"{first[:_FIRST]}…"
    author = step.author
    return tag(
        "details",
        tag("summary",
            tag("span", _icon(step.kind), class_="icon", aria_hidden="true"),
            tag("span", step.tag or "stray text", class_="kind"),
            tag("span", author, class_=f"author {author}", title=f"Written by the {author}"),
            tag("span", f"{len(remarks)} findings", class_="flag") if remarks else None,
            tag("span", first, class_="first", dir="auto")),
        tag("p", f"Step {index} · {len(step.text):,} characters{_tags(step)}", class_="small"),
        tag("div", *_text(step.text, remarks), class_="foreign", dir="auto"),
        *(tag("p", f"{r.by}: {r.label}: {r.message}", class_="remark", dir="auto")
          for r in remarks),
        class_=f"step {author}", id=name,
    )  # fmt: skip


def _tags(step: Step) -> str:
    """What is out of the ordinary about a step's tags."""
    if step.kind == "stray":
        return ""
    labels = [
        f"{name} {'missing' if who is None else f'written by the {who}'}"
        for name, who in (("opening tag", step.opened), ("closing tag", step.closed))
        if who != step.author
    ]
    return "".join(f" · {each}" for each in labels)


def _text(text: str, remarks: Sequence[Remark]) -> list[Html]:
    """The text with the spans that remarks point at, cut where it is very long."""
    parts: list[Html] = []
    at, end = 0, min(len(text), LONGEST)
    for start, stop in sorted(_spans(text, remarks)):
        if start >= at and stop <= end:
            parts.append(joined(text[at:start], tag("mark", text[start:stop], class_="offending")))
            at = stop
    parts.append(joined(text[at:end]))
    if end < len(text):
        parts.append(tag("em", f" … {len(text) - end:,} more characters are in the trace file"))
    return parts


def _spans(text: str, remarks: Sequence[Remark]) -> set[tuple[int, int]]:
    return {
        (r.start, r.end)
        for r in remarks
        if r.start is not None and r.end is not None and 0 <= r.start < r.end <= len(text)
    }


def _icon(kind: StepKind) -> str:
    match kind:
        case "think":
            return "✎"
        case "plan" | "subtask_list" | "subtask":
            return "☰"
        case "web_search":
            return "⌕"
        case "crawl_page":
            return "⇩"
        case "tool_call":
            return "⚙"
        case "observation":
            return "◉"
        case "subtask_answer" | "suggested_answer":
            return "✓"
        case "stray":
            return "?"
    assert_never(kind)
