"""What the corpus index sees of texts and queries. English goes to SQLite's porter stemmer; CJK
characters are set apart and queried as bigrams, since nothing else separates Chinese words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from oresearch_graph.text.scripts import CJK
from oresearch_graph.text.stop_words import STOP_WORDS
from oresearch_graph.text.words import terms

MAX_TERMS: Final = 32
"""Of one query: a longer one is cut, for the index reads one list per term."""

_BORDER = re.compile(rf"(?<=[{CJK}])(?=\w)|(?<=\w)(?=[{CJK}])")
_RUN = re.compile(rf"[{CJK}]+|(?:(?![{CJK}_])\w)+|[^\w\s]")


def spaced(text: str) -> str:
    """`text` with a space on both sides of every CJK character."""
    return _BORDER.sub(" ", text)


def match_expression(query: str) -> str | None:
    """The FTS5 expression of `query`: any of its content words or CJK bigrams, and words that
    stand side by side once more as a phrase. None when the query holds no word."""
    parts = list(dict.fromkeys(_phrases(query)))[:MAX_TERMS]
    return " OR ".join(f'"{part}"' for part in parts) or None


def _phrases(query: str) -> Iterator[str]:
    runs = _RUN.findall(query.lower())
    words = [run for run in runs if run[0].isalnum() and not re.match(f"[{CJK}]", run)]
    content = [word for word in words if word not in STOP_WORDS]
    cjk = [run for run in runs if re.match(f"[{CJK}]", run)]
    yield from content or ([] if cjk else words)
    for run in cjk:
        yield from (spaced(bigram) for bigram in terms(run))
    content_words = set(content)
    for first, second in pairwise(_without_joints(runs)):
        if first in content_words and second in content_words:
            yield f"{first} {second}"


def _without_joints(runs: list[str]) -> list[str]:
    """Runs with the signs inside names (`asyncio.gather`, `max-age`) left out."""
    return [run for run in runs if run not in {".", "-", "_", "/", "'", "’"}]
