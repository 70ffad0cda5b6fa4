"""Numbers and dates as keys that are equal when the figures are: `1,250,000` and `125万`, `25 %`
and `25 percent`.

Not covered: numbers written as words beyond twelve, rounding.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from oresearch_graph.text.dates import DATED, months_named, taken_out, wider

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
    "m": r"met(?:er|re)s?\b|m\b|米",
    "cm": r"cm\b|centimet(?:er|re)s?\b|厘米",
    "mm": r"mm\b|millimet(?:er|re)s?\b|毫米",
    "mi": r"miles?\b|英里",
    "ft": r"f(?:oo|ee)?t\b|英尺",
    "ha": r"ha\b|hectares?\b|公顷",
    "t": r"tonn?es?\b|tons?\b|t\b|吨",
    "month": r"months?\b|个月",
    "week": r"weeks?\b|周",
    "kg": r"kg\b|kilograms?\b|公斤|千克",
}
_UNIT: Final = "|".join(f"(?P<u{i}>{words})" for i, words in enumerate(_UNITS.values()))
_NUMBER: Final = re.compile(
    rf"""
    (?P<before> 百分之 | [$€£¥]\s? | \b (?: usd|eur|gbp|cny ) \s )?
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
_OVER: Final = re.compile(
    r"over|above|more|larger|greater|higher|least|über|mehr|plus|más|[>≥超逾]|超过|超過",
    re.IGNORECASE,
)
_UNDER: Final = re.compile(
    r"under|below|less|fewer|lower|most|up\s+to|unter|weniger|moins|menos|[<≤]|不到", re.IGNORECASE
)
DATE: Final = "date"
"""The unit of a year."""
_SIGNS: Final = {
    "usd": "usd",
    "eur": "eur",
    "gbp": "gbp",
    "cny": "cny",
    "$": "usd",
    "€": "eur",
    "£": "gbp",
    "¥": "cny",
    "百分之": "%",
}
_WORDS: Final[dict[str, int]] = {
    "zero": 0, "one": 1, "once": 1, "two": 2, "twice": 2, "both": 2, "double": 2, "half": 2,
    "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12,
}  # fmt: skip
_WORD: Final = re.compile(
    r"\b(?:" + "|".join(_WORDS) + r")\b|[一二两三四五六七八九十]", re.IGNORECASE
)
_DIGIT: Final = re.compile(r"\d")
_YEAR: Final = re.compile(
    r"""
    (?: \b (?: in|since|from|until|by|during|of|to|and|year|after|before
            | im|seit|bis|jahr|en|depuis|em|nel|del )
      | [(–-] ) \s? $
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What stands before a bare number of four digits that is a year."""
_PLAUSIBLE: Final = re.compile(r"1[0-9]\d\d|20\d\d")
_RANGE: Final = re.compile(
    r"(?<![\d.,–-])(?P<low>\d{1,9}(?:\.\d{1,9})?)\s?[–—-]\s?(?P<high>\d{1,9}(?:\.\d{1,9})?)"
    r"(?P<unit>\s?(?:%|percent\b))"
)
_YEARS: Final = re.compile(
    r"(?<![\d.–-])(?P<century>1\d|20)(?P<low>\d\d)[–—/-](?P<high>\d\d)(?![\d–-])"
)
_SUM: Final = re.compile(r"(?<!\d)(?P<high>\d{1,6})[亿億](?P<low>\d{1,4})[万萬]")
_THOUSANDS: Final = re.compile(r"\d{1,3}\.\d{3}")
"""A decimal, or thousands as they are written on the continent."""
_LONGEST: Final = 40
"""Digits of a number that is worth multiplying: with a million, Decimal overflows."""
_HAN: Final = {"两": 2} | {digit: value for value, digit in enumerate("一二三四五六七八九十", 1)}


class Figure(NamedTuple):
    """A number or date in a text, as written and as a key; `unit` is empty when there is none."""

    text: str
    key: str
    unit: str = ""

    @property
    def is_date(self) -> bool:
        """A day or a month, with its year or without."""
        return DATED.fullmatch(self.key) is not None


def figures(text: str) -> list[Figure]:
    """Every date, then every other number of the text."""
    dates, rest = taken_out(_expanded(unicodedata.normalize("NFKC", text)))
    return [
        *(Figure(*date) for date in dates),
        *(_number(match) for match in _NUMBER.finditer(rest)),
    ]


def _expanded(text: str) -> str:
    """`10-15 %` is both of them, `2019–21` the years, `1亿2000万` the sum."""
    text = _RANGE.sub(r"\g<low>\g<unit> \g<high>\g<unit>", text)
    text = _YEARS.sub(r"\g<century>\g<low>–\g<century>\g<high>", text)
    return _SUM.sub(lambda m: f"{int(m['high']) * 10_000 + int(m['low'])}万", text)


def _number(match: re.Match[str]) -> Figure:
    tail = match["tail"] or ""
    if tail and tail.lower() not in {"st", "nd", "rd", "th"}:
        return Figure(match[0].strip(), (match["number"] + tail).lower())
    value = _plain(match["number"])
    scale = _scale(match)
    unit = _SIGNS.get((match["before"] or "").strip().lower(), "") or _unit(match)
    if not unit and scale is None and _PLAUSIBLE.fullmatch(value):
        before = match.string[max(match.start() - 12, 0) : match.start("number")]
        unit = DATE if _YEAR.search(before) else ""
    if len(value) <= _LONGEST and value.count(".") <= 1 and (scale is not None or unit):
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
        letter = match["letter"]
        money = match["before"] or _unit(match) in {"usd", "eur", "cny"}
        return _LETTER_SCALES.get(letter.upper() if letter == "k" or money else letter)
    return next((by for i, (_, by) in enumerate(_SCALES) if match[f"s{i}"]), None)


def _unit(match: re.Match[str]) -> str:
    return next((unit for i, unit in enumerate(_UNITS) if match[f"u{i}"]), "")


def stated(text: str) -> set[tuple[str, str]]:
    """Every (key, unit) that a source states: its figures, the years and months of its dates, and
    small numbers written as words."""
    keys = set(_stated(text))
    keys |= {(f"--{month:02}", "") for month in months_named(text)}
    plain = unicodedata.normalize("NFKC", text)
    for word in _WORD.finditer(plain):
        value = _HAN.get(word[0]) or _WORDS.get(word[0].lower(), 0)
        keys.add((str(value), ""))
    return keys


def _stated(text: str) -> Iterator[tuple[str, str]]:
    for figure in figures(text):
        yield figure.key, figure.unit
        yield from ((key, "") for key in wider(figure.key))
        if _THOUSANDS.fullmatch(figure.key):
            yield figure.key.replace(".", ""), figure.unit


def agrees(figure: Figure, keys: Collection[tuple[str, str]]) -> bool:
    """True when a source that states `keys` states this figure. A percentage must be one there; a
    unit must be the same or left out; a figure without a unit agrees with any but a percentage; a
    date agrees with a day or a month that has no year there."""
    if _THOUSANDS.fullmatch(figure.key):
        whole = figure._replace(key=figure.key.replace(".", ""))
        return _agrees(figure, keys) or _agrees(whole, keys)
    return _agrees(figure, keys)


def _agrees(figure: Figure, keys: Collection[tuple[str, str]]) -> bool:
    if (figure.key, figure.unit) in keys:
        return True
    if figure.unit == "%":
        return False
    if figure.unit:
        return (figure.key, "") in keys
    if figure.is_date:
        day = figure.key[figure.key.index("-") :]
        return (f"-{day}", "") in keys and (f"?{day}", "") not in keys
    return any((figure.key, unit) in keys for unit in (*_UNITS, "gbp", DATE) if unit != "%")


def same(figure: Figure, other: Figure) -> bool:
    """True when one states the other."""
    wide = [
        {(each.key, each.unit), *((key, "") for key in wider(each.key))} for each in (figure, other)
    ]
    return agrees(figure, wide[1]) or agrees(other, wide[0])


def rivals(figure: Figure, other: Figure, *, beside: bool) -> bool:
    """True when both cannot be figures of one thing: dates as exact, years, or, where the same
    word stands `beside` both, numbers of one unit."""
    if same(figure, other):
        return False
    if figure.is_date or other.is_date:
        return _DIGIT.sub("0", figure.key) == _DIGIT.sub("0", other.key)
    return figure.unit == other.unit and (figure.unit == DATE or beside)


def may_be(figure: Figure, other: Figure, words: str) -> bool:
    """True when the other is what a figure behind `about`, `over` or `under` may stand for: nearly
    the same, or on the side that is said."""
    try:
        said, there = Decimal(figure.key), Decimal(other.key)
    except InvalidOperation:
        return False
    nearly = abs(there - said) <= abs(said) / 10
    return (
        nearly
        or (there > said and _OVER.search(words) is not None)
        or (there < said and _UNDER.search(words) is not None)
    )
