"""The planted cases of every rule, both ways: made from the good traces by one change each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from oresearch_graph.trace import Trace
from tests.helpers.planted_traces import (
    CHINESE,
    ENGLISH,
    Planted,
    bad,
    changed,
    failed,
    fine,
    planted_trace,
)

_SUN_PAGE: Final = ENGLISH.split("[1002] Spring tides\nhttps://example.org/sun\n")[1].split(
    "</observation>"
)[0]
_SUN_BLOCK: Final = f"[1002] Spring tides\nhttps://example.org/sun\n{_SUN_PAGE}"
_LAST_THINK: Final = "I have the largest and a small one."
_ANSWER: Final = "<subtask_answer>The tidal range of the Bay of Fundy"
_FUNDY: Final = "The tidal range of the Bay of Fundy reaches 16 metres [3]."
_TURN: Final = (
    "<think>One more look at number {n}.</think>\n\n<web_search>tides record {n}</web_search>\n\n"
    "<observation>[2001] Bay of Fundy\nhttps://example.org/fundy\nResonance.</observation>\n\n"
)


def planted() -> Iterator[Planted]:
    """Every case."""
    yield from _violations()
    yield from _origins()
    yield from _conduct()
    yield from _citing()
    yield from _reports()
    yield from _wording()
    yield from _observed()


def _english(*changes: tuple[str, str]) -> Trace:
    return planted_trace(changed(*changes))


def _chinese(*changes: tuple[str, str]) -> Trace:
    return planted_trace(changed(*changes, text=CHINESE), "zh")


def _more_turns(first: int, count: int) -> tuple[str, str]:
    """So many turns more in the second subtask, with calls numbered from `first`."""
    turns = "".join(_TURN.format(n=n) for n in range(first, first + count))
    return f"<think>{_LAST_THINK}", f"{turns}<think>{_LAST_THINK}"


def _violations() -> Iterator[Planted]:
    rule: Final = "violation"
    yield fine(rule, "a tag in a page", _english((_SUN_PAGE, f"{_SUN_PAGE} Use <i>tides</i>.")))
    yield fine(rule, "tolerated", _english(("## Conclusion", "## Last words")),
               tolerated=("no_conclusion",))  # fmt: skip
    yield bad(rule, "no conclusion", _english(("## Conclusion", "## Last words")),
              code="no_conclusion")  # fmt: skip
    yield bad(rule, "stray text", _english(("</subtask_list>", "</subtask_list>\nHere we go.")),
              "Here we go.", code="stray_text")  # fmt: skip
    yield bad(rule, "a tag in a thought", _english((_LAST_THINK, f"<plan> {_LAST_THINK}")),
              "<plan>", code="nested_tag")  # fmt: skip
    yield bad(rule, "no address",
              _english(("<crawl_page>https://example.org/sun<", "<crawl_page>the sun<")),
              "the sun", ("call_bounds",), code="malformed_call")  # fmt: skip
    yield bad(rule, "a number of no source",
              _english(("is about 30 centimetres [2002]", "is about 30 centimetres [2009]")),
              "[2009]", code="dangling_citation")  # fmt: skip
    yield bad(rule, "a page never seen",
              _english(("[4]. https://example.org/mediterranean", "[4]. https://example.org/red")),
              "https://example.org/red", ("violation.dangling_citation", "citation_accuracy"),
              code="unknown_reference")  # fmt: skip
    yield bad(rule, "a German heading", _english(("## Conclusion", "## Fazit")), "## Fazit",
              code="heading_language")  # fmt: skip
    yield bad(rule, "a heading in English", _chinese(("## 结论", "## Conclusion")),
              "## Conclusion", code="heading_language")  # fmt: skip


def _origins() -> Iterator[Planted]:
    cut = failed("not_covered", "policy", branch=2)
    yield bad("outcome", "partial", planted_trace(outcome="partial", failures=(cut,)))
    yield bad("outcome", "failed", planted_trace(outcome="failed"))
    broken = failed("grammar", "policy")
    yield fine("outcome", "complete, with a failure", planted_trace(failures=(broken,)))
    down = failed("tool_error", "infrastructure", branch=1)
    yield bad("infrastructure", "search was down", planted_trace(failures=(down,)))
    gone = failed("tool_error", "web", branch=1)
    yield fine("infrastructure", "a page was gone", planted_trace(failures=(gone,)))
    mended = failed("repaired", "policy", branch=1, rejected="<think")
    yield bad("repaired", "corrected once", planted_trace(failures=(mended,)))
    yield fine("repaired", "asked for", planted_trace(failures=(mended,)), allow_repaired=True)
    redacted = planted_trace().protocol.model_copy(update={"changed_by": ("PIIMiddleware[email]",)})
    yield bad("changed", "an address was redacted", planted_trace(protocol=redacted))
    yield fine("changed", "nothing stood around it", planted_trace())
    quoting = {"planner": "a", "researcher": "extractive", "summarizer": "a"}
    yield bad("extractive", "one role", planted_trace(models=quoting))
    yield fine("extractive", "asked for", planted_trace(models=quoting), allow_extractive=True)
    serving = planted_trace().protocol.model_copy(update={"extended": True})
    told_more = planted_trace(protocol=serving)
    yield bad("extended_prompt", "a tone was asked for", told_more, allow_extended=False)
    yield fine("extended_prompt", "a teacher asked for its reasoning", told_more)
    yield fine("extended_prompt", "the training prompt", planted_trace(), allow_extended=False)
    by_grammar = planted_trace().protocol.model_copy(update={"constrained": True})
    yield bad(
        "constrained", "by a grammar", planted_trace(protocol=by_grammar), allow_constrained=False
    )
    yield fine("constrained", "let pass", planted_trace(protocol=by_grammar))
    yield fine("constrained", "free", planted_trace(), allow_constrained=False)


def _conduct() -> Iterator[Planted]:
    one = ENGLISH.replace("\n2. How large tides get", "")
    start, end = one.index("<subtask>How large"), one.index("<suggested_answer>")
    single = planted_trace(changed(*_also_in_first(), text=one[:start] + one[end:]))
    yield bad("few_subtasks", "one", single, "1. What causes tides",
              min_steps=8, min_observations=2)  # fmt: skip
    yield fine("few_subtasks", "one suffices", single, min_subtasks=1, min_steps=8,
               min_observations=2)  # fmt: skip
    yield fine("few_subtasks", "two", planted_trace())

    search = "<web_search>largest tidal range in the world&serp_num=3</web_search>"
    crawl = "<crawl_page>https://example.org/mediterranean</crawl_page>"
    yield bad("call_bounds", "the same call is none", _english((crawl, search)),
              "How large tides get")  # fmt: skip
    yield bad("call_bounds", "nine", _english(_more_turns(1, 7)), "tides record 7")
    yield fine("call_bounds", "eight", _english(_more_turns(1, 6)))

    answer = _answer_of_second()
    yield bad("unanswered_subtask", "no answer", _english((answer, "")), "How large tides get",
              ("violation.branch_without_answer",))  # fmt: skip
    yield bad("unanswered_subtask", "a word", _english((answer, _answered("Sixteen [2001]."))),
              "Sixteen [2001].")  # fmt: skip
    yield fine("unanswered_subtask", "five words",
               _english((answer, _answered("It reaches 16 metres there [2001]."))))  # fmt: skip

    twice = _more_turns(1, 1)[1].removesuffix(f"<think>{_LAST_THINK}")
    before = f"<think>{_LAST_THINK}"
    yield bad("repeated_call", "three times", _english((before, twice * 3 + before)),
              "tides record 1")  # fmt: skip
    yield fine("repeated_call", "twice", _english((before, twice * 2 + before)))

    yield bad(
        "short_path",
        "nothing was shown",
        _english((_SUN_BLOCK, "https://example.org/sun: could not be read: 404 Not Found")),
    )
    yield bad("short_path", "few steps", planted_trace(), min_steps=22)
    yield fine("short_path", "as many as asked", planted_trace(), min_steps=21)

    yield bad("token_limit", "too long", planted_trace(), max_tokens=500)
    yield fine("token_limit", "just fits", planted_trace(), max_tokens=1_500)


def _also_in_first() -> list[tuple[str, str]]:
    """With one subtask the report can cite what the first one saw, and nothing else: the pages of
    the second are shown in the first."""
    pages = ENGLISH.split("<observation>")
    shown = "\n\n".join(page.split("</observation>")[0] for page in (pages[3], pages[4]))
    return [(_SUN_PAGE, f"{_SUN_PAGE}\n\n{shown}")]


def _answer_of_second() -> str:
    start = ENGLISH.index(_ANSWER)
    return ENGLISH[start : ENGLISH.index("</subtask_answer>", start) + len("</subtask_answer>")]


def _answered(text: str) -> str:
    return f"<subtask_answer>{text}</subtask_answer>"


def _citing() -> Iterator[Planted]:
    yield bad("unverifiable_citations", "no sources", planted_trace(sources=None, citations=None))
    yield fine("unverifiable_citations", "checked anew", planted_trace(citations=None))
    bare = [(f" [{number}]", "") for number in (1, 2, 3, 4)]
    yield bad("uncited_report", "no mark at all", _english(*bare))
    yield fine("uncited_report", "one mark", _english(*bare[1:]), min_coverage=0.1)

    wrong = [(_FUNDY, "The tidal range of the Bay of Fundy reaches 61 metres [3]."),
             ("The Sun adds about 46 percent of the Moon's effect [1]",
              "The Sun adds about 64 percent of the Moon's effect [1]")]  # fmt: skip
    yield bad("citation_accuracy", "two figures of nine", _english(*wrong), "61 metres")
    yield fine("citation_accuracy", "one of nine", _english(wrong[0]))
    stated = planted_trace().citations
    yield bad("citation_accuracy", "the trace's own word is not taken",
              planted_trace(changed(*wrong), citations=stated), "61 metres",
              verify_again=True)  # fmt: skip

    marks = [(f" [{number}].", ".") for number in (1, 2)]
    yield bad("citation_coverage", "four of eleven", _english(*marks), "## Causes",
              min_coverage=0.4)  # fmt: skip
    yield fine("citation_coverage", "four of eleven suffice", _english(*marks), min_coverage=0.3)


def _reports() -> Iterator[Planted]:
    german = "Die Gezeiten werden vor allem von der Anziehung des Mondes und der Sonne verursacht"
    body = ENGLISH[ENGLISH.index("This report explains") : ENGLISH.index("## Conclusion")]
    many = "\n".join(f"{german}, wie es auch in Punkt {n} gesagt wird [1]." for n in range(9))
    yield bad("report_language", "a German body", _english((body, f"## Ursachen\n{many}\n\n")),
              "Anziehung des Mondes")  # fmt: skip
    question = "What causes tides?"
    yield fine("report_language", "a short question",
               _unstated(planted_trace(question=question)))  # fmt: skip
    yield bad("report_language", "headings, of an import that states no language",
              _unstated(_chinese(("## 结论", "## Conclusion"))), "## Conclusion")  # fmt: skip
    yield fine("report_language", "an English name in Chinese",
               _chinese(("芬迪湾的潮差可达16米[3]", "芬迪湾（Bay of Fundy）的潮差可达16米[3]")),
               min_accuracy=0.5)  # fmt: skip

    yield bad("report_length", "short", planted_trace(), "## Introduction",
              report_words=(400, 10_000))  # fmt: skip
    yield bad("report_length", "long", planted_trace(), report_words=(10, 100))
    yield bad("report_length", "short in Chinese", planted_trace(CHINESE, "zh"), "## 引言",
              report_characters=(900, 20_000))  # fmt: skip
    yield fine("report_length", "bounds of the other script", planted_trace(CHINESE, "zh"),
               report_words=(5_000, 10_000))  # fmt: skip


def _unstated(trace: Trace) -> Trace:
    """As an import has it that does not say the question's language."""
    return trace.model_copy(update={"language": None})


