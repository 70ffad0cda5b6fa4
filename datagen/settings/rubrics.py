"""Settings of the rubrics stage."""

from __future__ import annotations

from datagen.settings.section import Section


class RubricSettings(Section):
    """How key points and rubrics are made."""
