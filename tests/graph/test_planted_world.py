"""The planted world that real models are tried on, and its score."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from oresearch_graph.trace import Source, Step, Trace
from tests.planted_score import Score, loops, score
from tests.planted_world import Fact, Question, World, _Maker, planted_world

SEEDS = range(20)
WORLD = planted_world(7)


def trace_of(
    question: Question, sentences: Callable[[Fact, dict[str, int]], str], world: World = WORLD
) -> Trace:
    """A trace whose report has a sentence for each fact."""
    ids = {name: 1001 + i for i, name in enumerate(world.pages)}
    body = " ".join(sentences(fact, ids) for fact in question.facts)
    answer = f"## Introduction\n{body}\n\n## Conclusion\n{sentences(question.facts[0], ids)}\n"
    sources = [
        Source.of(id=number, url=f"file:///world/pages/{name}", text=world.pages[name])
        for name, number in ids.items()
    ]
    steps = (Step(kind="suggested_answer", author="policy", text=answer),)
    return Trace(question=question.question, steps=steps, sources=tuple(sources))


def perfect(fact: Fact, ids: dict[str, int]) -> str:
    return f"{fact.text[:1].upper()}{fact.text[1:]} [{ids[fact.pages[0]]}]."


def scores(sentences: Callable[[Fact, dict[str, int]], str]) -> list[Score]:
    return [score(WORLD, trace_of(question, sentences)) for question in WORLD.questions]


def test_a_seed_gives_the_same_bytes_and_another_seed_another_world(tmp_path: Path):
    for folder in ("a", "b"):
        planted_world(3).write(tmp_path / folder)
    planted_world(4).write(tmp_path / "c")

    a, b, c = (
        {str(p.relative_to(tmp_path / f)): p.read_bytes() for p in (tmp_path / f).rglob("*.*")}
        for f in "abc"
    )
    assert a == b
    assert len(a) == 41
    assert not set(a.values()) & set(c.values())
    assert json.loads(a["questions.json"])["questions"][0]["facts"][0]["pages"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fact_stands_in_the_pages_it_names_and_in_no_other(seed: int):
    world = planted_world(seed)

    facts = [fact for question in world.questions for fact in question.facts]
    assert len(facts) == len({fact.id for fact in facts}) == 36
    for fact in facts:
        holding = {name for name, text in world.pages.items() if fact.stands_in(text)}
        assert holding == set(fact.pages)
        assert fact.stands_in(fact.text)


@pytest.mark.parametrize("seed", SEEDS)
def test_pages_are_short_and_no_page_answers_its_question_alone(seed: int):
    world = planted_world(seed)

    assert len(world.pages) == 40
    assert all(120 <= len(text.split()) <= 300 for text in world.pages.values())
    for question in world.questions:
        assert len(set.intersection(*(set(fact.pages) for fact in question.facts))) == 0
        assert any(len(fact.pages) == 2 for fact in question.facts)


def test_other_spellings_of_a_value_are_the_value():
    _, patterns = _Maker(1).value("metres", "412", "413")
    span = Fact("", "", "", patterns)

    for text in ("a 412-metre span", "412m of steel", "412 meters", "It is 412\u00a0metres."):
        assert span.stands_in(text)
    for text in ("412 feet", "1,412 metres", "412.5 metres", "412 miles", "412"):
        assert not span.stands_in(text)


def test_a_date_may_be_written_in_other_ways():
    dated = next(
        fact for question in WORLD.questions for fact in question.facts if len(fact.accept) == 3
    )
    day, month, year = dated.text.split()[-3:]
    assert dated.stands_in(f"in the year: {month} {day}, {year}")
    assert dated.stands_in(f"{month[:3]} {day}th, {year}")
    assert dated.stands_in(f"the {day}th of {month} {year}")
    assert not dated.stands_in(f"{month} {year}")


def test_a_perfect_report_has_every_fact_and_no_invention():
    results = scores(perfect)

    assert sum(result.hits for result in results) == 36
    assert all(result.cited == 4 for result in results)
    assert all(result.sentences == 4 for result in results)
    assert [result.inventions for result in results] == [()] * 12
    assert [result.loops for result in results] == [()] * 12


def test_a_report_of_inventions_has_no_fact():
    wild = "It was opened in {} by Gustave Eiffel near Paris, France [1001]."
    results = scores(lambda fact, ids: wild.format(2_031 + int(fact.id[-1])))

    assert sum(result.hits for result in results) == 0
    assert all(result.invented == 1.0 for result in results)
    assert "Gustave Eiffel" in results[0].inventions[0].items
    assert "France" in str(results[0].inventions[0].items)


def test_a_fact_counts_only_where_a_page_that_holds_it_is_cited():
    def elsewhere(fact: Fact, ids: dict[str, int]) -> str:
        return f"{fact.text} [{next(ids[name] for name in ids if name not in fact.pages)}]."

    assert sum(result.hits for result in scores(elsewhere)) == 0
    assert sum(result.hits for result in scores(lambda fact, ids: f"{fact.text}.")) == 0


def test_names_that_the_world_does_not_join_are_an_invention():
    first, second = (question.facts[0].pages[0] for question in WORLD.questions[:2])
    names = [
        next(w for w in WORLD.pages[page].split() if w.istitle() and len(w) > 7).strip(".,")
        for page in (first, second)
    ]
    joined = f"It is close to {names[0]} {names[1]} [1001]."
    one = score(WORLD, trace_of(WORLD.questions[0], lambda fact, ids: joined))

    assert one.inventions[0].items == (" ".join(names),)


def test_loops_are_what_is_said_three_times():
    sentence = "The bridge has a span that nobody measured. "
    assert loops(sentence * 2) == []
    assert loops(sentence * 3) == ["the bridge has a span that nobody measured"]
    run = "one two three four five six seven eight nine ten eleven twelve "
    assert loops(run * 3) != []
    assert loops("Yes, it is. " * 3) == []


def test_a_trace_of_another_question_is_refused():
    with pytest.raises(ValueError, match="asks no such question"):
        score(WORLD, Trace(question="What are tides?"))


def test_a_run_without_a_report_scores_nothing():
    result = score(WORLD, Trace(question=WORLD.questions[0].question, outcome="failed"))

    assert (result.hits, result.sentences, result.invented) == (0, 0, None)
