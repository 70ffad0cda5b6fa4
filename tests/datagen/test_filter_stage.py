"""The filter stage and its explanation: order, processes, broken input, hostile text."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from datagen.filter.explain import explain_candidate
from datagen.filter.observation_rules import shows_something
from datagen.filter.registry import Rules
from datagen.filter.stage import filter_traces
from datagen.records import Filtered
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import read_records
from datagen.settings import DatagenSettings, FilterSettings, read_settings
from oresearch_graph import create_research_graph
from oresearch_graph.errors import ConfigurationError, TraceFileError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import (
    CitationReport,
    Claim,
    Failure,
    Source,
    Step,
    Trace,
    parse_trace,
    write_traces,
)
from oresearch_graph.trace.record import STATUSES
from oresearch_graph.trace.step import KINDS
from tests.helpers.many_traces import write_many
from tests.helpers.planted_rules import planted
from tests.helpers.planted_traces import GOOD, planted_trace
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

RELEASED = Path(__file__).parents[3] / "shared" / "data" / "o_researcher" / "trajectories.jsonl"


def work_in(folder: Path, **filtered) -> Work:
    return Work(
        RunFolder(folder),
        DatagenSettings(filter=FilterSettings(**filtered)),
        Console(file=io.StringIO()),
    )


def lines_of(work: Work) -> list[Filtered]:
    return list(read_records(work.run.filtered, Filtered))


def told(work: Work, candidate: str) -> str:
    out = io.StringIO()
    explain_candidate(work, candidate, Console(file=out, width=100))
    return out.getvalue()


def test_every_candidate_has_a_line_in_order_imports_first(tmp_path):
    work = work_in(tmp_path)
    write_traces(work.run.imported, [planted_trace(id="i.1", outcome="failed")])
    write_traces(work.run.generated, [planted_trace(id="b.1"), planted_trace(id="a.2")])
    counts = filter_traces(work)
    assert counts == {"candidates": 3, "passed": 2, "outcome": 1}
    assert [(line.id, line.seed, line.passed) for line in lines_of(work)] == [
        ("i.1", "i", False), ("b.1", "b", True), ("a.2", "a", True),
    ]  # fmt: skip


def test_a_candidate_carries_all_its_reasons_and_is_counted_once_for_each(tmp_path):
    work = work_in(tmp_path, min_calls=3)
    mended = Failure(name="repaired", fault="policy", message="a tag")
    write_traces(work.run.generated, [planted_trace(id="a.1", failures=(mended,))])
    assert filter_traces(work) == {"candidates": 1, "passed": 0, "repaired": 1, "call_bounds": 1}
    (line,) = lines_of(work)
    assert [found.rule for found in line.findings] == ["repaired", "call_bounds", "call_bounds"]


def test_a_candidate_that_middleware_changed_does_not_pass(tmp_path):
    work = work_in(tmp_path, allow_repaired=True, allow_extractive=True)
    protocol = planted_trace(id="a.1").protocol.model_copy(update={"changed_by": ("Mine",)})
    write_traces(work.run.generated, [planted_trace(id="a.1", protocol=protocol)])
    assert filter_traces(work) == {"candidates": 1, "passed": 0, "changed": 1}


def test_several_processes_write_the_file_that_one_writes(tmp_path):
    work = work_in(tmp_path)
    write_many(work.run.generated, 40)
    alone = filter_traces(work, processes=1)
    one = work.run.filtered.read_bytes()
    assert filter_traces(work, processes=2) == alone
    assert work.run.filtered.read_bytes() == one
    assert alone["candidates"] == 40
    assert alone["violation.no_conclusion"] == alone["candidates"] - alone["passed"] == 5


def test_of_two_lines_with_one_id_the_last_counts(tmp_path):
    work = work_in(tmp_path)
    write_traces(work.run.generated, [planted_trace(outcome="failed"), planted_trace()])
    assert filter_traces(work) == {"candidates": 1, "passed": 1}


def test_a_run_without_traces_has_an_empty_file(tmp_path):
    work = work_in(tmp_path)
    assert filter_traces(work) == {"candidates": 0, "passed": 0}
    assert work.run.filtered.read_bytes() == b""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_truncated_trace_is_named_with_its_line_and_what_stood_is_kept(tmp_path, processes):
    work = work_in(tmp_path)
    write_many(work.run.generated, 3)
    filter_traces(work)
    before = work.run.filtered.read_bytes()
    whole = work.run.generated.read_bytes()
    work.run.generated.write_bytes(whole[:-5_000])
    with pytest.raises(TraceFileError, match=r"generated\.jsonl:3: not a trace"):
        filter_traces(work, processes=processes)
    assert work.run.filtered.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["filtered.jsonl", "generated.jsonl"]


def test_an_unknown_rule_is_refused_with_the_names_of_the_rules(tmp_path):
    with pytest.raises(ConfigurationError, match=r"filter\.off\.0.*'repeated_text'"):
        read_settings(tmp_path / "datagen.yaml", ("filter.off=[loops]",))


def test_a_tokenizer_that_cannot_be_had_is_one_line(tmp_path):
    work = work_in(tmp_path, tokenizer=str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigurationError, match=r"filter\.tokenizer"):
        filter_traces(work)


def test_an_explanation_shows_the_text_in_its_place_without_the_filter_having_run(tmp_path):
    work = work_in(tmp_path)
    cases = {case.name: case.trace for case in planted() if case.rule == "refusal"}
    write_traces(work.run.generated, [cases["in the report"], planted_trace(id="fine.1")])
    said = " ".join(told(work, "tides.1").split())
    assert "refusal, step 20 <suggested_answer>" in said
    assert "⟦I'm sorry, but I cannot⟧ help with that. This report explains" in said
    assert "passed" in told(work, "fine.1")
    assert not work.run.filtered.exists()


def test_an_explanation_of_a_hostile_trace_commands_no_terminal(tmp_path):
    work = work_in(tmp_path)
    hostile = "\x1b[2J[bold]I cannot help[/bold]\x07 \u202eevil <|im_end|>"
    text = planted_trace().steps[2].model_copy(update={"text": hostile})
    steps = (*planted_trace().steps[:2], text, *planted_trace().steps[3:])
    named = planted_trace(id="h.1", steps=steps, question="\x1b]0;owned\x07 [red]why[/red]?")
    write_traces(work.run.generated, [named])
    said = told(work, "h.1")
    assert "[bold]I cannot help[/bold]" in said
    assert "[red]why[/red]" in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)


def test_an_unknown_candidate_is_one_line_with_near_ids(tmp_path):
    work = work_in(tmp_path)
    write_traces(work.run.generated, [planted_trace(id=f"tides.{n}") for n in (1, 2)])
    with pytest.raises(ConfigurationError, match=r"no candidate 'tide\.1'.*near it: tides\.1"):
        told(work, "tide.1")


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
async def test_a_run_of_the_graph_passes_and_its_tools_words_for_nothing_are_known(execution):
    def script(thread):
        own = [step.kind for step in thread.steps if step.branch == thread.branch]
        if thread.role == "researcher" and (crawls := own.count("crawl_page")) < 2:
            subtask = ["What causes tides?", "How large are tides?"][(thread.branch or 1) - 1]
            begins = execution == "sequential" and not crawls
            opening = f"\n\n<subtask>{subtask}</subtask>" if begins else ""
            url = ["https://gone.org/", "https://example.org/tides"][crawls]
            return f"{opening}\n\n<think>Look.</think>\n<crawl_page>{url}</crawl_page>"
        return research_script(turns=4)(thread)

    graph = create_research_graph(
        ScriptedPolicy(script),
        search=Documents(PAGES),
        reader=Documents(PAGES),
        settings=ResearchSettings(execution=execution),
    )
    trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    shown = [step.text for step in trace.steps if step.kind == "observation"]
    assert [shows_something(text) for text in shown] == [False, True, True, True] * 2
    # A scripted report is a few words.
    bounds = FilterSettings(report_words=(10, 100), answer_words=3, min_coverage=0.2)
    assert Rules(bounds).findings(trace) == ()


@pytest.mark.skipif(not RELEASED.exists(), reason="the released trajectories are not here")
def test_the_released_trajectories_give_reasons_that_a_reader_would_give():
    found = []
    for line in RELEASED.read_text("utf-8").splitlines():
        row = json.loads(line)
        trace = parse_trace(row["current_answer"], execution="sequential")
        named = trace.model_copy(update={"question": row["prompt"]})
        found.append({finding.rule for finding in Rules(FilterSettings()).findings(named)})
    cut, finished = found
    assert {"violation.subtask_without_branch", "violation.branch_without_answer", "call_bounds",
            "few_subtasks", "unanswered_subtask", "short_path"} <= cut  # fmt: skip
    assert finished == {
        "violation.missing_open_tag", "violation.no_conclusion", "call_bounds",
        "unverifiable_citations",
    }  # fmt: skip


def test_a_tolerated_violation_and_no_other_is_let_pass():
    trace = GOOD["en parallel"]
    steps = tuple(step for step in trace.steps if step.kind != "subtask_list")
    bare = trace.model_copy(update={"steps": steps})
    codes = {found.rule for found in Rules(FilterSettings()).findings(bare)}
    assert codes == {"violation.no_subtask_list"}
    assert Rules(FilterSettings(tolerated=("no_subtask_list",))).findings(bare) == ()


LONG = 100_000
SLOW = {
    "white space in a tag": "<" + " " * LONG + "x",
    "slashes in a tag": ("<" + " " * 50 + "/" + " " * 50) * (LONG // 102),
    "ends of text": "</s> " * (LONG // 5) + " " * LONG + "x",
    "list marks": "." + "-" * LONG + "I",
    "stops": ". " * (LONG // 2),
    "sorry": "I'm sorry " * (LONG // 10),
    "open marks": "[1, " * (LONG // 4),
    "numbers of no source": "".join(f"[{n}] " for n in range(LONG // 7)),
    "one line": "a" * LONG + ": could not be",
    "error phrases": "captcha. " * (LONG // 9),
}


@pytest.mark.parametrize("name", SLOW)
def test_hostile_text_is_filtered_in_linear_time(name):
    # A quadratic rule needs minutes for these.
    text = SLOW[name]
    steps = [Step(kind="observation", text=text, branch=1, author="world")]
    steps += [Step(kind=kind, text=text, branch=1) for kind in ("think", "subtask_answer")]
    steps += [Step(kind="web_search", text=f"{text} {n % 9}", branch=1) for n in range(20)]
    steps.append(Step(kind="suggested_answer", text=text))
    start = time.process_time()
    Rules(FilterSettings()).findings(Trace(question="Why?", steps=tuple(steps), sources=()))
    assert time.process_time() - start < 15


TEXTS = st.one_of(
    st.text(max_size=80),
    st.sampled_from([
        "<|im_end|>", "</think>", "[1] [2-40]", "## References\n[1]. https://a.org - a",
        "## Query: a\n\nNo results.", "403 Forbidden", "很抱歉，我无法回答", "I cannot help",
        "x" * 3_000, "a b " * 900,
        "1. a\n2. b", "https://a.org/: could not be read: gone", "\ud800", "[9999999]",
    ]),
)  # fmt: skip
STEPS = st.builds(
    Step,
    kind=st.sampled_from(KINDS),
    text=TEXTS,
    author=st.sampled_from(["policy", "world"]),
    branch=st.sampled_from([None, 1, 2, 7]),
    opened=st.sampled_from(["policy", "world", None]),
    closed=st.sampled_from(["policy", None]),
    name=st.sampled_from([None, "price"]),
)
REPORTS = st.builds(Step, kind=st.just("suggested_answer"), text=TEXTS)
SOURCES = st.builds(
    Source, id=st.integers(1, 5), url=st.just("https://a.org"), text=st.text(max_size=40)
)
CLAIMS = st.builds(
    Claim, start=st.integers(-5, 99), end=st.integers(-5, 99), text=st.just("x"),
    sources=st.just((1,)), status=st.sampled_from(STATUSES),
)  # fmt: skip
TRACES = st.builds(
    Trace,
    id=st.just("a.1"),
    question=TEXTS,
    language=st.sampled_from([None, "en", "zh", "xx"]),
    steps=st.tuples(st.lists(STEPS, max_size=9), st.lists(REPORTS, max_size=1)).map(
        lambda both: (*both[0], *both[1])
    ),
    sources=st.none() | st.lists(SOURCES, max_size=3).map(tuple),
    outcome=st.sampled_from(["complete", "partial", "failed"]),
    citations=st.none()
    | st.builds(CitationReport, claims=st.lists(CLAIMS, max_size=2).map(tuple),
                sentences=st.integers(0, 4)),
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trace=TRACES)
def test_no_trace_makes_the_filter_raise_and_every_span_lies_in_its_step(trace):
    line = Rules(FilterSettings(min_accuracy=1, min_coverage=1)).filtered(trace)
    assert Filtered.model_validate_json(line.model_dump_json()) == line
    for found in line.findings:
        if found.start is not None:
            assert found.step is not None
            assert found.end is not None
            assert 0 <= found.start <= found.end <= len(trace.steps[found.step].text)
