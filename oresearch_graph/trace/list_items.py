"""The items of a list as a planner writes it."""

from __future__ import annotations

import re
from typing import Final

_ITEM: Final = re.compile(
    r"(?P<indent>\s*)(?:(?P<bullet>[-*+•–](?=\s)|•|-(?![-\d]))"
    r"|[(（]?(?:\d{1,3}[.)）、．:：]+(?!\d)|[①-⑳]))\s*(?P<text>.*)"
)


def list_items(text: str) -> tuple[str, ...]:
    """The items of a planner's list, without numbers and bullets.

    Items carry the kind of mark and the indentation of the first marked line; what stands below
    an item is joined to it, what stands above the first is dropped. A list without any mark has
    an item on every line.
    """
    lines = [line for line in text.splitlines() if any(map(str.isalnum, line))]
    marks = [_ITEM.match(line) for line in lines]
    first = next(filter(None, marks), None)
    if first is None:
        return tuple(filter(None, (_untagged(line.strip()) for line in lines)))
    items: list[list[str]] = []
    for line, mark in zip(lines, marks, strict=True):
        if mark and _same_level(mark, first):
            items.append([mark["text"].strip()])
        elif items:
            items[-1].append(line.strip())
    return tuple(filter(None, (_untagged(" ".join(parts)) for parts in items)))


def _untagged(item: str) -> str:
    return item.removeprefix("<subtask>").removesuffix("</subtask>").strip()


def _same_level(mark: re.Match[str], first: re.Match[str]) -> bool:
    same_kind = (mark["bullet"] is None) == (first["bullet"] is None)
    return same_kind and len(mark["indent"]) <= len(first["indent"])
