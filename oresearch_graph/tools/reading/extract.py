"""Bytes of a page to text: charset, kind, extraction. Run it in a reader worker: strangers' bytes
may freeze or crash what parses them."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from oresearch_graph.tools.reading.charset import decode
from oresearch_graph.tools.reading.html_text import Readable, article, main_text

CUT: Final = "\n[…]"
"""Ends a text that was longer than what is kept of it."""
_SNIFFED: Final = 1024
"""Bytes in which a page's kind is looked for; a PDF's mark may stand anywhere in them."""
_TEXTUAL_ENDS: Final = ("/json", "/xml", "/yaml", "/javascript", "/x-tex", "/markdown")
"""Of media types, once `+` is read as `/`."""
_UNKNOWN: Final = frozenset(("", "application/octet-stream", "binary/octet-stream"))
_FIRST_LINES: Final = 30
_LONGEST_LINE: Final = 500
_RULE = re.compile(r"([=*#~^-])\1{2,}+$")
_ROLE = re.compile(r":[\w:]{1,80}+`!?([^`]*+)`")
_DROPPED = re.compile("[\x00-\x08\x0b\x0e-\x1f\u200b\ufeff\ud800-\udfff]")
"""Control characters, zero-width spaces (the corpus index's own mark) and lone surrogates."""


class Extracted(NamedTuple):
    """A page's text, or in `fault` why there is none."""

    text: str = ""
    title: str = ""
    published: str | None = None
    fault: str | None = None
    guessed: str | None = None
    """The text's encoding, where it is no more than a guess."""


def extract(
    body: bytes,
    media_type: str,
    charset: str | None = None,
    url: str | None = None,
    *,
    fast: bool = False,
    characters: int = 3_000_000,
) -> Extracted:
    """The text of a page by its kind, at most so many characters. `fast` reads HTML without
    looking for its article."""
    kind, guessed = page_kind(body, media_type), None
    if kind == "pdf":
        from oresearch_graph.tools.reading.pdf_text import UnreadablePdf, pdf_text

        try:
            page = pdf_text(body, characters)
        except UnreadablePdf as error:
            return Extracted(fault=f"is a PDF that cannot be read: {error}")
    elif kind is not None:
        decoded = decode(body, charset, markup=kind == "html" or "xml" in media_type)
        guessed = None if decoded.certain else decoded.encoding
        if kind == "text":
            page = plain_text(decoded.text)
        else:
            page = main_text(decoded.text) if fast else article(decoded.text, url)
    else:
        return Extracted(fault=f"is {media_type or 'of an unknown kind'}: no text to read")
    text, title = clean(page.text[: characters + 1]), clean(page.title[:_LONGEST_LINE])
    if not text:
        return Extracted(title=title, fault="holds no text")
    whole = text if len(text) <= characters else text[:characters] + CUT
    return Extracted(whole, title, page.published, guessed=guessed)


def plain_text(text: str) -> Readable:
    """Plain text, markdown or rst as it is; the title is its first heading or short first line."""
    start = text.lstrip("\ufeff").strip()[: _FIRST_LINES * _LONGEST_LINE]
    lines = [line.strip()[:_LONGEST_LINE] for line in start.splitlines()[:_FIRST_LINES]]
    marked = [line.lstrip("# ") for line in lines if re.match(r"#{1,2} \S", line)]
    ruled = [line for line, rule in pairwise(lines) if line and _RULE.match(rule)]
    marked += [_ROLE.sub(r"\1", line) for line in ruled if not _RULE.match(line)]
    lines_with_text = [line for line in lines if any(map(str.isalnum, line.partition(".")[0]))]
    first = lines_with_text[0] if lines_with_text and len(lines_with_text[0]) <= 120 else ""
    return Readable(text, marked[0] if marked else first)


def clean(text: str) -> str:
    """Line ends as \\n, no control characters, no trailing spaces, at most one blank line."""
    text = _DROPPED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = "\n".join(line.rstrip(" \t\f\v") for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def page_kind(body: bytes, media_type: str) -> Literal["html", "pdf", "text"] | None:
    """What a page's bytes are, by themselves and by what the server calls them."""
    start = body[:_SNIFFED].lstrip()
    if start.startswith(b"%PDF-"):
        return "pdf"
    if "html" in media_type or _opens_html(start):
        return "html"
    if b"%PDF-" in start and (media_type in _UNKNOWN or "pdf" in media_type):
        return "pdf"
    if media_type.startswith("text/") or media_type.replace("+", "/").endswith(_TEXTUAL_ENDS):
        return "text"
    return "text" if media_type in _UNKNOWN and start and b"\0" not in start else None


def _opens_html(start: bytes) -> bool:
    """True when an HTML document begins here, comments before it or not."""
    while start.startswith(b"<!--"):
        _, closed, rest = start.partition(b"-->")
        if not closed:
            return False
        start = rest.lstrip()
    return start[:14].lower().startswith((b"<!doctype html", b"<html"))
