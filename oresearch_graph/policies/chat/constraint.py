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
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from oresearch_graph.policies.chat.endings import unclosed_element
from oresearch_graph.prompts import NO_EVIDENCE
from oresearch_graph.threads import Citable, Next, SectionPlan, Thread
from oresearch_graph.trace import close_tag, open_tag
from oresearch_graph.trace.report_form import HEADINGS

_NO_LOOPS: Final = {
    "dry_multiplier": 0.8, "dry_allowed_length": 10, "dry_penalty_last_n": 96,
}  # fmt: skip
"""llama.cpp makes ten tokens that stood among the last 96 less likely to go on as they did: a 1.5B
model went round in circles until its bound, 40 s a report. What it copies stands farther back."""
_FIELDS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "llama.cpp": lambda grammar: {"grammar": grammar, **_NO_LOOPS},
    "vLLM": lambda grammar: {"structured_outputs": {"grammar": grammar}},
    "SGLang": lambda grammar: {"ebnf": grammar},
}
_RULES: Final = r"""
line ::= [^<\n]+
query ::= [^<|&=\[\]\n]+
end ::= [.!?。！？]
gap ::= " " | "\n" "\n"? "- "?
lower ::= char+ | "e.g." | "i.e." | "etc."
tail ::= [,;:()"”%°`*]+ | ['’] "s"? | [/–-] char+
"""
_CAPITALS: Final = "A-ZÀ-ÖØ-ÞА-Я"
_CJK: Final = "ぁ-ヿ㐀-鿿가-힣"
_FIGURES: Final = "0-9𝟎-𝟿٠-٩۰-۹०-९০-৯๐-๙¼-¾¹²³⁰-⁹₀-₉①-⓿⅐-ↈ０-９"
"""Small models write superscripts, fractions or the figures of another script where they may not
write one."""
_OPEN_MARK: Final = re.compile(r"\[(\d*)$")


def takes_grammar(kind: str) -> bool:
    """True for a kind of server that can be sent a grammar."""
    return kind in _FIELDS


def constraint_fields(kind: str, thread: Thread) -> dict[str, Any]:
    """The request fields that hold a server of this kind to what the thread may write next."""
    if kind not in _FIELDS or not thread.constrained or thread.next is None:
        return {}
    if thread.next.tag == "suggested_answer" and not thread.next.sections:
        return {}  # no finding cites anything: there is no form to hold the report to
    return _FIELDS[kind](grammar(thread.next, thread.pending, thread.language))


def grammar(expected: Next, pending: str, language: str | None) -> str:
    """GBNF of all that may follow the opening tag of `expected`, or text that was cut: that is
    brought to its end, no more."""
    headings = HEADINGS.get(language or "en", HEADINGS["en"])
    names = {name: headings[name][0] for name in ("introduction", "conclusion", "references")}
    match expected.tag, pending:
        case "subtask_list", "":
            root = _items(expected.items)
        case "subtask_list", _:
            root = f'[^<\\n]* "\\n" {_literal(close_tag("subtask_list"))}'
        case "think", "":
            root = f"line {_after_thought(expected)}"
        case "think", _:
            root = _rest_of_turn(expected, pending)
        case "subtask_answer", "":
            root = _answer(expected.sources)
        case "subtask_answer", _:
            rest = _rest_of_sentence(pending, expected.sources)
            root = f"{rest} {_literal(close_tag('subtask_answer'))}"
        case _, "":
            root = _report(_parts(expected, names))
        case _:
            root = _rest_of_report(_parts(expected, names), pending)
    cjk = language in {"zh", "ja", "ko"}
    return f"root ::= {root}{_RULES}{_texts(expected, cjk=cjk)}"


def _items(most: int) -> str:
    items = ""
    for number in range(most, 1, -1):
        items = f'( "{number}. " line "\\n" {items} )?'
    return f'"\\n1. " line "\\n" {items} {_literal(close_tag("subtask_list"))}'


