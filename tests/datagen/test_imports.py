"""Imports: trajectories and message logs as Traces that claim nothing that was not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.imports.message_log import read_log
from datagen.imports.stage import import_files, read_trace
from datagen.imports.trace import ImportFault
from datagen.records import Seed, seed_id, seed_of
from datagen.run.record_files import write_records
from datagen.seeds.stage import make_seeds
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Step, Trace, parse_trace, read_traces, render_trace, violations
from oresearch_graph.trace.plain_text import storable
from tests.helpers.datagen_work import said
from tests.helpers.seeding import kept, work_in
from tests.helpers.traces import good_trace

SHARED = Path(__file__).parents[3] / "shared" / "data"
RELEASED = SHARED / "o_researcher" / "trajectories.jsonl"
needs_data = pytest.mark.skipif(not RELEASED.exists(), reason="the shared data are not there")

QUESTION = "What causes tides, and how large are they?"
PAGES = json.dumps([
    {"url": "https://example.org/tides", "title": "Tides",
     "content": "Tides are caused by the Moon. Their range reaches 16 metres."},
    {"url": "https://example.org/sun", "title": "Sun", "snippet": "Spring tides."},
])  # fmt: skip
REPORT = """## Introduction
Tides are explained.
## Findings
Tides are caused by the Moon [1]. Their range reaches 99 metres [1].
## Conclusion
The Moon.
## References
[1] https://example.org/tides - Tides"""


def call(key: str, name: str, arguments: Any) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": key, "type": "function", "function": {"name": name, "arguments": text}}


def tool(key: str | None, content: str) -> dict[str, Any]:
    return {"role": "tool", "content": content} | ({"tool_call_id": key} if key else {})


LOG: dict[str, Any] = {
    "model": "some-model",
    "messages": [
        {"role": "system", "content": "You are a researcher."},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        {"role": "assistant", "reasoning_content": "I search first.", "content": None,
         "tool_calls": [call("a", "search", {"query": "tides", "max_results": 2}),
                        call("b", "calculator", {"sum": "8+8"})]},
        tool("b", "16"),
        tool("a", PAGES),
        {"role": "assistant", "content": "Now the page.",
         "tool_calls": [call("c", "visit", {"url": "https://example.org/moon"})]},
        tool("c", "The Moon orbits the Earth. See https://example.org/orbit"),
        {"role": "assistant", "content": REPORT},
    ],
}  # fmt: skip


def told(steps: tuple[Step, ...]) -> list[tuple[str, str, str]]:
    return [(step.kind, step.author, step.text) for step in steps]


def test_a_message_log_becomes_calls_with_their_observations():
    trace = read_trace(LOG)
    assert told(trace.steps) == [
        ("think", "policy", "I search first."),
        ("web_search", "policy", "tides&serp_num=2"),
        ("observation", "world", PAGES),
        ("tool_call", "policy", '{"sum": "8+8"}'),
        ("observation", "world", "16"),
        ("think", "policy", "Now the page."),
        ("crawl_page", "policy", "https://example.org/moon"),
        ("observation", "world", "The Moon orbits the Earth. See https://example.org/orbit"),
        ("suggested_answer", "policy", REPORT),
    ]
    assert trace.question == QUESTION
    assert (trace.protocol.tools, trace.protocol.execution) == (("calculator",), "sequential")
    assert (trace.outcome, trace.language) == ("complete", "en")
    assert trace.models == {"researcher": "some-model", "summarizer": "some-model"}
    assert (trace.usage, trace.spans, trace.created, trace.failures) == ((), (), None, ())
    assert parse_trace(render_trace(trace), execution="sequential").steps == trace.steps


def test_sources_are_what_was_shown_and_citations_are_checked_against_it():
    trace = read_trace(LOG)
    assert trace.sources is not None
    tides, sun, moon = trace.sources
    assert (tides.id, tides.title, tides.read) == (1001, "Tides", False)
    assert tides.text == "Tides are caused by the Moon. Their range reaches 16 metres."
    assert (sun.url, sun.text) == ("https://example.org/sun", "Spring tides.")
    assert (moon.url, moon.read) == ("https://example.org/moon", True)
    assert trace.citations is not None
    assert [claim.status for claim in trace.citations.claims] == ["quoted", "contradicted"]


def test_a_log_that_is_no_research_trajectory_is_named_so_by_its_violations():
    codes = {violation.code for violation in violations(read_trace(LOG))}
    assert {"no_subtask_list", "step_outside_branch"} <= codes


def test_unknown_stays_unknown():
    log = {"messages": [m for m in LOG["messages"] if m["role"] != "system"][:-1]}
    trace = read_trace(log)
    assert (trace.models, trace.protocol.prompt, trace.answer) == ({}, "", None)
    assert (trace.outcome, trace.citations) == ("failed", None)


