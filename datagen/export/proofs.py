"""Proofs of one SFT row from what stands in it: export proves a row before it writes it, and
`verify` proves it again.

Authorship is proved as far as tags tell it: observations, given subtasks and all that another
thread wrote are the world's, every other element is the policy's. Two things are told by nothing
but the segments: who opened an answer right behind an observation (a thread out of budget has it
opened), and who closed an element at which generation stops (a server may eat its tag).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from datagen.export.prepared import Texts
from datagen.export.sft_rows import assistant_text
from oresearch_graph.evidence.ledger import source_heads
from oresearch_graph.rows.files import Row
from oresearch_graph.trace import (
    ANSWER_KINDS,
    Author,
    Execution,
    Source,
    Step,
    parse_steps,
    render_steps,
    step_segments,
    text_hash,
)
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.references import Ledger, same_address

_ROLES = {"plan": "planner", "report": "summarizer", "run": None}
_CONTEXT = {"planner": (), "researcher": ("subtask_list", "subtask"),
            "summarizer": ("subtask_list", "subtask", "subtask_answer")}  # fmt: skip


def row_faults(row: Row, texts: Texts, tools: Sequence[str], *, linear: bool) -> Iterator[str]:
    """Everything in which an SFT row contradicts itself or its sources."""
    yield from _place_faults(row)
    text = assistant_text(row)
    steps = parse_steps(text, execution=row["execution"], tools=tools)
    if render_steps(steps, tools) != text:
        yield "its text does not come back from its steps"
        return
    yield from author_faults(row["segments"], steps, row["role"], row["execution"], tools)
    yield from _source_faults(row, texts)
    yield from _citation_faults(row, text, texts)
    yield from _shown_faults(row, steps) if linear else _listed_faults(row, steps)


def _place_faults(row: Row) -> Iterator[str]:
    thread = row["thread"]
    if row["id"] != f"{row['trace_id']}-{thread}":
        yield f"its id is not that of thread {thread} of trace {row['trace_id']}"
    expected = _ROLES.get(thread, "researcher")
    branch = int(thread) if expected == "researcher" and thread.isdigit() else None
    if (row["role"], row["branch"]) != (expected, branch):
        yield f"role {row['role']} and branch {row['branch']} are not those of thread {thread}"
    if thread == "run" or row["execution"] == "parallel":
        return
    yield "a sequential run has one thread"


def author_faults(
    segments: Sequence[Row], steps: Sequence[Step], role: str | None, execution: Execution,
    tools: Sequence[str],
) -> Iterator[str]:  # fmt: skip
    """Pieces whose author the tags contradict."""
    ends = list(accumulate(len(segment["text"]) for segment in segments))
    others = _others(steps, role)
    at = 0
    for index, step in enumerate(steps):
        for piece, (_, text) in zip(_pieces(step), step_segments(step, tools), strict=True):
            before = steps[index - 1] if index else None
            allowed = {"world"} if index < others else _allowed(step, before, piece, execution)
            first, last = bisect_right(ends, at), bisect_right(ends, at + len(text) - 1)
            wrong = {s["author"] for s in segments[first : last + 1] if s["text"]} - allowed
            if wrong:
                yield f"the {piece} of <{step.tag}> at {at} is given to the {wrong.pop()}"
            at += len(text)


def _others(steps: Sequence[Step], role: str | None) -> int:
    """How many steps at the front another thread, or the world, wrote."""
    if role is None:
        return 0
    kinds = _CONTEXT[role]
    return max((i + 1 for i, step in enumerate(steps) if step.kind in kinds), default=0)


def _pieces(step: Step) -> list[str]:
    """Names of `step_segments`' pieces."""
    if step.tag is None:
        return ["text"] if step.lead + step.text else []
    pieces = [
        ("lead", bool(step.lead)),
        ("open tag", step.opened is not None),
        ("text", bool(step.text)),
        ("close tag", step.closed is not None),
    ]
    return [name for name, present in pieces if present]


