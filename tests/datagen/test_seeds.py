"""The seeds stage: what becomes a seed, what is left out and why, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.questions.open_ended import not_open_ended
from datagen.records import Dropped, Seed, seed_id
from datagen.run.folder import Work
from datagen.run.record_files import read_records, write_records
from datagen.run.stamps import inputs_of
from datagen.seeds.stage import balanced, make_seeds, quotas
from datagen.stages import BY_NAME, run_stage, states
from oresearch_graph.errors import ConfigurationError
from tests.helpers.datagen_work import said
from tests.helpers.seeding import kept, work_in

BENCH = Path(__file__).parents[3] / "shared" / "data" / "deep_research_bench" / "query.jsonl"
TIDES = "How do the Moon and the Sun together cause the tides of the oceans?"


def file_of(path: Path, *rows: dict[str, Any] | str) -> str:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return str(path)


def left_out(work: Work) -> list[Dropped]:
    return list(read_records(work.run.dropped_seeds, Dropped))


def test_a_row_becomes_a_seed_with_all_that_it_says(tmp_path: Path):
    point = {"text": "The Moon's gravity causes tides.", "needs": [["moon"], ["gravity"]]}
    file = file_of(
        tmp_path / "a.jsonl",
        {"id": "x 1", "prompt": f" {TIDES} ", "lang": "en-US", "topic": "Science",
         "key_points": [point, "Spring tides come twice a month."], "license": "CC0-1.0"},
        {"title": "为什么海洋会有潮汐，它们如何影响航运？"},
    )  # fmt: skip
    work = work_in(tmp_path, files=[file], license="MIT")
    counts = make_seeds(work)
    assert (counts["seeds"], sum(counts.values())) == (2, 2)
    first, second = kept(work)
    assert (first.id, first.question, first.language, first.domain) == (
        "x-1", TIDES, "en", "Science",
    )  # fmt: skip
    assert first.key_points[0].needs == (("moon",), ("gravity",))
    assert first.key_points[1].text == "Spring tides come twice a month."
    assert (first.license, first.source, first.origin) == ("CC0-1.0", "a.jsonl", "given")
    assert (second.id, second.language, second.domain) == (seed_id(second.question), "zh", None)
    assert second.license == "MIT"


def test_everything_that_is_left_out_has_its_reason_and_its_place(tmp_path: Path):
    prompt = "How do heat pumps work in the old buildings of Scandinavia?"
    bench = file_of(tmp_path / "bench.jsonl", {"id": 1, "prompt": prompt})
    file = file_of(
        tmp_path / "a.jsonl",
        {"question": TIDES, "id": "tides"},
        '{"question": ',
        {"question": TIDES.upper()},
        {"question": "Please explain: how do heat pumps work in the old buildings of Scandinavia?"},
        {"question": "Who wrote Dune?"},
        {"question": " ?! "},
        {"question": 7},
        {"question": "How do glaciers move?", "key_points": [{"needs": []}]},
        {"question": "How do glaciers move?"},
    )
    work = work_in(tmp_path, files=[file], benchmarks=[bench])
    counts = make_seeds(work)
    assert counts == {"seeds": 2, "written": 0, "imported": 0, "invalid": 4, "duplicate": 1,
                      "contaminated": 1, "not_open_ended": 1, "surplus": 0}  # fmt: skip
    assert [seed.question for seed in kept(work)] == [TIDES, "How do glaciers move?"]
    told = {each.source.rpartition(":")[2]: (each.reason, each.detail) for each in left_out(work)}
    assert told["2"][0] == "invalid"
    assert "no JSON" in told["2"][1]
    assert told["3"] == ("duplicate", f"seed tides: {TIDES}")
    assert told["4"][0] == "contaminated"
    assert "benchmark question: How do heat pumps" in told["4"][1]
    assert told["5"] == ("not_open_ended", "it asks for one fact")
    assert told["6"] == ("invalid", "the question holds no words")
    assert told["7"] == ("invalid", "the question is no text but int")
    assert told["8"] == ("invalid", "key point 1: text: Field required")
    assert f"{file}:2: left out: it is no JSON" in said(work)
    assert "and 1 more, see" in said(work)


def test_strict_fails_at_the_first_broken_row_and_writes_nothing(tmp_path: Path):
    file = file_of(tmp_path / "a.jsonl", {"question": TIDES}, "{", "}")
    work = work_in(tmp_path, files=[file], strict=True)
    with pytest.raises(ConfigurationError, match=r"a\.jsonl:2: it is no JSON"):
        make_seeds(work)
    assert not work.run.seeds.exists()


@pytest.mark.parametrize(
    ("columns", "row", "told"),
    [
        ({}, {"text": "How?", "n": 1}, "its columns are: text, n; set seeds.columns.question"),
        ({"question": "ask"}, {"question": "How?"},
         "no column 'ask' (seeds.columns.question); its columns are: question"),
        ({"domain": "field"}, {"question": "How do tides work?", "topic": "x"},
         "no column 'field' (seeds.columns.domain); its columns are: question, topic"),
        ({}, {"question": ""}, "no question in it: "),
        ({}, "{", "no question in it: "),
    ],
)  # fmt: skip
def test_a_wrong_column_is_one_line_with_the_columns_that_are_there(
    tmp_path: Path, columns: dict[str, str], row: Any, told: str
):
    work = work_in(tmp_path, files=[file_of(tmp_path / "a.jsonl", row)], columns=columns)
    with pytest.raises(ConfigurationError) as raised:
        make_seeds(work)
    assert told in str(raised.value)
    assert "a.jsonl" in str(raised.value)
    assert not work.run.seeds.exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [({}, "there are no questions"), ({"write": {"Art": 3}}, "seeds.write needs a model")],
)
def test_settings_that_cannot_work(tmp_path: Path, settings: dict[str, Any], told: str):
    with pytest.raises(ConfigurationError, match=told):
        make_seeds(work_in(tmp_path, **settings))


def test_a_broken_benchmark_is_never_passed_over(tmp_path: Path):
    file = file_of(tmp_path / "a.jsonl", {"question": TIDES})
    bench = file_of(tmp_path / "bench.jsonl", {"prompt": "How do glaciers move?"}, "{")
    with pytest.raises(ConfigurationError, match=r"bench\.jsonl:2"):
        make_seeds(work_in(tmp_path, files=[file], benchmarks=[bench]))
    file_of(Path(bench), {"text": TIDES, "key_points": "none"})
    with pytest.raises(ConfigurationError, match=r"text, key_points; set seeds\.benchmark_column"):
        make_seeds(work_in(tmp_path, files=[file], benchmarks=[bench]))
    work = work_in(tmp_path, files=[file], benchmarks=[bench], benchmark_column="text")
    with pytest.raises(ConfigurationError, match=r"no question is left of 1; .*contaminated"):
        make_seeds(work)


@pytest.mark.skipif(not BENCH.exists(), reason="the shared data are not there")
def test_a_real_benchmark_leaves_none_of_itself(tmp_path: Path):
    file = file_of(tmp_path / "a.jsonl", {"question": TIDES})
    work = work_in(tmp_path, files=[str(BENCH), file], benchmarks=[str(BENCH)])
    counts = make_seeds(work)
    assert (counts["seeds"], counts["contaminated"]) == (1, 100)


def test_two_files_may_number_their_rows_alike(tmp_path: Path):
    files = [
        file_of(tmp_path / "a.jsonl", {"id": 1, "question": TIDES}),
        file_of(tmp_path / "b.jsonl", {"id": 1, "question": "How do glaciers move?"}),
    ]
    work = work_in(tmp_path, files=files)
    make_seeds(work)
    assert [seed.id for seed in kept(work)] == ["1", seed_id("How do glaciers move?")]


def test_the_same_files_give_the_same_bytes(tmp_path: Path):
    names = ("fox", "fish", "frog", "bear", "bee", "bat", "badger", "hare")
    rows = [
        {"question": f"How does the {name} adapt to winter, and why?", "topic": name[0]}
        for name in names
    ]
    work = work_in(tmp_path, files=[file_of(tmp_path / "a.jsonl", *rows)], limit=5, seed=3)
    counts = make_seeds(work)
    first = work.run.seeds.read_bytes(), work.run.dropped_seeds.read_bytes()
    make_seeds(work)
    assert (work.run.seeds.read_bytes(), work.run.dropped_seeds.read_bytes()) == first
    assert (counts["seeds"], counts["surplus"]) == (5, 3)
    assert all(each.detail.startswith("quota of (en, ") for each in left_out(work))
    order = [row["question"] for row in rows]
    assert [seed.question for seed in kept(work)] == sorted(
        (seed.question for seed in kept(work)), key=order.index
    )


def test_seeds_of_imported_traces_stay_and_learn_from_the_files(tmp_path: Path):
    file = file_of(
        tmp_path / "a.jsonl",
        {"question": TIDES, "id": "mine", "domain": "Science", "key_points": ["The Moon."]},
        {"question": "How do glaciers move?"},
    )
    work = work_in(tmp_path, files=[file], limit=1)
    brought = Seed(id="s1", question=TIDES, origin="imported", language="en", source="logs.jsonl")
    plain = Seed(id="s2", question="Who wrote Dune?", origin="imported", source="logs.jsonl")
    twin = brought.model_copy(update={"id": "s3", "question": f"{TIDES[:-1]} on Earth?"})
    write_records(work.run.seeds, [brought, plain, twin])
    for _ in range(2):
        counts = make_seeds(work)
        given_, tides, dune, near = kept(work)
        assert near.id == "s3", "alike or not, its trace is there"
        assert given_.question == "How do glaciers move?"
        assert (tides.id, tides.origin, tides.domain) == ("s1", "imported", "Science")
        assert tides.key_points[0].text == "The Moon."
        assert dune.id == "s2", "its trace is there, open-ended or not"
        assert (counts["imported"], counts["duplicate"], counts["surplus"]) == (3, 1, 0)


def test_a_changed_file_makes_the_stage_stale(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    work = work_in(tmp_path, files=[file_of(path, {"question": TIDES})])
    stage = BY_NAME["seeds"]
    run_stage(stage, work)
    assert states(work.run, work.settings)["seeds"] == "fresh"
    file_of(path, {"question": TIDES}, {"question": "How do glaciers move?"})
    assert states(work.run, work.settings)["seeds"] == "stale"


def test_two_inputs_of_one_name_are_two(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    one, other = tmp_path / "a.jsonl", tmp_path / "sub" / "a.jsonl"
    file_of(one, {"question": TIDES})
    assert len(set(inputs_of([one, other]).values())) == 2


OPEN = [
    "How does asyncio cancel tasks?", "What is inflation?", "Who benefits from free trade?",
    "Should governments tax carbon, and why?", "Is coal cheaper than gas or oil in Asia?",
    "When are default parameter values evaluated in a Python function definition?",
    "Is Python slow? Compare it with C in numerical work.", "quantum computing",
    "How much do tariffs affect small exporters?", "Where does dark matter come from?",
    "Are electric cars better for the climate once the mining and the recycling of their batteries "
    "are counted in?",
    "中国有多少人口，对经济有什么影响？", "如何评估一家银行的风险？",
    "人工智能会取代教师吗？为什么？", "Ist Python schneller als C?",
]  # fmt: skip
PLAIN = [
    "Is Python faster than C?", "Do cats sleep?", "Can bees see red?", "Who wrote Dune?",
    "When did the Berlin Wall fall?", "How many moons has Mars?", "In which year did Mao die?",
    "What is the capital of Peru?", "What's the boiling point of iron?", "How old is the Earth?",
    "What does NASA stand for?", "太阳是恒星吗？", "谁写了《红楼梦》？", "中国有多少个省？",
    "长城是哪一年建成的？", "是否应该喝茶？",
]  # fmt: skip


@pytest.mark.parametrize("question", OPEN)
def test_open_ended_or_not_plainly_otherwise(question: str):
    assert not_open_ended(question) is None


@pytest.mark.parametrize("question", PLAIN)
def test_plainly_not_open_ended(question: str):
    assert not_open_ended(question) is not None


def test_the_check_can_be_switched_off(tmp_path: Path):
    file = file_of(tmp_path / "a.jsonl", *({"question": question} for question in PLAIN))
    work = work_in(tmp_path, files=[file], open_ended=False)
    assert make_seeds(work)["seeds"] == len(PLAIN)


groups = st.dictionaries(
    st.tuples(st.sampled_from(["en", "zh", None]), st.sampled_from(["a", "b", "c", None])),
    st.integers(1, 40),
    max_size=8,
)


@given(groups, st.integers(1, 120), st.integers(0, 5))
def test_quotas_are_as_equal_as_the_groups_allow(
    sizes: dict[tuple[str | None, str | None], int], limit: int, draw: int
):
    given_ = quotas(sizes, limit, draw)
    assert sum(given_.values()) == min(limit, sum(sizes.values()))
    assert all(0 <= given_[group] <= sizes[group] for group in sizes)
    most = max(given_.values(), default=0)
    assert all(given_[group] >= min(sizes[group], most - 1) for group in sizes)


def test_which_seeds_stay_does_not_hang_on_their_order():
    seeds = [Seed(id=f"q{number}", question="Q", domain="ab"[number % 2]) for number in range(30)]
    stay, surplus = balanced(seeds, 7, 1)
    again, _ = balanced(seeds[::-1], 7, 1)
    other, _ = balanced(seeds, 7, 2)
    assert {seed.id for seed in stay} == {seed.id for seed in again}
    assert {seed.id for seed in stay} != {seed.id for seed in other}
    assert len(stay) == 7
    assert len(surplus) == 23
    assert sorted([sum(seed.domain == name for seed in stay) for name in "ab"]) == [3, 4]
