"""`all`: the stages that are missing or stale, in order, up to the human one and on after it."""

from __future__ import annotations

from datagen.run.work import Work


def run_all(work: Work) -> None:
    """Run them."""
    raise NotImplementedError
