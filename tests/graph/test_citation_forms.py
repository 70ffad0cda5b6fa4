"""Every form of citation that reports have: what each sentence says, and where its marks lead."""

from __future__ import annotations

import pytest

from oresearch_graph.evidence.citations import sentences_of, verify_report
from oresearch_graph.evidence.delivery import deliver
from oresearch_graph.trace import Source, Step, Trace, violations
from oresearch_graph.trace.answer import parse_answer
from tests.helpers.growth import first_fault
from tests.helpers.linear_texts import Family

A, B, C = "https://a.example/tides", "https://b.example/x_(y)", "https://c.example/z?q=1"
NUMBERED = f"\n\n## References\n\n1. [Tides]({A})\n2. The moon. {B}\n3. {C}\n"
SAYS = "Tides rise twice a day"
MOON = "The moon pulls the water"


def read(report: str) -> list[tuple[str, list[str]]]:
    """Each cited sentence without its citations, and the addresses that it cites."""
    answer = parse_answer(report)
    return [
        (answer.plain(start, end).strip(" ."), [answer.address(mark) for mark in marks])
        for start, end, marks in sentences_of(answer)
        if marks
    ]


FORMS = {
    "brackets": f"{SAYS} [1]. {MOON} [2, 3].{NUMBERED}",
    "behind the stop": f"{SAYS}.[1] {MOON}. [2][3]{NUMBERED}",
    "ranges": f"{SAYS} [1]. {MOON} [2-3].{NUMBERED}",
    "semicolons": f"{SAYS} [1]. {MOON} [2; 3].{NUMBERED}",
    "footnotes": f"{SAYS}[^1]. {MOON}[^2][^3].\n\n[^1]: {A}\n[^2]: The moon. {B}\n[^3]: {C}\n",
    "footnotes of turns":
        f"{SAYS}[^1_1]. {MOON}[^1_2][^1_12].\n\n[^1_1]: {A}\n\n[^1_2]: {B}\n\n[^1_12]: {C}\n",
    "named footnotes": f"{SAYS}.[^tides] {MOON}[^m][^z].\n\n[^tides]: {A}\n[^m]: {B}\n[^z]: {C}\n",
    "wide": f"{SAYS}［1］. {MOON}【2】【3†L4-L9】.{NUMBERED}",
    "links": f"{SAYS} ([Tides]({A})). {MOON} ([The moon]({B}), [C]({C})).",
    "numbered links": f"{SAYS} [[1]]({A}). {MOON} [[2]]({B}) [[3]]({C}).",
    "numbers as links": f"{SAYS} [1]({A}). {MOON} [2]({B})[3]({C}).",
    "escaped links": f"{SAYS} [\\[1\\]]({A}). {MOON} [\\[2\\]]({B})[\\[3\\]]({C}).",
    "links with titles": f'{SAYS} [1]({A} "Tides"). {MOON} [2](<{B}>) [3]({C}).',
    "links behind the stop": f"{SAYS}. ([Tides. A study]({A})) {MOON}. [[2]]({B}) [[3]]({C})",
    "bare addresses": f"{SAYS} ({A}). {MOON} <{B}> {C}.",
    "addresses in brackets": f"{SAYS} [{A}]. {MOON} [{B}][{C}].",
    "raised": f"{SAYS}.<sup>1</sup> {MOON}<sup>[2, 3]</sup>.{NUMBERED}",
    "superscripts": f"{SAYS}.¹ {MOON}² ³.{NUMBERED}",
    "flattened": f"{SAYS}.1 {MOON}.2,3{NUMBERED}",
    "within the page": f"{SAYS} [1](#ref-1). {MOON} [2](#ref-2)[3](#ref-3).{NUMBERED}",
    "authors and years":
        f"{SAYS} (Noor & Orme, 2019). {MOON} (Quill et al., 2020; Zell, 2021).\n\n## References\n\n"
        f"Noor, I., & Orme, P. (2019). Tides. {A}\n\nQuill, B. (2020). The moon. {B}\n\n"
        f"Zell, C. (2021). Z. {C}\n",
    "authors in the sentence":
        f"{SAYS}, as Noor (2019) found. {MOON} (Quill, 2020) (Zell, 2021).\n\n## Works cited\n\n"
        f"- Noor, I. (2019). Tides. {A}\n- Quill, B. (2020). {B}\n- Zell, C. (2021). {C}\n",
    "an unnumbered list": f"{SAYS} [1]. {MOON} [2][3].\n\n## Sources\n\n- {A}\n- {B}\n- {C}\n",
    "titles above addresses":
        f"{SAYS} [1]. {MOON} [2][3].\n\n**Footnotes**\n\nTides\n{A}\n\nMoon\n{B}\n\nZ\n{C}\n",
}  # fmt: skip


@pytest.mark.parametrize("report", FORMS.values(), ids=FORMS)
def test_every_form_is_read(report: str):
    (first, of_first), (second, of_second) = read(report)
    assert of_first == [A]
    assert sorted(set(of_second)) == [B, C]
    assert first.removesuffix(" ()").startswith(SAYS)
    assert second.strip(" ().,;") == MOON


