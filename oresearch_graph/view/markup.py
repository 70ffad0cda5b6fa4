"""HTML by construction: the one place where text of strangers becomes part of a page.

What is no `Html` is escaped, whoever passes it. Characters that command a terminal, or turn the
reading order around, are shown as U+FFFD; places in a text stay where they are.
"""

from __future__ import annotations

import html
from typing import Final

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
    given = "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(*children)}</{name}>")


def _name(key: str) -> str:
    return "viewBox" if key == "view_box" else key.rstrip("_").replace("_", "-")


def web_address(url: str) -> str | None:
    """The address where a browser may be sent; None for `javascript:` and all but the web's own."""
    address = admissible_address(url)
    web = address is not None and address.partition(":")[0].lower() in WEB_SCHEMES
    return address if web else None


def outside_link(url: str, shown: str) -> Html:
    """A link out of the page that tells the other side nothing; text where it cannot be one."""
    if (address := web_address(url)) is None:
        return tag("span", shown, class_="address", dir="auto")
    return tag("a", shown, href=address, rel="noopener noreferrer nofollow", target="_blank",
               class_="address", dir="auto")  # fmt: skip
