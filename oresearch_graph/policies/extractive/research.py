"""A researcher without a model: search, open the best addresses, quote their best sentences.

What to do next follows from the steps of its branch alone: one search, one reading, and a second
round of both when the first brought little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from oresearch_graph.evidence.ledger import ShownSource, read_observation
from oresearch_graph.policies.extractive.phrases import FACETS, facet_of
from oresearch_graph.policies.extractive.plan import key_terms, keywords, queries, subtask_topic
from oresearch_graph.policies.extractive.sentences import (
    Focus,
    Sentence,
    best_sentences,
    covers,
)
from oresearch_graph.text.words import terms
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Dialect, Step, list_items
from oresearch_graph.trace.calls import read_call, write_call

SENTENCES: Final = 10
"""Sentences of one subtask's answer."""
ENOUGH: Final = 4
_PAGES: Final = 2
_RESULTS: Final = 6
_CALLS: Final = 6


def next_turn(thread: Thread) -> str:
    """The researcher's next elements: a thought and a call, or its answer."""
    steps = own_steps(thread)
    subtask, opening = _subtask(thread, steps)
    focus = _focus(thread, subtask)
    sources = shown_sources(steps)
    pages = read_pages(steps) or sources
    calls = [step for step in steps if step.is_call]
    if thread.forced == "subtask_answer":
        return f"{answer(pages, focus)}</subtask_answer>"
    dialect: Dialect = "released" if "<web_search>query=" in thread.system else "paper"
    turn = _reading(calls, focus, sources, dialect)
    turn = turn or _search(calls, subtask, thread.question, focus, pages, dialect)
    if turn is None or len(calls) >= _CALLS:
        sentences = best_sentences(pages, focus, SENTENCES)
        sources_quoted = len({sentence.source.id for sentence in sentences})
        thought = f"{len(sentences)} sentences from {sources_quoted} sources answer it."
        turn = (
            f"<think>{thought}</think>\n<subtask_answer>{_answer_text(sentences)}</subtask_answer>"
        )
    return opening + turn


def _focus(thread: Thread, subtask: str) -> Focus:
    whole = frozenset(key_terms(thread.question))
    subtask_terms = frozenset(key_terms(subtask)) or whole
    subtask_list = next((s.text for s in thread.steps if s.kind == "subtask_list"), "")
    topic = subtask_topic(subtask)
    siblings = (facet_of(item) for item in list_items(subtask_list) if subtask_topic(item) == topic)
    return Focus(subtask_terms, whole, facet_of(subtask), tuple(dict.fromkeys(siblings)))


def own_steps(thread: Thread) -> list[Step]:
    """The steps of the thread's own branch."""
    return [step for step in thread.steps if step.branch == thread.branch]


def _subtask(thread: Thread, steps: Sequence[Step]) -> tuple[str, str]:
    """The subtask, and its element when the policy is the one who has to write it."""
    subtask = next((step.text.strip() for step in steps if step.kind == "subtask"), None)
    if subtask is not None:
        return subtask, ""
    subtask_list = next((s.text for s in thread.steps if s.kind == "subtask_list"), "")
    items = list_items(subtask_list) or (thread.question,)
    subtask = items[min(thread.branch or 1, len(items)) - 1]
    return subtask, f"<subtask>{subtask}</subtask>\n"


def shown_sources(steps: Sequence[Step]) -> list[ShownSource]:
    """What the observations showed, one entry per source, its texts joined."""
    by_id: dict[int, ShownSource] = {}
    for step in steps:
        for source in read_observation(step.text) if step.kind == "observation" else ():
            source_before = by_id.get(source.id)
            if source_before is None or source_before.text in source.text:
                by_id[source.id] = source
            elif source.text not in source_before.text:
                by_id[source.id] = source_before._replace(
                    text=f"{source_before.text}\n\n{source.text}"
                )
    return list(by_id.values())


def read_pages(steps: Sequence[Step]) -> list[ShownSource]:
    """What was shown of opened pages: search results are cut in mid-sentence."""
    return shown_sources(
        [
            step
            for call, step in pairwise(steps)
            if call.kind == "crawl_page" and step.kind == "observation"
        ]
    )


