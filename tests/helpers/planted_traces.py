"""A planted corpus for the filter: good traces, and for each rule traces that only just pass it and
traces that it must catch, with the text that it must point at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from datagen.settings.filter import FilterSettings, RuleName
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.trace import Execution, Failure, Protocol, Source, Trace, parse_steps
from oresearch_graph.trace.answer import parse_answer

ENGLISH: Final = """<subtask_list>
1. What causes tides
2. How large tides get
</subtask_list>

<subtask>What causes tides</subtask>

<think>I need the forces first, and an overview should name them.</think>

<plan>Search for the causes, then read the best page.</plan>

<web_search>causes of ocean tides&serp_num=3</web_search>

<observation>## Query: causes of ocean tides

[1001] Tides
https://example.org/tides
Ocean tides are caused mainly by the gravity of the Moon. The Sun adds about 46 percent of the \
Moon's effect. Most coasts see two high tides and two low tides in a lunar day of 24 hours and 50 \
minutes.</observation>

<think>The Sun's part deserves a page of its own.</think>

<crawl_page>https://example.org/sun</crawl_page>

<observation>[1002] Spring tides
https://example.org/sun
Spring tides occur at new moon and full moon, when Sun and Moon pull along one line. Neap tides \
occur at the quarters of the Moon, and their range is smaller.</observation>

<think>Both bodies are covered, so I can answer.</think>

<subtask_answer>Ocean tides are caused mainly by the gravity of the Moon [1001]. Spring tides \
occur at new moon and full moon [1002].

## References
[1001]. https://example.org/tides - Tides
[1002]. https://example.org/sun - Spring tides
</subtask_answer>

<subtask>How large tides get</subtask>

<think>Records of the tidal range should be easy to find.</think>

<web_search>largest tidal range in the world&serp_num=3</web_search>

<observation>## Query: largest tidal range in the world

[2001] Bay of Fundy
https://example.org/fundy
The tidal range of the Bay of Fundy reaches 16 metres. The bay's length fits the period of the \
tide, and resonance amplifies it.</observation>

<think>For contrast I want a sea with hardly any tide.</think>

<crawl_page>https://example.org/mediterranean</crawl_page>

<observation>[2002] The Mediterranean
https://example.org/mediterranean
In the Mediterranean Sea the tidal range is about 30 centimetres. The Strait of Gibraltar is too \
narrow to let the ocean's tide through.</observation>

<think>I have the largest and a small one.</think>

<subtask_answer>The tidal range of the Bay of Fundy reaches 16 metres [2001]. In the Mediterranean \
Sea it is about 30 centimetres [2002].

## References
[2001]. https://example.org/fundy - Bay of Fundy
[2002]. https://example.org/mediterranean - The Mediterranean
</subtask_answer>

<suggested_answer>
## Introduction
This report explains where tides come from and how large they become on different coasts.

## Causes
Ocean tides are caused mainly by the gravity of the Moon [1]. The Sun adds about 46 percent of the \
Moon's effect [1]. Most coasts see two high tides and two low tides in a lunar day of 24 hours and \
50 minutes [1]. Spring tides occur at new moon and full moon, when Sun and Moon pull along one \
line [2]. Neap tides occur at the quarters of the Moon, and their range is smaller [2].

## Range
The tidal range of the Bay of Fundy reaches 16 metres [3]. The bay's length fits the period of the \
tide, and resonance amplifies it [3]. In the Mediterranean Sea the tidal range is about 30 \
centimetres [4]. The Strait of Gibraltar is too narrow to let the ocean's tide through [4].

## Conclusion
The Moon leads, the Sun helps, and the shape of a basin decides how much of it a coast sees.

## References
[1]. https://example.org/tides - Tides
[2]. https://example.org/sun - Spring tides
[3]. https://example.org/fundy - Bay of Fundy
[4]. https://example.org/mediterranean - The Mediterranean
</suggested_answer>"""

CHINESE: Final = """<subtask_list>
1. 潮汐的成因是什么
2. 潮差最大能达到多少
</subtask_list>

<subtask>潮汐的成因是什么</subtask>

<think>先查清楚引起潮汐的力，再看太阳的作用。</think>

<web_search>潮汐成因 月球引力</web_search>

<observation>[1001] 潮汐
https://example.org/zh/chaoxi
海洋潮汐主要由月球的引力引起。太阳的作用约为月球的46%。大多数海岸在24小时50分钟的太阴日内出现两次高潮和两次低潮。\
</observation>

<think>太阳的影响还需要单独核实。</think>

<crawl_page>https://example.org/zh/dachao</crawl_page>

<observation>[1002] 大潮
https://example.org/zh/dachao
大潮出现在新月和满月，此时太阳和月球的引力方向一致。小潮出现在上弦月和下弦月，潮差较小。</observation>

<think>两个天体的作用都已经清楚，可以作答。</think>

<subtask_answer>海洋潮汐主要由月球的引力引起[1001]。大潮出现在新月和满月[1002]。</subtask_answer>

<subtask>潮差最大能达到多少</subtask>

