"""The index under every local corpus: documents and their passages in one SQLite file (FTS5).

Passages are what is ranked; a document's place is its best passage plus a share of its next two,
and these three are shown.
Everything here blocks: call it in a thread.

English goes to SQLite's porter stemmer; CJK characters are set apart and queried as bigrams, since
nothing else separates Chinese words."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, NamedTuple

from oresearch_graph.text.passages import split_passages
from oresearch_graph.text.scripts import CJK
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.stop_words import STOP_WORDS
from oresearch_graph.text.words import terms, token_count
from oresearch_graph.tools.backend import Hit, Page
from oresearch_graph.tools.corpus.database import Database

MAX_TERMS: Final = 32
"""Of one query: a longer one is cut, for the index reads one list per term."""

_BORDER = re.compile(rf"(?<=[{CJK}])(?=\w)|(?<=\w)(?=[{CJK}])")
_RUN = re.compile(rf"[{CJK}]+|(?:(?![{CJK}_])\w)+|[^\w\s]")
VERSION: Final = 3
"""Of schema and segmentation: an index of another version is built anew."""
_SCHEMA: Final = """
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, address TEXT UNIQUE NOT NULL, title TEXT NOT NULL, published TEXT,
    mtime_ns INTEGER, size INTEGER, digest TEXT NOT NULL, fault TEXT, guessed TEXT,
    text TEXT NOT NULL);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL, start INTEGER NOT NULL,
    stop INTEGER NOT NULL, weight REAL NOT NULL);
CREATE INDEX by_document ON passages (document);
CREATE VIRTUAL TABLE words USING fts5 (
    title, body, content='', tokenize='porter unicode61 remove_diacritics 2');
INSERT INTO words (words, rank) VALUES ('rank', 'bm25(3.0, 1.0)');
"""
_BEST: Final = """
SELECT json_group_array(json_array(found.score * weight, document, start, stop))
FROM (SELECT rowid, rank AS score FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?) AS found
JOIN passages ON passages.id = found.rowid
"""
"""One row: Python's module lets go of the interpreter for each, and waits to have it again."""
_SHARES: Final = (1.0, 0.3, 0.15)
"""What a document's best, second and third passage count."""
_PASSAGE: Final = 700
"""Characters of a passage that are shown."""
_PASSAGE_TOKENS: Final = 180


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


class Document(NamedTuple):
    """One document as indexed, or in `fault` why it has no text."""

    address: str
    title: str
    text: str = ""
    digest: str = ""
    published: str | None = None
    mtime_ns: int | None = None
    size: int | None = None
    fault: str | None = None
    guessed: str | None = None
    """Its encoding, where that is no more than a guess."""


class Stamp(NamedTuple):
    """What tells whether a file has changed."""

    mtime_ns: int | None
    size: int | None
    digest: str


def cache_folder() -> Path:
    """Where indexes live: `ORESEARCH_HOME`, else `~/.cache/oresearch`."""
    home = os.environ.get("ORESEARCH_HOME")
    return Path(home).expanduser() if home else Path.home() / ".cache" / "oresearch"


