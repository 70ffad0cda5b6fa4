"""Text of strangers on a person's terminal: pages, models and servers write it, so what would
command the terminal, or reverse the reading order, is shown as a replacement mark."""

from __future__ import annotations

from rich.text import Text

from oresearch_graph.view.markup import plain


def harmless(text: str) -> str:
    """The text without control characters; newlines and tabs stay."""
    # A carriage return alone goes back over the line; in a page it does nothing.
    return plain(text.replace("\r\n", "\n")).replace("\r", "\ufffd")


def line(text: str, style: str = "") -> Text:
    """The text on one line, never read as markup, cut with an ellipsis where it must fit."""
    flat = harmless(" ".join(text.split()))
    return Text(flat, style=style, no_wrap=True, overflow="ellipsis")


def lines(text: str) -> Text:
    """The text as it is, never read as markup."""
    return Text(harmless(text))
