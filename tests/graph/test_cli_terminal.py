"""`oresearch run` on a terminal: the plan is approved, edited, rejected or walked away from."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oresearch_graph.trace import Trace, read_traces, violations
from tests.graph.test_cli import COMMAND, QUESTION, environment
from tests.helpers.warm_python import WarmProcess


class Person:
    """Someone at a terminal in which `oresearch run --approve-plan` goes on."""

    def __init__(self, process: WarmProcess, screen: int) -> None:
        self.process, self._screen, self.seen = process, screen, ""

    def types(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def waits_for(self, text: str, seconds: float = 40.0) -> None:
        """Read the screen until the text has been on it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} never came: {self.seen[-800:]}"
            self._read()

    def leaves(self, press: Callable[[], None] = lambda: None, seconds: float = 60.0) -> int:
        """Press, and read to the end; the exit status.

        A key that comes while readline is still preparing the terminal is lost, and so is a
        signal, as select() has not begun that it would interrupt: people press again.
        """
        end = time.monotonic() + seconds
        again = 0.0
        while self._read():
            now = time.monotonic()
            assert now < end, f"it does not end: {self.seen[-800:]}"
            if now >= again and self.process.poll() is None:
                press()
                again = now + 5.0
        return self.process.wait(timeout=30)

    def _read(self) -> bool:
        if not select.select([self._screen], [], [], 0.2)[0]:
            return True
        try:
            piece = os.read(self._screen, 65_536)
        except OSError:  # how Linux tells that the other side has closed
            return False
        self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", piece.decode(errors="replace"))
        return bool(piece)


@contextmanager
def person(folder: Path) -> Iterator[Person]:
    screen, terminal = pty.openpty()
    name = os.ttyname(terminal)
    process = WarmProcess(
        COMMAND, "run", QUESTION, "--search", "python", "--approve-plan", "--effort", "quick",
        "--trace", "t.jsonl", cwd=folder, streams=(name, name, name),
        env=environment(TERM="xterm", COLUMNS="100", LINES="40"),
    )  # fmt: skip
    os.close(terminal)
    someone = Person(process, screen)
    try:
        someone.waits_for("approve, edit or reject")
        yield someone
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def written(folder: Path) -> Trace:
    (trace,) = read_traces(folder / "t.jsonl")
    assert all(violation.declared for violation in violations(trace))
    return trace


def test_an_approved_plan_is_researched_in_a_live_view(tmp_path):
    with person(tmp_path) as someone:
        someone.types("\n")
        assert someone.leaves() == 0
    assert re.search(r"at most \d+ model calls, \d+ tool calls, [\d,]+ tokens", someone.seen)
    assert someone.seen.startswith(f"researching: {QUESTION}"), "before anything is imported"
    after = someone.seen.split("approve, edit or reject")[1]
    assert "complete: citations checked" in after
    assert "sources seen" in after
    assert written(tmp_path).outcome == "complete"


def test_an_edited_plan_keeps_what_a_number_names(tmp_path):
    with person(tmp_path) as someone:
        someone.types("e\n")
        someone.waits_for("an empty line ends")
        someone.types("\n")
        someone.waits_for("at least one subtask")
        someone.types("2\nasyncio shield and [red]timeouts\n\n")
        assert someone.leaves() == 0
    listed = written(tmp_path).subtasks
    assert listed[1] == "asyncio shield and [red]timeouts"
    assert f"2. {listed[0]}" in someone.seen


def test_a_rejected_plan_ends_the_run_with_the_reason(tmp_path):
    with person(tmp_path) as someone:
        someone.types("r\n")
        someone.waits_for("why")
        someone.types("too broad\n")
        assert someone.leaves() == 1
    assert any("too broad" in failure.message for failure in written(tmp_path).failures)


@pytest.mark.parametrize("way", ["Ctrl-C", "Ctrl-D"])
def test_one_who_leaves_at_the_question_keeps_the_plan(tmp_path, way):
    with person(tmp_path) as someone:
        presses = {
            "Ctrl-C": lambda: someone.process.send_signal(signal.SIGINT),
            "Ctrl-D": lambda: someone.types("\x04"),
        }
        assert someone.leaves(presses[way]) == 130
    assert "stopped; what was done is in t.jsonl" in someone.seen
    assert "Traceback" not in someone.seen
    trace = written(tmp_path)
    assert trace.outcome == "failed"
    assert trace.subtasks
