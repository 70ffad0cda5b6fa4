"""Bytes of a page to text: charset, kind, extraction. Run it in a reader worker: strangers' bytes
may freeze or crash what parses them.

The charset is the byte-order mark's, then what the server states, then what the page states, then
UTF-8, then the legacy encoding whose text looks most like a language. Only the web's encodings
count (https://encoding.spec.whatwg.org): a label that is none of them is ignored. Not covered: Mac
and DOS code pages, and encodings that no browser reads, such as UTF-7."""

from __future__ import annotations

import codecs
import re
from io import BytesIO
from itertools import pairwise
from typing import Final, Literal, NamedTuple

import webencodings

from oresearch_graph.tools.reading.html_text import Readable, article, main_text

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PRESCANNED: Final = 1024
_SAMPLE: Final = 65_536
"""Bytes to guess from: the detector reads 3 MB/s."""
_ENOUGH: Final = 12
"""Characters beyond ASCII that make a guess certain: of 305 texts of 31 languages, one to twenty
sentences long, 7 came out wrong, and none of them had more than 8."""
_DAMAGED: Final = 20
"""One mark of replacement per so many characters beyond ASCII is damage, not another encoding."""
_HIGH = re.compile(rb"[\x80-\xff]")
_ODD = re.compile(
    r"""[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd]  # no character at all
    | (?<=[^\W\d_]) [‚„…†‡ˆ‰¡-©«¬®-´¶¸¹»-¿×÷] (?=[^\W\d_])           # a sign inside a word""",
    re.VERBOSE,
)
_TAG = re.compile(rb"</?[A-Za-z][^\t\n\f\r />]*")
_KEY = re.compile(rb"[\t\n\f\r /]*([^\t\n\f\r />][^\t\n\f\r />=]*)[\t\n\f\r ]*")
_VALUE = re.compile(
    rb"""=[\t\n\f\r ]*
    (?: "([^"]*)(?:"|\Z) | '([^']*)(?:'|\Z) | ([^"'\t\n\f\r >][^\t\n\f\r >]*)? )""",
    re.VERBOSE,
)
_CHARSET = re.compile(
    rb"""charset[\t\n\f\r ]*=[\t\n\f\r ]*
    (?: "([^"]*)" | '([^']*)' | ([^"'\t\n\f\r ;][^\t\n\f\r ;]*) )""",
    re.IGNORECASE | re.VERBOSE,
)
_XML = re.compile(rb"""<\?xml[^>]*?encoding[\0- ]*=[\0- ]*(?:"([^"\0- ]+)"|'([^'\0- ]+)')""")
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


class Decoded(NamedTuple):
    """A text and how its encoding is known."""

    text: str
    encoding: str
    certain: bool
    """False where the bytes fit nothing stated, and the guess rests on little, or are damaged."""


def decode(body: bytes, stated: str | None = None, *, markup: bool = True) -> Decoded:
    """The text of `body`, whatever it states. A wrong statement is noticed when the bytes do not
    fit. Without `markup` the text itself is not asked: prose on HTML names encodings too."""
    for mark, marked in _BOMS:
        if body.startswith(mark):
            whole = body[len(mark) :].decode(marked, "replace")
            return Decoded(whole, marked, certain="\ufffd" not in whole)
    in_page = prescan(body[:_PRESCANNED]) if markup else None
    names = [name for name in (_name(stated or ""), in_page, _unmarked(body), "utf-8") if name]
    for name in names:
        text = _decoded(body, name, "strict")
        if text is not None:
            return Decoded(text, name, certain=True)
    for name in names:
        text = _decoded(body, name, "replace") or ""
        beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
        if text.count("\ufffd") * _DAMAGED <= beyond_ascii:
            return Decoded(text, name, certain=False)
    return _guessed(body)


