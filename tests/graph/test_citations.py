import time

import pytest

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer

ASYNCIO = Source.of(
    id=1001,
    url="https://docs.example/asyncio",
    title="asyncio tasks",
    text=(
        "Navigation is elsewhere.\n\n"
        "Tasks can easily and safely be cancelled. When a task is cancelled, "
        "asyncio.CancelledError will be raised in the task at the next opportunity. "
        "TaskGroup was added in version 3.11.\n\n"
        "The documentation was first published on 14 October 2012 by Guido van Rossum. "
        "A survey of 1,250,000 programs found that 37 percent use it.\n\n"
        + "The event loop runs callbacks and network operations in a single thread. " * 30
        + "\n\nAltogether 92 modules were removed from the standard library in that release."
    ),
)
DESCRIPTORS = Source.of(
    id=2001,
    url="https://docs.example/descriptors",
    title="Descriptor guide",
    text="A data descriptor defines __set__ or __delete__ and always overrides the instance "
    "dictionary. Non-data descriptors may be overridden by an entry in it.",
)
CHINESE = Source.of(
    id=3001,
    url="https://zh.example/ev",
    title="新能源汽车",
    text="2023年，中国新能源汽车销量达到949.5万辆，同比增长37.9%。比亚迪公司在2023年12月31日前售出302万辆，"
    "成为全球销量第一的企业。欧洲市场的补贴政策逐步退出。",
)
LEDGER = (ASYNCIO, DESCRIPTORS, CHINESE)


def status(sentence):
    (claim,) = verify_report(parse_answer(sentence), LEDGER).claims
    return claim.status


@pytest.mark.parametrize(
    "sentence",
    [
        "When a task is cancelled, CancelledError is raised in the task [1001].",
        "`TaskGroup` was added in version 3.11 [1001].",
        "The survey of 1.25 million programs found 37% using it [1001].",
        "Guido van Rossum published the documentation on October 14, 2012 [1001].",
        'The guide says that tasks "can easily and safely be cancelled" [1001].',
        "Data descriptors with `__set__` override the instance dictionary [2001].",
        "An instance dictionary entry may override a non-data descriptor [2001].",
        "Cancelling works, and data descriptors always override the instance dictionary, "
        "while a cancelled task sees asyncio.CancelledError raised at the next opportunity "
        "[1001, 2001].",
        "2023年中国新能源汽车的销量为949.5万辆，增长37.9％[3001]。",
        "比亚迪在2023年底前售出3,020,000辆，位居全球销量第一【3001】。",
        "欧洲市场正在逐步退出补贴政策。[3001]",
        "In 2023, sales in China reached 9,495,000 [3001].",
    ],
)
def test_of_true_claims_nothing_is_said_against(sentence):
    assert status(sentence) in {"quoted", "found", "unchecked", "not_checkable"}