def _search(
    calls: Sequence[Step], subtask: str, question: str, focus: Focus,
    sources: Sequence[ShownSource], dialect: Dialect,
) -> str | None:  # fmt: skip
    """The first search, or a second one when reading brought too little."""
    searched = [step for step in calls if step.kind == "web_search"]
    tried = {query for step in searched for query in read_call(step).items}
    if not searched:
        new_queries = queries(subtask, question)
        thought = f"Evidence is wanted on: {subtask_topic(subtask)}."
        plan = "<plan>1. Search by keywords.\n2. Open the best addresses.\n3. Quote them.</plan>\n"
    elif len(searched) == 1 and (
        calls[-1].kind == "crawl_page" or not _readable(calls, focus, sources)
    ):
        if len(best_sentences(sources, focus, ENOUGH)) >= ENOUGH:
            return None
        new_queries = [query for query in _wider(subtask, question) if query not in tried][:3]
        thought = "That is not enough yet; single keywords may find more."
        plan = ""
    else:
        return None
    if not new_queries:
        return None
    call = write_call("web_search", new_queries, _RESULTS, dialect)
    return f"<think>{thought}</think>\n{plan}<web_search>{call}</web_search>"


def _wider(subtask: str, question: str) -> list[str]:
    """Neighbouring pairs of keywords, then single ones."""
    words = keywords(subtask_topic(subtask)) or keywords(question)
    pairs = [f"{first} {second}" for first, second in pairwise(words)]
    return [*pairs, *sorted(words, key=len, reverse=True)]


def _reading(
    calls: Sequence[Step], focus: Focus, sources: Sequence[ShownSource], dialect: Dialect
) -> str | None:
    """Opens the best two results of the latest search, then two of the others: which of them
    differs by facet, for subtasks of one topic find the same addresses."""
    since = [call.kind for call in reversed(calls)]
    pages_read = since.index("web_search") if "web_search" in since else 2
    urls = _readable(calls, focus, sources) if pages_read < 2 else []
    at = FACETS.index(focus.facet) * _PAGES % len(urls) if urls and pages_read else 0
    urls = [*urls[at:], *urls[:at]][:_PAGES]
    if not urls:
        return None
    call = write_call("crawl_page", urls, dialect=dialect)
    return (
        f"<think>{len(urls)} of the results look relevant; they are opened.</think>\n"
        f"<crawl_page>{call}</crawl_page>"
    )


def _readable(calls: Sequence[Step], focus: Focus, sources: Sequence[ShownSource]) -> list[str]:
    """Addresses not opened yet that share a key term, best first."""
    opened = {url for step in calls if step.kind == "crawl_page" for url in read_call(step).items}
    ranked = sorted(
        (
            (_promise(source, focus) + 3 / (1 + i), -i, source.url)
            for i, source in enumerate(sources)
        ),
        reverse=True,
    )
    return [url for promise, _, url in ranked if promise >= 1 and url not in opened]


def _promise(source: ShownSource, focus: Focus) -> float:
    title, text = frozenset(terms(source.title)), frozenset(terms(source.text))
    focus_terms = focus.own | focus.whole
    return 2.0 * len(title & focus_terms) + len(text & focus_terms) + 0.5 * covers(source, focus)


def answer(sources: Sequence[ShownSource], focus: Focus) -> str:
    """The answer of a subtask; empty when nothing shown is about the matter."""
    return _answer_text(best_sentences(sources, focus, SENTENCES))


def _answer_text(sentences: Sequence[Sentence]) -> str:
    """Sentences with their source numbers, then the list of those sources."""
    if not sentences:
        return ""
    prose = joined(with_citation(sentence.text, sentence.source.id) for sentence in sentences)
    by_id = {sentence.source.id: sentence.source for sentence in sentences}
    lines = [f"[{number}]. {source.url} - {source.title}" for number, source in by_id.items()]
    return "\n".join(["", prose, "", *lines, ""])


def with_citation(text: str, number: int) -> str:
    """A sentence with its citation before the full stop."""
    if text[-1] in "。！":
        return f"{text[:-1]}[{number}]{text[-1]}"
    if text[-1] in ".!":
        return f"{text[:-1]} [{number}]{text[-1]}"
    return f"{text} [{number}]"


def joined(sentences: Iterable[str]) -> str:
    """Sentences as a paragraph: no blank after a wide full stop."""
    return " ".join(sentences).replace("。 ", "。")
