"""The window report: how long rows are, and what a window of so many tokens leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from rich.table import Table

WINDOWS: Final = (32_768, 65_536, 131_072)
PERCENTILES: Final = (50, 90, 99)


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
class WindowReport:
    """Lengths of a set of rows, in tokens."""

    rows: int
    traces: int
    tokens: int
    policy_tokens: int
    percentiles: Mapping[int, int]
    """Nearest-rank percentile of a row's tokens, by percent; empty without rows."""
    longest: int | None
    windows: tuple[Window, ...]

    @property
    def policy_share(self) -> float | None:
        """Share of tokens that are trained."""
        return self.policy_tokens / self.tokens if self.tokens else None

    def table(self) -> Table:
        """The report to be printed."""
        share = "none" if self.policy_share is None else f"{self.policy_share:.1%}"
        lengths = ", ".join(f"p{p} {n:,}" for p, n in self.percentiles.items())
        shown = Table(
            title=f"{self.rows:,} rows of {self.traces:,} traces, {self.tokens:,} tokens, "
            f"{share} of them the policy's",
            caption=f"tokens of a row: {lengths}, longest {self.longest or 0:,}",
        )
        for name in ("window", "rows dropped", "traces cut short", "traces lost", "policy tokens"):
            shown.add_column(name, justify="right")
        for window in self.windows:
            rows = f"{window.rows:,} ({window.rows / max(1, self.rows):.1%})"
            shown.add_row(
                f"{window.size:,}", rows, f"{window.traces - window.whole_traces:,}",
                f"{window.whole_traces:,}", f"{window.policy_tokens:,}",
            )  # fmt: skip
        return shown


def window_report(rows: Sequence[Measured], windows: Sequence[int] = WINDOWS) -> WindowReport:
    """What windows of these sizes (tokens) would leave out of the rows."""
    lengths = sorted(row.tokens for row in rows)
    return WindowReport(
        rows=len(rows),
        traces=len({row.trace_id for row in rows}),
        tokens=sum(lengths),
        policy_tokens=sum(row.policy_tokens for row in rows),
        percentiles={p: lengths[_rank(p, len(lengths))] for p in PERCENTILES if lengths},
        longest=lengths[-1] if lengths else None,
        windows=tuple(_window(rows, size) for size in sorted(set(windows))),
    )


def _rank(percent: int, count: int) -> int:
    return max(0, -(-percent * count // 100) - 1)


def _window(rows: Sequence[Measured], size: int) -> Window:
    dropped = [row for row in rows if row.tokens > size]
    touched = {row.trace_id for row in dropped}
    kept = {row.trace_id for row in rows if row.tokens <= size}
    return Window(
        size=size,
        rows=len(dropped),
        traces=len(touched),
        whole_traces=len(touched - kept),
        policy_tokens=sum(row.policy_tokens for row in dropped),
    )
