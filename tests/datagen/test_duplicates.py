"""Which questions are the same one: near-duplicates, look-alikes, benchmark questions."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.questions.index import Benchmarks, NearIndex
from datagen.questions.likeness import compared, same_question, tidy, wording

BENCH = Path(__file__).parents[3] / "shared" / "data" / "deep_research_bench" / "query.jsonl"
TIDES = "How do the Moon and the Sun together cause the tides of the oceans on Earth?"
SAME = [
    (TIDES, TIDES.upper()),
    (TIDES, "How do the Sun and the Moon together cause the tides of the oceans on Earth?"),
    (TIDES, "How do the Moon and the Sun together cause tides of oceans on Earth"),
    (TIDES, "How do the Moon and the Sun cause the tides of the oceans on Earth?"),
    ("How does asyncio cancel tasks?", "How does asyncio cancel a task?"),
    ("中国房地产市场未来十年的发展趋势是什么？", "中国房地产市场未来十年的发展趋势是什么"),
    ("中国房地产市场未来十年的发展趋势是什么？", "中国房地产市场的未来十年的发展趋势是什么？"),
    ("Ｐｙｔｈｏｎ 的垃圾回收如何工作？", "Python的垃圾回收如何工作？"),
]
OTHER = [
    ("How did prices develop in France in 2020?", "How did prices develop in France in 2021?"),
    ("How did inflation develop in France after the war?",
     "How did inflation develop in Greece after the war?"),
    ("How do lists and tuples differ in memory?", "How do lists and arrays differ in memory?"),
    ("中国房地产市场的发展趋势", "美国房地产市场的发展趋势"),
    ("What causes tides?", "What causes earthquakes?"),
    ("How does a fridge work?", "How does a bridge work?"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_variants_of_one_question(one: str, other: str):
    assert same_question(wording(one), wording(other), 0.9)
    index = NearIndex(0.9)
    index.add(wording(one))
    assert index.find(wording(other)) == one


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_two_questions_of_one_form(one: str, other: str):
    assert not same_question(wording(one), wording(other), 0.9)
    assert not same_question(wording(other), wording(one), 0.9)


def made_up(count: int) -> list[str]:
    draw = random.Random(7)  # noqa: S311  # made-up words
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(4, 9))) for _ in range(800)]
    return [
        f"How does {' '.join(draw.choices(words, k=9))} work, and what follows from it?"
        for _ in range(count)
    ]


def test_the_index_finds_nearly_every_variant_among_many_and_nothing_else():
    questions = made_up(1_500)
    index = NearIndex(0.9)
    for question in questions:
        assert index.find(wording(question)) is None
        index.add(wording(question))
    variants = [question.replace("what follows from it", "what all follows of it") for question in
                questions[:300]]  # fmt: skip
    found = [index.find(wording(variant)) for variant in variants]
    assert sum(twin == own for twin, own in zip(found, questions, strict=False)) >= 297
    assert {None, *questions[:300]} >= set(found)


def test_the_first_of_several_twins_is_named():
    index = NearIndex(0.9)
    for text in (TIDES, f"{TIDES} "):
        index.add(wording(text))
    assert index.find(wording(TIDES.lower())) == TIDES


@given(st.text(), st.text())
def test_any_text_can_be_compared(one: str, other: str):
    first, second = wording(tidy(one)), wording(tidy(other))
    assert same_question(first, first, 0.9)
    assert same_question(first, second, 0.9) == same_question(second, first, 0.9)


@given(st.text())
def test_tidying_twice_changes_nothing(text: str):
    assert tidy(tidy(text)) == tidy(text)
    assert compared(compared(text)) == compared(text)


def test_half_a_surrogate_pair_and_invisible_characters_do_no_harm():
    assert tidy("What\u200b causes \ud800tides?\x00") == "What causes \ufffdtides?"


LONG = (
    "Write a report on the role of heat pumps in the heating of old buildings in Scandinavia, "
    "comparing costs, subsidies and emissions between Sweden, Norway and Denmark since 2010."
)
BENCHMARK = [LONG, "人工智能在教育领域的应用现状与面临的挑战是什么？", "What causes tides?", TIDES]


@pytest.mark.parametrize(
    ("question", "hit"),
    [
        (LONG.lower(), LONG),
        (f"You are a careful researcher. {LONG} Answer in Swedish, with tables.", LONG),
        ("the role of heat pumps in the heating of old buildings in Scandinavia", LONG),
        (
            "请详细回答：人工智能在教育领域的应用现状与面临的挑战是什么？不少于三千字。",
            BENCHMARK[1],
        ),
        ("人工智能在教育领域的应用现状与面临的挑战", BENCHMARK[1]),
        (LONG.replace("Sweden", "Finland"), None),
        (LONG.replace("2010", "1990"), None),
        ("What causes tides? And what causes earthquakes, volcanoes and storms at sea?", None),
        ("How do heat pumps work in new buildings?", None),
        ("heating", None),
        ("", None),
    ],
)
def test_a_benchmarks_question_repeated_embedded_or_cut(question: str, hit: str | None):
    assert Benchmarks(BENCHMARK, 0.9).find(wording(question)) == hit


@pytest.mark.skipif(not BENCH.exists(), reason="the shared data are not there")
def test_a_real_benchmark_finds_its_own_questions_and_no_others():
    prompts = [json.loads(line)["prompt"] for line in BENCH.read_text("utf-8").splitlines()]
    kept_out = Benchmarks(prompts[:50], 0.9)
    assert all(kept_out.find(wording(f"Task: {prompt}\nBe brief.")) for prompt in prompts[:50])
    assert [kept_out.find(wording(prompt)) for prompt in prompts[50:]] == [None] * 50
