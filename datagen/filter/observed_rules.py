"""Rules on what observations show: pages that are none, and calls that came to nothing.

A page that tells of a 403 is a page; an observation of which most is such boilerplate is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from datagen.filter.case import Case, finding
from datagen.records import Finding

_SAID_BY_TOOL: Final = re.compile(
    r"No results\.|This (?:query failed|call failed|call could not be carried out): .*"
    r"|This very call was made before.*|This call was not carried out.*"
    r"|\S+: could not be read: .*"
)
"""The words of oresearch_graph's own tools for a call that shows nothing."""
_FRAME: Final = re.compile(r"## Query: .*|Notice: .*|\[\d{1,7}\] .*|https?://\S+|\[…\]")
"""Lines of an observation that are no page's text."""
_BOILERPLATE: Final = re.compile(
    r"\b(?:400 bad request|401 unauthori[sz]ed|403 forbidden|404 (?:not found|page)|410 gone"
    r"|429 too many requests|500 internal server error|502 bad gateway"
    r"|503 service (?:temporarily )?unavailable|504 gateway time-?out)\b"
    r"|access (?:to this (?:page|site|resource) )?(?:has been |is |was )?(?:denied|forbidden)"
    r"|(?:do not|don't|don’t) have (?:permission|authori[sz]ation) to (?:access|view)"
    r"|(?:enable|turn on|requires?|without) (?:javascript|cookies)|javascript (?:and cookies )?"
    r"(?:is|are|must be) (?:disabled|required|not available|enabled)"
    r"|browser (?:does not|doesn't|doesn’t) support javascript"
    r"|checking (?:your browser|if the site connection is secure)|just a moment\.\.\."
    r"|(?:verify|verifying|confirm|prove) (?:that )?you(?: are|'re|’re) (?:not a (?:ro)?bot|"
    r"(?:a )?human)|are you a (?:ro)?bot|i(?:'m|’m| am) not a robot|captcha|unusual traffic"
    r"|\bray id\b|ddos protection|performance (?:&|and) security by"
    r"|security service to protect|rate limit(?:ed| exceeded)|too many requests"
    r"|page (?:you (?:are looking for|requested)|not found|(?:cannot|can't|can’t|could not) be "
    r"found|(?:doesn't|doesn’t|does not) exist)"
    r"|(?:log|sign) in to (?:continue|view|read)|subscribe to (?:continue|read)"
    r"|\buses? cookies\b|accept (?:all )?cookies|(?:accept|reject|allow) all\b|cookie "
    r"(?:policy|settings|preferences|notice|consent)|manage (?:cookies|consent|preferences)"
    r"|(?:we value|respects?) your privacy"
    r"|访问(?:被拒绝|受限|过于频繁)|禁止访问|没有(?:访问)?权限|页面(?:不存在|未找到|找不到|已删除)"
    r"|(?:启用|开启|打开|允许) ?javascript|验证码|(?:安全|人机|滑动)验证|请求(?:过于频繁|过多)"
    r"|请(?:先)?登录|服务器(?:内部)?错误|使用 ?cookie|接受(?:所有|全部) ?cookie",
    re.IGNORECASE,
)
_PIECE_END: Final = re.compile(r"\n|(?<=[.!?])\s+|(?<=[。！？])")
_MOST: Final = 0.5


def error_page(case: Case) -> Iterator[Finding]:
    """Observations most of which is an error page, a captcha or a cookie wall."""
    found = []
    for at, step in case.observations():
        if (span := _mostly_boilerplate(step.text)) is not None:
            told = " ".join(step.text[span[0] : span[1]].split())[:80]
            text = f"most of the observation is no page: {told!r}"
            found.append(finding("error_page", text, (at, step), span))
    if len(found) > case.settings.error_pages:
        yield from found


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
    if _BOILERPLATE.search(observation) is None:
        return None
    bad, all_of_it, at = [], 0, 0
    for end in [*(match.start() for match in _PIECE_END.finditer(observation)), len(observation)]:
        piece, start, at = observation[at:end].strip(), at, end
        if not piece or _FRAME.fullmatch(piece) or _SAID_BY_TOOL.fullmatch(piece):
            continue
        all_of_it += len(piece)
        if _BOILERPLATE.search(piece):
            bad.append((start + observation[start:end].index(piece), len(piece)))
    if not bad or sum(size for _, size in bad) <= _MOST * all_of_it:
        return None
    return bad[0][0], bad[-1][0] + bad[-1][1]
