"""Pages that are no page: a shell that needs its script, a bot check, a wall before the text, an
error told with status 200. What they say is no evidence of anything."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_LONGEST: Final = 1_500
"""Characters of such a page; a longer one says something."""


class _Kind(NamedTuple):
    does: str
    share: float
    """Of the page's text, in sentences of this kind."""
    pattern: re.Pattern[str]


def _kind(does: str, share: float, pattern: str) -> _Kind:
    return _Kind(does, share, re.compile(pattern, re.IGNORECASE | re.VERBOSE))


_KINDS: Final = (
    _kind(
        "asks whether its reader is human", 0.25,
        r"""
        \b (?:verif\w+|prove|confirm\w*|make[ ]sure|check\w*) \b .{0,60}
        \b (?:human|robot|bot|your[ ]browser|security[ ]of[ ]your[ ]connection) \b
      | \b review[ ]the[ ]security[ ]of[ ]your[ ]connection \b
      | \b (?:not|are[ ]you)[ ]an?[ ](?:robot|bot) \b
      | \b (?:complete|solve|enter|answer)[ ] .{0,30} captcha \b
      | \b (?:unusual|suspicious)[ ](?:traffic|activity)\b .{0,30} \b (?:your|this) \b
      | \b you[ ]are[ ]using[ ]automation[ ]tools \b | \b you[ ]have[ ]been[ ]blocked \b
      | \b you[ ]are[ ]unable[ ]to[ ]access \b | \b security[ ](?:service|solution) \b
      | \b disable[ ] .{0,20} ad[ ]?block | \b ddos[ ]protection[ ]by \b
      | 安全验证 | 人机验证 | 请完成验证 | 验证您是真人 | ロボットではありません | 로봇이\ 아닙니다
      | \b kein[ ]roboter \b | \b pas[ ]un[ ]robot \b | \b no[ ](?:soy|eres)[ ]un[ ]robot \b
        """,
    ),
    _kind(
        "needs JavaScript or cookies", 0.35,
        r"""
        \b (?:enable|turn[ ]on|activate|allow|requires?|needs?|without) \b .{0,60}
        \b (?:java[ ]?script|js|cookies) \b
      | \b (?:java[ ]?script|js|cookies) \b .{0,40}
        \b (?:enabled|disabled|required|turned[ ]off|blocked|not[ ](?:available|supported)) \b
      | (?:aktivier|einschalt|activ|habilit|abilit|ative|включ) .{0,60} javascript
      | javascript .{0,40}
        (?:aktivier|erforderlich|deaktiviert|einschalt|activ|habilit|отключ|включ)
      | javascript .{0,20} (?:有効|必要|無効|활성화|사용)
      | (?:启用|开启|啟用|打开) .{0,20} javascript
      | \b browser[ ]is[ ](?:not[ ]supported|unsupported|out[ ]of[ ]date|outdated) \b
      | ^ \W*+ (?:loading|please[ ]wait|one[ ]moment|just[ ]a[ ]moment) \W* $
        """,
    ),
    _kind(
        "is closed to readers who are not let in", 0.6,
        r"""
        \b access[ ] .{0,30} (?:denied|blocked|forbidden|restricted) \b
      | \b (?:do[ ]not|don['’]t)[ ]have[ ](?:permission|access) \b
      | \b (?:sign|log)[ ]?in[ ] .{0,40} \b to[ ](?:continue|view|read|access|see) \b
      | \b (?:subscribe|register|account) \b .{0,40} \b to[ ](?:continue|read|view|keep|unlock) \b
      | \b (?:only[ ])?(?:for|to)[ ](?:\w{1,20}[ ])?(?:subscribers|members)[ ]?(?:only)? \b
        """,
    ),
    _kind(
        "says that there is no such page", 0.5,
        r"""
        ^ \W*+ (?: (?:error|http) \W*+ )? [45]\d\d \b .{0,10}
        \b (?:error|not[ ]found|forbidden|unauthorized|gone|too[ ]many|(?:bad[ ])?gateway|service)
      | ^ \W*+ (?:page|seite)[ ] .{0,20} not[ ]found | ^ \W*+ not[ ]found \W* $
      | \b page[ ]you(?:['’]re|[ ]are)[ ]looking[ ]for \b | \b page[ ]you[ ]requested \b
      | \b page[ ](?:does[ ]not|doesn['’]t|no[ ]longer)[ ]exist | ^ \W*+ too[ ]many[ ]requests
      | ^ \W*+ (?:nginx|apache|varnish|openresty|backend[ ]fetch|guru[ ]meditation|xid)\b .{0,40} $
      | \b try[ ]again[ ](?:later|in[ ]a[ ]few) \b
      | \b seite[ ] .{0,10} nicht[ ]gefunden | \b page[ ](?:introuvable|non[ ]trouv[ée]e)
      | \b p[áa]gina[ ]no[ ]encontrada | 页面不存在 | 页面未找到 | ページが見つかりません
        """,
    ),
)  # fmt: skip
_SENTENCES: Final = re.compile(r"\n|(?<=[.!?])\s|(?<=[。！？])")


def shell(text: str, title: str = "") -> str | None:
    """What such a page does in place of saying something; None for a page that says something."""
    if not text.strip() or len(text) > _LONGEST:
        return None
    lines = [line for line in (title[:_LONGEST], *_SENTENCES.split(text)) if line.strip()]
    total = sum(map(len, lines))
    for kind in _KINDS:
        if sum(len(line) for line in lines if kind.pattern.search(line)) >= kind.share * total:
            return kind.does
    return None
