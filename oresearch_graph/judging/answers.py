"""How a judge's answer is read: one JSON object in whatever surrounds it, and its quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

_OPENING: Final = re.compile(r"\{(?=\s*+[\"}])|\[(?=\s*+\{)")
_VAIN: Final = 20
"""Times the text's length that may be read in vain: each of many openings may fail at the end."""
_DECODER: Final = json.JSONDecoder(strict=False)


class VerdictFault(Exception):
    """A model's text that is not what was asked for; the message says why, in words for it."""


def numbered_entries(text: str, name: str, count: int) -> list[dict[str, Any]]:
    """The entries 1 to `count` of a list of that name in a model's text, in order. Raises
    VerdictFault."""
    by_number: dict[int, dict[str, Any]] = {}
    for entry in _entries(text, name):
        number = as_number(entry.get("number"))
        if number is None or number not in range(1, count + 1):
            raise VerdictFault(f"the {name} have no number {entry.get('number')!r}")
        if number in by_number:
            raise VerdictFault(f"number {number:g} of the {name} stands there twice")
        by_number[int(number)] = entry
    if missing := [str(n) for n in range(1, count + 1) if n not in by_number]:
        raise VerdictFault(f"of the {name} there is no number {', '.join(missing)}")
    return [by_number[number] for number in range(1, count + 1)]


def _entries(text: str, name: str) -> list[dict[str, Any]]:
    """The list of the last verdict in the text; what comes before it is thinking."""
    entries: list[dict[str, Any]] | None = None
    for value in json_values(text):
        rows = value.get(name) if isinstance(value, dict) else value
        if isinstance(rows, dict):
            rows = [
                {"number": number, **row} for number, row in rows.items() if isinstance(row, dict)
            ]
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            entries = rows
    if entries is None:
        raise VerdictFault(f'it holds no JSON object with "{name}"')
    return entries


def json_values(text: str) -> Iterator[Any]:
    """Every outermost JSON object, or array of objects, in a text."""
    at, vain = 0, 0
    while opening := _OPENING.search(text, at):
        try:
            value, at = _DECODER.raw_decode(text, opening.start())
        except RecursionError:
            return  # no judge writes such a thing on purpose, and going on takes quadratic time
        except ValueError as error:
            at = opening.start() + 1
            whole = error if isinstance(error, json.JSONDecodeError) else None
            unended = whole is None or whole.msg.startswith("Unterminated")
            # To tell its place an error counts all lines before: a fiftieth of the text at least.
            vain += (len(text) if unended or whole is None else whole.pos) - opening.start()
            vain += len(text) // 50
            if vain > _VAIN * len(text):
                return
        else:
            yield value


def as_number(value: object) -> float | None:
    """A number, or one written as text: `7`, `7/10`, `criterion 2`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1_000 else None
    match = re.fullmatch(r"(?:criterion )?(\d{1,3}(?:\.\d+)?)\.?(?: ?/ ?10)?", str(value).strip())
    return float(match[1]) if match else None
