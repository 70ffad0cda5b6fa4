"""Facets of a question as orthogonal subtasks, and the keywords to search for, without a model.

A comparison gives one subtask per thing and one for the differences; a question in several clauses
one per clause; any other question the facets that readers ask of a topic.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from oresearch_graph.policies.extractive.phrases import (
    FACETS,
    PHRASES,
    QUERY_WORDS,
    Facet,
    facet_of,
    phrases,
)
from oresearch_graph.text.scripts import CJK, has_cjk
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
_CLAUSES: Final = re.compile(
    r"""
    [?？;；]\s*
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
_LAST_VERB: Final = re.compile(r"(?<!\s)\s++(?:works?|happens?|mean|means|used)$", re.IGNORECASE)
_ASKING_CJK: Final = re.compile(
    r"请问|什么是|是什么|为什么|为何|如何|怎么样|怎么|怎样|哪些|哪个|什么|是否|有没有|吗|呢|请|解释一下|解释|介绍一下|介绍"
    r"|とは何ですか|とは|何ですか|どのように|なぜ|ですか|ますか|무엇입니까|무엇인가요|어떻게|왜"
)
_KEYWORD: Final = re.compile(rf"[{CJK}]+|[^\W\d_{CJK}](?:[\w.+#'-]*\w)?|_\w+|\d[\d.]*")
_LIMIT: Final = re.compile(r"at most (\d+) orthogonal subtasks")
_FACETS: Final[tuple[Facet, ...]] = ("definition", "mechanism", "usage", "limits")
_MOST: Final = 5
_LONGEST: Final = 500
"""Characters: a longer text is no plain comparison of two things."""


def plan(question: str, language: str, at_most: int = 4) -> list[str]:
    """Three to five subtasks of a question, each clear on its own, in the question's language."""
    at_most = max(1, min(at_most, _MOST))
    compared = _compared(question)
    if compared:
        return _comparison(*compared, language)[:at_most]
    topic = topic_of(question)
    clauses = [clause.strip(" ,.，。") for clause in _CLAUSES.split(question)]
    clauses = [clause for clause in clauses if clause and key_terms(clause)]
    words = phrases(language)
    if not clauses:
        return [" ".join(question.split()) or question]
    if len(clauses) < 2 and not _FACT.search(question):
        return [f"{topic}: {words.facet(facet)}" for facet in _FACETS][:at_most]
    subtasks = [_self_contained(clause, topic_of(clauses[0])) for clause in clauses]
    for facet in ("definition", "limits"):
        if len(subtasks) < min(4, at_most):
            subtasks.append(f"{topic_of(clauses[0])}: {words.facet(facet)}")
    return subtasks[:at_most]


def _compared(question: str) -> tuple[str, str] | None:
    for pattern in _COMPARISONS if len(question) <= _LONGEST else ():
        if match := pattern.search(question):
            first, second = topic_of(match["a"]), topic_of(_CLAUSES.split(match["b"])[0])
            if first and second:
                return first, second
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


def key_terms(text: str) -> list[str]:
    """The terms that evidence must be about, each once."""
    compared = _compared(text)
    topic = " ".join(compared) if compared else subtask_topic(text)
    return list(dict.fromkeys(terms(topic))) if _has_content(topic) else []


def _has_content(text: str) -> bool:
    return any(word.lower() not in STOP_WORDS for word in _KEYWORD.findall(text))


def keywords(text: str) -> list[str]:
    """The words of a text worth searching for, as written."""
    plain = _ASKING_CJK.sub(" ", text) if has_cjk(text) else text
    words = [word.rstrip(".'-") for word in _KEYWORD.findall(plain)]
    return list(dict.fromkeys(w for w in words if w and w.lower() not in STOP_WORDS | {"的"}))


def queries(subtask: str, question: str) -> list[str]:
    """Two or three queries for a subtask: its topic, its topic with the facet's words, and the
    question when it says more."""
    topic = " ".join(keywords(subtask_topic(subtask)))
    facet = QUERY_WORDS[facet_of(subtask)]
    whole = " ".join(keywords(topic_of(question)))
    candidates = [topic, f"{topic} {facet}" if facet and not has_cjk(topic) else "", whole]
    return list(dict.fromkeys(query.strip() for query in candidates if query.strip())) or [question]


def planned_limit(system: str) -> int:
    """How many subtasks the system prompt allows."""
    match = _LIMIT.search(system)
    return int(match[1]) if match else 4


def numbered(items: Sequence[str]) -> str:
    """A list as the protocol has it."""
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))
