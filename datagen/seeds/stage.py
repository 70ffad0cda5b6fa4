"""The seeds stage: questions become seeds, and each one left out has its reason."""

from __future__ import annotations

from datagen.run.work import Counts, Work


def make_seeds(work: Work) -> Counts:
    """Run the stage."""
    raise NotImplementedError
