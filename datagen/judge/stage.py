"""The judge stage: a judge scores what passed the filter."""

from __future__ import annotations

from datagen.run.work import Counts, Work


def judge(work: Work) -> Counts:
    """Run the stage."""
    raise NotImplementedError
