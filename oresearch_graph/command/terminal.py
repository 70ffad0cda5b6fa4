"""Text of strangers on a person's terminal: pages, models and servers write it, so what would
command the terminal, or reverse the reading order, is shown as a replacement mark."""

from __future__ import annotations

import re
from typing import Final

from rich.text import Text

_COMMANDING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text without control characters; newlines and tabs stay."""
    return _COMMANDING.sub("\ufffd", text.replace("\r\n", "\n"))


def line(text: str, style: str = "") -> Text:
    """The text on one line, never read as markup, cut with an ellipsis where it must fit."""
    flat = harmless(" ".join(text.split()))
    return Text(flat, style=style, no_wrap=True, overflow="ellipsis")


def lines(text: str) -> Text:
    """The text as it is, never read as markup."""
    return Text(harmless(text))
