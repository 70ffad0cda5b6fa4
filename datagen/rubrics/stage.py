"""The rubrics stage: accepted traces become what RL judges by."""

from __future__ import annotations

from datagen.run.work import Counts, Work


def make_rubrics(work: Work) -> Counts:
    """Run the stage."""
    raise NotImplementedError
