"""Every function that reads what a model or its server wrote, or researches without one, by name:
the text goes in whole. `test_linear_text.py` feeds them."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Final, get_args

from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

from datagen.judge.document import judge_request
from datagen.seeds.model import _read_labels as read_labels
from oresearch_graph.errors import PolicyOverflow
from oresearch_graph.evidence import ledger as observed
from oresearch_graph.evidence.copying import verbatim_share
from oresearch_graph.evidence.report_plan import report_plan
from oresearch_graph.graph.near_misses import near_miss, repeats_prompt
from oresearch_graph.graph.shortening import shortened
from oresearch_graph.judging.answers import VerdictFault, json_values
from oresearch_graph.judging.exact_facts import judge_report, key_point_recall
from oresearch_graph.judging.point_verdicts import point_request
from oresearch_graph.judging.prompt import fenced, read_verdict
from oresearch_graph.policies.chat import model_faults
from oresearch_graph.policies.chat.constraint import grammar
from oresearch_graph.policies.chat.endings import EchoGate, TextGate, end_of, unclosed_element
from oresearch_graph.policies.chat.parameters import SYSTEM, named_fields
from oresearch_graph.policies.chat.prices import known_price
from oresearch_graph.policies.chat.refusals import refusal_of
from oresearch_graph.policies.chat.rendering import Prefill, ThreadRendering, Turns
from oresearch_graph.policies.chat.rendering_tools import Tools, known_name
from oresearch_graph.policies.chat.reply import Reply, place_thinking, protocol_text, read_message
from oresearch_graph.policies.chat.servers import Answer, identify
from oresearch_graph.policies.extractive import plan as extractive_plan
from oresearch_graph.policies.extractive.excerpts import Focus
from oresearch_graph.policies.extractive.phrases import facet_of, home
from oresearch_graph.policies.extractive.policy import report as extractive_report
from oresearch_graph.policies.extractive.research import answer as extractive_answer
from oresearch_graph.policies.extractive.research import next_turn, shown_sources
from oresearch_graph.redaction import brief, redacted
from oresearch_graph.rows.ground_truth import Criterion, KeyPoint
from oresearch_graph.text.language import names_language, report_language
from oresearch_graph.text.repetition import repetition, stutter
from oresearch_graph.threads import Next, ReportPlan, SectionPlan, Thread
from oresearch_graph.trace import (
    CitationReport,
    Role,
    Source,
    world_step,
)
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.call_counts import fruitful_calls
from oresearch_graph.trace.calls import item_strings, json_value
from oresearch_graph.trace.tags import parse_policy_text
from tests.helpers.linear_texts import Reader, many_steps, whole_trace

PLAN = ReportPlan(
    introductions=("It is long [1].",),
    sections=(SectionPlan(heading="Span", statements=("It is long [1].", "It is old [1].")),),
    conclusions=("It is long [1].", "It is old [1]."),
    references=(1,),
)

_SOURCE: Final = Source.of(
    id=1, url="https://e.example", text="The tower is 81 metres high, and the river is near. " * 40
)
STOPS: Final = ("</web_search>", "</crawl_page>", "</subtask_answer>")
_FOCUS: Final = Focus(("tides", "moon"), ("tides",), 1_000)
_CRITERION: Final = (Criterion(text="It says what tides are."),)
_REPLY: Final = Reply("", finish="stop")


def thread(text: str = "", role: Role = "researcher", **more: Any) -> Thread:
    branch = 1 if role == "researcher" else None
    return Thread(id="t", system="s", question=text or "q", role=role, branch=branch, **more)


def _rendered(rendering: ThreadRendering) -> Reader:
    return lambda text: (
        rendering.request(thread(steps=(world_step("observation", text, branch=1),)), STOPS),
        rendering.request(thread(steps=many_steps(text)), STOPS),
        rendering.read(thread(), STOPS, Reply(text, reasoning=text)),
    )


def _streamed(text: str) -> None:
    """As a provider sends it: a few characters at a time."""
    for role in ("researcher", "planner"):
        heard = list[str]()
        gate = EchoGate(text, TextGate(thread(role=role), STOPS, heard.append))
        for at in range(0, len(text), 4):
            gate(text[at : at + 4])


def _server_told(text: str) -> None:
    """By a server that writes the text wherever it may write one."""
    entries = {"data": [{"id": text, "owned_by": text}] * 2, "models": [{"name": text}]}

    async def get(path: str) -> Answer:
        return entries | {"default_generation_settings": {"n_ctx": text}}, {"server": text}

    assert asyncio.run(identify("http://127.0.0.1:1/v1", text, get)).summary


def _verdict(text: str) -> None:
    for answer in (
        text,
        f'{{"criteria": [{{"number": 1, "score": 7, "quote": {json.dumps(text)}}}]}}',
    ):
        with suppress(VerdictFault):
            read_verdict(answer, _CRITERION, text)


def _point_verdict(text: str) -> None:
    points = (KeyPoint(text=text), KeyPoint(text="The tower is 81 metres high."))
    request = point_request(text, text, points, CitationReport())
    rows = [{"number": n, "verdict": "supported", "quote": text} for n in (1, 2)]
    for answer in (text, json.dumps({"points": rows})):
        with suppress(VerdictFault):
            request.scores(answer)


def _refused(text: str) -> None:
    model_faults.retry_after({"retry-after": text})
    model_faults.retry_after({"retry-after-ms": text})
    model_faults.fault_of(ValueError(text), "m")
    refusal = refusal_of(ValueError(text))
    fields = {"stop": ("stop",), "temperature": ("temperature",), SYSTEM: (SYSTEM,)}
    named_fields(refusal, fields)
    for body in (text, {"error": text}, {"detail": [{"loc": ["body", text], "msg": text}]}):
        refusal_of(ValueError(body))


POLICY_READERS: Final[dict[str, Reader]] = {
    "policies.endings": lambda text: (
        end_of(text, text, STOPS, _REPLY), unclosed_element(text, STOPS),
    ),
    "policies.thinking": lambda text: [
        place_thinking(thread(role=role), written, text)
        for role in ("researcher", "planner")
        for written in (text, f"<think>{text}", f"<subtask>{text}")
    ],
    "policies.protocol_text": lambda text: [
        protocol_text(thread(role=role), STOPS, text) for role in ("researcher", "planner")
    ],
    "policies.known_name": lambda text: known_name(text, ("web_search", "crawl_page")),
    "policies.constraint": lambda text: [
        grammar(Next(tag=tag, report=PLAN), text, "en", text)
        for tag in ("subtask_list", "think", "subtask_answer", "suggested_answer")
    ],
    "evidence.report_plan": lambda text: report_plan(
        text, [(text, f"{text} [1]. {text}")], [Source(id=1, url="https://a.org", text=text)], "en"
    ),
    "text.repetition": lambda text: (repetition(text), stutter(text)),
    "trace.json_arguments": lambda text: (
        json_value(text), json_value(f'["{text}'), item_strings({"queries": text}, "web_search"),
    ),
    "graph.shortened": lambda text: shortened(
        thread(text, steps=(*whole_trace(text).steps, world_step("observation", text, branch=1))),
        PolicyOverflow("too long"),
    ),
    "graph.near_miss": lambda text: (
        [near_miss(thread(role=role), parse_policy_text(text)) for role in get_args(Role)],
        repeats_prompt([text], text),
    ),
    "policies.prefill": _rendered(Prefill()),
    "policies.turns": _rendered(Turns()),
    "policies.tools": _rendered(Tools()),
    "policies.tool_calls": lambda text: Tools().read(
        thread(), STOPS, read_message(AIMessage(
            text,
            tool_calls=[tool_call(name="crawl_page", args={"urls": [text]}, id="a")],
            invalid_tool_calls=[invalid_tool_call(name="web_search", args=text, id="b", error="")],
        ))
    ),
    "policies.text_gate": _streamed,
    "policies.faults": _refused,
    "policies.prices": known_price,
    "extractive.plan": lambda text: extractive_plan.plan(text, "en"),
    "extractive.queries": lambda text: extractive_plan.queries(text, text),
    "extractive.facet": facet_of,
    "extractive.home": lambda text: home(text, ("definition", "limits")),
    "extractive.answer": lambda text: extractive_answer(
        [observed.ShownSource(1001, "Tides and the Moon", "u", text)], _FOCUS
    ),
    "extractive.shown": lambda text: shown_sources(many_steps(text)),
    "extractive.turn": lambda text: next_turn(
        thread(text, steps=(*whole_trace(text).steps[:5],))
    ),
    "extractive.report": lambda text: extractive_report(
        thread(text, "summarizer", steps=whole_trace(text).steps), "en"
    ),
    "redaction": lambda text: (redacted(text), brief(text)),
    "judge.report": lambda text: judge_report(
        text, [KeyPoint(text="x", needs=(("Moon",), ("16",)))], CitationReport(), text
    ),
    "judge.recall": lambda text: key_point_recall(text, [KeyPoint(text="x", needs=(("16",),))]),
    "judge.points": _point_verdict,
    "evidence.copying": lambda text: verbatim_share(parse_answer(text), [_SOURCE]),
    "evidence.copied": lambda text: verbatim_share(
        parse_answer(f"{text} {_SOURCE.text}"),
        [Source.of(id=1, url="https://e.example", text=text)],
    ),
    "calls.fruitful": lambda text: fruitful_calls(many_steps(text)),
    "judge.fenced": lambda text: fenced("report", text),
    "judge.json": lambda text: list(json_values(text)),
    "judge.verdict": _verdict,
    "datagen.judge": lambda text: judge_request(whole_trace(text), _CRITERION, 2_000),
    "datagen.labels": lambda text: read_labels(text, ["tides"]),
    "policies.server": _server_told,
    "planner.language": lambda text: (report_language(text), names_language(text, "de")),
}  # fmt: skip