def _after_thought(expected: Next) -> str:
    ways = []
    if "web_search" in expected.calls:
        ways.append(f'"<web_search>" query {_literal(close_tag("web_search"))}')
    if "crawl_page" in expected.calls and expected.addresses:
        pages = _one_of(expected.addresses)
        ways.append(f'"<crawl_page>" {pages} {_literal(close_tag("crawl_page"))}')
    extra = [name for name in expected.calls if name not in {"web_search", "crawl_page"}]
    ways += [f"{_literal(open_tag(name))} [^<]+ {_literal(close_tag(name))}" for name in extra]
    if expected.may_answer or not ways:
        ways.append(f"{_literal(open_tag('subtask_answer'))} {_answer(expected.sources)}")
    return f'"</think>\\n" ( {" | ".join(ways)} )'


def _answer(sources: Sequence[Citable]) -> str:
    text = _literal(NO_EVIDENCE)
    if sources:
        text = f"( {_paragraph(sources, _SENTENCES, 'a')} | {text} )"
    return f"{text} {_literal(close_tag('subtask_answer'))}"


def _rest_of_turn(expected: Next, pending: str) -> str:
    calls = [close_tag(name) for name in expected.calls]
    opened = unclosed_element(pending, calls)
    content = pending.rpartition(open_tag(opened))[2] if opened else ""
    match opened:
        case "think":
            return f"[^<\\n]* {_after_thought(expected)}"
        case "web_search":
            return f"[^<|&=\\[\\]\\n]* {_literal(close_tag('web_search'))}"
        case "subtask_answer":
            rest = _rest_of_sentence(content, expected.sources)
            return f"{rest} {_literal(close_tag('subtask_answer'))}"
        case "crawl_page":
            rests = [a.removeprefix(content) for a in expected.addresses if a.startswith(content)]
            return f"{_one_of(rests or [''])} {_literal(close_tag('crawl_page'))}"
        case str():
            return f"[^<]* {_literal(close_tag(opened))}"
        case None:
            return _after_thought(expected).removeprefix('"</think>\\n" ')


def _parts(expected: Next, names: dict[str, str]) -> list[SectionPlan]:
    """The sections with their headings; the list of references is last."""
    introduction = SectionPlan(heading=names["introduction"], sources=expected.sources)
    conclusion = SectionPlan(heading=names["conclusion"], sources=expected.sources)
    return [introduction, *expected.sections, conclusion, SectionPlan(heading=names["references"])]


def _report(parts: Sequence[SectionPlan]) -> str:
    introduction, *body, conclusion, references = parts
    written = [f"{_heading(introduction)} {_sentence(introduction.sources, 'a')}"]
    for number, part in enumerate(body, start=1):
        text = _paragraph(part.sources, part.sentences, f"s{number}x")
        written.append(f"{_heading(part)} {text}")
    written.append(f"{_heading(conclusion)} {_sentence(conclusion.sources, 'a')}")
    return " ".join([*written, _literal(_references_text(references, introduction.sources))])


def _rest_of_report(parts: Sequence[SectionPlan], pending: str) -> str:
    """The sentence that was cut, then one sentence for each part that is not begun."""
    headings = [f"\n\n## {part.heading}\n\n" for part in parts]
    content = pending.partition(open_tag("suggested_answer"))[2]
    text = content if content.startswith("\n") else f"\n\n{content}"
    begun = sum(heading in text for heading in headings)
    if begun == len(parts):
        return _rest_of_references(text, parts)
    cuts = range(len(headings[begun]) - 1, 0, -1)
    partial = next((headings[begun][:n] for n in cuts if text.endswith(headings[begun][:n])), "")
    rest = []
    if begun and text.endswith(headings[begun - 1]):
        partial, rest = "", [_sentence(parts[begun - 1].sources, _scope(begun - 1, parts))]
    elif begun and not partial:
        rest = [_rest_of_sentence(text, parts[begun - 1].sources)]
    for at in range(begun, len(parts) - 1):
        literal = headings[at].removeprefix(partial) if at == begun else headings[at]
        rest.append(f"{_literal(literal)} {_sentence(parts[at].sources, _scope(at, parts))}")
    references = _references_text(parts[-1], parts[0].sources)
    left = references.removeprefix(partial) if begun == len(parts) - 1 else references
    return " ".join([*rest, _literal(left)])


def _scope(at: int, parts: Sequence[SectionPlan]) -> str:
    """The rules of the section at that place: the body's have their own."""
    return f"s{at}x" if 0 < at < len(parts) - 2 else "a"


