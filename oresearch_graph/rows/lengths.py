"""Lengths of rows in tokens, and what the windows that trainers have leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from rich.table import Table

WINDOWS: Final = (32_768, 65_536, 131_072)
PERCENTILES: Final = (50, 90, 99)
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class LengthSummary:
    """Lengths of a set of rows, in tokens."""

    rows: int
    tokens: int
    percentiles: Mapping[int, int]
    """Nearest-rank percentile of a row's tokens, by percent; empty without rows."""
    longest: int | None
    over: Mapping[int, int]
    """Rows longer than a window, by the window's size."""

    @classmethod
    def of(cls, lengths: Sequence[int], windows: Sequence[int] = WINDOWS) -> LengthSummary:
        """Tokens of each row, in any order."""
        return cls(
            rows=len(lengths),
            tokens=sum(lengths),
            percentiles={p: nearest_rank(lengths, p) for p in PERCENTILES if lengths},
            longest=max(lengths, default=None),
            over={size: sum(length > size for length in lengths) for size in windows},
        )


def nearest_rank(values: Sequence[Number], percent: int) -> Number:
    """The smallest value that at least this percentage of the values does not exceed. Raises
    IndexError without values."""
    return sorted(values)[max(0, -(-percent * len(values) // 100) - 1)]


class Measured(Protocol):
    """A row with its lengths."""

    @property
    def trace_id(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def policy_tokens(self) -> int:
        """Tokens with mask 1."""
        ...


@dataclass(frozen=True)
class Window:
    """What does not fit into a window: rows are dropped whole, never cut."""

    size: int
    """Tokens."""
    rows: int
    """Rows dropped."""
    traces: int
    """Traces that lose a row."""
    whole_traces: int
    """Traces that lose every row."""
    policy_tokens: int
    """Trained tokens that go with them."""


@dataclass(frozen=True)
class WindowReport(LengthSummary):
    """Lengths of a set of rows, and what windows leave out of them."""

    traces: int
    policy_tokens: int
    windows: tuple[Window, ...]

    @property
    def policy_share(self) -> float | None:
        """Share of tokens that are trained."""
        return self.policy_tokens / self.tokens if self.tokens else None

    def table(self) -> Table:
        """The report to be printed."""
        share = "none" if self.policy_share is None else f"{self.policy_share:.1%}"
        lengths = ", ".join(f"p{p} {n:,}" for p, n in self.percentiles.items())
        table = Table(
            title=f"{self.rows:,} rows of {self.traces:,} traces, {self.tokens:,} tokens, "
            f"{share} of them the policy's",
            caption=f"tokens of a row: {lengths}, longest {self.longest or 0:,}",
        )
        for name in ("window", "rows dropped", "traces cut short", "traces lost", "policy tokens"):
            table.add_column(name, justify="right")
        for window in self.windows:
            rows = f"{window.rows:,} ({window.rows / max(1, self.rows):.1%})"
            table.add_row(
                f"{window.size:,}", rows, f"{window.traces - window.whole_traces:,}",
                f"{window.whole_traces:,}", f"{window.policy_tokens:,}",
            )  # fmt: skip
        return table


def window_report(rows: Sequence[Measured], sizes: Sequence[int] = WINDOWS) -> WindowReport:
    """What windows of these sizes (tokens) would leave out of the rows."""
    return WindowReport(
        **vars(LengthSummary.of([row.tokens for row in rows], sizes)),
        traces=len({row.trace_id for row in rows}),
        policy_tokens=sum(row.policy_tokens for row in rows),
        windows=tuple(_window(rows, size) for size in sorted(set(sizes))),
    )


def _window(rows: Sequence[Measured], size: int) -> Window:
    over = [row for row in rows if row.tokens > size]
    cut_traces = {row.trace_id for row in over}
    fitting_traces = {row.trace_id for row in rows if row.tokens <= size}
    return Window(
        size=size,
        rows=len(over),
        traces=len(cut_traces),
        whole_traces=len(cut_traces - fitting_traces),
        policy_tokens=sum(row.policy_tokens for row in over),
    )
