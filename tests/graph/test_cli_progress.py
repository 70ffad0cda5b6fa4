"""What a run tells of itself: plain lines, the live view, and that strangers' text stays text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from oresearch_graph.command.progress import LiveProgress, PlainProgress, progress_on
from oresearch_graph.command.terminal import harmless, line, lines
from oresearch_graph.graph.events import (
    Called,
    Event,
    Observed,
    Planned,
    ReportText,
    SubtaskFailed,
    SubtaskFinished,
    SubtaskStarted,
    Verified,
)

EVIL = "a \x1b[31m[red]b[/red] \u202ec\x9b2J"
SHOWN = "a \ufffd[31m[red]b[/red] \ufffdc\ufffd2J"

STORY: list[Event] = [
    Planned(subtasks=("One", EVIL)),
    SubtaskStarted(branch=1, subtask="One"),
    SubtaskStarted(branch=2, subtask=EVIL),
    Called(branch=1, tool="web_search", items=("x y", "z")),
    Observed(branch=1, tool="web_search", sources=(1001,), seconds=0.1),
    Called(branch=1, tool="crawl_page", items=("u", "v")),
    SubtaskFinished(branch=1, sources=3, tool_calls=2),
    SubtaskFailed(branch=2, message="no connection"),
    ReportText(text="some words of it"),
    ReportText(text=" and more"),
    Verified(outcome="partial", accuracy=0.5, coverage=0.5, claims={"found": 1, "missing": 1}),
]


def console(*, terminal: bool, width: int = 90) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, force_terminal=terminal, width=width, color_system=None), written


def frame(events: list[Event], width: int = 90) -> str:
    plain, written = console(terminal=False, width=width)
    progress = LiveProgress(console(terminal=True, width=width)[0])
    for event in events:
        progress.show(event)
    plain.print(progress.view())
    return written.getvalue()


def test_plain_progress_is_a_line_for_each_event_worth_one():
    plain, written = console(terminal=False)
    with PlainProgress(plain) as progress:
        for event in STORY:
            progress.show(event)
    assert written.getvalue().splitlines() == [
        "plan: 2 subtasks",
        "[1] One",
        f"[2] {SHOWN}",
        "[1] searching x y | z",
        "[1] reading u | v",
        "[1] answered, 3 sources seen",
        "[2] failed: no connection",
        "writing the report",
        "cited sentences: 1 found, 1 missing",
    ]


@pytest.mark.parametrize(
    ("events", "head"),
    [(0, "planning"), (1, "researching"), (10, "writing the report… 6 words"),
     (11, "partial: citations checked")],
)  # fmt: skip
def test_the_head_of_the_live_view_says_what_the_run_is_at(events: int, head: str):
    assert frame(STORY[:events]).startswith(f"{head} · 0:0")


def test_the_live_view_has_a_line_for_each_subtask():
    _, one, two = frame(STORY[:4]).splitlines()
    assert one.split() == ["→", "1.", "One", "searching", "“x", "y”", "“z”"]
    assert two.startswith(f"→  2. {SHOWN}") or SHOWN in two
    _, one, two = frame(STORY[:6]).splitlines()
    assert "reading 2 pages" in one
    _, one, two = frame(STORY).splitlines()
    assert one.startswith("✓")
    assert "answered, 3 sources seen" in one
    assert two.startswith("✗")
    assert "failed: no connection" in two


def test_a_long_subtask_takes_one_line_of_a_narrow_terminal():
    shown = frame([Planned(subtasks=("word " * 60,) * 9)], width=40).splitlines()
    assert len(shown) == 10
    assert all(len(each) <= 36 for each in shown)  # a terminal's own ^C fits behind it
    assert all("…" in each for each in shown[1:])


def test_without_a_report_no_citations_are_said_to_be_checked():
    failed = Verified(outcome="failed", accuracy=None, coverage=None, claims=None)
    assert frame([failed]).startswith("failed: no report")
    plain, written = console(terminal=False)
    PlainProgress(plain).show(failed)
    assert written.getvalue() == ""


def test_time_spent_on_a_question_does_not_count(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr("oresearch_graph.command.progress.time.monotonic", lambda: now[0])
    screen, written = console(terminal=True)
    with LiveProgress(screen) as progress:
        now[0] = 5.0
        progress.pause()
        now[0] = 500.0
        progress.resume()
        progress.checking()
        now[0] = 507.0
        plain, shown = console(terminal=False)
        plain.print(progress.view())
    assert shown.getvalue().strip() == "checking citations · 0:12"
    assert "checking citations" in written.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_progress_says_nothing(terminal: bool):
    screen, written = console(terminal=terminal)
    with progress_on(screen, quiet=True) as progress:
        for event in STORY:
            progress.show(event)
        progress.checking()
    assert written.getvalue() == ""


def test_strangers_text_commands_no_terminal():
    assert harmless(EVIL) == SHOWN
    assert harmless("two\r\nlines\tand אבג 漢字") == "two\nlines\tand אבג 漢字"
    assert line("a\n  b").plain == "a b"
    assert lines("[bold]x").plain == "[bold]x"
