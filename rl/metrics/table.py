"""`python -m rl.metrics.table` prints the table of metrics that `rl/README.md` holds."""

from __future__ import annotations

import re
import sys

from rl.learning.step_metrics import METRICS


def metrics_table() -> str:
    """Every metric of ours with its meaning, as a Markdown table."""
    rows = [f"| `{name}` | {_cell(meaning)} |" for name, meaning in METRICS.items()]
    return "\n".join(["| metric | meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    """Markdown takes <word> for HTML, and | for the border of a cell."""
    return re.sub(r"<\w+>", r"`\g<0>`", text).replace("|", r"\|")


if __name__ == "__main__":
    sys.stdout.write(metrics_table() + "\n")