@pytest.mark.parametrize(
    ("sentence", "known"),
    [
        ("`TaskGroup` was added in version 3.11 [1001].", "quoted"),
        ("taskgroup was added, in version 3.11 [1001]!", "quoted"),
        ("When a task is cancelled, CancelledError is raised in the task [1001].", "found"),
        ("The survey of 1.25 million programs found 37% using it [1001].", "found"),
        ('The guide says that tasks "can easily and safely be cancelled" [1001].', "found"),
        ("2023年中国新能源汽车的销量为949.5万辆，增长37.9％[3001]。", "found"),
        ("An entry of the dictionary may override some descriptors [2001].", "unchecked"),
        ("Guido van Rossum likes the 92 modules [1001].", "unchecked"),
        ("In 2023, sales in China reached 9,495,000 [3001].", "not_checkable"),
        ("Tasks of version 3.11 can be cancelled [77].", "dangling"),
        ("`TaskGroup` was added in version 3.12 [1001].", "contradicted"),
        ("`TaskGroup` was not added in version 3.11 [1001].", "contradicted"),
        ("TaskGroup was removed in version 3.11 [1001].", "contradicted"),
        ("Tasks can never easily and safely be cancelled [1001].", "contradicted"),
        ("2023年，中国新能源汽车销量达到949.5万辆，同比下降37.9%[3001]。", "contradicted"),
        ("When a task is cancelled, Brett Cannon is told at the next opportunity [1001].",
         "missing"),
        ("It is false that data descriptors always override the instance dictionary [2001].",
         "contradicted"),
    ],
)  # fmt: skip
def test_what_is_known_of_a_sentence(sentence, known):
    assert status(sentence) == known


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("`TaskGroup` was added in version 3.12 [1001].", "3.12"),
        ("The survey of programs found that 73 percent use it [1001].", "73 percent"),
        ("The survey of 1.25 billion programs found it [1001].", "1.25 billion"),
        ("Guido van Rossum published the documentation on 15 October 2012 [1001].",
         "15 October 2012"),
        ("When a task is cancelled, Brett Cannon is told at the next opportunity [1001].",
         "Brett Cannon"),
        ('The guide says that tasks "must never be cancelled by hand" [1001].',
         "must never be cancelled by hand"),
        ("2023年中国新能源汽车的销量为849.5万辆[3001]。", "849.5万"),
        ("特斯拉 Tesla 在2023年售出302万辆，成为全球销量第一的企业[3001]。", "Tesla"),
    ],
)  # fmt: skip
def test_a_wrong_part_is_named(sentence, missing):
    (claim,) = verify_report(parse_answer(sentence), LEDGER).claims
    assert claim.status in {"missing", "contradicted"} or claim.evidence[0].score >= 0.7
    assert claim.status not in {"quoted", "found"}
    assert missing in claim.missing


@pytest.mark.parametrize(
    "sentence",
    [
        "When a task is cancelled, an error is raised in the task at the next opportunity [2001].",
        "Data descriptors always override the instance dictionary [1001].",
        "`TaskGroup` was added in version 3.11 [2001].",
        "欧洲市场正在逐步退出补贴政策[2001]。",
        "Descriptors make programs faster and are loved by everybody who writes servers [2001].",
        "When a task is cancelled, 92 modules raise errors in the task [1001].",
    ],
)
def test_nothing_is_found_in_the_wrong_source(sentence):
    assert status(sentence) in {"unchecked", "missing", "not_checkable"}


def test_spans_and_evidence_index_the_exact_texts():
    report = (
        "## Introduction\n\nTasks end.\n\n## How\n\nWhen a task is cancelled, CancelledError is "
        "raised in the task [1001].  Data descriptors define `__set__` [2001][9].\n"
    )
    checked = verify_report(parse_answer(report), LEDGER)
    assert checked.sentences == 3
    first, second = checked.claims
    assert report[first.start : first.end] == first.text
    assert first.text.endswith("[1001].")
    (evidence,) = first.evidence
    assert ASYNCIO.text[evidence.start : evidence.end] == evidence.quote
    assert evidence.quote.startswith("When a task is cancelled")
    assert 0.5 < evidence.score <= 1
    assert second.dangling == ("[9]",)
    assert second.status == "found"
    assert checked.accuracy == 1.0
    assert checked.coverage == pytest.approx(2 / 3)


def test_an_answers_own_list_decides_what_a_number_means():
    report = (
        "## Body\n\nData descriptors always override the instance dictionary [1].\n\n"
        "It is said elsewhere [2].\n\n## References\n\n"
        "[1]. https://docs.example/descriptors - Descriptors\n[2]. https://nowhere.example/ - No\n"
    )
    first, second = verify_report(parse_answer(report), LEDGER).claims
    assert (first.sources, first.status) == ((2001,), "unchecked")
    assert (second.sources, second.dangling, second.status) == ((), ("[2]",), "dangling")


def test_code_headings_and_reference_lines_are_no_sentences():
    report = (
        "## Body of 2024 [1001]\n\n```python\nx[1001] = 1\n```\n\n**Bold heading**\n\n"
        "## References\n\n[1]. https://docs.example/asyncio - T\n"
    )
    checked = verify_report(parse_answer(report), LEDGER)
    assert checked.claims == ()
    assert checked.sentences == 0
    assert checked.accuracy is None
    assert checked.coverage is None