def _rest_of_references(text: str, parts: Sequence[SectionPlan]) -> str:
    whole = _references_text(parts[-1], parts[0].sources)
    begun = text[text.rindex(f"\n\n## {parts[-1].heading}\n\n") :]
    return _literal(whole.removeprefix(begun) if whole.startswith(begun) else whole[-_CLOSING:])


_CLOSING: Final = len(close_tag("suggested_answer"))


def _heading(part: SectionPlan) -> str:
    return _literal(f"\n\n## {part.heading}\n\n")


def _references_text(part: SectionPlan, sources: Sequence[Citable]) -> str:
    lines = "".join(f"[{source.id}]\n" for source in sources)
    return f"\n\n## {part.heading}\n\n{lines}{close_tag('suggested_answer')}"


_SENTENCES: Final = 4
"""Of a subtask's answer."""


def _paragraph(sources: Sequence[Citable], most: int, scope: str) -> str:
    """One to so many sentences."""
    sentence, more = _sentence(sources, scope), ""
    for _ in range(most - 1):
        more = f"( gap {sentence} {more} )?"
    return f'"- "? {sentence} {more}'


def _sentence(sources: Sequence[Citable], scope: str) -> str:
    """A sentence that names only what its source does, then that source; where none was shown, one
    that cites nothing."""
    if not sources:
        return f"{scope}0 end"
    ways = (f'{scope}{s.id} end? " "? {_literal(f"[{s.id}]")}' for s in sources)
    return f"( {' | '.join(ways)} ) end?"


def _texts(expected: Next, *, cjk: bool) -> str:
    """The rules of running text, by source and scope: `a`, or `s1x` … of the report's sections."""
    scopes = {"a": expected.sources}
    scopes |= {f"s{n}x": part.sources for n, part in enumerate(expected.sections, start=1)}
    every = [name for source in expected.sources for name in source.names]
    outside = "" if cjk else _CJK
    rules = [f"char ::= [^ {_CAPITALS}{outside}{_FIGURES}<\\[\\]#\\n\\t.!?。！？]\n"]
    for scope, sources in scopes.items():
        rules.append(_text_rules(f"{scope}0", expected.names, cjk=cjk))
        for source in sources:
            names = (*expected.names, *source.names)
            rules.append(_text_rules(f"{scope}{source.id}", names, cjk=cjk))
    rules.append(_text_rules("any", (*expected.names, *every), cjk=cjk))
    return "".join(rules)


def _text_rules(name: str, names: Sequence[str], *, cjk: bool) -> str:
    known = _one_of(dict.fromkeys(names)) if names else "char"
    if cjk:
        return f'{name} ::= ( char | " " | {known} )+\n{name}w ::= {name}\n'
    return (
        f"{name}k ::= {known}\n"
        f"{name}w ::= lower | [(\"'“‘`*]* {name}k tail?\n"
        f'{name} ::= ( [{_CAPITALS}] char* | lower | {name}k tail? ) ( " " {name}w )*\n'
    )


def _marks(sources: Sequence[Citable]) -> str:
    mark = _one_of(f"[{source.id}]" for source in sources)
    return f'" "? {mark} ( " "? {mark} )?'


def _rest_of_sentence(content: str, sources: Sequence[Citable]) -> str:
    """What ends a sentence that may be cut inside its mark, or be complete."""
    if (mark := _OPEN_MARK.search(content)) and sources:
        ids = [str(source.id) for source in sources]
        rests = [f"{n}]".removeprefix(mark[1]) for n in ids if n.startswith(mark[1])]
        return f"{_one_of(rests)} end?"
    tail = content.rstrip()
    if tail.endswith(("]", "].")) or not sources:
        return "end?"
    names = [name for source in sources for name in source.names]
    word = content.rpartition(" ")[2]
    rests = [name.removeprefix(word) for name in names if word and name.startswith(word)]
    begun = f"( {_one_of(rests)} | char* )" if rests else "char*"
    return f'( any | {begun} ( " " anyw )* ) end? {_marks(sources)} end?'


def _one_of(texts: Iterable[str]) -> str:
    return f"( {' | '.join(map(_literal, texts))} )"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
