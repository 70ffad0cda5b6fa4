"""Markdown that a reader may open: no pictures that call home, no links but the web's, no HTML.

The report is the model's text, and the model may repeat what a page told it to write. Citations
and code stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from oresearch_graph.trace.plain_text import WEB_SCHEMES

_ACTIVE: Final = re.compile(r"[*_`\[\]<\\~]|&(?=#?\w{1,32};)")
_CODE: Final = re.compile(
    r"""
      ^(?P<fence>`{3,}|~{3,})[^`\n]*\n (?:.*\n)*? (?P=fence)[ \t]*$
    | (?<!`)(?P<ticks>`{1,3})(?!`) [^`\n]+ (?<!`)(?P=ticks)(?!`)
    """,
    re.MULTILINE | re.VERBOSE,
)
_PICTURE: Final = re.compile(r"!(?=\[)")
_HTML: Final = re.compile(r"<(?!https?://[^\s<>`]*>)(?=[A-Za-z/!?])", re.IGNORECASE)
_BEYOND: Final = r"[\s<>]*+ (?!https?://) (?=[A-Za-z0-9+.-]{0,40} [:&\\])"
"""Before an address that has a scheme, in whatever spelling, and not the web's."""
_LINK: Final = re.compile(rf"\]\( {_BEYOND}", re.IGNORECASE | re.VERBOSE)
_DEFINITION: Final = re.compile(rf"\]: {_BEYOND}", re.IGNORECASE | re.VERBOSE)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_QUOTED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_LONGEST: Final = 60_000
_BRACKETS: Final = 10_000
"""Beyond these markdown-it may take seconds (50,000 of `[`: 1.6 s): all is disarmed unread."""


def markdown_text(line: str) -> str:
    """A stranger's line as Markdown that shows it as it is."""
    return _ACTIVE.sub(r"\\\g<0>", line)


def safe_markdown(text: str) -> str:
    """The Markdown without pictures, HTML and links beyond the web: they are shown as text."""
    if len(text) > _LONGEST or text.count("[") > _BRACKETS:
        return _disarmed(text)
    ways = (str, partial(_outside_code, prose=True), _outside_code)
    return next((made for way in ways if not _acts(made := way(text))), _disarmed(text))


def _disarmed(text: str, *, prose: bool = False) -> str:
    """`prose`: what might be a link's definition is left, for it may as well be a sentence."""
    # Entities, not backslashes: one may stand before it already, and would undo it.
    text = _HTML.sub("&lt;", _PICTURE.sub("&#33;", text))
    text = _LINK.sub(r"\g<0>#", text)
    return text if prose else _DEFINITION.sub(r"\g<0>#", text)


def _outside_code(text: str, *, prose: bool = False) -> str:
    pieces, at = [], 0
    for code in _CODE.finditer(text):
        pieces += [_disarmed(text[at : code.start()], prose=prose), code[0]]
        at = code.end()
    return "".join([*pieces, _disarmed(text[at:], prose=prose)])


_READER: Final = MarkdownIt("commonmark").enable("table")
_READER.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005  # see all


def _acts(text: str) -> bool:
    """True when a reader of Markdown finds a picture, HTML or a link beyond the web in it."""
    return any(map(_active, _tokens(_READER.parse(text))))


def _tokens(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _tokens(token.children or ())


def _active(token: Token) -> bool:
    if token.type == "link_open":
        scheme, colon, _ = str(token.attrGet("href") or "").partition(":")
        scheme = _QUOTED.sub("", scheme)  # a browser drops line ends and tabs from a scheme
        named = bool(colon) and _SCHEME.fullmatch(scheme) is not None
        return named and scheme.lower() not in WEB_SCHEMES
    return token.type in {"image", "html_inline", "html_block"}