@pytest.mark.parametrize(
    "heading",
    ["Key Citations", "Footnotes", "引用的著作", "参考资料", "Quellenangaben", "Ouvrages cités",
     "出典", "각주", "Примечания", "Tài liệu tham khảo", "Kaynakça", "Źródła", "Bronnen"],
)  # fmt: skip
def test_lists_are_found_under_many_headings(heading: str):
    for entries in (f"- [Tides]({A})\n- Moon: {B}\n", f"1. {A}\n2. {B}\n"):
        report = f"{SAYS} [1]. {MOON} [2].\n\n### {heading}\n\n{entries}"
        assert [urls for _, urls in read(report)] == [[A], [B]], entries


def test_a_link_in_the_middle_keeps_its_words():
    ((text, urls),) = read(f"As [the harbour office]({A}) says, tides rise.")
    assert (text, urls) == ("As the harbour office says, tides rise", [A])


def test_in_chinese():
    report = f"潮汐每天涨落两次[1]。月亮牵引海水【2】。\n\n## 引用的著作\n\n1. {A}\n2. {B}\n"
    assert read(report) == [("潮汐每天涨落两次。", [A]), ("月亮牵引海水。", [B])]


def test_the_words_of_a_link():
    report = f"As [[PDF] Tides]({A}) say, in [2019]({B}) tides rose by [42]({C}) metres [7]({A})."
    ((text, urls),) = read(report)
    assert text == "As [PDF] Tides say, in 2019 tides rose by 42 metres"
    assert urls == [A, B, C, A]


def test_definitions_may_stand_anywhere():
    report = f"{SAYS}.[^a]\n\n[^a]: {A}\n\n## Moon\n\n{MOON}.[^b]\n\n[^b]: {B}\n\nThe end."
    assert [urls for _, urls in read(report)] == [[A], [B]]


def test_a_section_of_prose_is_no_list():
    text = f"{SAYS} [1001].\n\n## Sources\n\nWater comes from the river [1002]. See {A} today.\n"
    answer = parse_answer(text)
    assert [mark.number for mark in answer.marks] == [1001, 1002]
    assert answer.body_end == len(text)


def test_a_list_with_an_entry_without_an_address_is_not_counted():
    answer = parse_answer(f"{SAYS} [1].\n\n## Sources\n\n- Tides, a book\n- {B}\n- {C}\n")
    assert answer.references == {}


@pytest.mark.parametrize("form", FORMS)
def test_no_form_is_a_fault_where_its_addresses_were_seen(form: str):
    sources = [Source.of(id=n, url=url, text="x") for n, url in enumerate((A, B, C), 1)]
    step = Step(kind="suggested_answer", text=FORMS[form])
    for seen, well in ((sources, True), (sources[:2], False)):
        trace = Trace(question="Why?", steps=(step,), sources=tuple(seen))
        codes = {v.code for v in violations(trace)} & {"dangling_citation", "unknown_reference"}
        assert bool(codes) != well, codes
    answer = parse_answer(FORMS[form])
    done = deliver(answer, sources, verify_report(answer, sources), language="en")
    assert len(done.references) == 3, done.report
    assert "example" not in done.report.partition("## References")[0], done.report


@pytest.mark.parametrize(
    "text",
    [
        "It has an area of 30 km² and 10³ stones.",
        "In v1.3 The map is new.",
        "See `[1]` and `https://a.example`.",
        "![Tides](https://a.example/picture.png) shows them.",
        "The list is empty in [2019-2021].",
        "It fell (Paris, 2020) and rose.",
        "R² of 0.9, 9.8 m/s², 10⁻³ and Ca²⁺ were found in Python2 too.",
        "全年共计2 次。30 年后潮汐下降。",
        "Set the base URL to http://localhost:8000 first.",
        "It closed (The gates were shut for most of 2019) early.",
        '<a href="https://d.example">It rose</a> often.',
    ],
)
def test_what_is_no_citation(text: str):
    answer = parse_answer(f"{text}{NUMBERED}")
    assert (answer.marks, answer.links) == ((), ())


def test_an_address_beside_numbers_is_no_citation():
    answer = parse_answer(f"Open https://d.example first [1].{NUMBERED}")
    assert [mark.number for mark in answer.marks] == [1]
    assert answer.links == ()


MIXED = ("[1]([a](b))", "[1](.)", "[^.]", "[1](https://.)", "```\n```\n[a](https://b.c)\n",
         f"({'a' * 290};2019) ", "([a](https://b.c), ", "Noor (2019) ", "<https://a.b> ",
         "[[a] b](https://c.d) ")  # fmt: skip
PIECES = (*MIXED, "[", "![", "[[1]](", "[^", "(Noor, ", "<sup>", "¹", "【1†", "https://", "a1 ",
          "aaaa.1,",
          "[a](https://a.b/(", "`", "\n[^a]: ", "\n## Sources\n", "\n- https://a.b\n")  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_reading_is_linear(piece: str):
    def reader(text: str) -> object:
        answer = parse_answer(text)
        return [answer.plain(start, end) for start, end, _ in sentences_of(answer)]

    families = (
        Family(piece, tail="X"),
        Family(piece, head="Tides.", tail="X"),
        Family(piece, tail=f"\n\n## References\n\nNoor, I. (2019). Tides. {A}\n"),
        Family(piece, head=f"A [1].{NUMBERED}"),
    )
    assert first_fault(reader, families, 1_000) is None
