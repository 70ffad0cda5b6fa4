"""Bodies that strangers' servers may send to whoever reads them: what freezes a pattern, fills the
memory, crashes a parser or lies about itself."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import NamedTuple

PdfObjects = list[bytes]

MEGABYTE = 1_000_000


class Body(NamedTuple):
    name: str
    media_type: str
    content: bytes
    charset: str | None = None


def runs() -> Iterator[Body]:
    """One short piece, very often: where patterns go back and forth."""
    pieces = {
        "blanks": " ", "tabs": "\t", "lines": "\n", "returns": "\r", "backticks": "`", "less": "<",
        "amp": "&amp;", "entity": "&", "bracket": "[", "link": "](", "cite": "[1](", "quote": '"',
        "hash": "# ", "star": "*", "under": "_", "pipe": "|", "dash": "- ", "number": "1. ",
        "address": "http://", "mail": "a@", "comment": "<!---->", "open_comment": "<!-- ",
        "pre": "<pre ", "pre_end": "</pre ", "cjk": "潮", "dots": ". ", "colon": ":a",
        "joiner": "\u200d", "combining": "e\u0301\u0301\u0301", "zero_width": "\u200b",
        "bidi": "\u202e", "think": "<think>", "call": "<web_search>", "paren": "(",
        "equals": "===\n", "role": ":a:`",
    }  # fmt: skip
    for name, piece in pieces.items():
        often = (piece * (100_000 // len(piece)) + "x").encode()
        yield Body(f"text of {name}", "text/plain", often)
        yield Body(f"page of {name}", "text/html", b"<html><body><p>" + often)


def shapes() -> Iterator[Body]:
    """HTML that nests, never closes, or is merely long."""
    for tag in ("div", "b", "table><tr><td", "ul><li", "blockquote", "a href=x", "svg", "template",
                "form", "font", "select><option", "math", "frameset", "object"):  # fmt: skip
        yield Body(f"nested {tag}", "text/html", b"<html><body>" + f"<{tag}>".encode() * 30_000)
    links = "".join(f'<p><a href="/{i}">Link {i}</a> and a few words.</p>\n' for i in range(16_000))
    yield Body("a megabyte of links", "text/html", f"<html><body>{links}".encode())
    yield Body("a long attribute", "text/html", b'<html><body><p title="' + b"x" * 5 * MEGABYTE)
    many = " ".join(f"a{i}=1" for i in range(200_000))
    yield Body("many attributes", "text/html", f"<html><body><p {many}>x".encode())
    yield Body("a script without end", "text/html", b"<html><script>" + b"var x = '<'; " * 100_000)
    yield Body("a long title", "text/html", b"<title>" + b"title " * 500_000)
    date = b'"datePublished"' + b" " * 500
    yield Body("dates without end", "text/html", b"<html><body><p>x</p>" + date * 2_000)
    yield Body("odd references", "text/html", b"<p>&#xD800;&#0;&#x110000;&#xFFFFFFFFFF;" * 5_000)
    table = "<table>" + "<tr>" + "<td>1</td>" * 500 + "</tr>"
    yield Body("wide tables", "text/html", (f"<html><body>{table}" * 60).encode())
    yield Body(
        "an address as base", "text/html", b"<base href='http://['><a href='//]'>x</a>" * 2_000
    )
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    document = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><x>&l11;</x>'
    for media_type in ("application/xml", "application/xhtml+xml", "text/html"):
        yield Body(f"entities as {media_type}", media_type, document.encode())
    yield Body("nested JSON", "application/json", b"[" * 500_000)
    yield Body("one long line", "text/plain", b"word " * 600_000)
    yield Body("one long word", "text/html", b"<p>" + b"w" * 5 * MEGABYTE)


def encodings() -> Iterator[Body]:
    """Charsets that are none, and bytes that are none of the stated one."""
    for name in ("undefined", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "base64",
                 "rot13", "utf-7", "zip", "mbcs", "x" * 5_000, "utf-16", "", "\u0080"):  # fmt: skip
        stated = f"<meta charset='{name}'><p>Tides rise.".encode()
        yield Body(f"a page in {name[:20]!r}", "text/html", stated)
        yield Body(f"a server's {name[:20]!r}", "text/plain", b"Tides rise.", name)
    odd = noise(200_000)
    for media_type in ("text/plain", "text/html", "application/pdf", "", "image/png"):
        yield Body(f"noise as {media_type or 'nothing'}", media_type, odd)
    yield Body("half a UTF-16 page", "text/html", b"\xff\xfe<\x00h")
    yield Body("nothing", "text/html", b"")
    yield Body("nothing but zeros", "application/octet-stream", bytes(MEGABYTE))
    yield Body("an archive", "application/zip", b"PK\x03\x04" + bytes(1_000))


def noise(size: int) -> bytes:
    """The same bytes each time, without any order."""
    return b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(size // 32))


def pdf_of(objects: PdfObjects, before: bytes = b"") -> bytes:
    """A PDF with a right cross-reference table; the first object is its catalogue."""
    body = before + b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return body + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (size, table, size, len(body))
    )


def stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(data), data)


FORM = b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]"
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def page_with(content: bytes, resources: bytes, *more: bytes) -> bytes:
    """A page of objects 1 to 4, with a font as object 5 and `more` from 6 on."""
    return pdf_of([
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>%s>>>>" % resources,
        content, FONT, *more,
    ])  # fmt: skip


def self_drawing_form(times: int = 2) -> bytes:
    """A form that draws itself: less than a kilobyte, and gigabytes to read."""
    drawn = b"BT /F1 12 Tf (hello) Tj ET " + b"/F Do " * times
    form = stream(drawn, FORM + b"/Resources<</XObject<</F 6 0 R>>/Font<</F1 5 0 R>>>>")
    return page_with(stream(b"/F Do"), b"/XObject<</F 6 0 R>>", form)


def nested_forms(depth: int, times: int = 10) -> bytes:
    """Forms that draw the next one ten times each: ten to the power of `depth`."""
    forms = [
        stream(b"/F Do " * times, FORM + b"/Resources<</XObject<</F %d 0 R>>>>" % (7 + i))
        for i in range(depth - 1)
    ]
    last = stream(b"BT /F1 12 Tf (hello) Tj ET", FORM + b"/Resources<</Font<</F1 5 0 R>>>>")
    return page_with(stream(b"/F Do"), b"/XObject<</F 6 0 R>>", *forms, last)


def documents() -> Iterator[Body]:
    """PDFs that point at themselves, unpack without end, or are broken."""
    bomb = zlib.compress(zlib.compress(bytes(300 * MEGABYTE), 9), 9)
    twice = stream(bomb, b"/Filter[/FlateDecode/FlateDecode]")
    text = zlib.compress(b"BT /F1 12 Tf " + b"(hello) Tj " * 10 * MEGABYTE)
    pages = {
        "a form that draws itself": self_drawing_form(),
        "a form that draws itself once": self_drawing_form(1),
        "a form that draws itself 50 times": self_drawing_form(50),
        **{f"{depth} nested forms": nested_forms(depth) for depth in (5, 8, 12, 24, 60)},
        "forms that fan out": nested_forms(4, 300),
        "a packed page of zeros": page_with(twice, b""),
        "a packed page of text": page_with(stream(text, b"/Filter/FlateDecode"), b""),
        "saved states": page_with(stream(b"q " * 3 * MEGABYTE), b""),
        "open arrays": page_with(stream(b"[" * 3 * MEGABYTE), b""),
        "open strings": page_with(stream(b"(" * 3 * MEGABYTE), b""),
        "open dictionaries": page_with(stream(b"<<" * 3 * MEGABYTE), b""),
        "a content that is its own length": page_with(
            b"<</Length 4 0 R>>stream\nBT ET\nendstream", b""
        ),
        "a page that is its own parent": pdf_of([
            b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>",
        ]),
        "a tree of pages that comes back": pdf_of([
            b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 99999>>",
            b"<</Type/Pages/Kids[2 0 R]/Parent 2 0 R/Count 99999>>",
        ]),
        "a million pages": pdf_of([
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[%s]/Count 1000000>>" % (b"3 0 R " * 200_000),
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]>>",
        ]),
        "a glyph that shows itself": page_with(
            stream(b"BT /F2 12 Tf (aaaa) Tj ET"), b"",
            b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[1 0 0 1 0 0]/FirstChar 97"
            b"/LastChar 97/Widths[9]/Encoding<</Differences[97/a]>>/CharProcs<</a 7 0 R>>"
            b"/Resources<</Font<</F2 6 0 R>>>>>>",
            stream(b"9 0 d0 BT /F2 12 Tf (aaaa) Tj ET"),
        ),
        "a huge page": page_with(stream(b"BT /F1 99999 Tf (x) Tj ET"), b"/MediaBox[0 0 9e9 9e9]"),
        "nested objects": pdf_of([b"<</Type/Catalog/Pages " + b"[" * 500_000]),
        "no table": b"%PDF-1.4\n" + b"1 0 obj<</A 1 0 R>>endobj\n" * 50_000,
        "a table that follows itself": b"%PDF-1.4\nxref\n0 1\n0000000000 65535 f \n"
        b"trailer<</Size 1/Prev 9>>\nstartxref\n9\n%%EOF",
        "a table of billions": b"%PDF-1.4\nxref\n0 4000000000\ntrailer<</Size 4000000000>>\n"
        b"startxref\n9\n%%EOF",
        "a locked one": pdf_of([b"<</Type/Catalog/Encrypt 1 0 R>>"]),
        "half of one": nested_forms(3)[:700],
        "its mark alone": b"%PDF-1.4",
        "noise behind its mark": b"%PDF-1.7\n" + noise(500_000),
    }  # fmt: skip
    for name, content in pages.items():
        yield Body(name, "application/pdf", content)


def all_bodies() -> list[Body]:
    """Every hostile body; the packed ones take seconds to make."""
    return [*runs(), *shapes(), *encodings(), *documents()]
