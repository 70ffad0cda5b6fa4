"""Settings of the judge stage."""

from __future__ import annotations

from datagen.settings.section import Section


class JudgeSettings(Section):
    """Who judges, and what is accepted."""
