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
from collections.abc import Callable, Mapping
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
from oresearch_graph.threads import Next, ReportPlan, Thread
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
_QUERY: Final = 12
"""Words of a query: a 0.5B model went on with "Germany, Germany" until its bound."""


def _more(term: str, most: int) -> str:
    """So many words more, at most."""
    more = ""
    for _ in range(most):
        more = f'( " " {term} {more} )?'
    return more


_IN_QUERY: Final = r"[^<|&=\[\]\n]"
_RULES: Final = {
    "line": r"[^<\n]+", "gap": r'" " | "\n" "\n"? "- "?',
    "rest": r"[^<\n]*", "term": r"[^<|&=\[\]\n ]+",
    "terms": f'term? {_more("term", _QUERY)}',
}  # fmt: skip
_HELD: Final = frozenset(("subtask_list", "think", "subtask_answer"))
"""Elements that a thread may be held to; to a report where it has a plan."""
_NAME: Final = re.compile(r"[a-z]\w*")


def takes_grammar(kind: str) -> bool:
    """True for a kind of server that can be sent a grammar."""
    return kind in _FIELDS


def constraint_fields(kind: str, thread: Thread) -> dict[str, Any]:
    """The request fields that hold a server of this kind to what the thread may write next."""
    if kind not in _FIELDS or not thread.constrained or thread.next is None:
        return {}
    if thread.next.tag not in _HELD and thread.next.report is None:
        return {}  # of a report whose findings cite nothing, for one
    rules = grammar(thread.next, thread.pending, thread.language, thread.question)
    samplers = _NO_LOOPS if kind == "llama.cpp" and thread.next.report is None else {}
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
            root = _closed(pending, "subtask_list", r'[^<\n]* "\n"')
        case "think", "":
            root = f'line "</think>\\n" {_after_thought(expected)}'
        case "think", _:
            root = _rest_of_turn(expected, pending)
        case "subtask_answer", "":
            root = _answer(expected)
        case "subtask_answer", _:
            root = _closed(pending, "subtask_answer", rest_of_sentence(pending, expected))
        case _ if expected.report is not None:
            written = pending.partition(open_tag("suggested_answer"))[2]
            root = _report(expected.report, names, written)
        case _:
            raise ValueError(f"no grammar of {expected.tag} without a plan")
    rules = {
        **_RULES,
        **_unlike(question, "item", r"[^<\n]", "rest", others="line"),
        **_unlike(question, "query", _IN_QUERY, "terms", others="term terms"),
        **text_rules(expected, language or "en", question),
    }
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
    """Two lines at least, where there may be: a 0.5B model repeated the question as its plan."""
    items = ""
    for number in range(most, 1, -1):
        items = f'"{number}. " item "\\n" {f"( {items} )?" if items else ""}'
    return f'"\\n1. " item "\\n" {items} {literal(close_tag("subtask_list"))}'


_SHORT: Final = 8
"""Words of a question that may be a part of itself."""
_LONG: Final = 200
"""Characters of a beginning that no model would copy."""


def _unlike(question: str, name: str, char: str, rest: str, *, others: str) -> dict[str, str]:
    """A line that does not begin with three quarters of the question's words, letter by letter, and
    behind the first other letter `rest`; `others` where the question is short. The plans and the
    queries of a 0.5B model repeated it."""
    line = " ".join(question.replace("<", " ").split())
    words = line.split(" ")
    head = " ".join(words[: -(-3 * len(words) // 4)])
    if len(words) < _SHORT or len(head) > _LONG:
        return {name: others}
    rules = {name: f"{name}x0"}
    for place, letter in enumerate(head):
        escaped = f"\\x{ord(letter):02X}" if letter in r"[]^\-" else letter
        ways = f"{char[:2]}{escaped}{char[2:]} {rest}"
        if place < len(head) - 1:
            ways += f" | {literal(letter)} {name}x{place + 1}"
        rules[f"{name}x{place}"] = f"( {ways} )?" if place else ways
    return rules


def _after_thought(expected: Next, begun: str = "") -> str:
    """A call or the answer, or what is left of one whose opening tag was begun."""
    contents: dict[str, str] = {}
    if "web_search" in expected.calls:
        contents["web_search"] = "query"
    if "crawl_page" in expected.calls and expected.addresses:
        contents["crawl_page"] = one_of(expected.addresses)
    extra = [name for name in expected.calls if name not in {"web_search", "crawl_page"}]
    contents |= dict.fromkeys(extra, "[^<]+")
    ways = {open_tag(n): f"{content} {literal(close_tag(n))}" for n, content in contents.items()}
    if expected.may_answer or not ways:
        ways[open_tag("subtask_answer")] = _answer(expected)
    left = [
        f"{literal(tag.removeprefix(begun))} {rest}"
        for tag, rest in ways.items()
        if tag.startswith(begun)
    ]
    return f"( {' | '.join(left)} )" if left else _after_thought(expected)


def _closed(written: str, tag: str, rest: str) -> str:
    """The rest of an element's text and its closing tag, or of that alone, where it was begun."""
    close = close_tag(tag)
    begun = written[written.rfind("<") :] if "<" in written else ""
    if begun and close.startswith(begun):
        return literal(close.removeprefix(begun))
    return f"{rest} {literal(close)}"


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
            thought = _closed(pending, opened, r"[^<\n]*")
            return rf'{thought} "\n" {_after_thought(expected)}'
        case "web_search":
            rest = "terms"
        case "subtask_answer" if not content:
            return _answer(expected)
        case "subtask_answer":
            rest = rest_of_sentence(content, expected)
        case "crawl_page":
            rests = [a.removeprefix(content) for a in expected.addresses if a.startswith(content)]
            rest = one_of(rests or [""])
        case str():
            rest = "[^<]*"
        case None:
            begun = pending.rpartition(close_tag("think"))[2]
            line_break = "" if begun else r'"\n" '
            return f"{line_break}{_after_thought(expected, begun.strip())}"
    return _closed(content, opened, rest)


def _report(plan: ReportPlan, names: dict[str, str], written: str) -> str:
    """The findings between one of their sentences and another, chosen by the model."""
    sections = [f"## {part.heading}\n\n{' '.join(part.statements)}" for part in plan.sections]
    before = f"\n\n## {names['introduction']}\n\n"
    body = "\n\n".join(["", *sections, f"## {names['conclusion']}", ""])
    references = "".join(f"[{number}]\n" for number in plan.references)
    behind = f"\n\n## {names['references']}\n\n{references}{close_tag('suggested_answer')}"
    if written and not written.startswith("\n"):
        written = f"\n\n{written}"
    ways = list[str]()
    for opening in plan.introductions:
        begun = f"{before}{opening}{body}"
        ends = [f"{begun}{end}{behind}" for end in plan.conclusions if end != opening]
        possible = [end for end in ends if end.startswith(written)]
        shared = max(len(begun), len(written))
        if possible:
            rests = one_of(end[shared:] for end in possible)
            ways.append(f"{literal(begun[len(written) :])} {rests}")
    if not ways:  # what was written has another form
        return _closed(written, "suggested_answer", "[^<]*")
    return f"( {' | '.join(ways)} )"


_SENTENCES: Final = 4
"""Of a subtask's answer."""


def _paragraph(expected: Next, most: int) -> str:
    """One to so many sentences."""
    one, more = sentence(expected), ""
    for _ in range(most - 1):
        more = f"( gap {one} {more} )?"
    return f'"- "? {one} {more}'
