"""The review stage: what people said of the sample becomes the result that gates the export."""

from __future__ import annotations

from datagen.run.work import Counts, Work


def settle_review(work: Work) -> Counts:
    """Run the stage."""
    raise NotImplementedError
