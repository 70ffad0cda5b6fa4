"""Numbers and dates as keys that are equal when the figures are: `1,250,000` and `125万`, `25 %`
and `25 percent`, `5 March 2024` and `2024年3月5日`.

Not covered: numbers written as words beyond twelve, month names other than English, sums such as
`1亿2000万`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_MONTH: Final = (
    r"(?P<month>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_YEAR: Final = r"(?P<year>(?:1[0-9]|20|21)\d\d)(?!\d)"
_DAY: Final = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?(?!\d)"
_DATES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!\d)(?P<year>\d{4})\s?年(?:\s?(?P<month>\d{1,2})\s?月(?:\s?(?P<day>\d{1,2})\s?日)?)?",
        rf"(?<![\d.]){_YEAR}(?P<by>[-/.])(?P<month>\d\d?)(?P=by)(?P<day>\d\d?)(?![\d.])",
        rf"\b{_DAY}\s+(?:of\s+)?{_MONTH},?\s+{_YEAR}",
        rf"\b{_MONTH}\s+{_DAY},?\s+{_YEAR}",
        rf"\b{_MONTH},?\s+{_YEAR}",
    )
)
_SCALES: Final[tuple[tuple[str, int], ...]] = (
    (r"万亿|trillions?", 10**12),
    (r"千万", 10**7),
    (r"百万|millionen|millions?|millones|millón|milioni|milhões|mio\b|mn\b|миллион\w*|млн", 10**6),
    (r"[亿億억]", 10**8),
    (r"billions?|milliarden|milliards?|mrd\b|bn\b|миллиард\w*|млрд", 10**9),
    (r"[万萬만]", 10**4),
    (r"thousands?|[千천](?!米)|тысяч\w*|тыс", 10**3),
)
_SCALE: Final = "|".join(f"(?P<s{i}>{words})" for i, (words, _) in enumerate(_SCALES))
_LETTER_SCALES: Final = {"K": 10**3, "M": 10**6, "B": 10**9}
_UNITS: Final[dict[str, str]] = {
    "%": r"%|percent(?:age\ points?)?\b|per\ cent\b|个百分点|pour\ cent\b|prozent\b|por\ ciento\b",
    "usd": r"(?:us\ )?dollars?\b|usd\b|美元|美金",
    "eur": r"euros?\b|eur\b|欧元|€",
    "cny": r"yuan\b|rmb\b|人民币|元",
    "bit": r"bits?\b|比特",
    "byte": r"bytes?\b|字节",
    "kb": r"ki?b\b|kilobytes?\b",
    "mb": r"mi?b\b|megabytes?\b",
    "gb": r"gi?b\b|gigabytes?\b",
    "tb": r"ti?b\b|terabytes?\b",
    "ms": r"ms\b|milliseconds?\b|毫秒",
    "us": r"[uμ]s\b|microseconds?\b|微秒",
    "s": r"secs?\b|seconds?\b|s\b|秒",
    "min": r"min(?:ute)?s?\b|分钟",
    "h": r"hours?\b|hrs?\b|h\b|小时",
    "day": r"days?\b|天",
    "year": r"years?\b|年",
    "km": r"km\b|kilomet(?:er|re)s?\b|公里|千米",
    "kg": r"kg\b|kilograms?\b|公斤|千克",
}
_UNIT: Final = "|".join(f"(?P<u{i}>{words})" for i, words in enumerate(_UNITS.values()))
_NUMBER: Final = re.compile(
    rf"""
    (?P<before> 百分之 | [$€£¥]\s? )?
    (?<! [A-Za-z_\d] ) (?<! [A-Za-z]- ) (?<! \d\. )    # not inside a name, a code or a version
    (?P<number>
        \d{{1,3}} (?: ,\d{{3}} )+ (?: \.\d+ )?            # 1,234.5
      | \d{{1,3}} (?: \.\d{{3}} ){{2,}}                   # 1.234.567
      | \d{{1,3}} (?: \ \d{{3}} )+ (?!\d)                 # 1 234
      | \d+,\d{{1,2}} (?! [\d,] )                         # 1,5: a decimal comma
      | \d+ (?: \.\d+ )*                                  # 1, 1.5, 3.11.2
    )
    (?: (?P<letter> [KMB] )\b | \s?-? (?: {_SCALE} ) )?
    (?: \s?-? (?: {_UNIT} ) )?
    (?P<tail> (?: st|nd|rd|th )\b | [A-Za-z_][A-Za-z_\d]* )?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SIGNS: Final = {"$": "usd", "€": "eur", "£": "gbp", "¥": "cny", "百分之": "%"}
