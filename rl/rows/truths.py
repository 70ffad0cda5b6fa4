"""What the questions of a run are judged by, all together: how much one verdict takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.ground_truth import GroundTruth
from oresearch_graph.text.words import token_count
from rl.rollouts.reward import read_truth


class TruthSizes(NamedTuple):
    """Of the question that takes most."""

    orders: int
    """Requests of one opinion: two beside a reference report, which stands first once."""
    criteria: int
    """Criteria or key points."""
    tokens: int
    """Of all that the judge is given beside question and report."""


_SUPPOSED: Final = TruthSizes(orders=1, criteria=10, tokens=500)
"""Where the rows are not here."""


def truth_sizes(files: Iterable[str]) -> TruthSizes:
    """The sizes over the rows of these files; a guess where none of them is there. What is wrong
    with a file the start-up check says."""
    truths = [truth for file in files for truth in _truths(Path(file).expanduser())]
    if not truths:
        return _SUPPOSED
    return TruthSizes(
        orders=max(2 if truth.rubric and truth.reference else 1 for truth in truths),
        criteria=max(len(truth.criteria) for truth in truths),
        tokens=max(token_count(truth.to_json()) for truth in truths),
    )


def _truths(file: Path) -> Iterator[GroundTruth]:
    try:
        cells = pq.read_table(file, columns=["reward_model"]).column("reward_model").to_pylist()
    except (OSError, KeyError, pa.ArrowInvalid):
        return
    for cell in cells:
        try:
            yield read_truth({"reward_model": cell if isinstance(cell, dict) else None})
        except ConfigurationError:
            continue