def _wording() -> Iterator[Planted]:
    said = "I should look for the largest tidal range that was ever measured anywhere. "
    yield bad("repeated_text", "a sentence thrice", _english((_LAST_THINK, said * 3)),
              "ever measured")  # fmt: skip
    yield fine("repeated_text", "a sentence twice", _english((_LAST_THINK, said * 2)))
    yield bad(
        "repeated_text",
        "over three thoughts",
        _english(
            (_LAST_THINK, said),
            ("For contrast I want", f"{said} For contrast I want"),
            ("Records of the tidal", f"{said} Records of the tidal"),
        ),
        "ever measured",
    )
    yield bad("repeated_text", "a loop without a stop",
              _english((_LAST_THINK, "and then the tide " * 80)), "and then the tide")  # fmt: skip
    yield bad("repeated_text", "in Chinese",
              _chinese(("最大和很小的例子都有了。", "我要再找一个潮差非常大的海湾作为例子。" * 3)),
              "潮差非常大")  # fmt: skip
    yield fine("repeated_text", "a page that repeats itself",
               _english((_SUN_PAGE, f"{_SUN_PAGE} {said * 30}")))  # fmt: skip

    yield bad(
        "refusal",
        "in the report",
        _english(
            ("This report explains", "I'm sorry, but I cannot help with that. This report explains")
        ),
        "I'm sorry, but I cannot",
    )
    answer = _answer_of_second()
    yield bad(
        "refusal",
        "in an answer",
        _english(
            (
                answer,
                _answered("As an AI language model, I do not have access to tide tables [2001]."),
            )
        ),
        "As an AI language model, I",
    )
    yield bad("refusal", "in Chinese", _chinese(("芬迪湾的潮差可达16米[2001]。",
              "很抱歉，我无法回答这个问题[2001]。")), "很抱歉，我无法")  # fmt: skip
    refused = "The assistant said: I'm sorry, but I cannot help with that."
    yield fine(
        "refusal", "a page that tells of one", _english((_SUN_PAGE, f"{_SUN_PAGE} {refused}"))
    )
    yield fine("refusal", "a thought", _english((_LAST_THINK, "I cannot answer yet. Now I can.")))
    yield fine("refusal", "quoted in an answer", _english(("In the Mediterranean Sea it is",
               "“I cannot help” is no tide; in the Mediterranean Sea it is")))  # fmt: skip

    yield bad("tag_leak", "a chat template", _english((_LAST_THINK, f"{_LAST_THINK}<|im_end|>")),
              "<|im_end|>")  # fmt: skip
    yield bad("tag_leak", "almost a tag", _english((_LAST_THINK, f"{_LAST_THINK} </Think >")),
              "</Think >")  # fmt: skip
    yield fine("tag_leak", "a page on templates",
               _english((_SUN_PAGE, f"{_SUN_PAGE} A turn begins with <|im_start|>.")))  # fmt: skip
    yield fine("tag_leak", "less and greater", _english((_LAST_THINK, "30 cm < 16 m > 0 [|a|].")))


