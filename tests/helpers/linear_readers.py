"""Every function that reads strangers' text in the main process, by name: what a page, a result, a
model, a file, a header or a person wrote goes in whole. `test_linear_text.py` feeds them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

from datagen.export.conversations import messages, sharegpt
from datagen.export.prepared import PreparedTrace, Unresolved
from datagen.export.scrub import Scrubber, withheld
from datagen.filter.observation_rules import is_boilerplate, shows_something
from datagen.filter.registry import Rules
from datagen.imports.stage import read_trace
from datagen.judge.document import judge_request
from datagen.questions.likeness import holds, same_question, tidy, wording
from datagen.questions.open_ended import not_open_ended
from datagen.records import safe_id, seed_id
from datagen.rubrics.key_points import needs_of
from datagen.rubrics.material import grouped, verified_claims
from datagen.seeds.model import _read_labels as read_labels
from datagen.settings.filter import FilterSettings
from oresearch_graph.command.places import places_for
from oresearch_graph.command.terminal import harmless, line
from oresearch_graph.errors import AddressRefused, PolicyOverflow
from oresearch_graph.evidence import claim_parts, figures
from oresearch_graph.evidence import ledger as observed
from oresearch_graph.evidence.citations import SourceIndex, verify_report
from oresearch_graph.evidence.delivery import (
    Delivered,
    citation_annotations,
    delivered_answer,
    markdown_text,
    safe_markdown,
)
from oresearch_graph.graph.approval import overlaps, read_decision
from oresearch_graph.graph.shortening import shortened
from oresearch_graph.judging.key_points import judge_report
from oresearch_graph.judging.prompt import VerdictFault, fenced, json_values, read_verdict
from oresearch_graph.policies.chat import model_faults
from oresearch_graph.policies.chat.endings import EchoGate, TextGate, end_of, unclosed_element
from oresearch_graph.policies.chat.parameters import SYSTEM, named_fields
from oresearch_graph.policies.chat.prices import known_price
from oresearch_graph.policies.chat.refusals import refusal_of
from oresearch_graph.policies.chat.rendering import Prefill, ThreadRendering, Turns
from oresearch_graph.policies.chat.rendering_tools import Tools, known_name
from oresearch_graph.policies.chat.reply import (
    Reply,
    place_thinking,
    protocol_text,
    read_message,
)
from oresearch_graph.policies.chat.servers import Answer, identify
from oresearch_graph.policies.extractive import plan as extractive_plan
from oresearch_graph.policies.extractive import sentences as extractive_sentences
from oresearch_graph.policies.extractive.phrases import facet_of
from oresearch_graph.policies.extractive.policy import report as extractive_report
from oresearch_graph.policies.extractive.research import answer as extractive_answer
from oresearch_graph.policies.extractive.research import next_turn, shown_sources
from oresearch_graph.policies.extractive.sentences import Focus
from oresearch_graph.redaction import brief, redacted
from oresearch_graph.rows.ground_truth import Criterion, KeyPoint
from oresearch_graph.rows.sft import trace_rows
from oresearch_graph.served.gate import refusal
from oresearch_graph.text import passages, sentences, words
from oresearch_graph.text.language import detect_language
from oresearch_graph.threads import Thread
from oresearch_graph.tools import source_rules
from oresearch_graph.tools.corpus import index as corpus_index
from oresearch_graph.tools.providers.retriever import DocumentShelf, results_in
from oresearch_graph.tools.reading import extract
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.trace import (
    CitationReport,
    Role,
    Source,
    Step,
    Trace,
    list_items,
    parse_policy_text,
    parse_trace,
    plain_text,
    read_call,
    render_trace,
    violations,
    world_step,
    write_call,
)
from oresearch_graph.trace import references as refs
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.calls import item_strings, json_value
from oresearch_graph.trace.escaping import (
    escape_tokens,
    escape_world,
    unescape_tokens,
    unescape_world,
)
from oresearch_graph.view.markup import escaped, outside_link
from oresearch_graph.view.report import Alignment
from oresearch_graph.view.trace_view import trace_section

Reader = Callable[[str], object]

STOPS: Final = ("</web_search>", "</crawl_page>", "</subtask_answer>")
_FOCUS: Final = Focus(frozenset(("tide", "moon")), frozenset(("tide",)), "definition")
_CRITERION: Final = (Criterion(text="It says what tides are."),)
_REPLY: Final = Reply("", finish="stop")


def whole_trace(text: str) -> Trace:
    """A trace with the text in every place where a stranger's may stand. Of one page no more is
    shown than an observation holds; each claim is looked up in all of that."""
    source = Source.of(
        id=1001, url="https://example.org/tides", text=text[:4_000], title=text[:2_000]
    )
    steps = (
        Step(kind="subtask_list", text=f"1. Tides\n2. {text}"),
        world_step("subtask", text, branch=1),
        Step(kind="think", text=text, branch=1),
        Step(kind="web_search", text=text, branch=1),
        world_step("observation", f"[1001] Tides\nhttps://example.org/tides\n{text}", branch=1),
        Step(kind="subtask_answer", text=f"{text} [1001].", branch=1),
        Step(kind="suggested_answer", text=f"## Introduction\n{text} [1].\n\n## References\n"
             f"[1]. https://example.org/tides - {text}"),
    )  # fmt: skip
    return Trace(id="t.1", question=text, language="en", steps=steps, sources=(source,))


def _many_steps(text: str) -> tuple[Step, ...]:
    """The text in pieces of 40 characters, a think, a call or an observation each."""
    pieces = [text[at : at + 40] for at in range(0, len(text), 40)]
    makers: tuple[Callable[[str], Step], ...] = (
        lambda piece: Step(kind="think", text=piece, branch=1),
        lambda piece: Step(kind="web_search", text=piece, branch=1),
        lambda piece: world_step("observation", piece, branch=1),
        lambda piece: Step(kind="stray", text=piece, branch=1),
    )
    return tuple(makers[at % 4](piece) for at, piece in enumerate(pieces))


def thread(text: str = "", role: Role = "researcher", **more: Any) -> Thread:
    branch = 1 if role == "researcher" else None
    return Thread(id="t", system="s", question=text or "q", role=role, branch=branch, **more)


def _rendered(rendering: ThreadRendering) -> Reader:
    return lambda text: (
        rendering.request(thread(steps=(world_step("observation", text, branch=1),)), STOPS),
        rendering.request(thread(steps=_many_steps(text)), STOPS),
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


def _shelved(text: str) -> None:
    shelf = DocumentShelf()
    shelf.put(text, {"url": text, "title": text, "date": text})
    for at in range(0, len(text), 400):
        shelf.put(text[at : at + 400], {"url": "https://example.org/one"})


def _shown_often(text: str) -> None:
    """One page shown by many calls, a piece each time."""
    ledger = observed.SourceLedger(1)
    for at in range(0, len(text), 400):
        ledger.show("https://example.org/one", text[at : at + 400])


def _matched(text: str) -> None:
    index = SourceIndex(Source.of(id=1, url="u", text=text, title=text[:200]))
    sample = text[:400]
    index.quotes(sample)
    index.names(sample)
    index.align(sample, words.terms(sample))


def _quotes_of(text: str) -> None:
    """The claim is long, not the source."""
    index = SourceIndex(Source.of(id=1, url="u", text="The Moon causes tides of 16 metres. " * 9))
    index.quotes(text)
    index.names(text)
    index.align(text, words.terms(text))


def _logged(text: str) -> None:
    call = {"id": "a", "function": {"name": "web_search", "arguments": text}}
    told = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": text, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": text},
        {"role": "user", "content": f"<observation>{text}"},
        {"role": "assistant", "content": text},
    ]
    read_trace({"messages": told})


def _withheld(text: str) -> None:
    trace = whole_trace(text)
    withheld(trace, refs.Ledger(trace.sources or ()))


def _resolved(answer: ParsedAnswer) -> None:
    """Every use of a parsed answer; its list may have no address, a ledger no such number."""
    answer.sections("en")
    ledger = refs.Ledger(())
    for mark in answer.marks:
        answer.resolve(mark.number, ledger)


def _delivered(text: str) -> Delivered:
    return delivered_answer(parse_answer(f"{text} [1001]."), whole_trace(text))[1]


def _renumbered(text: str) -> None:
    with suppress(Unresolved):
        _ = PreparedTrace.of(whole_trace(text)).whole


def _verdict(text: str) -> None:
    for answer in (
        text,
        f'{{"criteria": [{{"number": 1, "score": 7, "quote": {json.dumps(text)}}}]}}',
    ):
        with suppress(VerdictFault):
            read_verdict(answer, _CRITERION, text)


def _refused(text: str) -> None:
    model_faults.retry_after({"retry-after": text})
    model_faults.retry_after({"retry-after-ms": text})
    model_faults.fault_of(ValueError(text), "m")
    refusal = refusal_of(ValueError(text))
    fields = {"stop": ("stop",), "temperature": ("temperature",), SYSTEM: (SYSTEM,)}
    named_fields(refusal, fields)
    for body in (text, {"error": text}, {"detail": [{"loc": ["body", text], "msg": text}]}):
        refusal_of(ValueError(body))


def _domains(text: str) -> None:
    rules = source_rules.SourceRules(exclude_domains=("example.org",))
    rules.refusal(text, text)
    rules.refusal(f"https://{text}", text)
    for domain in (text, f"https://{text}"):
        with suppress(ValueError):
            source_rules.plain_domain(domain)
        with suppress(AddressRefused):
            AddressGuard().check_url(domain)


def _decided(text: str) -> None:
    for answer in (text, {text: text}, {"action": "edit", "subtasks": [text]}):
        with suppress(ValueError):
            read_decision(answer)


def _gated(text: str) -> None:
    value = text.encode()
    names = (b"host", b"origin", b"content-type", b"referer")
    for name in names:
        headers = [(b"host", b"127.0.0.1:2024"), (name, value)]
        scope = {"type": "http", "method": "POST", "path": "/runs", "headers": headers,
                 "server": ("127.0.0.1", 2024)}  # fmt: skip
        refusal(scope, ())


READERS: Final[dict[str, Reader]] = {
    "trace.list_items": list_items,
    "trace.parse": parse_trace,
    "trace.parse_policy": parse_policy_text,
    "trace.render": lambda text: render_trace(whole_trace(text)),
    "trace.violations": lambda text: violations(whole_trace(text)),
    "trace.answer": lambda text: _resolved(parse_answer(text)),
    "trace.answer_with_list": lambda text: _resolved(
        parse_answer(f"{text} [1].\n\n## References\n[1]. https://example.org/{text}\n{text}")
    ),
    "trace.seen_sources": lambda text: refs.seen_sources([world_step("observation", text)]),
    "trace.same_address": refs.same_address,
    "trace.calls": lambda text: [
        read_call(Step(kind=kind, text=text, name="t"))
        for kind in ("web_search", "crawl_page", "tool_call")
    ],
    "trace.write_call": lambda text: write_call("crawl_page", [text]),
    "trace.escape": lambda text: unescape_world(escape_world(text)),
    "trace.escape_tokens": lambda text: unescape_tokens(
        escape_tokens(text, ("<eos>", "[INST]", "&&")), ("<eos>", "[INST]", "&&")
    ),
    "trace.plain_text": lambda text: (
        plain_text.body_text(text), plain_text.title_line(text), plain_text.visible(text),
        plain_text.without_overrides(text), plain_text.admissible_address(text),
        plain_text.admissible_address(f"https://{text}"), plain_text.iso_day(text),
    ),
    "trace.rows": lambda text: trace_rows(whole_trace(text), "s", "threads"),
    "evidence.terms": words.terms,
    "evidence.token_count": words.token_count,
    "evidence.sentences": sentences.sentence_spans,
    "evidence.passages": passages.split_passages,
    "evidence.cut_to": lambda text: observed.cut_to(text, text[:300], 300),
    "evidence.figures": figures.stated,
    "evidence.claim_parts": claim_parts.checkable_parts,
    "evidence.language": detect_language.__wrapped__,
    "evidence.index": _matched,
    "evidence.index_claim": _quotes_of,
    "evidence.read_observation": observed.read_observation,
    "evidence.source_heads": observed.source_heads,
    "evidence.ledger": _shown_often,
    "evidence.verify": lambda text: verify_report(
        parse_answer(f"{text} [1001]."), whole_trace(text).sources or ()
    ),
    "evidence.deliver": _delivered,
    "evidence.safe_markdown": lambda text: (safe_markdown(text), markdown_text(text)),
    "evidence.annotations": lambda text: citation_annotations(
        Delivered(parse_answer(f"{text} [1]."), whole_trace(text).sources or (), ())
    ),
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
    "trace.json_arguments": lambda text: (
        json_value(text), json_value(f'["{text}'), item_strings({"queries": text}, "web_search"),
    ),
    "graph.shortened": lambda text: shortened(
        thread(text, steps=(*whole_trace(text).steps, world_step("observation", text, branch=1))),
        PolicyOverflow("too long"),
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
    "extractive.quotable": lambda text: extractive_sentences.quotable(
        observed.ShownSource(1001, text, "u", text)
    ),
    "extractive.answer": lambda text: extractive_answer(
        [observed.ShownSource(1001, "Tides and the Moon", "u", text)], _FOCUS
    ),
    "extractive.shown": lambda text: shown_sources(_many_steps(text)),
    "extractive.turn": lambda text: next_turn(
        thread(text, steps=(*whole_trace(text).steps[:5],))
    ),
    "extractive.report": lambda text: extractive_report(
        thread(text, "summarizer", steps=whole_trace(text).steps), "en"
    ),
    "approval.overlaps": lambda text: overlaps([text, text[::-1]]),
    "approval.decision": _decided,
    "redaction": lambda text: (redacted(text), brief(text)),
    "served.gate": _gated,
    "judge.report": lambda text: judge_report(
        text, [KeyPoint(text="The Moon causes tides."), KeyPoint(text="x", needs=(("16",),))],
        CitationReport(),
    ),
    "judge.fenced": lambda text: fenced("report", text),
    "judge.json": lambda text: list(json_values(text)),
    "judge.verdict": _verdict,
    "tools.charset": lambda text: (
        extract.decode(text.encode(), text), extract.prescan(text.encode()),
    ),
    "tools.text": lambda text: (
        extract.clean(text), extract.plain_text(text), extract.page_kind(text.encode(), text),
    ),
    "tools.results": lambda text: list(results_in(text)),
    "tools.shelf": _shelved,
    "tools.corpus_words": lambda text: (
        corpus_index.spaced(text), corpus_index.match_expression(text),
    ),
    "tools.domains": _domains,
    "command.terminal": lambda text: (harmless(text), line(text)),
    "command.places": lambda text: places_for(text, None, None),
    "view.markup": lambda text: (escaped(text), outside_link(text, text)),
    "view.alignment": lambda text: Alignment(parse_answer(text), text),
    "view.trace": lambda text: trace_section(whole_trace(text), "k"),
    "datagen.rules": lambda text: Rules(FilterSettings()).findings(whole_trace(text)),
    "datagen.boilerplate": lambda text: (is_boilerplate(text), shows_something(text)),
    "datagen.scrub": lambda text: Scrubber().scrub(whole_trace(text)),
    "datagen.renumber": _renumbered,
    "datagen.withheld": _withheld,
    "datagen.conversations": lambda text: (
        messages(whole_trace(text), "s"), sharegpt(whole_trace(text)),
    ),
    "datagen.trajectory": lambda text: read_trace({"prompt": "q", "current_answer": f"{text}x"}),
    "datagen.log": _logged,
    "datagen.judge": lambda text: judge_request(whole_trace(text), _CRITERION, 2_000),
    "datagen.claims": lambda text: grouped(list(verified_claims(whole_trace(text)))),
    "datagen.needs": lambda text: needs_of(text, [text[:300]], words.terms(text), (), {}),
    "datagen.labels": lambda text: read_labels(text, ["tides"]),
    "datagen.questions": lambda text: (
        tidy(text), not_open_ended(text), same_question(wording(text), wording(f"{text}."), 0.9),
        holds(wording(f"{text} more"), wording(text[:400]), 0.9),
    ),
    "datagen.ids": lambda text: (safe_id(text), seed_id(text)),
    "policies.server": _server_told,
}  # fmt: skip
