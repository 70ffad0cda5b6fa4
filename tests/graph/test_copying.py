"""How much of a report is copied, counted the short way and the long way."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from oresearch_graph.evidence import copying
from oresearch_graph.evidence.copying import verbatim_share
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer

WORDS = st.lists(st.sampled_from(["a", "b", "c", "潮", "汐"]), max_size=70).map(" ".join)


def copied_words(body: str, sources: list[str], run: int) -> float:
    """Every window of the body looked for in every source."""
    words = copying._tokens(body)
    marked = set[int]()
    for at in range(len(words) - run + 1):
        window = words[at : at + run]
        for source in map(copying._tokens, sources):
            places = range(len(source) - run + 1)
            if any(source[place : place + run] == window for place in places):
                marked |= set(range(at, at + run))
    return len(marked) / len(words) if len(words) >= run else 0.0


@settings(max_examples=150)
@given(WORDS, st.lists(WORDS, max_size=3), st.integers(0, 60), st.integers(15, 60))
def test_blocks_miss_no_copied_run(body: str, texts: list[str], start: int, length: int) -> None:
    copy = " ".join(body.split()[start : start + length])  # at any place of a source's blocks
    texts = [*texts, f"a b {copy} c"]
    sources = [Source.of(id=n, url=f"https://x.org/{n}", text=t) for n, t in enumerate(texts, 1)]
    words = copying._tokens(body)
    wide = sum(len(word) == 1 and not word.isascii() for word in words) > len(words) / 2
    report = parse_answer(body)
    assert report.plain(0, report.body_end).split() == body.split()
    assert verbatim_share(report, sources) == copied_words(body, texts, 30 if wide else 15)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_has_the_same_tokens_either_way(text: str) -> None:
    assert copying._tokens(text) == re.findall(r"[a-z0-9]+", text.casefold())
