"""Progress of a run on standard error: a calm live view, or plain lines when it is no terminal.

What questions, titles and addresses contain is shown as text, never as markup.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, assert_never

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from oresearch_graph.events import (
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


def progress_line(event: Event) -> str | None:
    """An event in one line; None for those not worth a line."""
    match event:
        case Planned():
            return f"plan: {len(event.subtasks)} subtasks"
        case SubtaskStarted():
            return f"[{event.branch}] {event.subtask}"
        case Called():
            return f"[{event.branch}] {_call(event)}"
        case SubtaskFinished():
            return f"[{event.branch}] answered, {event.sources} sources seen"
        case SubtaskFailed():
            return f"[{event.branch}] failed: {event.message}"
        case Verified():
            return f"citations checked, {event.unsupported} not supported"
        case Observed() | ReportText():
            return None
        case _:
            assert_never(event)


def _call(event: Called) -> str:
    verb = {"web_search": "searching", "crawl_page": "reading"}.get(event.tool, event.tool)
    return f"{verb} {' | '.join(event.items)}"


class PlainProgress:
    """A line for each event worth one."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, event: Event) -> None:
        if (line := progress_line(event)) is not None:
            self._console.print(Text(line), soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def pause(self) -> None:
        return None


class LiveProgress:
    """The plan with the state of each subtask, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._live.get_renderable = self._view  # type: ignore[method-assign]  # rich's own hook
        self._began = time.monotonic()
        self._subtasks: dict[int, tuple[str, str]] = {}
        self._doing, self._words = "planning", 0

    def show(self, event: Event) -> None:
        match event:
            case Planned():
                waiting = ((i, (text, "waiting")) for i, text in enumerate(event.subtasks, 1))
                self._subtasks, self._doing = dict(waiting), "researching"
            case SubtaskStarted() | Observed():
                self._set(event.branch, "thinking")
            case Called():
                self._set(event.branch, _call(event))
            case SubtaskFinished():
                self._set(event.branch, f"answered, {event.sources} sources seen")
            case SubtaskFailed():
                self._set(event.branch, f"failed: {event.message}")
            case ReportText():
                self._words += len(event.text.split())
                self._doing = f"writing the report, {self._words} words"
            case Verified():
                self._doing = "citations checked"
            case _:
                assert_never(event)

    def _set(self, branch: int, doing: str) -> None:
        self._subtasks[branch] = (self._subtasks.get(branch, ("", ""))[0], doing)

    def _view(self) -> RenderableType:
        seconds = time.monotonic() - self._began
        lines = [Text(f"{self._doing} · {seconds:.0f} s", style="bold", overflow="ellipsis")]
        for branch, (subtask, doing) in sorted(self._subtasks.items()):
            line = Text(no_wrap=True, overflow="ellipsis")
            line.append(f" {branch}. {subtask}")
            lines += [line, Text(f"    {doing}", style="dim", no_wrap=True, overflow="ellipsis")]
        return Group(*lines)

    def pause(self) -> None:
        """Leave the screen to a question."""
        self._live.stop()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self._live.stop()


class NoProgress(PlainProgress):
    """For --quiet."""

    def show(self, event: Event) -> None:  # noqa: ARG002 - the display's method, doing nothing
        return None


def progress_on(console: Console, *, quiet: bool) -> PlainProgress | LiveProgress:
    """The progress display that suits the console."""
    if quiet:
        return NoProgress(console)
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
