"""A question as orthogonal subtasks, and the keywords to search for, without a model.

A comparison gives one subtask per thing and one for the differences; a question in several parts
one per part; any other question the facets that readers ask of a topic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from oresearch_graph.policies.extractive.phrases import (
    FACETS,
    PHRASES,
    Facet,
    phrases,
)
from oresearch_graph.text.scripts import CJK, has_cjk
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.stop_words import STOP_WORDS
from oresearch_graph.text.words import terms

_COMPARISONS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"differences? between (?P<a>.+?) and (?P<b>.+)",
        r"compar(?:e|ison of|ing) (?P<a>.+?) (?:and|with|to|versus|vs\.?) (?P<b>.+)",
        r"how (?:do|does|is|are) (?P<a>.+?) (?:differ(?:ent)? from|compare (?:to|with)) (?P<b>.+)",
        r"(?:should i|when (?:to|should (?:i|one|you|we))) (?:use |choose |prefer )?(?P<a>.+?)"
        r" (?:or|over|instead of|rather than) (?P<b>.+)",
        r"^(?:what about |how about )?(?P<a>.+?) (?:vs\.?|versus) (?P<b>.+)",
        r"(?<![^，。？])(?P<a>[^，。？]+?)(?:和|与|跟|同|及)(?P<b>[^，。？]+?)(?:之间)?的?(?:有什么|有何|有哪些)?"
        r"(?:主要)?(?:区别|不同|差异|差别|比较|对比|异同)",
    )
)
_PARTS: Final = re.compile(
    r"""
    [?？;；。\n]\s* | (?<!\S)\(?\d{1,2}\)\s+ | (?:^|(?<=[:：;；]\s))\d{1,2}\.\s+
    # Before the next question word; the run of blanks is taken whole, from its beginning alone.
    | (?: , | (?<![\s,]) ) \s++ and \s++
      (?= (?: how|what|why|when|where|who|which|is|are|does|do|can )\b )
    | [，,]\s*+ (?= (?: 如何|怎么|怎样|为什么|什么|哪些|以及|并且|有什么|有哪些 ) )
    | 以及 | 并且
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ASKING: Final = re.compile(
    r"""
    ^ (?: please\s+ )?
    (?: (?: can|could )\ you\s+ )?
    (?: explain | describe | tell\ me(?:\ about)? | show\ me )? \s*
    (?: (?: and|so )\s+ )?
    (?: how|what|why|when|where|who|which|whose )? \s*
    (?: exactly\s+ )?
    (?: (?: do|does|did|is|are|was|were|can|could|should|must|will|would|to|about )\b \s* )?
    (?: (?: i|you|we|one )\s+ )?                     # its subject
    (?: (?: the|a|an )\s+ )?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ASKING_EUROPEAN: Final = re.compile(
    r"""
    ^¿?
    (?: wie | was | warum | welche[rs]?                                       # German
      | comment | qu'est-ce\ que? | pourquoi | quelles?\ sont | quels?\ sont  # French
      | cómo | qué | por\ qué | cuáles\ son                                   # Spanish
      | como | o\ que | por\ que | quais\ são                                 # Portuguese
      | come | che\ cosa | perché | quali\ sono                               # Italian
      | как | что\ такое | почему | каковы                                    # Russian
      | كيف | ما\ هي? | لماذا                                                 # Arabic
    ) \s+
    (?: (?: funktionier(?:t|en) | arbeite[nt]+ | ist | sind
          | fonctionnent? | marche | est | sont
          | funcionan? | es | son
          | funciona | é | são
          | funzionano? | è | sono
          | работа[ею]т
          | تعمل | يعمل
        ) \s+ )?
    (?: (?: der|die|das|den|le|la|les|el|los|las|o|os|a|as|il|lo|gli|i )\s+ | l' )?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FACT: Final = re.compile(
    r"^(?:who|when|where|wer|wann|wo|qui|quand|où|quién|cuándo|谁|何时)\b", re.IGNORECASE
)
_ASKS: Final = re.compile(
    r"(?:and |in |to |for )?(?:how|what|why|when|where|who|which|is|are|does|do|can)\b|.{0,20}"
    r"(?:如何|怎么|怎样|为什么|什么|哪些|多少)",
    re.IGNORECASE,
)
_LAST_VERB: Final = re.compile(r"(?<!\s)\s++(?:works?|happens?|mean|means|used)$", re.IGNORECASE)
_ASKING_CJK: Final = re.compile(
    r"请问|什么是|是什么|为什么|为何|如何|怎么样|怎么|怎样|哪些|哪个|什么|是否|有没有|吗|呢|请|解释一下|解释|介绍一下|介绍"
    r"|とは何ですか|とは|何ですか|どのように|なぜ|ですか|ますか|무엇입니까|무엇인가요|어떻게|왜"
)
_PARTICLE: Final = re.compile(r"进行|关于|方面|目前|其中|或者|[的和与及或在对从把被了]")
_KEYWORD: Final = re.compile(rf"[{CJK}]+|[^\W\d_{CJK}](?:[\w.+#'-]*\w)?|_\w+|\d[\d.]*")
_LIMIT: Final = re.compile(r"at most (\d+) orthogonal subtasks")
_FACETS: Final[tuple[Facet, ...]] = ("definition", "mechanism", "usage", "limits")
_REQUEST_WORDS: Final = """
analyse analyses analysis analyze analyzing article aspects assess compare comparison compile
comprehensive conduct could cover create deep deeply depth detail detailed difference differences
discuss draft ensure evaluate examine exhaustive explore exploring focus following help identify
in-depth include including instances interested investigate list literature overview paper prepare
present project provide refine regarding report research researching review should study summarize
summary survey thorough topic understand understanding various write writing
报告 分析 研究 收集 整理 收集整理 详细 详尽 调研 总结 撰写 提供 介绍 评估
综述 我 帮我 为我 最后 包括 希望
"""
_REQUEST: Final = frozenset(_REQUEST_WORDS.split())
"""What asks for a report and is no word of its topic."""
_MOST: Final = 5
_LONGEST: Final = 500
"""Characters: a longer text is no plain comparison of two things."""
KEYWORDS: Final = 8
"""Of a query: of a longer text the words that are names, or stand in it more than once."""
_RUN: Final = 12
"""Characters of a run of Chinese that is one keyword."""
_TOPIC: Final = 60
"""Characters of a topic that stands beside a facet."""


def plan(question: str, language: str, at_most: int = 4) -> list[str]:
    """Three to five subtasks of a question, each clear on its own, in the question's language."""
    at_most = max(1, min(at_most, _MOST))
    compared = _compared(question)
    if compared:
        return _comparison(*compared, language)[:at_most]
    sentences = [question[start:end] for start, end in sentence_spans(question)]
    parts = [part.strip(" ,.，。:：!！") for each in sentences for part in _PARTS.split(each)]
    parts = [part for part in parts if keywords(part)]
    words = phrases(language)
    if not parts:
        return [" ".join(question.split()) or question]
    chosen = _weightiest(parts, at_most)
    asked = next((part for part in chosen if _ASKS.match(part)), chosen[0])
    topic = _short_topic(asked if len(parts) > 1 else question)
    if len(parts) < 2 and not _FACT.search(question):
        return [f"{topic}: {words.facet(facet)}" for facet in _FACETS][:at_most]
    subtasks = [_self_contained(part, topic) for part in chosen]
    for facet in ("definition", "limits"):
        if len(subtasks) < min(4, at_most):
            subtasks.append(f"{topic}: {words.facet(facet)}")
    return subtasks


def _weightiest(parts: Sequence[str], count: int) -> list[str]:
    """The parts with most words of their own, in order: a long request has asides."""
    words = [{word.lower() for word in _content(part)} for part in parts]
    held_by = Counter(word for each in words for word in each)
    weights = [min(sum(1 / held_by[word] for word in sorted(each)), KEYWORDS) for each in words]
    asked = [_ASKS.match(part) is not None for part in parts]
    heaviest = sorted(range(len(parts)), key=lambda i: (-asked[i], -weights[i]))[:count]
    return [parts[i] for i in sorted(heaviest)]


def _short_topic(text: str) -> str:
    """What a text is about, as it says it, or, where that is long, in keywords."""
    topic = topic_of(text)
    return topic if len(topic) <= _TOPIC else " ".join(keywords(topic)[:5])


def _compared(question: str) -> tuple[str, str] | None:
    for pattern in _COMPARISONS if len(question) <= _LONGEST else ():
        if match := pattern.search(question):
            first, second = topic_of(match["a"]), topic_of(_PARTS.split(match["b"])[0])
            if first and second and max(len(first), len(second)) <= _TOPIC:
                shared = second.split()[1:] if first.islower() and " " not in first else []
                return " ".join([first, *shared]), second
    return None


def _comparison(first: str, second: str, language: str) -> list[str]:
    words = phrases(language)
    both = f"{first}{words.joint}{second}"
    return [
        f"{first}: {words.definition}",
        f"{second}: {words.definition}",
        f"{both}: {words.comparison}",
        f"{both}: {words.choice}",
    ]


def _self_contained(clause: str, topic: str) -> str:
    """A clause with the topic of the first one, when it shares no term with it."""
    clause = clause[:1].upper() + clause[1:]
    if set(terms(clause)) & set(terms(topic)):
        return clause
    return f"{clause} ({topic})"


def topic_of(question: str) -> str:
    """The question without its asking words; the whole of it when nothing else is left."""
    plain = " ".join(question.split()).strip(' ?？.。!！"“”')
    if has_cjk(plain):
        topic = _ASKING_CJK.sub(" ", plain)
        topic = " ".join(topic.split()).strip(" ，,的在是？")
    else:
        topic = _ASKING.sub("", _ASKING_EUROPEAN.sub("", plain, count=1), count=1)
        topic = _LAST_VERB.sub("", topic)
    return topic or plain


def subtask_topic(subtask: str) -> str:
    """A planned subtask without its facet."""
    for words in PHRASES.values():
        for facet in FACETS:
            ending = words.facet(facet)
            if subtask.rstrip(".。").endswith(ending):
                return subtask.rstrip(".。").removesuffix(ending).rstrip(" :：")
    return topic_of(subtask)


def _content(text: str) -> list[str]:
    """The words of a text that say what it is about, as written."""
    plain = _ASKING_CJK.sub(" ", text) if has_cjk(text) else text
    words = [
        piece.rstrip(".'-")
        for word in _KEYWORD.findall(plain)
        for piece in (_PARTICLE.split(word) if len(word) > _RUN and has_cjk(word) else [word])
    ]
    return [word for word in words if word and word.lower() not in STOP_WORDS | _REQUEST]


def keywords(text: str) -> list[str]:
    """The words of a text worth searching for, as written, each once: at most eight."""
    words = _content(text)
    distinct = list({word.lower(): word for word in reversed(words)}.values())[::-1]
    if len(distinct) <= KEYWORDS:
        return distinct
    often = Counter(word.lower() for word in words)
    weights = [
        min(often[word.lower()], 3) + any(letter.isupper() for letter in word[at == 0 :])
        + min(len(word), 8) / 8 - at / len(distinct)
        for at, word in enumerate(distinct)
    ]  # fmt: skip
    heaviest = sorted(range(len(distinct)), key=lambda at: -weights[at])[:KEYWORDS]
    return [distinct[at] for at in sorted(heaviest)]


def queries(subtask: str, question: str) -> list[str]:
    """The key words of a subtask's topic, and those of the question where it says more."""
    both = keywords(subtask_topic(subtask)), keywords(topic_of(question))
    return list(dict.fromkeys(" ".join(words) for words in both if words)) or [question]


def planned_limit(system: str) -> int:
    """How many subtasks the system prompt allows."""
    match = _LIMIT.search(system)
    return int(match[1]) if match else 4


def numbered(items: Sequence[str]) -> str:
    """A list as the protocol has it."""
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))