_LONG_QUOTE = (
    "Tasks can easily and safely be cancelled. When a task is cancelled, asyncio.CancelledError "
    "will be raised in the task at the next opportunity. TaskGroup was added in version 3.11."
)


@pytest.mark.parametrize(
    ("quote", "statuses", "whole"),
    [
        (f"> {_LONG_QUOTE} [1001]", ["quoted"], True),
        (f"> {_LONG_QUOTE.replace('. ', '.' + chr(10) + '> ')} [1001]", ["quoted"], True),
        (f"> {_LONG_QUOTE.replace('. When', '.' + chr(10) + '>' + chr(10) + '> When')} [1001]",
         ["quoted"], True),
        (f"> {_LONG_QUOTE.replace('. When', ' [1001]. When')} [1001]", ["quoted", "quoted"], True),
        (f"> {_LONG_QUOTE.replace('easily', 'never')} [1001]", ["contradicted"], True),
        (f"> {_LONG_QUOTE.replace('3.11', '3.9')} [1001]", ["contradicted"], True),
        (f"> {_LONG_QUOTE.replace('. When', '.' + chr(10) + '> ...' + chr(10) + '> When')} [1001]",
         ["quoted"], True),
        (f"> {_LONG_QUOTE.replace('easily and', '[easily](https://e.example) and')} [1001]",
         ["quoted"], True),
        (f"  > {_LONG_QUOTE.replace('. ', '.' + chr(10) + '  > ')} [1001]", ["quoted"], True),
        ("> can easily and safely be cancelled. When a task is cancelled, asyncio [1001]",
         ["unchecked"], False),
        (f"> {_LONG_QUOTE} It was proved by Bork in 1999. [1001]", ["missing"], True),
        (f"> {_LONG_QUOTE}\n\nIt is nice. TaskGroup was added in version 3.11 [1001].", ["quoted"],
         False),
        (f"> {_LONG_QUOTE}\nTaskGroup was added in version 3.11 [1001].", ["quoted"], False),
        (f"> {_LONG_QUOTE}\n\n> TaskGroup was added in version 3.11 [1001].", ["quoted"], False),
    ],
)  # fmt: skip
def test_a_citation_below_a_block_quote_is_of_all_of_it(quote, statuses, whole):
    answer = parse_answer(f"## Body\n\nSome say so.\n\n{quote}\n\nAnd on it goes.")
    report = verify_report(answer, LEDGER)
    assert [claim.status for claim in report.claims] == statuses
    assert all(answer.text[c.start : c.end] == c.text for c in report.claims)
    assert any("opportunity" in claim.text for claim in report.claims) == whole


def test_code_of_signs_alone_is_no_name():
    sentence = "The operator `==` of `@` and `___` was added in version 3.11 to TaskGroup [1001]."
    assert status(sentence) in {"found", "unchecked"}


def test_nothing_at_all():
    assert verify_report(parse_answer(""), ()).claims == ()


def checked_in(count: int) -> float:
    """CPU seconds for a report over so many sources, of five sentences each."""
    sources = [
        Source.of(
            id=i * 10 + 1,
            url=f"https://s.example/{i}",
            text="\n\n".join(
                f"Finding {i}.{j} says that component{j} of system{i} reached {i * 100 + j} units "
                f"in {1950 + j}, while the remaining parts kept their earlier behaviour throughout."
                for j in range(80)
            ),
        )
        for i in range(count)
    ]
    report = " ".join(
        f"In {1950 + n % 80} component{n % 80} of system{n % count} reached "
        f"{n % count * 100 + n % 80} units, and the remaining parts kept their behaviour "
        f"[{n % count * 10 + 1}]."
        for n in range(5 * count)
    )
    begin = time.process_time()
    checked = verify_report(parse_answer(report), sources)
    spent = time.process_time() - begin
    assert checked.accuracy == 1.0
    return spent


def test_a_long_report_over_sixty_sources_is_checked_in_linear_time():
    checked_in(1)  # what is loaded once
    whole, quarter = (min(checked_in(count) for _ in range(2)) for count in (60, 15))
    assert whole < 8 * quarter
