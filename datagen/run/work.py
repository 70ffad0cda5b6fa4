"""Work: what every stage is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console

from datagen.run.folder import RunFolder
from datagen.settings import DatagenSettings


@dataclass(frozen=True)
class Work:
    """A run's folder and settings, and where to talk."""

    run: RunFolder
    settings: DatagenSettings
    console: Console = field(default_factory=lambda: Console(stderr=True))


Counts = dict[str, int]
"""What a stage counted, in the order to be told: kept in its stamp and shown in the funnel."""


def told(counts: Counts) -> str:
    """Counts as a line to read; what was found nowhere is left out behind the first."""
    items = [item for place, item in enumerate(counts.items()) if item[1] or not place]
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in items)