def prescan(start: bytes) -> str | None:
    """The encoding that a page states in its first bytes, by HTML's own steps
    (https://html.spec.whatwg.org/multipage/parsing.html#prescan-a-byte-stream-to-determine-its-encoding).
    """
    place = 0
    while (place := start.find(b"<", place)) >= 0:
        if start.startswith(b"<!--", place):
            place = _after(b"-->", start, place + 2)
        elif opened := _TAG.match(start, place):
            is_meta = opened[0].lower() == b"<meta"
            attributes, place = _attributes(start, opened.end())
            stated = _of_meta(attributes) if is_meta else None
            if stated:
                return stated
        elif start[place + 1 : place + 2] in (b"!", b"/", b"?"):
            place = _after(b">", start, place)
        else:
            place += 1
    declared = _XML.match(start)
    return _in_page(declared[1] or declared[2]) if declared else None


def _after(mark: bytes, start: bytes, place: int) -> int:
    end = start.find(mark, place)
    return len(start) if end < 0 else end + len(mark)


def _attributes(start: bytes, place: int) -> tuple[dict[bytes, bytes], int]:
    """A tag's attributes from `place` on, and where they end; none of a tag that is cut off."""
    attributes: dict[bytes, bytes] = {}
    while key := _KEY.match(start, place):
        match = _VALUE.match(start, key.end())
        value = next(filter(None, match.groups()), b"") if match else b""
        attributes.setdefault(key[1].lower(), value.lower())
        place = (match or key).end()
    return ({}, place) if place == len(start) else (attributes, place)


def _of_meta(attributes: dict[bytes, bytes]) -> str | None:
    if b"charset" in attributes:
        return _in_page(attributes[b"charset"])
    if attributes.get(b"http-equiv") != b"content-type":
        return None
    match = _CHARSET.search(attributes.get(b"content", b""))
    return _in_page(next(part for part in match.groups() if part is not None)) if match else None


def _in_page(label: bytes) -> str | None:
    """A page that is read as ASCII so far cannot be UTF-16, and means UTF-8."""
    name = _name(label.decode("latin-1"))
    if name in ("utf-16le", "utf-16be"):
        return "utf-8"
    return "windows-1252" if name == "x-user-defined" else name


def _name(label: str) -> str | None:
    encoding = webencodings.lookup(label) if label.isascii() else None
    return None if encoding is None or encoding.name == "replacement" else str(encoding.name)


def _unmarked(body: bytes) -> str | None:
    """Encodings that would pass for UTF-8: UTF-16 without its mark, and Japan's 7-bit one."""
    start = body[:_PRESCANNED]
    for name, high, low in (
        ("utf-16le", start[1::2], start[::2]),
        ("utf-16be", start[::2], start[1::2]),
    ):
        if 0 in high and 0 not in low and len(set(high)) <= min(4, len(high) // 4):
            return name
    return "iso-2022-jp" if b"\x1b$" in body and body.isascii() else None


def _decoded(body: bytes, name: str, errors: str) -> str | None:
    try:
        return str(webencodings.lookup(name).codec_info.decode(body, errors)[0])
    except UnicodeDecodeError:
        return None


def _guessed(body: bytes) -> Decoded:
    from chardetng_py import EncodingDetector

    sample = _sample(body)
    detector = EncodingDetector()
    detector.feed(sample, last=True)
    # The web's names, but for Thai, where the detector gives Python's.
    name = _name(detector.guess(tld=None, allow_utf8=False)) or "windows-874"
    text = _decoded(sample, name, "replace") or ""
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    certain = beyond_ascii >= _ENOUGH and _oddities(text) * _DAMAGED < beyond_ascii
    return Decoded(_decoded(body, name, "replace") or "", name, certain)


def _sample(body: bytes) -> bytes:
    """The first lines with bytes beyond ASCII; no encoding has a line end inside a character."""
    sample = bytearray()
    for line in BytesIO(body):
        high = _HIGH.search(line)
        if high:
            low = max(0, high.start() - 100)
            sample += line[low : low + _SAMPLE - len(sample)]
        if len(sample) >= _SAMPLE:
            break
    return bytes(sample)


def _oddities(text: str) -> int:
    """What no language writes, capitals in the middle of words among it."""
    capitals = sum(
        not here.isascii() and here.isupper() and before.islower()
        for before, here in pairwise(text)
    )
    return capitals + len(_ODD.findall(text))


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
