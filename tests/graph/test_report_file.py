"""A report as Markdown, HTML, PDF and JSON: by the command line and from Python."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from typer.testing import CliRunner

from oresearch_graph import ExtractivePolicy, ResearchSettings, create_research_graph, write_report
from oresearch_graph.command.cli import app
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.cited_report import CitedReport
from oresearch_graph.trace import Failure, Source, Trace, Usage, read_traces
from oresearch_graph.view import report_file
from oresearch_graph.view.page import report_page
from oresearch_graph.view.report_record import ReportRecord
from tests.faults.kills import BRAIN, PAGES
from tests.helpers.hostile import HOSTILE, hostile_trace
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.report_pages import Page, marked_words, needs_pango, pdf_text, words
from tests.helpers.scripted import Documents
from tests.helpers.traces import GOOD, SOURCES, good_trace, trace_of

QUESTION: Final = "What causes tides, and how large are they?"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "corpus").mkdir()
    for name, text in PAGES.items():
        (tmp_path / "corpus" / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORESEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["run", *arguments])


OPTIONS: Final = ("--corpus", "corpus", "--trace", "t.jsonl", "--set", "verifier=off")


@needs_pango
def test_a_run_is_delivered_in_every_format_at_once(place: Path):
    outs = [each for suffix in report_file.SUFFIXES for each in ("--out", f"new/r{suffix}")]
    done = run(QUESTION, *OPTIONS, *outs)
    assert done.exit_code == 0, done.output
    (trace,) = read_traces(place / "t.jsonl")
    report = (place / "new" / "r.md").read_text("utf-8")
    assert "[1]" in report
    page = Page((place / "new" / "r.html").read_text("utf-8"))
    assert [word for word in marked_words(report) if word not in page.text] == []
    record = ReportRecord.model_validate_json((place / "new" / "r.json").read_bytes())
    assert (record.report, record.outcome, record.trace_id) == (report, "complete", trace.id)
    assert {quote.source for claim in record.claims for quote in claim.quotes} == {1, 2, 3}
    text = pdf_text((place / "new" / "r.pdf").read_bytes())
    assert QUESTION in " ".join(text.split())
    assert f"1 / {text.count(' / ')}" in text
    assert all(source.title in text for source in record.sources)
    assert (place / "new" / "r.pdf").stat().st_mode & 0o077 == 0


def test_cost_and_what_is_missing_are_in_the_json(place: Path):
    with OpenAIServer(BRAIN) as server:
        done = run(QUESTION, *OPTIONS, "--base-url", server.base_url, "--out", "r.json",
                   "--set", "rendering=turns")  # fmt: skip
    assert done.exit_code == 0, done.output
    record = ReportRecord.model_validate_json((place / "r.json").read_bytes())
    assert record.cost.model_calls == len(server.requests)
    assert record.cost.prompt_tokens
    assert record.missing == ()
    assert [source.number for source in record.sources] == [1, 2, 3]


@pytest.mark.parametrize("name", ["r.txt", "r", "r.docx", ".md"])
def test_another_suffix_is_refused_before_anything_is_spent(place: Path, name: str):
    with OpenAIServer(BRAIN) as server:
        done = run(QUESTION, *OPTIONS, "--base-url", server.base_url, "--out", name)
    assert "is written as .md, .html, .pdf or .json: end the name in one of them" in str(
        done.exception
    )
    assert server.requests == []


@pytest.mark.parametrize(
    ("fault", "fix"),
    [
        ("raise ImportError('none')", "pip install '.[pdf]'"),
        ("raise OSError('cannot load library libpango')", "apt-get install libpango-1.0-0"),
    ],
)
def test_pdf_without_what_makes_it_is_refused_before_anything_is_spent(
    place: Path, monkeypatch: pytest.MonkeyPatch, fault: str, fix: str
):
    for module in [name for name in sys.modules if name.partition(".")[0] == "weasyprint"]:
        monkeypatch.delitem(sys.modules, module)
    (place / "weasyprint.py").write_text(fault)
    monkeypatch.syspath_prepend(place)
    with OpenAIServer(BRAIN) as server:
        done = run(QUESTION, *OPTIONS, "--base-url", server.base_url, "--out", "r.pdf")
    assert fix in str(done.exception)
    assert server.requests == []
    assert not (place / "r.pdf").exists()


def test_two_files_have_two_names(place: Path):
    done = run(QUESTION, *OPTIONS, "--out", "r.md", "--out", "./r.md")
    assert "--out and --out are both r.md: name two files" in str(done.exception)


def test_a_run_without_a_report_is_told_by_json_alone(place: Path):
    done = run("Zzyzx qqqq?", *OPTIONS, "--out", "r.json", "--out", "r.html")
    assert done.exit_code == 1
    record = ReportRecord.model_validate_json((place / "r.json").read_bytes())
    assert (record.outcome, record.report, record.claims) == ("failed", None, ())
    assert record.missing[0].name == "no_evidence"
    assert not (place / "r.html").exists()
    (trace,) = read_traces(place / "t.jsonl")
    with pytest.raises(ConfigurationError, match="there is no report: no evidence was found"):
        write_report(trace, place / "r.html")


async def test_result_and_trace_are_written_alike(tmp_path: Path):
    documents = Documents({f"https://x.org/{n}": text for n, text in PAGES.items()})
    graph = create_research_graph(ExtractivePolicy(), search=documents)
    result = await graph.ainvoke({"question": QUESTION})
    for suffix in (".md", ".html", ".json"):
        paths = tmp_path / f"result{suffix}", tmp_path / f"trace{suffix}"
        write_report(result, paths[0])
        write_report(result["trace"], str(paths[1]))
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert (tmp_path / "result.md").read_text("utf-8") == result["report"]
    with pytest.raises(ConfigurationError, match=r"\.md, \.html, \.pdf or \.json"):
        write_report(result, tmp_path / "r.rtf")


async def test_a_run_that_has_not_ended_has_no_report_to_write(tmp_path: Path):
    graph = create_research_graph(
        ExtractivePolicy(), search=Documents({}), settings=ResearchSettings(approve_plan=True),
        checkpointer=InMemorySaver(),
    )  # fmt: skip
    thread: RunnableConfig = {"configurable": {"thread_id": "one"}}
    result = await graph.ainvoke({"question": QUESTION}, thread)
    with pytest.raises(ConfigurationError, match=r"the run waits for a person: resume it with Com"):
        write_report(result, tmp_path / "r.json")
    state = (await graph.aget_state(thread)).values
    with pytest.raises(ConfigurationError, match="the run has not ended: resume it"):
        write_report(state, tmp_path / "r.md")
    # A thread's second question waits, and the first one's trace is still there.
    ended = {"trace": good_trace(), "report": "It.", "citations": None}
    with pytest.raises(ConfigurationError, match="the run waits for a person: leave approve_plan"):
        CitedReport.of({**ended, "__interrupt__": ()})


def test_why_there_is_no_report_is_said_alike(tmp_path: Path):
    trace = Trace(question="q", outcome="failed")
    result = {"trace": trace, "report": None, "citations": None}
    for why, failures in (
        ("the run gives no reason", ()),
        ("one; two", tuple(Failure(name="not_covered", fault="person", message=message)
                           for message in ("one", "two"))),
    ):  # fmt: skip
        result["trace"] = trace.model_copy(update={"failures": failures})
        with pytest.raises(ConfigurationError, match=f"there is no report: {why}$"):
            write_report(result, tmp_path / "r.md")
        assert CitedReport.of(result).failure == why


def test_json_holds_nothing_that_cannot_be_seen():
    hidden = "".join(
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in {"Cc", "Cf"} or 0xE0000 <= code < 0xE1000
    )
    hidden += "\u034f\u115f\u1160\u180b\u3164\ufe0f\uffa0"
    trace = trace_of(GOOD, question=hidden)
    record = ReportRecord.of(trace, hidden, None)
    text = record.json_text()
    assert set(text) & set(hidden) == {"\n"}
    assert ReportRecord.model_validate_json(text) == record


def test_a_page_needs_nothing_from_outside_and_runs_nothing():
    trace = good_trace(usage=(Usage(role="planner", model="m", calls=3, cost=0.5),))
    source = report_page(trace_report(trace), trace)
    page = Page(source)
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv")]
    assert policy
    assert policy.startswith("default-src 'none'; script-src 'none'; style-src 'sha256-")
    assert "url(" not in source
    assert "@import" not in source
    assert "@media print" in source
    assert "prefers-color-scheme: dark" in source
    assert page.elements[0] == ("html", {"lang": "en", "dir": "ltr"})
    assert "<title>What are tides?</title>" in source
    assert "complete · 3 model calls, 0 tool calls, $0.5000" in page.text
    assert {link[1:] for link in page.links if link.startswith("#")} == set(page.ids)
    assert {"https://example.org/tides", "https://example.org/range"} <= set(page.links)


def trace_report(trace: Trace) -> str:
    report = report_file._run(trace).report
    assert report is not None
    return report


def test_a_second_question_is_titled_by_its_own_words():
    trace = good_trace(
        question="And the Sun?\n\nThis follows up on the question: Tides?\n\nIt was …"
    )
    assert "<title>And the Sun?</title>" in report_page("It does.", trace)


@pytest.mark.parametrize("text", [*HOSTILE, "[x]: javascript:alert(1)\n\n[x]", "![a](b)"])
def test_a_hostile_report_does_nothing(text: str):
    trace = hostile_trace()
    for report in (text, f"{text} [1].\n\n## References\n\n[1]. https://e.org/ - {text}"):
        page = Page(report_page(report, trace))  # has no element and attribute but those allowed
        assert all(re.match(r"https?://|#", link) for link in page.links)
        record = ReportRecord.of(trace, report, trace.citations)
        told = record.json_text()
        assert not set(told) & set("<>&\x1b\x07\x00\u202e\u2066")
        assert json.loads(told)["report"] == report
        assert all(re.match("https?://", each.url) for each in record.sources if each.url)


PIECES: Final = [
    "# ", "## ", "- ", "1. ", "> ", "| ", "\n|-|-|\n", "```\n", "`", "*", "**", "_", "[1]", "[2]",
    "[a](http://b.c)", "[9]. https://x.org/a - T\n", "## References\n\n", "](", "![", "<b>", "&lt;",
    "&", "\\", "\n", "\n\n", " ", "    ", "潮汐", "المد", "👩‍🔬", "tides", "é", "\u202e", "\x1b",
    "javascript:x", "<script>", "[x]: http://y.z\n", "[a]()", "[a](<>)", "~~~\n", "⸪m0x0⸫",
    "\u200d", "16 metres",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join))
def test_a_page_keeps_the_words_of_any_report(report: str):
    report = report.replace("\r", "").replace("\0", "")
    page = Page(report_page(report, good_trace()))
    seen = " ".join(words(f"{page.text} {' '.join(page.links)}"))
    assert [w for w in marked_words(without_commands(report)) if w not in seen] == []
    assert all(re.match(r"https?://|#", link) for link in page.links)


def without_commands(text: str) -> str:
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", text)


def test_json_says_what_is_missing_and_what_each_claim_rests_on():
    text = GOOD.replace("They reach 16 metres [2].", "They reach 99 metres [2]. It is so [7].")
    failures = (
        Failure(name="not_covered", fault="person", message="stopped", branch=2),
        Failure(name="repaired", fault="policy", message="mended"),
    )
    odd = Source.of(id=1003, url="javascript:alert(1)", text="x")
    trace = trace_of(text, failures=failures, sources=(*SOURCES, odd))
    run = report_file._run(trace)
    assert run.citations is not None
    record = ReportRecord.of(*run)
    assert [claim.status for claim in record.claims] == ["quoted", "contradicted", "dangling"]
    assert record.claims[0].quotes[0].text == "The Moon causes tides."
    assert record.claims[0].text == "The Moon causes tides."
    assert record.claims[1].sources == (2,)
    assert any("99" in part for part in record.claims[1].missing)
    assert record.claims[2].dangling == ("[7]",)
    assert [(part.name, part.subtask) for part in record.missing] == [
        ("not_covered", "How large they get")
    ]
    assert ReportRecord.model_validate_json(record.json_text()) == record