def test_results_find_their_calls_and_those_without_one_stay():
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "",
         "tool_calls": [call("a", "web_search", {"query": "x"}), call("b", "web_search", "broken"),
                        call("c", "web_search", {"query": "z", "site": "a.org"})]},
        tool(None, "first"),
        tool("c", "third"),
        tool("zzz", "nobody's"),
        {"role": "assistant", "content": "Hm."},
        {"role": "user", "content": "Go on."},
    ]  # fmt: skip
    log = read_log(messages)
    assert told(log.steps) == [
        ("web_search", "policy", "x"),
        ("observation", "world", "first"),
        ("tool_call", "policy", "broken"),
        ("tool_call", "policy", '{"query": "z", "site": "a.org"}'),
        ("observation", "world", "third"),
        ("observation", "world", "nobody's"),
        ("stray", "policy", "Hm."),
        ("stray", "world", "Go on."),
    ]
    assert log.tools == ("tool_web_search",), "its tag is the protocol's: it cannot hold this"


def test_tags_in_the_text_are_read_as_the_protocol():
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "<subtask_list>\n- Causes?\n</subtask_list>\n<subtask>"
         "Causes?</subtask><think>I search.</think><web_search>query=tides</web_search>"},
        {"role": "user", "content": "<observation>Tides &lt;think>.</observation>"},
        {"role": "assistant", "content": "<think>Done.</think><subtask_answer>The Moon."
         "</subtask_answer>"},
        {"role": "assistant", "content": "<suggested_answer>The Moon.</suggested_answer>"},
    ]  # fmt: skip
    trace = read_trace({"messages": messages})
    assert [(step.kind, step.branch) for step in trace.steps] == [
        ("subtask_list", None), ("subtask", 1), ("think", 1), ("web_search", 1),
        ("observation", 1), ("think", 1), ("subtask_answer", 1), ("suggested_answer", None),
    ]  # fmt: skip
    assert trace.steps[4].author == "world"
    assert trace.steps[4].text == "Tides <think>."
    assert (trace.protocol.dialect, trace.outcome) == ("released", "complete")


def test_thinking_inside_the_last_message_is_no_report():
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "<think>Hm.</think>\nThe Moon."},
    ]
    assert told(read_log(messages).steps) == [
        ("think", "policy", "Hm."), ("suggested_answer", "policy", "\nThe Moon."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ("hello", "`messages` is no list"),
        ([], "`messages` is no list"),
        (["hello"], r"messages\[0\] is no object"),
        ([{"role": "assistant", "content": "x"}], "no message of the user"),
        ([{"role": "robot", "content": "x"}], r"messages\[0\]: the role 'robot'"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "of type 'image_url'"),
        ([{"role": "user", "content": 7}], "its content is int"),
        ([{"role": "user", "content": "Q"}, {"role": "assistant", "tool_calls": ["x"]}],
         r"messages\[1\]: tool_calls is no list"),
        ([{"role": "user", "content": "Q"}, {"role": "assistant", "tool_calls": [{"id": "a"}]}],
         "a tool call has no name"),
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_read_names_the_message(messages: Any, fault: str):
    with pytest.raises(ImportFault, match=fault):
        read_log(messages)


pieces = [
    "<think>",
    "</think>",
    "<observation>",
    "</web_search>",
    "<web_search>",
    "a ",
    "\n",
    "\ud800",
]
texts = st.lists(st.sampled_from(pieces), max_size=6).map("".join)
names = st.sampled_from(["search", "web_search", "visit", "think", "calc", "a b", "观"])
calls = st.builds(call, st.sampled_from("ab"), names, st.one_of(texts, st.just({"query": "q | r"})))
logs = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": texts}),
        st.fixed_dictionaries({
            "role": st.just("assistant"), "content": texts, "reasoning_content": texts,
            "tool_calls": st.lists(calls, max_size=3),
        }),
        st.builds(tool, st.sampled_from(["a", "b", None]), texts),
    ),
    max_size=8,
)  # fmt: skip


@given(logs)
def test_every_log_survives_as_text_and_keeps_its_authors(messages: list[dict[str, Any]]):
    trace = read_trace({"messages": [{"role": "user", "content": f"\ud800{QUESTION}"}, *messages]})
    assert parse_trace(render_trace(trace), execution="sequential").steps == trace.steps
    assert Trace.model_validate_json(trace.model_dump_json()) == trace
    written = "".join(step.text for step in trace.steps if step.author == "policy")
    observed = [step.text for step in trace.steps if step.kind == "observation"
                and step.author == "world"]  # fmt: skip
    for message in messages:
        content = storable(message["content"])
        if message["role"] == "assistant" and "<" not in content:
            assert content.strip() in written
        if message["role"] == "tool":
            assert content in observed
    violations(trace)


