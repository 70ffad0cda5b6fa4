"""Runs that have settings for seeds, and the seeds they kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datagen.records import Seed
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import read_records
from tests.helpers.datagen_work import work_of


def work_in(folder: Path, **seeds: Any) -> Work:
    return work_of(RunFolder(folder / "run"), seeds=seeds)


def kept(work: Work) -> list[Seed]:
    return list(read_records(work.run.seeds, Seed))
