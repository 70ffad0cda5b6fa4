"""Settings of the filter stage."""

from __future__ import annotations

from datagen.settings.section import Section


class FilterSettings(Section):
    """What a candidate must be to pass."""
