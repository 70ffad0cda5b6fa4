"""Sentences made wrong in one way each: what a check of citations has to lose."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Final

from tests.agreement.labelled import Labelled

_AUXILIARY: Final = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|could|will|would|did|does|do|may|must|should)\b"
)
_PAST: Final = re.compile(r"\b[a-z]+ed\b")
_WORD: Final = re.compile(r"\w+")
_FIGURE: Final = re.compile(r"\d+(?:[.,]\d+)*")
_NAME: Final = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,})*\b")
_PAIRS: Final = """
increased decreased rose fell first last more less high low north south east west won lost began
ended opened closed largest smallest before after accepted rejected included excluded supported
opposed born died new old best worst early late long short strong weak major minor public private
successful unsuccessful many few above below male female upper lower positive negative success
failure better worse young old good bad large small higher lower earlier later most least under over
up down started stopped allowed banned joined left founded dissolved northern southern western
eastern built destroyed full empty
"""
_OPPOSITES: Final = {
    word: opposite
    for first, second in zip(_PAIRS.split()[::2], _PAIRS.split()[1::2], strict=True)
    for word, opposite in ((first, second), (second, first))
}
_CLAUSES: Final = (
    "and received a lifetime award from the mayor",
    "after a long dispute with the local council",
    "while the weather remained unusually mild",
    "because investors demanded quicker results",
    "and later moved the headquarters to Lisbon",
    "which critics described as a turning point for the industry",
    "despite warnings from several engineers",
    "with the help of a team of volunteers",
)

Mutation = Callable[[str, str, Random], str | None]
"""Of a sentence and its source's text; None where there is nothing to change."""


def negated(sentence: str, _: str, __: Random) -> str | None:
    if verb := _AUXILIARY.search(sentence):
        return f"{sentence[: verb.end()]} not{sentence[verb.end() :]}"
    if verb := _PAST.search(sentence):
        return f"{sentence[: verb.start()]}never {sentence[verb.start() :]}"
    return None


def antonym(sentence: str, _: str, random: Random) -> str | None:
    found = [word for word in _WORD.finditer(sentence) if word[0] in _OPPOSITES]
    return _replaced(sentence, word, _OPPOSITES[word[0]]) if (word := _one(found, random)) else None


def shuffled(sentence: str, _: str, random: Random) -> str:
    words = sentence.rstrip(".").split()
    return " ".join(random.sample(words, len(words))) + "."


def other_name(sentence: str, source: str, random: Random) -> str | None:
    """Another name of the source in the place of one."""
    name = _one(list(_NAME.finditer(sentence)), random)
    others = {other[0] for other in _NAME.finditer(source)}
    others = {each for each in others if not any(word in sentence for word in each.split())}
    return _replaced(sentence, name, random.choice(sorted(others))) if name and others else None


def other_figure(sentence: str, _: str, random: Random) -> str | None:
    """One digit of a figure is another."""
    if (figure := _one(list(_FIGURE.finditer(sentence)), random)) is None:
        return None
    at = random.choice([i for i, char in enumerate(figure[0]) if char.isdigit()])
    digit = random.choice([each for each in "123456789" if each != figure[0][at]])
    return _replaced(sentence, figure, f"{figure[0][:at]}{digit}{figure[0][at + 1 :]}")


def invented_clause(sentence: str, _: str, random: Random) -> str:
    return f"{sentence.rstrip('.')}, {random.choice(_CLAUSES)}."


MUTATIONS: Final[Mapping[str, Mutation]] = {
    "negated": negated,
    "antonym": antonym,
    "shuffled": shuffled,
    "other name": other_name,
    "other figure": other_figure,
    "invented clause": invented_clause,
}


def mutated_rows(name: str, rows: Sequence[Labelled], random: Random) -> list[Labelled]:
    """The claims that a mutation changes, made wrong; or each over another one's source."""
    if name == "other source":
        apart = len(rows) // 2
        others = [*rows[apart:], *rows[:apart]]
        pairs = zip(rows, others, strict=True)
        return [
            replace(row, title=other.title, text=other.text)
            for row, other in pairs
            if row.claim not in other.text
        ]
    wrong = [(row, MUTATIONS[name](row.claim, row.text, random)) for row in rows]
    return [replace(row, claim=c) for row, c in wrong if c is not None and c != row.claim]


def _one(found: list[re.Match[str]], random: Random) -> re.Match[str] | None:
    return random.choice(found) if found else None


def _replaced(sentence: str, place: re.Match[str], by: str) -> str:
    return f"{sentence[: place.start()]}{by}{sentence[place.end() :]}"
