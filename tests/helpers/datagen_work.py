"""Runs of datagen's stages, and what they said on their console."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from datagen.run.folder import RunFolder, Work
from datagen.settings import DatagenSettings


def work_of(run: RunFolder, **sections: Any) -> Work:
    """The run under these sections of settings, its console kept in memory."""
    settings = DatagenSettings.model_validate(sections)
    return Work(run, settings, Console(file=io.StringIO(), width=300))


def said(work: Work) -> str:
    assert isinstance(work.console.file, io.StringIO)
    return work.console.file.getvalue()