def _allowed(step: Step, before: Step | None, piece: str, execution: Execution) -> set[Author]:
    if step.kind == "observation" or (step.kind == "subtask" and execution == "parallel"):
        return {"world"}
    if step.kind == "think" and not step.text:
        return {"policy", "world"}  # a provider hid the reasoning
    forced = before is not None and before.kind == "observation"
    if piece in {"lead", "open tag"} and step.kind in ANSWER_KINDS and forced:
        return {"policy", "world"}
    if piece == "close tag" and (step.is_call or step.kind in {*ANSWER_KINDS, "subtask_list"}):
        return {"policy", "world"}
    return {"policy"}


def _source_faults(row: Row, texts: Texts) -> Iterator[str]:
    for source in row["sources"]:
        text, sha256 = texts.get(source["id"], (None, ""))
        if text is None:
            yield f"source {source['id']} is not among its trace's sources"
        elif sha256 != source["sha256"]:
            yield f"source {source['id']} has another hash than its trace's source"
        elif text and text_hash(text) != sha256:
            yield f"the text of source {source['id']} is not that of its hash"


def _citation_faults(row: Row, text: str, texts: Texts) -> Iterator[str]:
    ids = {source["id"] for source in row["sources"]}
    for claim in row["citations"]:
        place = f"the claim at {claim['start']}"
        if text[claim["start"] : claim["end"]] != claim["text"]:
            yield f"{place} is not what stands there"
        if not {*claim["sources"]} <= ids:
            yield f"{place} cites a source that the row has not"
        if (claim["status"] == "dangling") == bool(claim["sources"]):
            yield f"{place} is {claim['status']} with {len(claim['sources'])} sources"
        for evidence in claim["evidence"]:
            source = texts.get(evidence["source"], ("", ""))[0]
            start, end = evidence["start"], evidence["end"]
            if evidence["source"] not in ids or not 0 <= start < end:
                yield f"{place} rests on no place of a source"
            elif source[start:end] != evidence["quote"]:
                yield f"{place}: source {evidence['source']} has no such quote at {start}"


def _answers(steps: Sequence[Step]) -> Iterator[ParsedAnswer]:
    for step in steps:
        if step.kind in ANSWER_KINDS:
            yield parse_answer(step.text)


def _shown_faults(row: Row, steps: Sequence[Step]) -> Iterator[str]:
    """In a linear row every number is one that an observation shows, for the same address."""
    numbered = {(source["number"], same_address(source["url"])) for source in row["sources"]}
    by_number: dict[int, set[str]] = {}
    for step in steps:
        for head in source_heads(step.text) if step.kind == "observation" else ():
            by_number.setdefault(head.id, set()).add(same_address(head.url))
    for number, address in numbered:
        if number is not None and by_number.get(number) != {address}:
            yield f"the number {number} of a source is not shown for its address"
    for answer in _answers(steps):
        for number in {mark.number for mark in answer.marks}:
            if len(addresses := by_number.get(number, set())) != 1:
                yield f"[{number}] is shown for {len(addresses)} addresses by its observations"
            elif (number, next(iter(addresses))) not in numbered:
                yield f"[{number}] is not the number of its source"
        for line in answer.reference_lines:
            number, url, _ = line.reference
            if url and {same_address(url)} != by_number.get(number):
                yield f"[{number}] is listed for another address than its observations show"


def _listed_faults(row: Row, steps: Sequence[Step]) -> Iterator[str]:
    """In a thread's row every number resolves through the answer's list, else as a source's id."""
    ledger = Ledger(Source(id=s["id"], url=s["url"]) for s in row["sources"])
    if any(source["number"] != source["id"] for source in row["sources"]):
        yield "a source has another number than its id"
    for answer in _answers(steps):
        numbers = {mark.number for mark in answer.marks} | answer.references.keys()
        for number in sorted(numbers):
            if answer.resolve(number, ledger) is None:
                yield f"[{number}] resolves to no source of the row"
        for link in answer.links:
            if answer.dangles(link, ledger):
                yield f"{answer.name(link)} resolves to no source of the row"