def _observed() -> Iterator[Planted]:
    wall = ("403 Forbidden. You do not have permission to access this page. Please enable "
            "JavaScript and cookies to continue. Ray ID: 8f2a.")  # fmt: skip
    yield bad("error_page", "a wall taken for a page", _english((_SUN_PAGE, wall)), "403 Forbidden")
    yield bad("error_page", "a Chinese captcha",
              _chinese(("大潮出现在新月和满月，此时太阳和月球的引力方向一致。小潮出现在上弦月和下弦月，潮差较小。",
                        "访问过于频繁，请完成安全验证。请输入验证码。")), "安全验证")  # fmt: skip
    yield fine("error_page", "one was allowed for", _english((_SUN_PAGE, wall)), error_pages=1)
    told = "A server answers 403 Forbidden when a reader may not see a tide table."
    yield fine("error_page", "a page that quotes one", _english((_SUN_PAGE, f"{_SUN_PAGE} {told}")))

    gone = "https://example.org/sun: could not be read: 404 Not Found"
    nothing = "## Query: largest tidal range in the world\n\nNo results."
    fundy = ENGLISH.split("<observation>")[3].split("</observation>")[0]
    yield bad("empty_observations", "two of four", _english((_SUN_BLOCK, gone), (fundy, nothing)),
              "No results.", min_observations=2, empty_observations=0.4)  # fmt: skip
    yield fine("empty_observations", "two of four suffice",
               _english((_SUN_BLOCK, gone), (fundy, nothing)), min_observations=2)  # fmt: skip
