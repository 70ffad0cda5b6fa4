"""The filter stage: rules say what is wrong with each candidate."""

from __future__ import annotations

from datagen.run.work import Counts, Work


def filter_traces(work: Work) -> Counts:
    """Run the stage."""
    raise NotImplementedError
