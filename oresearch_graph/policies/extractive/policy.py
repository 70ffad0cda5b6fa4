"""The policy without a model: plans by facets, searches by keywords, quotes the best sentences, and
reports the subtasks' quotations in sections, none twice.

The embedded default, the honest baseline and the fast double of tests. It reads only the Thread
and is deterministic: the same thread gives the same text."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, assert_never

from oresearch_graph.evidence.notices import notices
from oresearch_graph.policies.extractive.phrases import facet_of, phrases
from oresearch_graph.policies.extractive.plan import (
    key_terms,
    numbered,
    plan,
    planned_limit,
    subtask_topic,
)
from oresearch_graph.policies.extractive.research import joined, next_turn, with_citation
from oresearch_graph.policies.extractive.sentences import same_words
from oresearch_graph.policies.policy import Continuation, StopCause
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import terms, token_count
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, Usage
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.references import Reference, same_address
from oresearch_graph.trace.report_form import heading_for

_MARK: Final = re.compile(r"(?<!\s)\s*+\[\d++\]")
_SECTION: Final = 7


class _Quoted(NamedTuple):
    """A quoted sentence without its mark, and where it comes from."""

    text: str
    source: Reference
    terms: frozenset[str]


class _Section(NamedTuple):
    subtask: str
    quotes: list[_Quoted]


def no_evidence(subtask_answers: Sequence[str]) -> bool:
    """True when every subtask ended without evidence: each answer is empty."""
    return not any(answer.strip() for answer in subtask_answers)


def report(thread: Thread, language: str) -> str:
    """The text of the suggested answer."""
    sections, empty = _sections(thread.steps)
    question_terms = frozenset(key_terms(thread.question))
    lead = _take_best(sections, question_terms, least=2)
    last = [
        quote
        for _ in range(2)
        if (quote := _take_best(sections, question_terms, least=3)) is not None
    ]
    numbering = _Numbering()
    words = phrases(language)
    addresses = {
        same_address(quote.source.url)
        for quote in [*(q for s in sections for q in s.quotes), *last, *([lead] if lead else [])]
    }
    headings = [_heading(section.subtask, sections) for section in sections]
    topics = dict.fromkeys(subtask_topic(section.subtask) for section in sections)
    scope = words.scope.format(len(addresses), "; ".join(topics))
    opening = [notices(language).extractive, *([scope] if sections else [])]
    opening += [numbering.cite(lead)] if lead else []
    parts = [f"## {heading_for('introduction', language)}", joined(opening)]
    for heading, section in zip(headings, sections, strict=True):
        parts += [f"## {heading}", joined(map(numbering.cite, section.quotes))]
    closing = [numbering.cite(quote) for quote in last]
    if empty:
        closing.append(words.nothing.format("; ".join(empty)))
    parts += [f"## {heading_for('conclusion', language)}", joined(closing or [scope])]
    parts += [f"## {heading_for('references', language)}", numbering.reference_list()]
    return "\n" + "\n\n".join(parts) + "\n"


def _sections(steps: Sequence[Step]) -> tuple[list[_Section], list[str]]:
    """What each subtask quotes, every sentence in one section only; and the subtasks
    that found nothing."""
    offered: list[_Section] = []
    empty: list[str] = []
    subtask = ""
    for step in steps:
        if step.kind == "subtask":
            subtask = step.text.strip()
        elif step.kind == "subtask_answer":
            quotes = _quotes(step.text)
            offered += [_Section(subtask, quotes)] if quotes else []
            empty += [] if step.text.strip() else [subtask]
    return [section for section in _shared_out(offered) if section.quotes], empty


def _shared_out(offered: Sequence[_Section]) -> list[_Section]:
    """Takes a quotation of each section in turn, until all are full or dry."""
    sections: list[_Section] = [_Section(section.subtask, []) for section in offered]
    remaining = [list(section.quotes) for section in offered]
    quoted_terms: list[frozenset[str]] = []
    for _ in range(_SECTION + 1):
        for section, pool in zip(sections, remaining, strict=True):
            while pool:
                quote = pool.pop(0)
                if not any(same_words(quote.terms, other) for other in quoted_terms):
                    section.quotes.append(quote)
                    quoted_terms.append(quote.terms)
                    break
    return sections


def _quotes(text: str) -> list[_Quoted]:
    answer = parse_answer(text)
    ends = [mark.end for mark in answer.marks]
    quotes = []
    for start, stop in sentence_spans(answer.body):
        last = bisect_right(ends, stop) - 1
        if last < 0 or answer.marks[last].start < start:
            continue
        source = answer.references.get(answer.marks[last].number)
        if source is not None and source.url:
            plain = _MARK.sub("", text[start:stop])
            quotes.append(_Quoted(plain, source, frozenset(terms(plain))))
    return quotes


def _take_best(
    sections: Sequence[_Section], question_terms: frozenset[str], *, least: int
) -> _Quoted | None:
    """The quotation that says most about the question, moved out of a section that can spare it."""
    spare = [section for section in sections if len(section.quotes) > least]
    best = max(
        ((len(quote.terms & question_terms), -i, quote, section)
         for section in spare for i, quote in enumerate(section.quotes)),
        key=lambda item: item[:2],
        default=None,
    )  # fmt: skip
    if best is None:
        return None
    best[3].quotes.remove(best[2])
    return best[2]


def _heading(subtask: str, sections: Sequence[_Section]) -> str:
    """The facet alone when all sections share one topic, else the topic with it."""
    facet = facet_of(subtask)
    topics = {subtask_topic(section.subtask) for section in sections}
    words = subtask.rstrip("?？.。 ")
    if facet != "question" and len(topics) == 1:
        words = words.removeprefix(subtask_topic(subtask)).lstrip(" :：")
    return words[:1].upper() + words[1:]


class _Numbering:
    """References numbered by first appearance; one address is one number."""

    def __init__(self) -> None:
        self._found: dict[str, Reference] = {}

    def cite(self, quote: _Quoted) -> str:
        address = same_address(quote.source.url)
        if address not in self._found:
            number = len(self._found) + 1
            self._found[address] = Reference(number, quote.source.url, quote.source.title)
        return with_citation(quote.text, self._found[address].number)

    def reference_list(self) -> str:
        return "\n".join(
            f"[{r.number}]. {r.url} - {r.title or r.url}" for r in self._found.values()
        )


__all__ = ["ExtractivePolicy", "no_evidence"]

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
