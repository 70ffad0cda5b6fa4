"""Dates as keys that are equal when the days are: `5 March 2024`, `5. März 2024`, `2024年3月5日`
and `05.03.2024` are `2024-03-05`; a date without its year is `--03-05`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

_NAMES: Final = (
    "january jan januar janvier janv enero janeiro gennaio januari января",
    "february feb februar février févr febrero fevereiro febbraio februari февраля",
    "march mar märz mars marzo março maart марта",
    "april apr avril abril aprile апреля",
    "may mai mayo maio maggio mei мая",
    "june jun juni juin junio junho giugno июня",
    "july jul juli juillet julio julho luglio июля",
    "august aug août agosto augustus августа",
    "september sep sept septembre septiembre setembro settembre сентября",
    "october oct oktober okt octobre octubre outubro ottobre октября",
    "november nov novembre noviembre novembro ноября",
    "december dec dezember dez décembre diciembre dezembro dicembre декабря",
)
MONTHS: Final[Mapping[str, int]] = {
    name: number for number, names in enumerate(_NAMES, 1) for name in names.split()
}
"""By name or short form, in lower case."""
_MONTH: Final = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})(?![\w'’])\.?"
_YEAR: Final = r"(?P<year>(?:1[0-9]|20|21)\d\d)(?!\d)"
_DAY: Final = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th|er|º|ª)?\.?(?!\d)"
_OF: Final = r"(?:(?:of|de|di|del)\s+)?"
_IN: Final = "|".join(
    rf"(?<=\b{word} )" for word in (
        "in", "In", "of", "since", "Since", "until", "by", "early", "late", "through", "from", "to",
        "during", "im", "Im", "seit", "Ende", "Anfang", "en", "En", "em", "nel",
    )
)  # fmt: skip
_FORMS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<!\d)(?P<year>\d{4})\s?年(?:\s?(?P<month>\d{1,2})\s?月(?:\s?(?P<day>\d{1,2})\s?日)?)?",
        rf"(?<![\d.]){_YEAR}(?P<by>[-/.])(?P<month>\d\d?)(?P=by)(?P<day>\d\d?)(?!\.?\d)",
        rf"(?<![\d.])(?P<day>[0-3]?\d)\.\s?(?P<month>[01]?\d)\.\s?{_YEAR}",
        rf"(?<![\d/])\d\d?/\d\d?/{_YEAR}",
        rf"\b{_DAY}\s+{_OF}{_MONTH},?\s+{_OF}{_YEAR}",
        rf"\b{_MONTH}\s+{_DAY},?\s+{_YEAR}",
        rf"\b{_MONTH},?\s+{_OF}{_YEAR}",
        rf"\b{_DAY}\s+{_OF}{_MONTH}",
        rf"\b{_MONTH}\s+{_DAY}\b",
        r"(?<!\d)(?P<month>\d{1,2})\s?月\s?(?P<day>\d{1,2})\s?日",
        rf"(?:{_IN})(?-i:(?=[A-ZÀ-ÞА-Я])){_MONTH}(?!\s+[A-Z])",
    )
)  # `May` alone is a month only behind such a word, and before no other name
_CAPITAL: Final = re.compile(r"\b[A-ZÀ-ÞА-Я][^\W\d_]{2,10}\b")
DATED: Final = re.compile(r"(?P<year>\d{4}|-)(?P<month>-\d\d)(?P<day>-\d\d)?")
"""The key of a day or a month."""


def taken_out(text: str) -> tuple[list[tuple[str, str]], str]:
    """The dates of a text, as written and as keys, and the text with blanks in their places."""
    dates: list[tuple[str, str]] = []

    def replaced(match: re.Match[str]) -> str:
        key = _key(match)
        if key is None:
            return match[0]
        dates.append((match[0], key))
        return " " * len(match[0])

    for form in _FORMS:
        text = form.sub(replaced, text)
    return dates, text


def months_named(text: str) -> set[int]:
    """Every month that a text names with a capital: of a source any mention counts."""
    return {MONTHS[name.lower()] for name in _CAPITAL.findall(text) if name.lower() in MONTHS}


def _key(match: re.Match[str]) -> str | None:
    groups = match.groupdict()
    month, day = groups.get("month"), groups.get("day")
    key = groups.get("year") or "-"
    if month is not None:
        number = int(month) if month.isdigit() else MONTHS[month.lower()]
        if not 1 <= number <= 12:
            return None
        key += f"-{number:02}"
    if day is not None:
        if not 1 <= int(day) <= 31:
            return None
        key += f"-{int(day):02}"
    return key


def wider(key: str) -> Iterator[str]:
    """What a date states: `2024-03-05` its month and its year as well, and all without the year;
    `?-03-05` tells that there is one."""
    if (date := DATED.fullmatch(key)) is None:
        return
    year, month, day = date.groups()
    if year != "-":
        yield from (year, f"?{month}", f"?{month}{day or ''}")
    yield from (f"{year}{month}", f"-{month}")
    if day:
        yield f"-{month}{day}"
