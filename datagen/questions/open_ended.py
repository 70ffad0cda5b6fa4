"""Why a question is plainly not open-ended: it wants yes or no, or one fact.

Heuristics for English and Chinese; a question in another language passes. Only a short question of
one sentence is judged, and any word that asks for more (why, how, compare, 分析, 影响) saves it: a
lost question is worse than a plain one that stays.

    Is Python faster than C?             yes or no: it begins with a verb that is answered by them
    Who wrote Dune? When did it appear?  one fact: who, when, where in the past or with "is"
    How many moons has Mars?             one fact: a number
    What is the capital of Peru?         one fact: an attribute of one thing
    太阳是恒星吗？ 谁写了《红楼梦》？         the same in Chinese
"""

from __future__ import annotations

import re
from typing import Final

from oresearch_graph.text.scripts import has_cjk
from oresearch_graph.text.words import token_count

_LONGEST: Final = 16
"""Words; a longer question asks for more than its first word says."""
_LONGEST_WIDE: Final = 26
"""Tokens of a Chinese question, about as many characters."""

_MORE: Final = re.compile(
    r"\b(why|how(?! (?:many|much|old|tall|far|long|big|deep|high|heavy)\b)|explain|describe|"
    r"compare|contrast|discuss|analy[sz]e|analysis|assess|evaluate|differ\w*|impacts?|effects?|"
    r"affect\w*|implications?|consequences?|causes?|reasons?|role|trade-?offs?|advantages?|"
    r"disadvantages?|pros|strategies|extent|versus|vs|evidence|arguments?|trends?|outlook)\b"
)
_YES_NO: Final = re.compile(
    r"(?:is|are|was|were|am|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|"
    r"must|isn't|aren't|doesn't|don't|didn't|can't|won't)\b"
)
_ONE_FACT: Final = re.compile(
    r"(?:who|whom)(?:'s| is| was| were| are| won| wrote| invented| discovered| founded| directed|"
    r" painted| composed| created| holds| made| built| played)\b"
    r"|whose\b"
    r"|when(?: was| were| did| will)\b"
    r"|where(?:'s| is| was| were| did)\b"
    r"|(?:in |on )?(?:what|which) (?:year|date|day|month|century|country|city|continent|time)\b"
    r"|how (?:many|old|tall|far|big|deep|high|heavy)\b"
    r"|how (?:much|long) (?:is|was|did|does|do|are|were)\b"
    r"|what(?:'s| is| was| are) the (?:\w+ ){0,2}(?:name|capital|population|date|height|length|"
    r"distance|weight|age|currency|abbreviation|acronym|atomic number|boiling point|"
    r"melting point|speed|value|price|square root|birthday|nationality|phone number|address)\b"
    r"|what does (?:the )?(?:\w+ ){0,2}[\w.]+ stand for\b"
)
_MORE_WIDE: Final = re.compile(
    "为什么|为何|如何|怎么|怎样|哪些|分析|比较|对比|影响|原因|评估|探讨|研究|总结|梳理|介绍|说明|解释|趋势|"
    "区别|差异|优缺点|建议|策略|方案|报告|什么关系"
)
_YES_NO_WIDE: Final = re.compile(
    "(?:是不是|是否|能不能|会不会|有没有)[^,，。;；]{0,14}[?？]?$|吗[?？]?$"
)
_ONE_FACT_WIDE: Final = re.compile(
    "^谁|是谁|由谁|哪一?年|哪一?天|何时|什么时候|几[个年月岁次]|多少|多[高远长重大]|在哪里|在哪儿|"
    "首都是|叫什么名字|哪个(?:国家|城市|省)"
)
_SENTENCE_END: Final = re.compile(r"[.?!。？！;；]\s*(?=\S)")


def not_open_ended(question: str) -> str | None:
    """Why the question is plainly not open-ended; None when it may well be."""
    text = " ".join(question.split())
    if _SENTENCE_END.search(text):
        return None
    return _wide(text) if has_cjk(text) else _latin(text.lower().replace("’", "'"))


def _latin(text: str) -> str | None:
    if len(text.split()) > _LONGEST or _MORE.search(text):
        return None
    if _YES_NO.match(text) and text.endswith("?") and " or " not in text:
        return "it is answered by yes or no"
    return "it asks for one fact" if _ONE_FACT.match(text) else None


def _wide(text: str) -> str | None:
    if token_count(text) > _LONGEST_WIDE or _MORE_WIDE.search(text):
        return None
    if _YES_NO_WIDE.search(text):
        return "it is answered by yes or no"
    return "it asks for one fact" if _ONE_FACT_WIDE.search(text) else None