<think>潮差的纪录应当容易找到。</think>

<web_search>世界最大潮差</web_search>

<observation>[2001] 芬迪湾
https://example.org/zh/fendi
芬迪湾的潮差可达16米。海湾的长度与潮汐周期相合，共振使潮汐放大。</observation>

<think>再找一个潮差很小的海作对比。</think>

<crawl_page>https://example.org/zh/dizhonghai</crawl_page>

<observation>[2002] 地中海
https://example.org/zh/dizhonghai
地中海的潮差约为30厘米。直布罗陀海峡过于狭窄，大洋的潮汐难以进入。</observation>

<think>最大和很小的例子都有了。</think>

<subtask_answer>芬迪湾的潮差可达16米[2001]。地中海的潮差约为30厘米[2002]。</subtask_answer>

<suggested_answer>
## 引言
本报告说明潮汐从何而来，以及不同海岸的潮差有多大，并解释造成差别的原因。

## 成因
海洋潮汐主要由月球的引力引起[1]。太阳的作用约为月球的46%[1]。大多数海岸在24小时50分钟的太阴日内出现两次高潮和两次低潮[1]。\
大潮出现在新月和满月，此时太阳和月球的引力方向一致[2]。小潮出现在上弦月和下弦月，潮差较小[2]。

## 潮差
芬迪湾的潮差可达16米[3]。海湾的长度与潮汐周期相合，共振使潮汐放大[3]。地中海的潮差约为30厘米[4]。\
直布罗陀海峡过于狭窄，大洋的潮汐难以进入[4]。

## 结论
月球起主导作用，太阳加以增强，而海盆的形状决定了一段海岸能见到多大的潮差。

## 参考文献
[1]. https://example.org/zh/chaoxi - 潮汐
[2]. https://example.org/zh/dachao - 大潮
[3]. https://example.org/zh/fendi - 芬迪湾
[4]. https://example.org/zh/dizhonghai - 地中海
</suggested_answer>"""

QUESTIONS: Final = {
    "en": "What causes the tides of the oceans, and how large do they get?",
    "zh": "海洋潮汐是怎样形成的，潮差最大能有多大？",
}
TEXTS: Final = {"en": ENGLISH, "zh": CHINESE}


def planted_trace(
    text: str = ENGLISH, language: str = "en", execution: Execution = "parallel", **fields: Any
) -> Trace:
    """A trace of this text with the sources that its observations show and its citations checked,
    as the graph would leave it."""
    steps = parse_steps(text, execution=execution)
    sources = tuple(_sources(TEXTS[language]))
    trace = Trace(
        id="tides.1",
        question=QUESTIONS[language],
        language=language,
        protocol=Protocol(execution=execution, prompt="0123456789abcdef"),
        steps=steps,
        sources=sources,
        models={"planner": "a", "researcher": "a", "summarizer": "b"},
    )
    cited = (
        None if trace.answer is None else verify_report(parse_answer(trace.answer.text), sources)
    )
    return trace.model_copy(update={"citations": cited, **fields})


def _sources(text: str) -> Iterator[Source]:
    """The sources of a good text: number, title, address and passage stand on three lines."""
    for step in parse_steps(text):
        if step.kind == "observation":
            head, url, passage = step.text[step.text.index("[") :].split("\n", 2)
            number, title = head[1:].split("] ", 1)
            yield Source.of(id=int(number), url=url, title=title, text=passage)


@dataclass(frozen=True)
class Planted:
    """A trace with what the filter must say of it."""

    rule: RuleName
    """The rule it is about."""
    name: str
    trace: Trace
    caught: frozenset[str] = frozenset()
    """Findings expected, by rule; none for a trace that must pass."""
    shows: str | None = None
    """What the finding's span must hold."""
    settings: FilterSettings = field(default_factory=FilterSettings)

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"


def changed(*changes: tuple[str, str], text: str = ENGLISH) -> str:
    """The text with each first string replaced by the second wherever it stands; it must."""
    for old, new in changes:
        if old not in text:
            raise ValueError(f"the planted text has no {old!r}")
        text = text.replace(old, new)
    return text


GOOD: Final = {
    f"{language} {execution}": planted_trace(TEXTS[language], language, execution)
    for language in ("en", "zh")
    for execution in ("parallel", "sequential")
}


def bad(
    rule: RuleName, name: str, trace: Trace, shows: str | None = None,
    also: tuple[str, ...] = (), code: str | None = None, **settings: Any,
) -> Planted:  # fmt: skip
    """A trace that the rule must catch; `also`: other rules that rightly see the same fault."""
    own: str = rule if code is None else f"{rule}.{code}"
    return Planted(rule, name, trace, frozenset((own, *also)), shows, FilterSettings(**settings))


def fine(rule: RuleName, name: str, trace: Trace, **settings: Any) -> Planted:
    """A trace that comes close to the rule and passes every one."""
    return Planted(rule, name, trace, settings=FilterSettings(**settings))


def failed(name: str, fault: str, **fields: Any) -> Failure:
    return Failure.model_validate({"name": name, "fault": fault, "message": "it failed", **fields})
