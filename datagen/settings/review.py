"""Settings of the review stage."""

from __future__ import annotations

from datagen.settings.section import Section


class ReviewSettings(Section):
    """The sample that people look at, and what their word decides."""
