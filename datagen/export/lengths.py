"""Lengths of rows in tokens, kept as numbers only, against the windows that trainers have."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Final

from datagen.export.columns import Row
from datagen.export.sft_rows import assistant_text

WINDOWS: Final = (32_768, 65_536, 131_072)
_PERCENTILES: Final = (50, 90, 99)


class Lengths:
    """Tokens of every row of one configuration, prompt included."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._rows = array("Q")

    def add(self, row: Row) -> None:
        """Measure an SFT row."""
        texts = (row["system"], row["question"], assistant_text(row))
        self._rows.append(sum(map(self._count, texts)))

    def told(self) -> dict[str, Any]:
        """Rows, tokens, percentiles, the longest, and the rows over each window."""
        lengths = sorted(self._rows)
        return {
            "rows": len(lengths),
            "tokens": sum(lengths),
            "percentiles": {p: _rank(lengths, p) for p in _PERCENTILES if lengths},
            "longest": lengths[-1] if lengths else None,
            "over": {window: sum(n > window for n in lengths) for window in WINDOWS},
        }


def _rank(lengths: list[int], percent: int) -> int:
    """Nearest-rank percentile of sorted numbers."""
    return lengths[max(0, -(-percent * len(lengths) // 100) - 1)]
