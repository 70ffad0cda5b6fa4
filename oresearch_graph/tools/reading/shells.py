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


_KINDS: Final = (
    _Kind(
        "asks whether its reader is human", 0.25,
        re.compile(r"""
        \b (?:verif\w+|prove|confirm\w*|make[ ]sure|check\w*) \b .{0,60}
        \b (?:you(?:['’]re|[ ]are)[ ](?:an?[ ])?human|your[ ]browser
           |security[ ]of[ ]your[ ]connection) \b
      | \b review[ ]the[ ]security[ ]of[ ]your[ ]connection \b
      | \b (?:you(?:['’]re|[ ]are)[ ]not|are[ ]you)[ ]an?[ ](?:robot|bot) \b
      | \b (?:unusual|suspicious)[ ](?:traffic|activity)[ ]from[ ]your \b
      | \b you[ ]are[ ]using[ ]automation[ ]tools \b | \b you[ ]have[ ]been[ ]blocked \b
      | \b you[ ]are[ ]unable[ ]to[ ]access \b | \b to[ ]protect[ ]itself[ ]from[ ]online \b
      | \b triggered[ ]the[ ]security[ ]solution \b
      | \b disable[ ] .{0,20} ad[ ]?block | \b ddos[ ]protection[ ]by \b
      | 安全验证 | 人机验证 | 请完成验证 | 验证您是真人 | ロボットではありません | 로봇이\ 아닙니다
      | \b kein[ ]roboter \b | \b pas[ ]un[ ]robot \b | \b no[ ](?:soy|eres)[ ]un[ ]robot \b
        """, re.IGNORECASE | re.VERBOSE),
    ),
    _Kind(
        "needs JavaScript or cookies", 0.35,
        re.compile(r"""
        \b (?:need[ ]to|must|please|you[ ]have[ ]to) \b .{0,30}
        \b (?:enable|turn[ ]on|activate|allow) \b .{0,40} \b (?:java[ ]?script|js|cookies) \b
      | ^ \W*+ enable[ ](?:java[ ]?script|js|cookies) \b
      | \b (?:site|page|app|application|website|browser)[ ]requires[ ]
        (?:java[ ]?script|js|cookies)\b
      | \b (?:java[ ]?script|cookies)[ ](?:is|are)[ ](?:not[ ](?:available|enabled|supported)
        |disabled|required|turned[ ]off|blocked) \b
      | \b (?:without|doesn['’]t[ ]work[ ]properly[ ]without)[ ]java[ ]?script \b
      | (?:bitte|veuillez|por[ ]favor|habilite|включите) .{0,60} javascript
      | javascript .{0,40} (?:aktivieren|activer|habilitar|отключ)
      | javascript .{0,20} (?:有効|無効|활성화) | (?:请启用|请开启|請啟用|请打开) .{0,20} javascript
      | \b your[ ]browser[ ]is[ ](?:not[ ]supported|unsupported|out[ ]of[ ]date|outdated) \b
      | ^ \W*+ (?:loading|please[ ]wait|one[ ]moment|just[ ]a[ ]moment) \W* $
        """, re.IGNORECASE | re.VERBOSE),
    ),
    _Kind(
        "is closed to readers who are not let in", 0.6,
        re.compile(r"""
        ^ \W*+ access[ ](?:to[ ]this[ ](?:page|site|resource)[ ](?:has[ ]been|is)[ ])?
        (?:denied|blocked|forbidden) \b
      | \b you[ ](?:do[ ]not|don['’]t)[ ]have[ ](?:permission|access)[ ]to \b
      | \b (?:sign|log)[ ]?in[ ]to[ ](?:continue|view|read|access|see) \b
      | \b (?:subscribe|register|create[ ] .{0,10} account) \b .{0,30} \b
        to[ ](?:continue|keep|unlock) \b
        """, re.IGNORECASE | re.VERBOSE),
    ),
    _Kind(
        "says that there is no such page", 0.5,
        re.compile(r"""
        ^ \W*+ (?: (?:error|http) \W*+ )? [45]\d\d \W{1,5}
        (?:error|not[ ]found|forbidden|unauthorized|gone|too[ ]many|bad[ ]gateway
          |service[ ](?:temporarily[ ])?unavailable|gateway[ ]time)
      | ^ \W*+ (?:page|seite)[ ] .{0,20} not[ ]found \W* $ | ^ \W*+ not[ ]found \W* $
      | \b the[ ]page[ ]you(?:['’]re|[ ]are)[ ]looking[ ]for \b | \b the[ ]page[ ]you[ ]requested \b
      | \b this[ ]page[ ](?:does[ ]not|doesn['’]t|no[ ]longer)[ ]exists? \b
      | ^ \W*+ too[ ]many[ ]requests \W* $ | ^ \W*+ please[ ]try[ ]again[ ]later \W* $
      | ^ \W*+ (?:nginx|apache|openresty)(?:/[\d.]{1,12})?(?:[ ]\(\w{1,20}\))? \W* $
      | ^ \W*+ (?:backend[ ]fetch[ ]failed|guru[ ]meditation|xid) \b .{0,40} $
      | \b seite[ ] .{0,10} nicht[ ]gefunden | \b page[ ](?:introuvable|non[ ]trouv[ée]e)
      | \b p[áa]gina[ ]no[ ]encontrada | 页面不存在 | 页面未找到 | ページが見つかりません
        """, re.IGNORECASE | re.VERBOSE),
    ),
)  # fmt: skip
_SENTENCES: Final = re.compile(r"\n|(?<=[.!?])\s|(?<=[。！？])")


def says_nothing(does: str) -> str:
    """The fault of such a page."""
    return f"{does}: it says nothing else"


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
