"""What a data set may do without: personal data, replaced by the name of its kind, and the text of
pages, replaced by the hash of what was shown.

Personal data: e-mail addresses; telephone numbers in international form (`phonenumbers`, valid ones
only); payment cards (13 to 19 digits that pass Luhn's check); IBANs (ISO 13616, checked modulo 97);
public IP addresses; social security numbers of the United States and resident identity numbers of
China (GB 11643, check digit verified). Addresses of pages are left as they are, since citations
rest on them. Not covered: names, postal addresses, telephone numbers in national form, dates of
birth.

Without the text of pages an observation keeps the queries, the heads of its sources (number, title,
address), the tool's own words and its notices. Evidence keeps its place and loses its quote.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Final

from datagen.export.prepared import known_head
from datagen.export.rewriting import Edit, Edits, rewritten
from oresearch_graph.evidence.ledger import NOTICE, query_heading, source_heads
from oresearch_graph.trace import Claim, Step, Trace, read_call, text_hash
from oresearch_graph.trace.references import Ledger
from oresearch_graph.trace.report_form import lines_of

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s<>\"'`|]+")
_EMAIL: Final = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"
)
_CARD: Final = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-]|\.\d)")
_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
_IP4: Final = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)")
_IP6: Final = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_SSN: Final = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_RESIDENT: Final = re.compile(r"(?<!\d)[1-9]\d{5}(?:19|20)\d{9}[\dXx](?!\w)")
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_OWN_WORDS: Final = 300
"""Characters of the longest observation without any source that is taken for a tool's message."""
_LAST_NOTICE: Final = re.compile(rf"\n\n{re.escape(NOTICE)}[^\n]*\Z")


class Scrubber:
    """Scrubs traces and counts what it replaced, by kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def scrub(self, trace: Trace) -> Trace:
        """The trace without personal data; claims and evidence stay in place."""
        trace = rewritten(trace, lambda _, step: self.edits(step.text), self.edits)
        if trace.sources is None:
            return trace
        titled = (s.model_copy(update={"title": self._plain(s.title)}) for s in trace.sources)
        return trace.model_copy(update={"sources": tuple(titled)})

    def _plain(self, text: str) -> str:
        return Edits(text, self.edits(text)).text

    def edits(self, text: str) -> Iterator[Edit]:
        """What is to be replaced in a text, in order."""
        free_from = 0
        addresses = [match.span() for match in _URL.finditer(text)]
        ends = [end for _, end in addresses]
        for start, end, kind in sorted(_personal_data(text)):
            after = bisect_right(ends, start)
            within = after < len(addresses) and addresses[after][0] < end
            if start < free_from or within:
                continue
            free_from = end
            self.counts[kind] += 1
            yield Edit(start, end, f"({kind} removed)")


def _personal_data(text: str) -> Iterator[tuple[int, int, str]]:
    for kind, mark, pattern, is_one in _PATTERNS:
        if mark in text:
            for match in pattern.finditer(text):
                if is_one(match[0]):
                    yield *match.span(), kind
    if "+" in text or "＋" in text:
        from phonenumbers import Leniency, PhoneNumberMatcher

        for number in PhoneNumberMatcher(text, None, leniency=Leniency.VALID, max_tries=65_535):
            yield number.start, number.end, "telephone number"


def luhn(digits: str) -> bool:
    """Luhn's check of a number's digits (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return luhn(digits) and len(set(digits)) > 1


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_public_ip(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _is_resident(text: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(text, _WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == text[-1].upper()


_PATTERNS: Final[
    tuple[tuple[str, str, re.Pattern[str], Callable[[str], bool]], ...]
] = (
    ("e-mail address", "@", _EMAIL, bool),
    ("IBAN", "", _IBAN, _is_iban),
    ("identity number", "", _RESIDENT, _is_resident),
    ("identity number", "-", _SSN, bool),
    ("payment card", "", _CARD, _is_card),
    ("IP address", ".", _IP4, _is_public_ip),
    ("IP address", ":", _IP6, _is_public_ip),
)  # fmt: skip
"""Kind, what a text must hold to be searched, how it is written, and the check of a find."""


def withheld(trace: Trace, ledger: Ledger) -> Trace:
    """The trace with hashes for the text of pages; sources keep their hash and lose their text."""
    hidden = rewritten(trace, lambda index, step: _page_texts(trace, index, step, ledger))
    sources = tuple(s.model_copy(update={"text": ""}) for s in trace.sources or ())
    report = hidden.citations
    if report is not None:
        claims = tuple(map(_without_quotes, report.claims))
        report = report.model_copy(update={"claims": claims})
    return hidden.model_copy(update={"sources": sources, "citations": report})


def _page_texts(trace: Trace, index: int, step: Step, ledger: Ledger) -> Iterator[Edit]:
    if step.kind != "observation":
        return
    text = step.text
    notice = _LAST_NOTICE.search(text)
    length = notice.start() if notice else len(text)
    heads = [head for head in source_heads(text) if known_head(head, ledger)]
    if not heads and length > _OWN_WORDS:
        yield _hashed(text, 0, length)
    before = trace.steps[index - 1] if index else None
    queries = read_call(before).items if before is not None and before.is_call else ()
    headings = list(_headings(text, {query_heading(query) for query in queries}))
    for head, after in zip(heads, [*heads[1:], None][: len(heads)], strict=True):
        end = min(length, after.start if after else length)
        at = bisect_left(headings, head.end)
        end = min([*headings[at : at + 1], end])
        if text[head.end : end].strip():
            yield _hashed(text, head.end + 1, head.end + len(text[head.end : end].rstrip()))


def _headings(text: str, headings: Collection[str]) -> Iterator[int]:
    """Where a line that is one of the headings begins, at the line break before it."""
    for at, line in lines_of(text):
        if at and line in headings and at + len(line) < len(text):
            yield at - 1


def _hashed(text: str, start: int, end: int) -> Edit:
    return Edit(start, end, f"sha256:{text_hash(text[start:end])}")


def _without_quotes(claim: Claim) -> Claim:
    evidence = tuple(e.model_copy(update={"quote": ""}) for e in claim.evidence)
    return claim.model_copy(update={"evidence": evidence})
