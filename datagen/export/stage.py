"""The export stage: what was accepted becomes a data set, if the human review lets it."""

from __future__ import annotations

from datagen.run.folder import Counts, Work


def export(work: Work) -> Counts:
    """Run the stage. Raises ConfigurationError when the gate is closed or nothing can be exported;
    an earlier data set is kept then."""
    from datagen.export.dataset import write_dataset
    from datagen.run.review_result import require_gate

    reviewed = require_gate(work)
    return write_dataset(work, () if reviewed is None else reviewed.refused)
