"""HTML by construction: the one place where text of strangers, Markdown included, becomes part of a
page. No markup of the text's own, no images, links to the web only."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final, Protocol

from markdown_it import MarkdownIt
from markdown_it.common.normalize_url import normalizeLink
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from oresearch_graph.trace.plain_text import WEB_SCHEMES, admissible_address, visible

_VOID: Final = frozenset(("br", "hr", "input", "link", "meta", "rect"))

Attribute = str | int | bool | None


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """The text as markup that shows it."""
    return Html(html.escape(visible(text)))


def joined(*parts: str | None) -> Html:
    """The parts one after another; what is no Html is escaped, None is left out."""
    return Html("".join(p if isinstance(p, Html) else escaped(p) for p in parts if p is not None))


def tag(name: str, /, *children: str | None, **attributes: Attribute) -> Html:
    """An element. `class_` is `class`, `data_x` is `data-x`; an attribute of None or False is left
    out, one of True stands without a value."""
    attributes_text = "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{attributes_text}>")
    return Html(f"<{name}{attributes_text}>{joined(*children)}</{name}>")


def _name(key: str) -> str:
    return "viewBox" if key == "view_box" else key.rstrip("_").replace("_", "-")


def web_address(url: str) -> str | None:
    """The address where a browser may be sent; None for `javascript:` and all but the web's own."""
    address = admissible_address(url)
    web = address is not None and address.partition(":")[0].lower() in WEB_SCHEMES
    return address if web else None


def outside_link(url: str, label: str) -> Html:
    """A link out of the page that tells the other side nothing; text where it cannot be one."""
    if (address := web_address(url)) is None:
        return tag("span", label, class_="address", dir="auto")
    return tag("a", label, href=address, rel="noopener noreferrer nofollow", target="_blank",
               class_="address", dir="auto")  # fmt: skip


# ruff: noqa: ARG002 - rules have the arguments that markdown-it gives them


class Weaver(Protocol):
    """Who puts claims and citations into the text."""

    def text(self, text: str, claim: int | None) -> tuple[Html, int | None]:
        """A run of text that begins inside `claim`, and the claim that it ends in."""
        ...

    def without_tokens(self, text: str) -> str:
        """The text for where no citation can be: code, addresses."""
        ...


def rendered(markdown: str, weaver: Weaver, *, below: int = 2) -> Html:
    """The HTML of a Markdown text, its headings so many levels below what it says."""
    return Html(_reader(weaver, below).render(markdown))


def rendered_line(markdown: str, weaver: Weaver) -> Html:
    """The HTML of a line of Markdown, without a paragraph around it."""
    return Html(_reader(weaver, 0).renderInline(markdown))


def _reader(weaver: Weaver, below: int) -> MarkdownIt:
    reader = MarkdownIt(
        "commonmark", {"html": False}, renderer_cls=lambda _: _Renderer(weaver, below)
    )
    reader.enable("table").disable(["image", "html_block", "html_inline"])
    reader.validateLink = _is_web  # type: ignore[method-assign]  # markdown-it's way to set it
    reader.normalizeLink = lambda url: normalizeLink(weaver.without_tokens(url))  # type: ignore[method-assign]
    return reader


def _is_web(url: str) -> bool:
    return web_address(url) is not None


class _Renderer(RendererHTML):
    """markdown-it's own renderer, with every text and address through `markup`."""

    def __init__(self, weaver: Weaver, below: int) -> None:
        self._weaver, self._below = weaver, below
        self._claim: int | None = None
        self._within: int | None = None
        self._link = "a"  # links do not nest
        super().__init__()

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        if self._within != id(tokens):  # a claim does not reach beyond its paragraph
            self._within, self._claim = id(tokens), None
        html, self._claim = self._weaver.text(tokens[idx].content, self._claim)
        return html

    def code_inline(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return tag("code", self._weaver.without_tokens(tokens[idx].content))

    def link_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        address = escaped(str(tokens[idx].attrGet("href") or ""))
        self._link = "a" if address else "span"  # `[text]()` would be a link to this page
        if not address:
            return "<span>"
        return f'<a href="{address}" rel="noopener noreferrer nofollow" target="_blank">'

    def link_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f"</{self._link}>"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return tag("pre", tag("code", self._weaver.without_tokens(tokens[idx].content)))

    def code_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return self.fence(tokens, idx, options, env)

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<{tokens[idx].tag}>"  # without the style attribute, which the policy refuses

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return self.th_open(tokens, idx, options, env)

    def heading_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f"<{self._heading(tokens[idx])}>"

    def heading_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f"</{self._heading(tokens[idx])}>\n"

    def _heading(self, token: Token) -> str:
        """The page's own headings stand above."""
        return f"h{min(6, int(token.tag[1]) + self._below)}"
