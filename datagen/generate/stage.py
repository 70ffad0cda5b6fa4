"""The generate stage: each seed becomes candidates, through the research graph."""

from __future__ import annotations

from datagen.run.work import Counts, Work


def generate(work: Work, runner: object = None) -> Counts:
    """Run the stage."""
    raise NotImplementedError
