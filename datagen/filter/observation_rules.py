"""Rules on what observations show: pages that are none, and calls that came to nothing.

A page that tells of a 403 is a page; an observation of which most is such boilerplate is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from datagen.filter.case import Case, finding
from datagen.records import Finding
from oresearch_graph.trace.call_counts import SAID_BY_TOOL

_FRAME: Final = re.compile(r"## Query: .*|Notice: .*|\[\d{1,7}\] .*|https?://\S+|\[…\]")
"""Lines of an observation that are no page's text."""
_PIECE_END: Final = re.compile(r"\n|(?<=[.!?])\s+|(?<=[。！？])")
_MOST: Final = 0.5
_STATUS: Final = (
    "400 bad request", "401 unauthorized", "403 forbidden", "404 not found", "404 page",
    "410 gone", "429 too many requests", "500 internal server error", "502 bad gateway",
    "503 service unavailable", "503 service temporarily unavailable", "504 gateway time",
    "rate limit exceeded", "rate limited", "too many requests", "error reference number",
)  # fmt: skip
_ACCESS: Final = (
    "access denied", "access is denied", "access was denied", "access forbidden",
    "access has been denied", "access to this page has been", "access to this site has been",
    "access to this resource", "permission to access", "permission to view",
    "authorized to access", "authorized to view", "you have been blocked", "log in to continue",
    "sign in to continue", "log in to read", "sign in to read", "log in to view",
    "subscribe to continue", "subscribe to read",
)  # fmt: skip
_BROWSER: Final = (
    "enable javascript", "enable cookies", "turn on javascript", "requires javascript",
    "without javascript", "javascript is disabled", "javascript is required",
    "javascript is not available", "javascript must be enabled", "javascript and cookies",
    "not support javascript", "checking your browser", "connection is secure",
    "just a moment...", "verify you are human", "verifying you are human",
    "verify that you are human", "verify you are a human", "verify that you are a human",
    "verify you are not a", "confirm you are human", "prove you are human", "not a robot",
    "not a bot", "are you a robot", "captcha", "unusual traffic", "ray id", "ddos protection",
    "performance & security by", "performance and security by", "security service to protect",
    "security check to access",
)  # fmt: skip
_GONE: Final = (
    "page not found", "page cannot be found", "page can't be found", "page could not be found",
    "page does not exist", "page doesn't exist", "page you are looking for", "page you requested",
    "page has been removed", "page is no longer available",
)  # fmt: skip
_COOKIES: Final = (
    "uses cookies", "use cookies", "accept cookies", "accept all", "reject all", "allow all",
    "cookie policy", "cookie settings", "cookie preferences", "cookie notice", "cookie consent",
    "manage cookies", "manage consent", "manage preferences", "value your privacy",
    "respect your privacy",
)  # fmt: skip
_CHINESE: Final = (
    "访问被拒绝", "访问受限", "访问过于频繁", "禁止访问", "没有权限", "没有访问权限", "页面不存在",
    "页面未找到", "页面找不到", "页面已删除", "启用javascript", "开启javascript", "打开javascript",
    "允许javascript", "启用 javascript", "开启 javascript", "验证码", "安全验证", "人机验证",
    "滑动验证", "请求过于频繁", "请求过多", "请先登录", "请登录", "服务器错误", "服务器内部错误",
    "使用cookie", "使用 cookie", "接受所有cookie", "接受所有 cookie", "接受全部cookie",
)  # fmt: skip
ERROR_PHRASES: Final = (*_STATUS, *_ACCESS, *_BROWSER, *_GONE, *_COOKIES, *_CHINESE)


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
        line.strip() and not _FRAME.fullmatch(line) and not SAID_BY_TOOL.fullmatch(line)
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
        if not piece or _FRAME.fullmatch(piece) or SAID_BY_TOOL.fullmatch(piece):
            continue
        all_of_it += len(piece)
        if is_boilerplate(piece):
            bad.append((start + observation[start:end].index(piece), len(piece)))
    if not bad or sum(size for _, size in bad) <= _MOST * all_of_it:
        return None
    return bad[0][0], bad[-1][0] + bad[-1][1]


def is_boilerplate(text: str) -> bool:
    """True when the text holds one of the phrases, whatever its case and apostrophes."""
    plain = text.lower().replace("’", "'")
    return any(phrase in plain for phrase in ERROR_PHRASES)
