"""Progress of a run on standard error: a calm live view, or plain lines when it is no terminal.

What questions, titles and addresses contain is shown as text, never as markup.
"""

from __future__ import annotations

from typing import Protocol, Self, assert_never

from rich.console import Console

from oresearch_graph.command.live_view import LiveProgress
from oresearch_graph.command.terminal import lines
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


class Progress(Protocol):
    """What a run tells of itself while it goes on."""

    def show(self, event: Event) -> None: ...

    def checking(self) -> None:
        """The report is written; its citations are looked at."""

    def pause(self) -> None:
        """Leave the screen to a question."""

    def resume(self) -> None:
        """The question is answered."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class NoProgress:
    """For --quiet."""

    def show(self, event: Event) -> None:  # noqa: ARG002 - the display's method, doing nothing
        return None

    def checking(self) -> None:
        return None

    def pause(self) -> None:
        return None

    def resume(self) -> None:
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class PlainProgress(NoProgress):
    """A line for each event worth one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._writing = False

    def show(self, event: Event) -> None:
        if isinstance(event, ReportText) and not self._writing:
            self._writing = True
            self._print("writing the report")
        if (told := progress_line(event)) is not None:
            self._print(told)

    def _print(self, told: str) -> None:
        self._console.print(lines(" ".join(told.split())), soft_wrap=True)


def progress_line(event: Event) -> str | None:
    """An event in one line; None for those not worth a line."""
    match event:
        case Planned():
            return f"plan: {len(event.subtasks)} subtasks"
        case SubtaskStarted():
            return f"[{event.branch}] {event.subtask}"
        case Called():
            verb = {"web_search": "searching", "crawl_page": "reading"}.get(event.tool, event.tool)
            return f"[{event.branch}] {verb} {' | '.join(event.items)}"
        case SubtaskFinished():
            return f"[{event.branch}] answered, {event.sources} sources seen"
        case SubtaskFailed():
            return f"[{event.branch}] failed: {event.message}"
        case Verified():
            if event.precision is None:
                return None
            return f"citations checked, {event.unsupported} not supported"
        case Observed() | ReportText():
            return None
        case _:
            assert_never(event)


def progress_on(console: Console, *, quiet: bool) -> Progress:
    """The progress display that suits the console."""
    if quiet:
        return NoProgress()
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
