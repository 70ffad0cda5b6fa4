"""Text of strangers on a person's terminal: pages, models and servers write it, so what would
command the terminal, or reverse the reading order, is shown as a replacement mark."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from rich.text import Text

from oresearch_graph.trace.plain_text import visible

_MARKS: Final = re.compile("[\u061c\u200e\u200f]")
"""They turn the order of neighbours only, and cannot be seen."""
_UNSEEN: Final = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]"
)


def harmless(text: str) -> str:
    """The text without control characters; newlines and tabs stay."""
    # A carriage return alone goes back over the line; in a page it does nothing.
    return visible(_MARKS.sub("", text.replace("\r\n", "\n")).replace("\r", "\ufffd"))


def json_line(value: Any) -> str:  # noqa: ANN401 - JSON
    """JSON on one line that a person can read; what commands a terminal is escaped in it."""
    text = json.dumps(value, ensure_ascii=False)
    return _UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], text)


def line(text: str, style: str = "") -> Text:
    """The text on one line, never read as markup, cut with an ellipsis where it must fit."""
    flat = harmless(" ".join(text.split()))
    return Text(flat, style=style, no_wrap=True, overflow="ellipsis")


def lines(text: str) -> Text:
    """The text as it is, never read as markup."""
    return Text(harmless(text))