def file_of(path: Path, *rows: Any) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def test_importing_twice_adds_nothing(tmp_path: Path):
    work = work_in(tmp_path)
    file = file_of(tmp_path / "a.jsonl", LOG, {**LOG, "model": "other"})
    counts = import_files(work, [file])
    assert (counts["imported"], counts["new_seeds"]) == (2, 1)
    before = work.run.imported.read_bytes(), work.run.seeds.read_bytes()
    again = import_files(work, [file_of(tmp_path / "b.jsonl", dict(reversed(LOG.items())))])
    assert (again["imported"], again["there_already"], again["new_seeds"]) == (0, 1, 0)
    assert (work.run.imported.read_bytes(), work.run.seeds.read_bytes()) == before
    (seed,) = kept(work)
    assert (seed.id, seed.origin, seed.source) == (seed_id(QUESTION), "imported", "a.jsonl")
    traces = list(read_traces(work.run.imported))
    assert len({trace.id for trace in traces}) == 2
    assert {seed_of(trace.id) for trace in traces} == {seed.id}
    assert all(trace.id.startswith(f"{seed.id}.i") for trace in traces)


def test_an_import_joins_the_seed_that_is_there_and_survives_a_later_seeds_run(tmp_path: Path):
    given_ = tmp_path / "given.jsonl"
    file_of(given_, {"id": "mine", "question": QUESTION})
    work = work_in(tmp_path, files=[str(given_)])
    make_seeds(work)
    other = {
        "messages": [{"role": "user", "content": "How do glaciers move?"}, LOG["messages"][-1]]
    }
    counts = import_files(work, [file_of(tmp_path / "a.jsonl", LOG, other)])
    assert (counts["imported"], counts["new_seeds"]) == (2, 1)
    assert next(seed_of(trace.id) for trace in read_traces(work.run.imported)) == "mine"
    make_seeds(work)
    assert {seed_of(trace.id) for trace in read_traces(work.run.imported)} == {
        seed.id for seed in kept(work)
    }


def test_a_kill_between_seed_and_trace_is_mended_by_the_next_import(tmp_path: Path):
    work = work_in(tmp_path)
    write_records(
        work.run.seeds, [Seed(id=seed_id(QUESTION), question=QUESTION, origin="imported")]
    )
    work.run.imported.write_bytes(b'{"version":1,"id":"s')
    counts = import_files(work, [file_of(tmp_path / "a.jsonl", LOG)])
    assert (counts["imported"], counts["new_seeds"]) == (1, 0)
    assert len(list(read_traces(work.run.imported))) == 1


def test_a_broken_row_has_its_place_and_the_others_are_imported(tmp_path: Path):
    work = work_in(tmp_path)
    empty = {"prompt": "Q", "current_answer": " "}
    rows = ['{"messages": ', {"text": "x"}, {"messages": []}, empty, {"steps": 1, "question": "Q"}]
    file = file_of(tmp_path / "a.jsonl", LOG, *rows)
    counts = import_files(work, [file])
    assert (counts["imported"], counts["broken"]) == (1, 5)
    lines = said(work).splitlines()
    assert [line.split(": left out: ")[0] for line in lines] == [f"{file}:{n}" for n in range(2, 7)]
    assert "it has the columns text: a message log has `messages`" in lines[1]


def test_a_file_without_any_trace_is_an_error(tmp_path: Path):
    file = file_of(tmp_path / "a.jsonl", {"text": "x"})
    with pytest.raises(ConfigurationError, match=r"a\.jsonl: no trace in it: .*a\.jsonl:1"):
        import_files(work_in(tmp_path), [file])


def test_a_benchmarks_question_is_not_imported(tmp_path: Path):
    bench = file_of(tmp_path / "bench.jsonl", {"prompt": QUESTION})
    work = work_in(tmp_path, benchmarks=[str(bench)])
    counts = import_files(work, [file_of(tmp_path / "a.jsonl", LOG)])
    assert (counts["imported"], counts["contaminated"], counts["new_seeds"]) == (0, 1, 0)
    assert "it is a benchmark's question" in said(work)


def test_a_trace_of_this_project_keeps_all_but_its_id():
    trace = good_trace()
    assert read_trace(json.loads(trace.model_dump_json())) == trace


@needs_data
def test_the_released_trajectories(tmp_path: Path):
    work = work_in(tmp_path)
    assert import_files(work, [RELEASED])["imported"] == 2
    short, whole = read_traces(work.run.imported)
    assert (short.outcome, whole.outcome) == ("partial", "complete")
    for trace in (short, whole):
        assert (trace.language, trace.models, trace.usage) == ("zh", {}, ())
        assert (trace.protocol.dialect, trace.protocol.execution) == ("released", "sequential")
        assert all((s.author == "world") == (s.kind == "observation") for s in trace.steps)
        assert trace.sources is not None
        assert all(s.text for s in trace.sources), "each result has its snippet"
        assert trace.citations is not None
        assert not any(claim.status == "dangling" for claim in trace.citations.claims)
    codes = {violation.code for violation in violations(whole)}
    assert codes == {"missing_open_tag", "no_conclusion"}
    assert "subtask_without_branch" in {violation.code for violation in violations(short)}
