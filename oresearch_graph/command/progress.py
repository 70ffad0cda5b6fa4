"""Progress of a run on standard error: a live view, redrawn in place four times a second, or plain
lines when it is no terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Literal, Protocol, Self, assert_never

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from oresearch_graph.command.terminal import line, lines
from oresearch_graph.evidence.citations import in_words
from oresearch_graph.graph.events import (
    Called,
    Event,
    Observed,
    Planned,
    Report,
    ReportText,
    SubtaskFailed,
    SubtaskFinished,
    SubtaskStarted,
    TimeForecast,
    Verified,
)

_Mark = Literal["·", "→", "✓", "✗"]
_STYLES: Final[dict[_Mark, str]] = {"·": "dim", "→": "", "✓": "green", "✗": "red"}


@dataclass(frozen=True)
class _Row:
    subtask: str
    mark: _Mark = "·"
    doing: str = "waiting"


class LiveProgress:
    """One line for each subtask, so that a plan fits a small terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began, self._paused = time.monotonic(), 0.0
        self._rows: dict[int, _Row] = {}
        self._stage, self._words = "planning", 0
        # Last: rich asks for a frame at once.
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self.view)

    def show(self, event: Event) -> None:
        match event:
            case TimeForecast():
                self._stage = f"planning; {forecast_line(event)}"
            case Planned():
                self._rows = {i: _Row(text) for i, text in enumerate(event.subtasks, start=1)}
                self._stage = "researching"
            case SubtaskStarted():
                self._rows[event.branch] = _Row(event.subtask, "→", "thinking")
            case Observed():
                self._set(event.branch, "→", "thinking")
            case Called():
                self._set(event.branch, "→", _call(event))
            case SubtaskFinished():
                self._set(event.branch, "✓", f"answered, {event.sources} sources seen")
            case SubtaskFailed():
                self._set(event.branch, "✗", f"failed: {event.message}")
            case ReportText():
                self._words += len(event.text.split())
                self._stage = f"writing the report… {self._words} words"
            case Report():
                pass
            case Verified():
                state = "no report" if event.claims is None else "citations checked"
                self._stage = f"{event.outcome}: {state}"
            case _:
                assert_never(event)

    def checking(self) -> None:
        self._stage = "checking citations"

    def _set(self, branch: int, mark: _Mark, doing: str) -> None:
        self._rows[branch] = _Row(self._rows.get(branch, _Row("")).subtask, mark, doing)

    def view(self) -> RenderableType:
        """The present frame."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        # Four columns short: a terminal writes its own ^C there, and a line that it wraps would
        # be counted wrongly.
        plan = Table.grid(padding=(0, 1), expand=True)
        plan.width = max(20, self._console.width - 4)
        plan.add_column(width=1)
        plan.add_column(width=2, justify="right")
        plan.add_column(ratio=3, no_wrap=True)
        plan.add_column(ratio=2, no_wrap=True)
        for branch, row in sorted(self._rows.items()):
            style = _STYLES[row.mark]
            plan.add_row(
                line(row.mark, style), f"{branch}.", line(row.subtask), line(row.doing, style)
            )
        head = line(f"{self._stage} · {minutes}:{seconds:02d}", "bold")
        return Group(head, plan)

    def pause(self) -> None:
        """Leave the screen to a question; the frame goes."""
        self._live.transient, self._paused = True, time.monotonic()
        self._live.stop()

    def resume(self) -> None:
        """Go on below the question; the time it took does not count."""
        self._live.transient = False
        self._began += time.monotonic() - self._paused
        self._live.start()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _call(event: Called) -> str:
    match event.tool:
        case "web_search":
            return f"searching “{'” “'.join(event.items)}”"
        case "crawl_page":
            one = len(event.items) == 1
            return f"reading {event.items[0]}" if one else f"reading {len(event.items)} pages"
        case _:
            return f"{event.tool} {' '.join(event.items)}"


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
        if (line := progress_line(event)) is not None:
            self._print(line)

    def _print(self, text: str) -> None:
        self._console.print(lines(" ".join(text.split())), soft_wrap=True)


def progress_line(event: Event) -> str | None:
    """An event in one line; None for those not worth a line."""
    match event:
        case TimeForecast():
            return forecast_line(event)
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
            return None if event.claims is None else f"cited sentences: {in_words(event.claims)}"
        case Observed() | ReportText() | Report():
            return None
        case _:
            assert_never(event)


def forecast_line(event: TimeForecast) -> str:
    """How long a run on a slow server will take."""
    about = f"about {max(1, round(event.seconds / 60))} min at {event.pace:.0f} tokens/s"
    return f"{about}, at most {event.limit / 60:.0f} min"


def progress_on(console: Console, *, quiet: bool) -> Progress:
    """The progress display that suits the console."""
    if quiet:
        return NoProgress()
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
