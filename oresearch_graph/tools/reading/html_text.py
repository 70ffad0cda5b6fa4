"""HTML to text. trafilatura finds the article best (18 pages/s); selectolax keeps all of the main
part and is 50 times faster: for huge pages, for pages trafilatura finds nothing in, and for
indexing folders."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

HUGE: Final = 1_500_000
"""Characters of HTML from which trafilatura would take many seconds."""

_NOISE: Final = (
    "script, style, noscript, template, svg, nav, aside, form, button, select, iframe, footer, "
    "body > header, [role=navigation], [role=search], [hidden], [aria-hidden=true], a.headerlink, "
    "div.sphinxsidebar, div.related, #toc, .toc"
)
_MAIN: Final = ("main", "[role=main]", "article", "#content", "body")
_BLOCKS: Final = (
    "p, div, section, article, h1, h2, h3, h4, h5, h6, ul, ol, dl, dt, dd, table, blockquote, "
    "figure, figcaption, hr"
)
# Private-use characters stand for white space that must survive the collapsing.
_BLOCK, _LINE, _SPACE = "\ue000", "\ue001", "\ue002"
_DATES: Final = (
    ("meta[property='article:published_time']", "content"),
    ("meta[itemprop=datePublished]", "content"),
    ("meta[name=citation_publication_date]", "content"),
    ("meta[name='dc.date' i]", "content"),
    ("meta[name='dcterms.issued' i]", "content"),
    ("meta[name=date]", "content"),
    ("time[itemprop=datePublished]", "datetime"),
    ("time[pubdate]", "datetime"),
)
_PRE = re.compile(r"<pre\b", re.IGNORECASE)
_PRE_END = re.compile(r"</pre\b", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_JSON_DATE = re.compile(r'"datePublished"\s*:\s*"([^"]{8,40})"')
_ISO = re.compile(r"(\d{4})[-/](\d{2})[-/](\d{2})")


class Readable(NamedTuple):
    """What a document says: its text, and title and date where it states them."""

    text: str
    title: str = ""
    published: str | None = None
    """ISO date."""


def article(html: str, url: str | None = None) -> Readable:
    """The page's article by trafilatura; the fast reading when that finds nothing or the page is
    huge."""
    fast = main_text(html) if len(html) > HUGE else None
    if fast:
        return fast
    from trafilatura import bare_extraction
    from trafilatura.settings import Document

    document = bare_extraction(
        _unwrapped(html),
        url=url,
        include_comments=False,
        include_formatting=False,
        with_metadata=True,
        date_extraction_params={"extensive_search": False, "original_date": True},
    )
    if not isinstance(document, Document) or not (document.text or "").strip():
        return main_text(html)
    return Readable(
        _spaced(str(document.text)),
        str(document.title or "").replace("¶", "").strip(),
        iso_date(str(document.date or "")),
    )


def main_text(html: str) -> Readable:
    """All text of the page's main part, paragraphs apart, code as it stands."""
    tree = LexborHTMLParser(html)
    title, published = _title(tree), _published(tree, html)
    for node in tree.css(_NOISE):
        node.decompose()
    roots = (tree.css_first(name) for name in _MAIN)
    root = next((root for root in roots if root is not None), None)
    return Readable(_rendered(root) if root is not None else "", title, published)


def iso_date(stated: str) -> str | None:
    """The ISO date in front of a stated date or time; None when there is none."""
    match = _ISO.search(stated)
    return "-".join(match.groups()) if match else None


def _title(tree: LexborHTMLParser) -> str:
    og = tree.css_first("meta[property='og:title']")
    stated = (og.attributes.get("content") or "") if og is not None else ""
    for name in ("title", "h1"):
        heading = tree.css_first(name)
        if not stated and heading is not None:
            stated = heading.text()
    return " ".join(stated.replace("¶", "").split())


def _published(tree: LexborHTMLParser, html: str) -> str | None:
    for query, attribute in _DATES:
        stated = tree.css_first(query)
        date = iso_date((stated.attributes.get(attribute) or "") if stated is not None else "")
        if date:
            return date
    linked = _JSON_DATE.search(html)
    return iso_date(linked[1]) if linked else None


def _rendered(root: LexborNode) -> str:
    for node in root.css("pre"):
        text_kept = node.text().strip("\n").replace(" ", _SPACE).replace("\n", _LINE)
        node.replace_with(f"{_BLOCK}{text_kept}{_BLOCK}")
    for node in root.css("br"):
        node.replace_with(_LINE)
    for node in root.css("li, tr"):
        node.insert_before(_LINE)
        node.insert_after(_LINE)
    for node in root.css("td, th"):
        node.insert_after(f" {_SPACE}")
    for node in root.css(_BLOCKS):
        inside_row = node.parent is not None and node.parent.tag in ("td", "th", "li")
        node.insert_before("" if inside_row else _BLOCK)
        node.insert_after(_LINE if inside_row else _BLOCK)
    text = _SPACES.sub(" ", root.text().replace("¶", ""))
    text = re.sub(rf" ?{_BLOCK}[ {_BLOCK}{_LINE}]*", "\n\n", text)
    text = re.sub(rf" ?{_LINE} ?", "\n", text).replace(_SPACE, " ")
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _unwrapped(html: str) -> str:
    """Source line breaks outside `pre` as spaces: trafilatura would keep them."""
    parts, at = list[str](), 0
    while start := _PRE.search(html, at):
        end = _PRE_END.search(html, start.end())
        if end is None:
            break
        parts += [_SPACES.sub(" ", html[at : start.start()]), html[start.start() : end.start()]]
        at = end.start()
    return "".join([*parts, _SPACES.sub(" ", html[at:])])


def _spaced(text: str) -> str:
    """trafilatura writes one block a line. Blank lines go between long lines, so that paragraphs
    are apart and short lines (code, tables) stay together."""
    lines = [line.rstrip().removesuffix("¶") for line in text.strip().splitlines()]
    parts = lines[:1]
    for before, line in pairwise(lines):
        parts.append("\n\n" if max(len(before), len(line)) > 70 else "\n")
        parts.append(line)
    return "".join(parts)