_WORDS: Final[dict[str, int]] = {
    "zero": 0, "one": 1, "once": 1, "two": 2, "twice": 2, "both": 2, "double": 2, "half": 2,
    "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12,
}  # fmt: skip
_WORD: Final = re.compile(
    r"\b(?:" + "|".join(_WORDS) + r")\b|[一二两三四五六七八九十]", re.IGNORECASE
)
_LONGEST: Final = 40
"""Digits of a number that is worth multiplying: with a million, Decimal overflows."""
_HAN: Final = {"两": 2} | {digit: value for value, digit in enumerate("一二三四五六七八九十", 1)}


class Figure(NamedTuple):
    """A number or date in a text, as written and as a key; `unit` is empty when there is none."""

    text: str
    key: str
    unit: str = ""


def figures(text: str) -> list[Figure]:
    """Every date, then every other number of the text."""
    rest = unicodedata.normalize("NFKC", text)
    dates: list[Figure] = []

    def taken_out(match: re.Match[str]) -> str:
        figure = _date(match)
        if figure is None:
            return match[0]
        dates.append(figure)
        return " " * len(match[0])

    for pattern in _DATES:
        rest = pattern.sub(taken_out, rest)
    return dates + [_number(match) for match in _NUMBER.finditer(rest)]


def _date(match: re.Match[str]) -> Figure | None:
    groups = match.groupdict()
    month, day = groups.get("month"), groups.get("day")
    key = match["year"]
    if month is not None:
        number = int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1
        if not 1 <= number <= 12:
            return None
        key += f"-{number:02}"
    if day is not None:
        if not 1 <= int(day) <= 31:
            return None
        key += f"-{int(day):02}"
    return Figure(match[0], key)


def _number(match: re.Match[str]) -> Figure:
    tail = match["tail"] or ""
    if tail and tail.lower() not in {"st", "nd", "rd", "th"}:
        return Figure(match[0].strip(), (match["number"] + tail).lower())
    value = _plain(match["number"])
    scale = _scale(match)
    unit = _SIGNS.get((match["before"] or "").strip(), "") or _unit(match)
    if len(value) <= _LONGEST and (scale is not None or (unit == "%" and value.count(".") <= 1)):
        value = format((Decimal(value) * (scale or 1)).normalize(), "f")
    return Figure(match[0].strip(), value, unit)


def _plain(number: str) -> str:
    """The digits with a point for decimals only."""
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", number):
        return number.replace(",", "")
    if re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?: \d{3})+", number):
        return number.replace(".", "").replace(" ", "")
    return number.replace(",", ".")


def _scale(match: re.Match[str]) -> int | None:
    if match["number"].count(".") > 1:
        return None
    if match["letter"]:
        return _LETTER_SCALES.get(match["letter"])
    return next((by for i, (_, by) in enumerate(_SCALES) if match[f"s{i}"]), None)


def _unit(match: re.Match[str]) -> str:
    return next((unit for i, unit in enumerate(_UNITS) if match[f"u{i}"]), "")


def stated(text: str) -> set[tuple[str, str]]:
    """Every (key, unit) that a source states: its figures, the years and months of its dates, and
    small numbers written as words."""
    keys = set(_stated(text))
    plain = unicodedata.normalize("NFKC", text)
    for word in _WORD.finditer(plain):
        value = _HAN.get(word[0]) or _WORDS.get(word[0].lower(), 0)
        keys.add((str(value), ""))
    return keys


def _stated(text: str) -> Iterator[tuple[str, str]]:
    for figure in figures(text):
        yield figure.key, figure.unit
        if re.fullmatch(r"\d{4}-\d\d(?:-\d\d)?", figure.key):
            yield figure.key[:7], ""
            yield figure.key[:4], ""


def agrees(figure: Figure, keys: set[tuple[str, str]]) -> bool:
    """True when a source that states `keys` states this figure. A percentage must be one there; a
    unit must be the same or left out; a figure without a unit agrees with any but a percentage."""
    if (figure.key, figure.unit) in keys:
        return True
    if figure.unit == "%":
        return False
    if figure.unit:
        return (figure.key, "") in keys
    return any((figure.key, unit) in keys for unit in (*_UNITS, "gbp") if unit != "%")
