"""The policy without a model: plans by facets, searches by keywords, quotes the best paragraphs,
and reports the subtasks' excerpts in sections, none twice.

The embedded default, the honest baseline and the fast double of tests. It reads only the Thread
and is deterministic: the same thread gives the same text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, assert_never

from oresearch_graph.evidence.notices import notices
from oresearch_graph.policies.extractive.excerpts import block_quote, runs
from oresearch_graph.policies.extractive.phrases import facet_of, home, phrases
from oresearch_graph.policies.extractive.plan import (
    numbered,
    plan,
    planned_limit,
    subtask_topic,
)
from oresearch_graph.policies.extractive.research import next_turn
from oresearch_graph.policies.policy import Continuation, StopCause
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.words import token_count
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, Usage
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.references import Reference, same_address
from oresearch_graph.trace.report_form import heading_for

_NUMBER: Final = re.compile(r"\s\[(\d{1,9})\]$")


class _Quoted(NamedTuple):
    """An excerpt as a subtask's answer has it."""

    paragraphs: Sequence[str]
    source: Reference


class _Section(NamedTuple):
    subtask: str
    quotes: list[_Quoted]


def report(thread: Thread, language: str) -> str:
    """The text of the suggested answer."""
    sections, empty = _sections(thread.steps)
    words, numbers = phrases(language), _numbers(sections)
    planned = [step.text.strip() for step in thread.steps if step.kind == "subtask"]
    one_topic = len({subtask_topic(subtask).casefold() for subtask in planned}) == 1
    topics = {topic.casefold(): topic for s in sections if (topic := subtask_topic(s.subtask))}
    scope = [words.scope.format(len(numbers), "; ".join(topics.values()))] if sections else []
    nothing = [words.nothing.format("; ".join(empty))] if empty else []
    parts = [f"## {heading_for('introduction', language)}", notices(language).extractive]
    for section in sections:
        parts.append(f"## {_heading(section.subtask, short=one_topic)}")
        parts += [
            block_quote(q.paragraphs, numbers[same_address(q.source.url)]) for q in section.quotes
        ]
    parts += [f"## {heading_for('conclusion', language)}", " ".join([*scope, *nothing])]
    references = {
        numbers[same_address(quote.source.url)]: quote.source
        for section in sections
        for quote in section.quotes
    }
    lines = [
        f"[{n}]. {source.url} - {source.title or source.url}" for n, source in references.items()
    ]
    parts += [f"## {heading_for('references', language)}", "\n".join(lines)]
    return "\n" + "\n\n".join(parts) + "\n"


def _numbers(sections: Sequence[_Section]) -> dict[str, int]:
    """Addresses numbered by first appearance."""
    addresses = (same_address(q.source.url) for section in sections for q in section.quotes)
    return {address: n for n, address in enumerate(dict.fromkeys(addresses), 1)}


def _sections(steps: Sequence[Step]) -> tuple[list[_Section], list[str]]:
    """What each subtask quotes, every excerpt in one section only; and the subtasks that found
    nothing."""
    sections: list[_Section] = []
    empty: list[str] = []
    subtask = ""
    for step in steps:
        if step.kind == "subtask":
            subtask = step.text.strip()
        elif step.kind == "subtask_answer":
            quotes = _quotes(step.text)
            sections += [_Section(subtask, quotes)] if quotes else []
            empty += [] if step.text.strip() else [subtask]
    return [section for section in _shared_out(sections) if section.quotes], empty


def _shared_out(offered: Sequence[_Section]) -> list[_Section]:
    """Every paragraph once, though a part of another; of the sections on one topic, each excerpt in
    the one whose facet it has most hints of. A question of its own keeps what it found."""
    shared = [_Section(section.subtask, []) for section in offered]
    seen = ""
    for nth, section in enumerate(offered):
        topic = subtask_topic(section.subtask)
        facets = {facet_of(s.subtask): s for s in shared if subtask_topic(s.subtask) == topic}
        for quote in section.quotes:
            fresh = [paragraph not in seen for paragraph in quote.paragraphs]
            for run in runs(quote.paragraphs, fresh):
                facet = home(" ".join(run), facets)
                place = facets[facet] if facet_of(section.subtask) != "question" else shared[nth]
                place.quotes.append(_Quoted(run, quote.source))
            seen += "\n".join(["", *quote.paragraphs, ""])
    return shared


def _quotes(text: str) -> list[_Quoted]:
    """The block quotes of an answer that end in a number with an address."""
    references, quotes = parse_answer(text).references, list[_Quoted]()
    for block in text.strip().split("\n\n"):
        plain = "\n".join(line.removeprefix(">").removeprefix(" ") for line in block.splitlines())
        number = _NUMBER.search(plain) if block.startswith(">") else None
        source = references.get(int(number[1])) if number else None
        if number and source is not None and source.url:
            quotes.append(_Quoted(plain[: number.start()].rstrip().split("\n\n"), source))
    return quotes


def _heading(subtask: str, *, short: bool) -> str:
    """A subtask as a heading: the facet alone where all have one topic."""
    words = subtask.rstrip("?？.。 ")
    if short and facet_of(subtask) != "question":
        words = words.removeprefix(subtask_topic(subtask)).lstrip(" :：")
    return words[:1].upper() + words[1:]


_LANGUAGE: Final = re.compile(r"Write the report in the language ([a-z]{2})\b")


class ExtractivePolicy:
    """Continues threads with quotations from what they show."""

    name = "extractive"

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        continuation = await asyncio.to_thread(_continue, thread)
        text, cause = _until(continuation, stop)
        if on_text is not None:
            on_text(text)
        usage = Usage(
            role=thread.role, branch=thread.branch, model=self.name, calls=1,
            prompt_tokens=0, cached_tokens=0, completion_tokens=token_count(text), cost=0.0,
        )  # fmt: skip
        return Continuation(text=text, stop=cause, usage=usage)


def _continue(thread: Thread) -> str:
    text = _text_for(thread)
    return text.removeprefix(thread.pending) if thread.pending else text


def _text_for(thread: Thread) -> str:
    match thread.role:
        case "planner":
            language = detect_language(thread.question)
            items = numbered(plan(thread.question, language, planned_limit(thread.system)))
            return f"<subtask_list>\n{items}\n</subtask_list>"
        case "researcher":
            return next_turn(thread)
        case "summarizer":
            language_asked_for = _LANGUAGE.search(thread.system)
            language = (
                language_asked_for[1] if language_asked_for else detect_language(thread.question)
            )
            opened = "" if thread.forced else "<suggested_answer>"
            return f"{opened}{report(thread, language)}</suggested_answer>"
        case _:
            assert_never(thread.role)


def _until(text: str, stop: Sequence[str]) -> tuple[str, StopCause]:
    """The text up to and including the first stop tag."""
    ends = [text.index(tag) + len(tag) for tag in stop if tag in text]
    return (text[: min(ends)], "stop") if ends else (text, "end")
