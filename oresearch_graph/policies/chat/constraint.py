"""The coming text of a thread as a grammar that its server holds the model to.

The protocol's tags, headings and citations are fixed, the text between them is free: whoever is
held to it cannot answer before it has seen an observation, can cite only what was shown, and can
write only names and figures that stand in the evidence: small models add some from imagination to
every other sentence. The form is GBNF, which llama.cpp reads, and vLLM and SGLang through xgrammar.
Repetitions of characters have no upper bound: bounded ones slow llama.cpp's sampling from 11 to 2
tokens/s; `Thread.bound` bounds the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from oresearch_graph.policies.chat.endings import unclosed_element
from oresearch_graph.policies.chat.sentence_grammar import (
    literal,
    one_of,
    rest_of_sentence,
    sentence,
    text_rules,
)
from oresearch_graph.prompts import NO_EVIDENCE
from oresearch_graph.threads import Next, Thread
from oresearch_graph.trace import close_tag, open_tag
from oresearch_graph.trace.report_form import HEADINGS

_NO_LOOPS: Final = {
    "dry_multiplier": 0.8, "dry_allowed_length": 10, "dry_penalty_last_n": 96,
}  # fmt: skip
"""llama.cpp makes ten tokens that stood among the last 96 less likely to go on as they did: a 1.5B
model went round in circles until its bound, 40 s a report. What it copies stands farther back; a
report, which says its findings twice, needs no such help: its grammar has no circle."""
_FIELDS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "llama.cpp": lambda grammar: {"grammar": grammar},
    "vLLM": lambda grammar: {"structured_outputs": {"grammar": grammar}},
    "SGLang": lambda grammar: {"ebnf": grammar},
}
_RULES: Final = {
    "line": r"[^<\n]+", "query": r"[^<|&=\[\]\n]+", "gap": r'" " | "\n" "\n"? "- "?',
}  # fmt: skip
_NAME: Final = re.compile(r"[a-z]\w*")


def takes_grammar(kind: str) -> bool:
    """True for a kind of server that can be sent a grammar."""
    return kind in _FIELDS


def constraint_fields(kind: str, thread: Thread) -> dict[str, Any]:
    """The request fields that hold a server of this kind to what the thread may write next."""
    if kind not in _FIELDS or not thread.constrained or thread.next is None:
        return {}
    if thread.next.tag == "suggested_answer" and not thread.next.sections:
        return {}  # no finding cites anything: there is no form to hold the report to
    rules = grammar(thread.next, thread.pending, thread.language, thread.question)
    samplers = _NO_LOOPS if kind == "llama.cpp" and not thread.next.sections else {}
    return {**_FIELDS[kind](rules), **samplers}


def grammar(expected: Next, pending: str, language: str | None, question: str = "") -> str:
    """GBNF of all that may follow the opening tag of `expected`, or text that was cut: that is
    brought to its end, no more. Words are in the script of the language or of the question."""
    headings = HEADINGS.get(language or "en", HEADINGS["en"])
    names = {name: headings[name][0] for name in ("introduction", "conclusion", "references")}
    match expected.tag, pending:
        case "subtask_list", "":
            root = _items(expected.items)
        case "subtask_list", _:
            root = f'[^<\\n]* "\\n" {literal(close_tag("subtask_list"))}'
        case "think", "":
            root = f"line {_after_thought(expected)}"
        case "think", _:
            root = _rest_of_turn(expected, pending)
        case "subtask_answer", "":
            root = _answer(expected)
        case "subtask_answer", _:
            rest = rest_of_sentence(pending, expected)
            root = f"{rest} {literal(close_tag('subtask_answer'))}"
        case _:
            written = pending.partition(open_tag("suggested_answer"))[2]
            root = _report(expected, names, written)
    rules = {**_RULES, **text_rules(expected, language or "en", question)}
    return "".join(f"{name} ::= {rule}\n" for name, rule in _reached(root, rules).items())


def _reached(root: str, rules: Mapping[str, str]) -> dict[str, str]:
    """The root and the rules that it leads to."""
    reached, rest = {"root": root}, [root]
    while rest:
        for name in _NAME.findall(rest.pop()):
            if name in rules and name not in reached:
                reached[name] = rules[name]
                rest.append(rules[name])
    return reached


def _items(most: int) -> str:
    items = ""
    for number in range(most, 1, -1):
        items = f'( "{number}. " line "\\n" {items} )?'
    return f'"\\n1. " line "\\n" {items} {literal(close_tag("subtask_list"))}'


def _after_thought(expected: Next) -> str:
    ways = []
    if "web_search" in expected.calls:
        ways.append(f'"<web_search>" query {literal(close_tag("web_search"))}')
    if "crawl_page" in expected.calls and expected.addresses:
        pages = one_of(expected.addresses)
        ways.append(f'"<crawl_page>" {pages} {literal(close_tag("crawl_page"))}')
    extra = [name for name in expected.calls if name not in {"web_search", "crawl_page"}]
    ways += [f"{literal(open_tag(name))} [^<]+ {literal(close_tag(name))}" for name in extra]
    if expected.may_answer or not ways:
        ways.append(f"{literal(open_tag('subtask_answer'))} {_answer(expected)}")
    return f'"</think>\\n" ( {" | ".join(ways)} )'


def _answer(expected: Next) -> str:
    text = literal(NO_EVIDENCE)
    if expected.sources:
        text = f"( {_paragraph(expected, _SENTENCES)} | {text} )"
    return f"{text} {literal(close_tag('subtask_answer'))}"


def _rest_of_turn(expected: Next, pending: str) -> str:
    calls = [close_tag(name) for name in expected.calls]
    opened = unclosed_element(pending, calls)
    content = pending.rpartition(open_tag(opened))[2] if opened else ""
    match opened:
        case "think":
            return f"[^<\\n]* {_after_thought(expected)}"
        case "web_search":
            return f"[^<|&=\\[\\]\\n]* {literal(close_tag('web_search'))}"
        case "subtask_answer":
            rest = rest_of_sentence(content, expected)
            return f"{rest} {literal(close_tag('subtask_answer'))}"
        case "crawl_page":
            rests = [a.removeprefix(content) for a in expected.addresses if a.startswith(content)]
            return f"{one_of(rests or [''])} {literal(close_tag('crawl_page'))}"
        case str():
            return f"[^<]* {literal(close_tag(opened))}"
        case None:
            return _after_thought(expected).removeprefix('"</think>\\n" ')


def _report(expected: Next, names: dict[str, str], written: str) -> str:
    """The findings between one of their sentences and another, chosen by the model."""
    sections = [f"## {part.heading}\n\n{' '.join(part.statements)}" for part in expected.sections]
    before = f"\n\n## {names['introduction']}\n\n"
    body = "\n\n".join(["", *sections, f"## {names['conclusion']}", ""])
    references = "".join(f"[{source.id}]\n" for source in expected.sources)
    behind = f"\n\n## {names['references']}\n\n{references}{close_tag('suggested_answer')}"
    if written and not written.startswith("\n"):
        written = f"\n\n{written}"
    first, ways = _first_statements(expected), list[str]()
    for opening in first:
        others = [statement for statement in first if statement != opening]
        begun = f"{before}{opening}{body}"
        if begun.startswith(written):
            closing = _conclusion(expected, others, behind, "")
            ways.append(f"{literal(begun.removeprefix(written))} {closing}")
        elif written.startswith(begun):
            ways.append(_conclusion(expected, others, behind, written.removeprefix(begun)))
    if any(ways):
        return f"( {' | '.join(filter(None, ways))} )"
    # What was written has another form.
    if f"## {names['references']}" in written:
        return f'[^<\\n]* "\\n"? {literal(close_tag("suggested_answer"))}'
    return f"{rest_of_sentence(written, expected)} {literal(behind)}"


_CHOICE: Final = 4
"""Sentences that may introduce a report."""


def _first_statements(expected: Next) -> list[str]:
    """Of each section; of one section alone, all."""
    if len(expected.sections) == 1:
        return list(expected.sections[0].statements[:_CHOICE])
    return [part.statements[0] for part in expected.sections][:_CHOICE]


def _conclusion(expected: Next, statements: Sequence[str], behind: str, written: str) -> str:
    """One of the statements, or a sentence where there is none, and all behind it; empty where what
    was written is no beginning of that."""
    wholes = [f"{statement}{behind}" for statement in statements]
    if wholes:
        rests = [whole.removeprefix(written) for whole in wholes if whole.startswith(written)]
        return one_of(rests) if rests else ""
    begun, line_break, more = written.partition("\n")
    rest = f"{line_break}{more}"
    if rest:
        return literal(behind.removeprefix(rest)) if behind.startswith(rest) else ""
    text = rest_of_sentence(begun, expected) if begun else sentence(expected)
    return f"{text} {literal(behind)}"


_SENTENCES: Final = 4
"""Of a subtask's answer."""


def _paragraph(expected: Next, most: int) -> str:
    """One to so many sentences."""
    one, more = sentence(expected), ""
    for _ in range(most - 1):
        more = f"( gap {one} {more} )?"
    return f'"- "? {one} {more}'
