"""The gate for strings that others wrote: what enters a run, a record or a page comes through here.

`storable` is what every file and database can hold; `body_text` may have lines, `title_line` is
one line; `admissible_address` is an address that a run may know; `iso_day` is a date. Linear, and
of the standard library alone, so that every floor can use it.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final
from urllib.parse import quote, urlsplit

TITLE: Final = 300
"""Characters of a title."""
ADDRESS: Final = 2_000
"""Characters of an address."""
WEB_SCHEMES: Final = frozenset(("http", "https"))
OWN_SCHEMES: Final = frozenset(("doc", "document", "file", "python", "tool"))
"""Of documents that no web server gives: folders, retrievers, tools, this Python."""

_CONTROLS: Final = "\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufffe\uffff"
_LINE_ENDS: Final = "\x0b\x0c\x1c-\x1e\x85\u2028\u2029"
_FORCING: Final = "\u202a-\u202e\u2066-\u2069"
_UNSEEN: Final = (
    "\xad\u061c\u180e\u200b\u200e\u200f\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
) + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000)
)
"""Format characters, save the joiners that scripts and emoji are written with; noncharacters."""

_CONTROL: Final = re.compile(f"[{_CONTROLS}]")
_LINE_END: Final = re.compile(f"\r\n|[\r{_LINE_ENDS}]")
_HIDDEN: Final = re.compile(f"[{_CONTROLS}{_FORCING}{_UNSEEN}]")
_OVERRIDE: Final = re.compile(f"[{_FORCING}]")
_COMMANDING: Final = re.compile(f"[{_CONTROLS}{_LINE_ENDS}{_FORCING}\ud800-\udfff]")
_REFUSED: Final = re.compile(rf"[{_CONTROLS}{_FORCING}{_UNSEEN}\ud800-\udfff]|(?! )\s")
_AUTHORITY: Final = re.compile(
    r"""
    [A-Za-z][A-Za-z0-9+.-]* ://
    (?: [^][<>"'`{}|\\^()&;*!\s/?\#@]* @ )?       # a user
    (?: \[ [0-9A-Fa-f:.]+ \] (?: :\d* )?          # an IPv6 address
    |   [^][<>"'`{}|\\^()&;*!\s/?\#@]* )
    (?= [/?\#] | \Z )
    """,
    re.VERBOSE,
)
_ILLEGAL: Final = re.compile(r'["<>\\^`{|}\[\]* ]')
"""What no URI holds (RFC 3986), and `*`: Markdown and HTML act upon them."""
_USUAL: Final = re.compile(r"[\w!#$%&'()+,./:=?@~-]*", re.ASCII)
_ENTITY: Final = re.compile(r"(&#?\w{1,32});")


def storable(text: str) -> str:
    """The text with NUL and each lone surrogate, which not every file and database can hold, as
    U+FFFD; else unchanged."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\ufffd")


def body_text(text: str, most: int | None = None) -> str:
    """Text that may have lines, without control characters; every kind of line end is a newline."""
    text = text[:most]
    if text.replace("\n", "").isprintable():  # a quarter of the time of what follows
        return text
    return _CONTROL.sub("", _LINE_END.sub("\n", storable(text)))


def title_line(text: str, most: int = TITLE) -> str:
    """One line without control characters, marks that turn the reading order, or characters that
    cannot be seen; cut with an ellipsis."""
    # The slice is longer by far than what is kept, however much white space is in it.
    line = " ".join(_HIDDEN.sub("", storable(text[: 20 * most])).split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def visible(text: str) -> str:
    """The text with each character that commands a terminal, or forces a reading order, as
    U+FFFD; as long as before."""
    return _COMMANDING.sub("\ufffd", text)


def without_overrides(text: str) -> str:
    """The text without marks that force a reading order; what scripts are written with stays."""
    return _OVERRIDE.sub("", text)


def spelled_address(url: str) -> str:
    """Any string as an address is written down: one word in which nothing is markup. Spelling it
    twice changes nothing more."""
    if len(url) <= ADDRESS and _USUAL.fullmatch(url):
        return url
    url = " ".join(_HIDDEN.sub("", storable(url[: 2 * ADDRESS])).split())
    authority = _AUTHORITY.match(url)
    start = authority.end() if authority else 0
    rest = _ILLEGAL.sub(lambda match: quote(match[0], safe=""), url[start:])
    return (url[:start] + _ENTITY.sub(r"\1%3B", rest))[:ADDRESS]


def admissible_address(url: str) -> str | None:
    """The address as a run writes it down, if it is one of the web or of our own documents; None
    for all others, and for one with control characters or line ends, or too long to be one."""
    url = url.strip()
    if len(url) > ADDRESS or _REFUSED.search(url):
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        return None
    if parts.scheme in WEB_SCHEMES:
        sound = bool(parts.hostname) and _AUTHORITY.match(url) is not None
    elif parts.scheme == "file":
        sound = parts.netloc in ("", "localhost") and parts.path.startswith("/")
    else:
        sound = parts.scheme in OWN_SCHEMES and len(url) > len(parts.scheme) + 1
    spelled = spelled_address(url)
    return spelled if sound and len(spelled) < ADDRESS else None


def iso_day(stated: str) -> str | None:
    """The ISO date that a string begins with; None where it begins with none."""
    try:
        return date.fromisoformat(stated.strip()[:10]).isoformat()
    except ValueError:
        return None
