"""Settings of the generate stage."""

from __future__ import annotations

from pydantic import Field

from datagen.settings.section import Section


class GenerateSettings(Section):
    """How many candidates a seed gets, and who writes them."""

    candidates: int = Field(default=4, ge=1)
    """Per seed."""
