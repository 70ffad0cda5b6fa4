"""Rules on what observations show: pages that are none, and calls that came to nothing.

A page that tells of a 403 is a page; an observation of which most is such boilerplate is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from datagen.filter.case import Case, finding
from datagen.filter.error_phrases import is_boilerplate
from datagen.records import Finding

_SAID_BY_TOOL: Final = re.compile(
    r"No results\.|This (?:query failed|call failed|call could not be carried out): .*"
    r"|This very call was made before.*|This call was not carried out.*"
    r"|\S+: could not be read: .*"
)
"""The words of oresearch_graph's own tools for a call that shows nothing."""
_FRAME: Final = re.compile(r"## Query: .*|Notice: .*|\[\d{1,7}\] .*|https?://\S+|\[…\]")
"""Lines of an observation that are no page's text."""
_PIECE_END: Final = re.compile(r"\n|(?<=[.!?])\s+|(?<=[。！？])")
_MOST: Final = 0.5


def error_page(case: Case) -> Iterator[Finding]:
    """Observations most of which is an error page, a captcha or a cookie wall."""
    findings = []
    for at, step in case.observations():
        if (span := _mostly_boilerplate(step.text)) is not None:
            excerpt = " ".join(step.text[span[0] : span[1]].split())[:80]
            text = f"most of the observation is no page: {excerpt!r}"
            findings.append(finding("error_page", text, (at, step), span))
    if len(findings) > case.settings.error_pages:
        yield from findings


def empty_observations(case: Case) -> Iterator[Finding]:
    """Too many observations show nothing."""
    observations = list(case.observations())
    empty = [place for place in observations if not shows_something(place[1].text)]
    if observations and len(empty) > case.settings.empty_observations * len(observations):
        text = f"{len(empty)} of {len(observations)} observations show nothing"
        yield finding("empty_observations", text, empty[-1], (0, len(empty[-1][1].text)))


def shows_something(observation: str) -> bool:
    """False when the tool itself says that there is nothing, and for an empty text."""
    return any(
        line.strip() and not _FRAME.fullmatch(line) and not _SAID_BY_TOOL.fullmatch(line)
        for line in observation.split("\n")
    )


def _mostly_boilerplate(observation: str) -> tuple[int, int] | None:
    """From the first to the last piece of boilerplate, when such pieces make up most of the text
    that pages gave; what the tool says of a failed call counts for neither side."""
    if not is_boilerplate(observation):
        return None
    bad, all_of_it, at = [], 0, 0
    for end in [*(match.start() for match in _PIECE_END.finditer(observation)), len(observation)]:
        piece, start, at = observation[at:end].strip(), at, end
        if not piece or _FRAME.fullmatch(piece) or _SAID_BY_TOOL.fullmatch(piece):
            continue
        all_of_it += len(piece)
        if is_boilerplate(piece):
            bad.append((start + observation[start:end].index(piece), len(piece)))
    if not bad or sum(size for _, size in bad) <= _MOST * all_of_it:
        return None
    return bad[0][0], bad[-1][0] + bad[-1][1]
