"""Every function that reads what a page, a result, a file, a header or a person wrote, by name: the
text goes in whole. `test_linear_text.py` feeds them."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from datagen.export.conversations import messages, sharegpt
from datagen.export.prepared import PreparedTrace, Unresolved
from datagen.export.scrub import Scrubber, withheld
from datagen.filter.observation_rules import is_boilerplate, shows_something
from datagen.filter.registry import Rules
from datagen.imports.stage import read_trace
from datagen.questions.likeness import holds, same_question, tidy, wording
from datagen.questions.open_ended import not_open_ended
from datagen.records import safe_id, seed_id
from datagen.rubrics.key_points import needs_of
from datagen.rubrics.material import grouped, verified_claims
from datagen.settings.filter import FilterSettings
from oresearch_graph.command.places import places_for
from oresearch_graph.command.terminal import harmless, line
from oresearch_graph.errors import AddressRefused
from oresearch_graph.evidence import claim_parts, figures
from oresearch_graph.evidence import ledger as observed
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.evidence.delivery import (
    Delivered,
    citation_annotations,
    delivered_answer,
    markdown_text,
    safe_markdown,
)
from oresearch_graph.evidence.source_index import SourceIndex
from oresearch_graph.evidence.support import support
from oresearch_graph.graph.approval import overlaps
from oresearch_graph.graph.plan_decision import read_decision
from oresearch_graph.rows.sft import trace_rows
from oresearch_graph.served.gate import refusal
from oresearch_graph.text import passages, sentences, words
from oresearch_graph.text.language import detect_language
from oresearch_graph.tools import source_rules
from oresearch_graph.tools.corpus import index as corpus_index
from oresearch_graph.tools.providers.retriever import DocumentShelf, results_in
from oresearch_graph.tools.reading import extract
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.trace import (
    Source,
    Step,
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
from oresearch_graph.trace.escaping import (
    escape_tokens,
    escape_world,
    unescape_tokens,
    unescape_world,
)
from oresearch_graph.trace.record import Trace
from oresearch_graph.view.markup import escaped, outside_link
from oresearch_graph.view.page import report_page
from oresearch_graph.view.paper import _breakable
from oresearch_graph.view.report import Alignment
from oresearch_graph.view.report_record import ReportRecord
from oresearch_graph.view.trace_view import trace_section
from tests.helpers.linear_texts import Reader, whole_trace


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


def _reshown(text: str) -> None:
    """An observation that middleware changed."""
    ledger = observed.SourceLedger(1)
    for nth in range(1, 4):
        ledger.show(f"https://example.org/{nth}", text, title="t")
    heads = "".join(f"\n[{1000 + n}] t\nhttps://example.org/{n}\n{text}" for n in range(1, 4))
    ledger.reshow(heads, heads.replace("a", "b"))


def _matched(text: str) -> None:
    index = SourceIndex(Source.of(id=1, url="u", text=text, title=text[:200]))
    sample = text[:400]
    index.quotes(sample)
    index.names(sample)
    support(checkable_parts(sample), [index])


def _quotes_of(text: str) -> None:
    """The claim is long, not the source."""
    index = SourceIndex(Source.of(id=1, url="u", text="The Moon causes tides of 16 metres. " * 9))
    index.quotes(text)
    index.names(text)
    support(checkable_parts(text), [index])


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


PAGE_READERS: Final[dict[str, Reader]] = {
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
    "evidence.reshow": _reshown,
    "evidence.verify": lambda text: verify_report(
        parse_answer(f"{text} [1001]."), whole_trace(text).sources or ()
    ),
    "evidence.deliver": _delivered,
    "evidence.safe_markdown": lambda text: (safe_markdown(text), markdown_text(text)),
    "evidence.annotations": lambda text: citation_annotations(
        Delivered(parse_answer(f"{text} [1]."), whole_trace(text).sources or (), ())
    ),
    "approval.overlaps": lambda text: overlaps([text, text[::-1]]),
    "approval.decision": _decided,
    "served.gate": _gated,
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
    "command.places": lambda text: places_for(text, (), None),
    "view.markup": lambda text: (escaped(text), outside_link(text, text)),
    "view.alignment": lambda text: Alignment(parse_answer(text), text),
    "view.report": lambda text: report_page(text, Trace(question=text)),
    "view.record": lambda text: ReportRecord.of(Trace(question=text), text, None).json_text(),
    "view.paper": _breakable,
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
    "datagen.claims": lambda text: grouped(list(verified_claims(whole_trace(text)))),
    "datagen.needs": lambda text: needs_of(text, [text[:300]], words.terms(text), (), {}),
    "datagen.questions": lambda text: (
        tidy(text), not_open_ended(text), same_question(wording(text), wording(f"{text}."), 0.9),
        holds(wording(f"{text} more"), wording(text[:400]), 0.9),
    ),
    "datagen.ids": lambda text: (safe_id(text), seed_id(text)),
}  # fmt: skip
