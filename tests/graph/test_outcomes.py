"""How a run ends: the table of docs/outcomes.md, and runs that once said otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from oresearch_graph import create_research_graph
from oresearch_graph.graph.outcome import Happened, outcome
from oresearch_graph.graph.state import ResearchInput
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Failure, FailureName
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

TABLE = Path(__file__).parents[2] / "docs" / "outcomes.md"
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in TABLE.read_text().splitlines()
    if re.match(r"\|(?! case |-)", line)
]
QUESTION: ResearchInput = {"question": "What causes tides?"}
MEMORY = "<think>I know.</think>\n<subtask_answer>The Moon causes them [1].</subtask_answer>"


def test_the_table_has_its_cases_and_only_known_words():
    assert len(ROWS) >= 35
    assert {len(row) for row in ROWS} == {7}
    failures = {name for row in ROWS for cell in (row[4], row[6]) for name in cell.split()}
    assert failures <= set(get_args(FailureName))
    assert {row[5] for row in ROWS} == {"complete", "partial", "failed"}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_outcome_is_what_the_table_says(row):
    _, subtasks, pages, report, failures, ended, named = row
    read, asked = map(int, pages.split("/"))
    happened = Happened(tuple(subtasks.split()), read, asked, report, tuple(failures.split()))
    assert (outcome(happened).outcome, set(outcome(happened).named)) == (ended, set(named.split()))


async def run(policy, documents=None, **settings):
    graph = create_research_graph(
        policy, search=documents or Documents(PAGES), settings=ResearchSettings(**settings)
    )
    return await graph.ainvoke(QUESTION)


def named(failures: list[Failure]) -> list[tuple[str, int | None]]:
    return [(failure.name, failure.branch) for failure in failures]


def remembering(*branches: int):
    script = research_script(["How large are tides?", "What causes tides?"])
    return ScriptedPolicy(
        lambda thread: (
            MEMORY if thread.role == "researcher" and thread.branch in branches else script(thread)
        )
    )


async def test_answers_from_memory_are_asked_for_again_and_then_no_report():
    policy = remembering(1, 2)
    result = await run(policy)
    trace = result["trace"]
    assert (result["report"], trace.outcome) == (None, "failed")
    assert "search first" in next(f.message for f in trace.failures if f.name == "repaired")
    assert ("no_evidence", 1) in named(trace.failures)
    assert ("no_evidence", None) in named(trace.failures)
    assert all(thread.role != "summarizer" for thread in policy.threads)


async def test_an_answer_from_memory_beside_a_founded_one_is_not_shown_to_the_summarizer():
    policy = remembering(1)
    result = await run(policy)
    assert result["trace"].outcome == "partial"
    assert ("no_evidence", 1) in named(result["trace"].failures)
    (summarizer,) = [thread for thread in policy.threads if thread.role == "summarizer"]
    assert {step.branch for step in summarizer.steps} == {None, 2}


async def test_in_training_an_answer_from_memory_is_judged_as_it_was_written():
    policy = remembering(1)
    trace = (await run(policy, corrections=0))["trace"]
    assert named(trace.failures) == [("no_evidence", 1)]
    (summarizer,) = [thread for thread in policy.threads if thread.role == "summarizer"]
    assert {step.branch for step in summarizer.steps} == {None, 1, 2}


REPORT = "<think>I know it all.</think>\n<suggested_answer># Tides\n\nThe Moon.</suggested_answer>"


@pytest.mark.parametrize("corrections", [0, 2])
async def test_a_branch_that_answers_for_all_is_no_report(corrections):
    def script(thread: Thread) -> str:
        return REPORT if thread.role == "researcher" else research_script()(thread)

    result = await run(ScriptedPolicy(script), corrections=corrections)
    trace = result["trace"]
    assert (result["report"], trace.outcome, trace.answer) == (None, "failed", None)


async def test_a_branch_that_answers_for_all_leaves_the_report_to_the_summarizer():
    def script(thread: Thread) -> str:
        if thread.role == "researcher" and thread.branch == 2:
            return REPORT
        return research_script()(thread)

    result = await run(ScriptedPolicy(script))
    trace = result["trace"]
    assert trace.outcome == "partial"
    assert "I know it all" not in trace.answer.text
    assert trace.answer.branch is None
    assert "inside subtask 2" in next(f.message for f in trace.failures if f.name == "repaired")


class Unreadable(Documents):
    async def read(self, urls, focus):
        pages = await super().read(urls, focus)
        return [page.model_copy(update={"text": "", "fault": "answered 403"}) for page in pages]


async def test_a_run_that_could_read_no_page_is_partial_and_says_why():
    def script(thread: Thread) -> str:
        searched = any(step.kind == "web_search" for step in thread.steps)
        opened = any(step.kind == "crawl_page" for step in thread.steps)
        if thread.role == "researcher" and searched and not opened:
            (url, *_) = PAGES
            return f"<think>Open it.</think>\n<crawl_page>{url}</crawl_page>"
        return research_script()(thread)

    result = await run(ScriptedPolicy(script), Unreadable(PAGES))
    (unread,) = [f for f in result["trace"].failures if f.name == "unread"]
    assert (result["trace"].outcome, unread.fault) == ("partial", "web")
    assert "answered 403" in unread.message
    assert result["report"]


async def test_failures_and_usage_of_the_result_are_the_traces():
    def script(thread: Thread) -> str:
        return MEMORY if thread.branch == 1 else research_script()(thread)

    result = await run(ScriptedPolicy(script))
    assert result["failures"] == list(result["trace"].failures) != []
    assert result["usage"] == list(result["trace"].usage)
    assert {usage.branch for usage in result["usage"]} >= {1, 2}
