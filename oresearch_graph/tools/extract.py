"""Bytes of a page to text: charset, kind, extraction. The heavy work is for a worker thread."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import NamedTuple

from oresearch_graph.tools.charset import decode
from oresearch_graph.tools.html_text import Readable, article, main_text
from oresearch_graph.tools.pdf_text import UnreadablePdf, pdf_text

_TEXTUAL = re.compile(r"text/|.*[/+](json|xml|yaml|javascript|x-tex|markdown)$")
_RULE = re.compile(r"([=*#~^-])\1{2,}$")
_ROLE = re.compile(r":[\w:]+:`!?([^`]*)`")
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


async def extract_in_thread(
    body: bytes, media_type: str, charset: str | None = None, url: str | None = None
) -> Extracted:
    """`extract`, off the event loop."""
    return await asyncio.to_thread(extract, body, media_type, charset, url)


def extract(
    body: bytes,
    media_type: str,
    charset: str | None = None,
    url: str | None = None,
    *,
    fast: bool = False,
) -> Extracted:
    """The text of a page by its kind. `fast` reads HTML without looking for its article."""
    kind = _kind(body, media_type)
    guessed = None
    try:
        if kind == "pdf":
            found = pdf_text(body)
        elif kind:
            decoded = decode(body, charset, markup=kind == "html" or "xml" in media_type)
            guessed = None if decoded.certain else decoded.encoding
            if kind == "text":
                found = plain_text(decoded.text)
            else:
                found = main_text(decoded.text) if fast else article(decoded.text, url)
        else:
            return Extracted(fault=f"is {media_type or 'of an unknown kind'}: no text to read")
    except UnreadablePdf as error:
        return Extracted(fault=f"is a PDF that cannot be read: {error}")
    text = clean(found.text)
    if not text:
        return Extracted(title=clean(found.title), fault="holds no text")
    return Extracted(text, clean(found.title), found.published, guessed=guessed)


def plain_text(text: str) -> Readable:
    """Plain text, markdown or rst as it is; the title is its first heading or short first line."""
    lines = [line.strip() for line in text.lstrip("\ufeff").strip().splitlines()[:30]]
    marked = [line.lstrip("# ") for line in lines if re.match(r"#{1,2} \S", line)]
    ruled = [line for line, rule in pairwise(lines) if line and _RULE.match(rule)]
    marked += [_ROLE.sub(r"\1", line) for line in ruled if not _RULE.match(line)]
    shown = [line for line in lines if re.search(r"^[^.]*\w", line)]
    first = shown[0] if shown and len(shown[0]) <= 120 else ""
    return Readable(text, marked[0] if marked else first)


def clean(text: str) -> str:
    """Line ends as \\n, no control characters, no trailing spaces, at most one blank line."""
    text = _DROPPED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t\f\v]+\n", "\n", text)).strip()


def _kind(body: bytes, media_type: str) -> str | None:
    start = body[:1024].lstrip()
    if start.startswith(b"%PDF-"):
        return "pdf"
    if "html" in media_type:
        return "html"
    if re.match(rb"(<!--.*?-->\s*)*<(!doctype html|html)", start, re.IGNORECASE | re.DOTALL):
        return "html"
    if _TEXTUAL.match(media_type):
        return "text"
    unknown = media_type in ("", "application/octet-stream", "binary/octet-stream")
    return "text" if unknown and start and b"\0" not in start else None
