"""Settings of the seeds stage."""

from __future__ import annotations

from datagen.settings.section import Section


class SeedSettings(Section):
    """Where questions come from and which are left out."""

    files: tuple[str, ...] = ()
    """JSONL, CSV or Parquet files, or `datasets` folders and names."""
    benchmarks: tuple[str, ...] = ()
    """Files of questions that must not be trained on."""
