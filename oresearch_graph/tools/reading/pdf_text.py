"""PDF to text by pdfium, which is not thread-safe: one document at a time in a process, and only in
a reader worker, since a small document can take any time and memory. Not covered: scanned pages
(no text in them), tables' columns."""

from __future__ import annotations

import re
from typing import Final

import pypdfium2  # type: ignore[import-untyped]  # it ships no types

from oresearch_graph.tools.reading.html_text import Readable

MAX_PAGES: Final = 2_000

_WRAPPED = re.compile(r"(?<=[^\n]{45}[^.!?:;。！？\n])\n(?=\S)")


class UnreadablePdf(Exception):
    """A PDF that is damaged or locked by a password."""


def pdf_text(body: bytes, characters: int) -> Readable:
    """The text of its pages, a blank line between them, until there are so many characters; with
    title and date of its metadata."""
    pages: list[str] = []
    room = characters
    try:
        with pypdfium2.PdfDocument(body) as document:
            for index in range(min(len(document), MAX_PAGES)):
                pages.append(_page(document, index))
                room -= len(pages[-1])
                if room < 0:
                    break
            stated = document.get_metadata_dict()
    except pypdfium2.PdfiumError as error:
        raise UnreadablePdf(str(error)) from error
    title = " ".join(str(stated.get("Title") or "").split())
    text = "\n\n".join(filter(None, pages))
    return Readable(text, title, _date(str(stated.get("CreationDate") or "")))


def _page(document: pypdfium2.PdfDocument, index: int) -> str:
    page = document[index]
    try:
        words = page.get_textpage()
        try:
            raw = words.get_text_bounded()
        finally:
            words.close()
    finally:
        page.close()
    lines = re.sub("[\ufffe\u00ad\x02]\r?\n?", "", raw).replace("\r\n", "\n")
    return _WRAPPED.sub(" ", lines).strip()


def _date(stated: str) -> str | None:
    match = re.match(r"D:(\d{4})(\d{2})(\d{2})", stated)
    return "-".join(match.groups()) if match else None
