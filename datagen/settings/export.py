"""Settings of the export stage."""

from __future__ import annotations

from datagen.settings.section import Section


class ExportSettings(Section):
    """Which rows are written, and when not."""
