"""A delivered page and PDF, as their reader has them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

import pypdfium2  # type: ignore[import-untyped]  # no stubs
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.view import paper

ELEMENTS: Final = frozenset((
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "h4", "h5", "h6",
    "p", "a", "span", "em", "strong", "code", "pre", "blockquote", "ul", "ol", "li", "hr", "br",
    "table", "thead", "tbody", "tr", "th", "td",
))  # fmt: skip
ATTRIBUTES: Final = frozenset((
    "lang", "dir", "charset", "http-equiv", "content", "name", "class", "id", "href", "rel",
    "target", "start",
))  # fmt: skip


def _has_pango() -> bool:
    try:
        paper.require_paper()
    except ConfigurationError:
        return False
    return True


needs_pango = pytest.mark.skipif(not _has_pango(), reason="needs WeasyPrint and the library Pango")


class Page(HTMLParser):
    """What a browser would find on a page; every element closed, none but those allowed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts, self.open = list[str](), list[str]()
        self.links, self.ids = list[str](), list[str]()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert tag in ELEMENTS, tag
        assert attributes.keys() <= ATTRIBUTES, attributes
        self.elements.append((tag, attributes))
        self.links += [attributes["href"] or ""] if "href" in attributes else []
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        if tag not in {"meta", "br", "hr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        assert tag in {"br", "hr"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def pdf_text(content: bytes) -> str:
    document = pypdfium2.PdfDocument(content)
    return "\n".join(page.get_textpage().get_text_bounded() for page in document)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def marked_words(markdown: str) -> list[str]:
    """The words that a reader of Markdown sees, by a parser of its own; markup is text."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    reader.disable(["html_block", "html_inline"])

    def texts(tokens: list[Token]) -> list[str]:
        parts = []
        for token in tokens:
            parts += texts(token.children) if token.children else [token.content]
        return parts

    return words(" ".join(texts(reader.parse(markdown))))