class CorpusIndex:
    """Documents by address, and their passages by words."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.database = Database(file, _SCHEMA, VERSION)

    def stamps(self) -> dict[str, Stamp]:
        with self.database.connected() as connection:
            rows = connection.execute("SELECT address, mtime_ns, size, digest FROM documents")
            return {address: Stamp(*rest) for address, *rest in rows}

    def faults(self) -> list[tuple[str, str]]:
        """Address and cause of every document that has no text."""
        return self._noted("fault")

    def guesses(self) -> list[tuple[str, str]]:
        """Address and encoding of every document whose encoding is a guess."""
        return self._noted("guessed")

    def _noted(self, column: Literal["fault", "guessed"]) -> list[tuple[str, str]]:
        query = (
            f"SELECT address, {column} FROM documents WHERE {column} IS NOT NULL ORDER BY address"  # noqa: S608 (a literal)
        )
        with self.database.connected() as connection:
            return connection.execute(query).fetchall()

    def counts(self) -> tuple[int, int]:
        """Documents with text, and passages."""
        with self.database.connected() as connection:
            query = "SELECT count(*) FROM documents WHERE fault IS NULL"
            documents = connection.execute(query).fetchone()[0]
            passages = connection.execute("SELECT count(*) FROM passages").fetchone()[0]
            return documents, passages

    def change(
        self,
        put: Sequence[Document] = (),
        remove: Iterable[str] = (),
        touch: Iterable[tuple[str, Stamp]] = (),
    ) -> None:
        """Put documents in the place of those with their addresses, take others out, note new
        stamps of unchanged ones: all of it or nothing."""
        cut = [(document, split_passages(document.text, _PASSAGE_TOKENS)) for document in put]
        with self.database.connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for address in (*remove, *(document.address for document in put)):
                _take_out(connection, address)
            for address, stamp in touch:
                connection.execute(
                    "UPDATE documents SET mtime_ns = ?, size = ? WHERE address = ?",
                    (stamp.mtime_ns, stamp.size, address),
                )
            for document, passages in cut:
                _put_in(connection, document, [(start, end) for start, end, _, _ in passages])

    def search(self, query: str, k: int) -> list[Hit]:
        """The `k` documents that answer `query` best, each with its best passages."""
        expression = match_expression(query)
        if expression is None:
            return []
        with self.database.connected() as connection:
            (rows,) = connection.execute(_BEST, (expression, max(60, 12 * k))).fetchone()
            ranked = _ranked(sorted(json.loads(rows)))
            hits: dict[str, Hit] = {}
            while ranked and len(hits) < k:
                best, ranked = dict(ranked[: k - len(hits)]), ranked[k - len(hits) :]
                places = ", ".join("?" * len(best))
                documents = connection.execute(
                    "SELECT id, digest, address, title, published, text FROM documents "  # noqa: S608 (places)
                    f"WHERE id IN ({places})",
                    list(best),
                )
                # One text at a time: a document may have fifty million characters.
                rest = {number: (*row, _snippet(text, best[number]))
                        for number, *row, text in documents}  # fmt: skip
                for number in filter(rest.__contains__, best):
                    digest, address, title, published, snippet = rest[number]
                    if digest not in hits:
                        hits[digest] = Hit(
                            url=address, title=title, snippet=snippet, published=published
                        )
        return list(hits.values())

    def page(self, address: str) -> Page | None:
        """The document at this address, whoever wrote the address."""
        address = address.encode("utf-8", "replace").decode()
        with self.database.connected() as connection:
            row = connection.execute(
                "SELECT title, text, published, fault FROM documents WHERE address = ?", (address,)
            ).fetchone()
        if row is None:
            return None
        title, text, published, fault = row
        return Page(url=address, title=title, text=text, published=published, fault=fault)


_Span = tuple[int, int]


def _ranked(rows: Iterable[tuple[float, int, int, int]]) -> list[tuple[int, list[_Span]]]:
    """Documents with the spans of their best passages, best first; `rows` come best first."""
    scores: dict[int, float] = {}
    spans: dict[int, list[_Span]] = {}
    for score, document, start, stop in rows:
        best = spans.setdefault(document, [])
        if len(best) < len(_SHARES):
            scores[document] = scores.get(document, 0.0) - score * _SHARES[len(best)]
            best.append((start, stop))
    order = sorted(scores, key=lambda document: (-scores[document], document))
    return [(document, spans[document]) for document in order]


def _snippet(text: str, spans: Sequence[_Span]) -> str:
    """The passages in page order, a paragraph each."""
    passages = (text[start : min(stop, start + _PASSAGE)] for start, stop in sorted(spans))
    return "\n\n".join(" ".join(passage.split()) for passage in passages)


_ENDS: Final = (".", "!", "?", "。", "！", "？", ":", "：")
_AROUND: Final = "\"'”’」)]*_ "
_SENTENCE: Final = 6
"""Tokens of a sentence, at least."""
_LEAST_WEIGHT: Final = 0.5


def _weight(passage: str) -> float:
    """1 for prose, half for lists of names and links: they hold the words of a question, and say
    nothing. Half of a passage in sentences is prose."""
    prose = 0
    for start, stop in sentence_spans(passage):
        sentence = passage[start:stop]
        tokens = token_count(sentence)
        if tokens >= _SENTENCE and sentence.rstrip(_AROUND).endswith(_ENDS):
            prose += tokens
    return min(1.0, _LEAST_WEIGHT + prose / max(1, token_count(passage)))


def _put_in(
    connection: sqlite3.Connection, document: Document, spans: Sequence[tuple[int, int]]
) -> None:
    identity = connection.execute(
        "INSERT INTO documents (address, title, text, digest, published, mtime_ns, size, fault, "
        "guessed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        document,
    ).lastrowid
    title = spaced(document.title)
    for start, stop in spans:
        passage = connection.execute(
            "INSERT INTO passages (document, start, stop, weight) VALUES (?, ?, ?, ?)",
            (identity, start, stop, _weight(document.text[start:stop])),
        ).lastrowid
        connection.execute(
            "INSERT INTO words (rowid, title, body) VALUES (?, ?, ?)",
            (passage, title, spaced(document.text[start:stop])),
        )


def _take_out(connection: sqlite3.Connection, address: str) -> None:
    row = connection.execute(
        "SELECT id, title, text FROM documents WHERE address = ?", (address,)
    ).fetchone()
    if row is None:
        return
    identity, title, text = row
    spans = connection.execute(
        "SELECT id, start, stop FROM passages WHERE document = ?", (identity,)
    ).fetchall()
    # A contentless FTS5 table forgets a row when told the very text it was given.
    connection.executemany(
        "INSERT INTO words (words, rowid, title, body) VALUES ('delete', ?, ?, ?)",
        [(passage, spaced(title), spaced(text[start:stop])) for passage, start, stop in spans],
    )
    connection.execute("DELETE FROM passages WHERE document = ?", (identity,))
    connection.execute("DELETE FROM documents WHERE id = ?", (identity,))
