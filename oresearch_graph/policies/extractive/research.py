"""A researcher without a model: search, open the best addresses, quote their best paragraphs.

What to do next follows from the steps of its branch alone: one search, one reading, and a second
round of both when the first brought little.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from oresearch_graph.evidence.ledger import GAP, ShownSource, read_observation
from oresearch_graph.policies.extractive.excerpts import (
    Excerpt,
    Focus,
    best_excerpts,
    block_quote,
    promises,
)
from oresearch_graph.policies.extractive.phrases import FACETS, facet_of
from oresearch_graph.policies.extractive.plan import (
    KEYWORDS,
    keywords,
    queries,
    subtask_topic,
    topic_of,
)
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Dialect, Step, list_items
from oresearch_graph.trace.calls import read_call, write_call

TOKENS: Final = 400
"""Of one subtask's excerpts of the best page."""
ENOUGH: Final = 400
"""Characters."""
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
    turn = _reading(calls, subtask, focus, sources, pages, dialect)
    turn = turn or _search(calls, subtask, thread.question, focus, pages, dialect)
    if turn is None or len(calls) >= _CALLS:
        best = best_excerpts(pages, focus)
        thought = f"{len(best)} excerpts of {len({e.source.id for e in best})} pages are about it."
        turn = f"<think>{thought}</think>\n<subtask_answer>{_answer_text(best)}</subtask_answer>"
    return opening + turn


def _focus(thread: Thread, subtask: str) -> Focus:
    """Subtasks of a short question find much the same, and the report has it once: each may have
    the tokens of all."""
    own, whole = keywords(subtask_topic(subtask)), keywords(topic_of(thread.question))
    planned = next((list_items(s.text) for s in thread.steps if s.kind == "subtask_list"), ())
    together = len(planned) if set(own) <= set(whole) and len(whole) < KEYWORDS else 2
    return Focus(tuple(own or whole), tuple(whole), TOKENS * together)


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
    """What was shown of opened pages, each as it was shown last: search results are cut in
    mid-sentence."""
    pages: dict[int, ShownSource] = {}
    for call, step in pairwise(steps):
        if call.kind == "crawl_page" and step.kind == "observation":
            pages.update({source.id: source for source in read_observation(step.text)})
    return list(pages.values())


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
        if sum(len(p) for e in best_excerpts(sources, focus) for p in e.paragraphs) >= ENOUGH:
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
    calls: Sequence[Step], subtask: str, focus: Focus, sources: Sequence[ShownSource],
    pages: Sequence[ShownSource], dialect: Dialect,
) -> str | None:  # fmt: skip
    """Opens the best result of the latest search and one more, which differs by facet, for subtasks
    of one topic find the same addresses. Together: one may never come. A page that was
    cut to make room for the other is opened again by itself."""
    if calls and calls[-1].kind == "web_search":
        best, *others = _readable(calls, focus, sources) or [""]
        second = FACETS.index(facet_of(subtask)) % len(others) if others else 0
        urls = [best, *others[second : second + 1]]
        thought = f"The best of the results is opened{', with one more' if others else ''}."
    elif [call.kind for call in calls[-2:]] == ["web_search", "crawl_page"]:
        best = read_call(calls[-1]).items[0]
        cut = len(read_call(calls[-1]).items) > 1 and any(
            page.url == best and GAP in page.text for page in pages
        )
        urls, thought = [best if cut else ""], "The best one was cut: it is opened by itself."
    else:
        return None
    if not urls[0]:
        return None
    call = write_call("crawl_page", urls, dialect=dialect)
    return f"<think>{thought}</think>\n<crawl_page>{call}</crawl_page>"


def _readable(calls: Sequence[Step], focus: Focus, sources: Sequence[ShownSource]) -> list[str]:
    """Addresses that were not opened yet and may be about the matter, in the results' order."""
    opened = {url for step in calls if step.kind == "crawl_page" for url in read_call(step).items}
    return [s.url for s in sources if s.url not in opened and promises(s, focus)]


def answer(sources: Sequence[ShownSource], focus: Focus) -> str:
    """The answer of a subtask; empty when nothing shown is about the matter."""
    return _answer_text(best_excerpts(sources, focus))


def _answer_text(best: Sequence[Excerpt]) -> str:
    """Excerpts with their source numbers, then the list of those sources."""
    if not best:
        return ""
    quotes = [block_quote(excerpt.paragraphs, excerpt.source.id) for excerpt in best]
    sources = {excerpt.source.id: excerpt.source for excerpt in best}
    lines = [f"[{number}]. {source.url} - {source.title}" for number, source in sources.items()]
    return "\n" + "\n\n".join([*quotes, "\n".join(lines)]) + "\n"
