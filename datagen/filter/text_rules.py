"""Rules on what the policy wrote: loops, refusals, tokens of other formats; and the report's
citations: that there are any, that their sources bear them out, and how much of the body they
carry. Marks that resolve to nothing are violations."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

from datagen.filter.case import Case, finding
from datagen.records import Finding
from oresearch_graph.text.scripts import CJK
from oresearch_graph.trace import ANSWER_KINDS, PROTOCOL_TAGS

_WINDOW: Final = 1_000
"""Characters of which the compressibility is taken; windows overlap by half."""
_SENTENCE: Final = re.compile(r"[^\n.!?。！？；]+[.!?。！？；]*")
_LONG: Final = 40
_LONG_WIDE: Final = 15
_WIDE: Final = re.compile(f"[{CJK}]")
_MARKUP: Final = re.compile(r"[\[【][\d,，、;–\s-]{1,40}[\]】]|[\s*_#>|-]+")

_REFUSAL: Final = re.compile(
    r"""
    # The beginning of a line or a sentence, behind a list mark, a quote or bold.
    (?:^|(?<=[.!?。！？\n])[ \t]*)(?:[-*+>#]+[ \t]+)?(?:\*\*)?
    (?:
    # "I'm sorry, but I cannot"
    (?:i(?:'m|\ am|’m)\ )?(?:(?:very\ |really\ |so\ )?sorry|afraid|unfortunately)\b[^.!?\n]{0,40}?
        \bi\ (?:can(?:not|'t|’t)|am\ (?:not\ able|unable)|(?:'m|’m)\ (?:not\ able|unable)
        |won(?:'t|’t))
    # "I cannot help", "I must decline to answer"
    |i\ (?:can(?:not|'t|’t)|am\ (?:not\ able|unable)\ to|won(?:'t|’t)|must\ decline\ to)[ ]
        (?:be\ able\ to\ )?
        (?:help|assist|provide|answer|comply|fulfil|complete|write|continue|discuss)
    |i(?:'m|’m)\ (?:not\ able|unable)\ to[ ]
        (?:help|assist|provide|answer|comply|fulfil|complete|write|continue|discuss)
    # "As an AI language model, I"
    |as\ an?\ (?:ai|artificial\ intelligence)(?:\ (?:language\ )?(?:model|assistant))?,?\ i\b
    # The same in Chinese.
    |(?:很|非常|十分)?(?:抱歉|对不起|遗憾)[，,。！ ]*(?:但是?)?
        我(?:们)?(?:无法|不能|不会|没有办法)
    |我(?:无法|不能|不便|没有办法)(?:为您|为你|给您)?(?:提供|回答|协助|帮助|完成|撰写|继续|讨论)
    |作为(?:一个|一名|一款)?(?:ai|人工智能)(?:语言)?(?:模型|助手|助理)?[，, ]*我
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NAMES: Final = "|".join(PROTOCOL_TAGS)
_LEAK: Final = re.compile(
    rf"""
    <\|[\w ./-]{{1,40}}\|> | <｜[^｜\n<>]{{1,40}}｜> | \[/?INST\] | <</?SYS>>
    | </?(?:tool_calls?|tool_response|function_calls?|start_of_turn|end_of_turn|im_start|im_end)>
    | </s>\s*+\Z
    # Almost a tag of the protocol: the exact ones are violations.
    | (?:<|&lt;|＜)[ \t]*+/?[ \t]*+(?:{_NAMES})[ \t]*+(?:>|&gt;|＞)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_TAG: Final = re.compile(rf"</?(?:{_NAMES})>")


def repeated_text(case: Case) -> Iterator[Finding]:
    """The policy says the same over and over: one sentence, or a stretch that is one loop."""
    thoughts: dict[int | None, Counter[str]] = {}
    for at, step in case.of_policy():
        counts = Counter[str]()
        if step.kind in {"think", "plan"}:
            counts = thoughts.setdefault(step.branch, counts)
        # References repeat titles and hosts by nature.
        text = case.answers[at].body if step.kind in ANSWER_KINDS else step.text
        again = _said_again(text, counts, case.settings.same_sentence)
        if again is not None:
            message = f"a sentence for time {case.settings.same_sentence + 1}"
            yield finding("repeated_text", message, (at, step), again)
        elif (loop := _loop(text, case.settings.compressed)) is not None:
            message = f"a loop: zlib makes less than {case.settings.compressed:g} of it"
            yield finding("repeated_text", message, (at, step), loop)


def refusal(case: Case) -> Iterator[Finding]:
    """An answer refuses in the first person instead of answering."""
    for at, step in case.of_policy():
        if step.kind in ANSWER_KINDS and (match := _REFUSAL.search(step.text)):
            message = f"an answer that refuses: {match[0].strip()!r}"
            yield finding("refusal", message, (at, step), match.span())


def tag_leak(case: Case) -> Iterator[Finding]:
    """Policy text holds a token of a chat template or almost a tag of the protocol."""
    for at, step in case.of_policy():
        for match in _LEAK.finditer(step.text):
            if _TAG.fullmatch(match[0]) is None:
                message = f"{match[0]!r} in what the policy wrote"
                yield finding("tag_leak", message, (at, step), match.span())
                break


def _said_again(text: str, counts: Counter[str], most: int) -> tuple[int, int] | None:
    """The first long sentence that is said once too often; `said` is added to."""
    for match in _SENTENCE.finditer(text):
        if len(match[0]) < _LONG_WIDE:
            continue
        plain = _MARKUP.sub(" ", match[0]).strip().casefold()
        if len(plain) < _LONG and len(_WIDE.findall(plain)) < _LONG_WIDE:
            continue
        counts[plain] += 1
        if counts[plain] > most:
            return match.span()
    return None


def _loop(text: str, share: float) -> tuple[int, int] | None:
    """From the first to the last window that compresses to less than the share."""
    if len(text) < _WINDOW:
        return None
    starts = [*range(0, len(text) - _WINDOW, _WINDOW // 2), len(text) - _WINDOW]
    loops = [start for start in starts if _compressed(text[start : start + _WINDOW]) < share]
    return (loops[0], loops[-1] + _WINDOW) if loops else None


def _compressed(window: str) -> float:
    """Share of the window's bytes; Chinese, at three a character, measures as English does."""
    raw = window.encode("utf-8", "surrogatepass")
    return len(zlib.compress(raw)) / len(raw)


def unverifiable_citations(case: Case) -> Iterator[Finding]:
    """There is a report, and nothing to check its citations against."""
    if case.report is not None and case.citations is None:
        yield finding("unverifiable_citations", "the trace keeps no sources to check", case.report)


def uncited_report(case: Case) -> Iterator[Finding]:
    """The report was checked and cites nothing."""
    citations = case.citations
    if case.report is not None and citations is not None and not citations.claims:
        yield finding("uncited_report", "no sentence of the report carries a citation", case.report)


def citation_accuracy(case: Case) -> Iterator[Finding]:
    """Of the cited sentences of which anything is known too few are quoted or found; each of the
    others is a finding."""
    citations, least = case.citations, case.settings.min_accuracy
    if citations is None or citations.accuracy is None or citations.accuracy >= least:
        return
    rate = f"{citations.accuracy:.2f} of the cited sentences hold, at least {least:g} asked"
    for claim in citations.claims:
        if claim.warns or claim.status == "dangling":
            lacks = f", the source lacks {', '.join(claim.missing)[:120]}" if claim.missing else ""
            text = f"{rate}; {claim.status}{lacks}"
            yield finding("citation_accuracy", text, case.report, (claim.start, claim.end))


def citation_coverage(case: Case) -> Iterator[Finding]:
    """Too few of the body's sentences carry a citation that leads to a source, and that nothing
    speaks against."""
    citations, least = case.citations, case.settings.min_coverage
    if (
        citations is None
        or citations.coverage is None
        or citations.coverage >= least
        or not citations.claims
    ):
        return
    share = f"{citations.coverage:.2f} of {citations.sentences} sentences"
    text = f"{share} carry a citation that nothing speaks against, at least {least:g} asked"
    yield finding("citation_coverage", text, case.report, (0, len(case.body)))
