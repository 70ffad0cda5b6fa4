"""What threads of a constrained model may write next, for tests of the grammar."""

from __future__ import annotations

from oresearch_graph.policies.chat.constraint import grammar
from oresearch_graph.text.words import names_and_figures
from oresearch_graph.threads import Citable, Next, ReportPlan, SectionPlan
from tests.helpers.gbnf import accepts

QUESTION = names_and_figures("What is known about the Quill bridge: its span and its repair?")
SPAN = Citable(id=1001, names=names_and_figures("The bridge spans 412.5 m, says Dr. Ida Noor."))
REPAIR = Citable(id=2001, names=names_and_figures("It was repaired on 3 May 1965 (see report 7)."))
CALLS = ("web_search", "crawl_page")
PLAN = Next(tag="subtask_list", items=3)
FIRST = Next(tag="think", calls=CALLS, names=QUESTION)
LATER = Next(
    tag="think", calls=CALLS, may_answer=True, sources=(SPAN, REPAIR), names=QUESTION,
    addresses=("https://quill.example/a?b=1",),
)  # fmt: skip
ANSWER = LATER.model_copy(update={"tag": "subtask_answer"})
REPAIRED = "It was repaired on 3 May 1965 [2001]."
LONG = "It is very long [1001]."
SPANS = "It spans 412.5 m, as Dr. Ida Noor says. [1001]"
PLANNED = ReportPlan(
    introductions=(SPANS, REPAIRED),
    sections=(
        SectionPlan(heading="The span", statements=(SPANS, LONG)),
        SectionPlan(heading="The repair", statements=(REPAIRED,)),
    ),
    conclusions=(SPANS, REPAIRED),
    references=(1001, 2001),
)
REPORT = Next(tag="suggested_answer", report=PLANNED)


def whole(introduction: str, conclusion: str) -> str:
    return f"""

## Introduction

{introduction}

## The span

{SPANS} {LONG}

## The repair

{REPAIRED}

## Conclusion

{conclusion}

## References

[1001]
[2001]
</suggested_answer>"""


WHOLE = whole(REPAIRED, SPANS)


def allows(expected: Next, text: str, pending: str = "", language: str = "en") -> bool:
    return accepts(grammar(expected, pending, language), text)
