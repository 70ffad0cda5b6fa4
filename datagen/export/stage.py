"""The export stage: what was accepted becomes a data set."""

from __future__ import annotations

from datagen.run.work import Counts, Work


def export(work: Work) -> Counts:
    """Run the stage."""
    raise NotImplementedError
