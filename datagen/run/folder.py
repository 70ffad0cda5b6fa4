"""RunFolder: where a pipeline keeps everything, and the lock that lets one process write; Work: the
folder with its settings, as every stage is given it.

datagen.yaml           the settings
seeds.jsonl            Seed             seeds-dropped.jsonl   Dropped
imported.jsonl         Trace            generated.jsonl       Trace, in the order of finishing
lost.jsonl             Lost             filtered.jsonl        Filtered
judged.jsonl           Judgement        rubrics.jsonl         SeedTruth
review/                sample, decisions, result
dataset/               what export writes
stamps/                a StageStamp for each finished stage
work/                  checkpoints and caches; may be deleted when nothing runs
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from datagen.settings import DatagenSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace.private_files import private_file


class RunFolder:
    """The paths of one pipeline's run."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.settings = self.root / "datagen.yaml"
        self.seeds = self.root / "seeds.jsonl"
        self.dropped_seeds = self.root / "seeds-dropped.jsonl"
        self.imported = self.root / "imported.jsonl"
        self.generated = self.root / "generated.jsonl"
        self.lost = self.root / "lost.jsonl"
        self.filtered = self.root / "filtered.jsonl"
        self.judged = self.root / "judged.jsonl"
        self.review = self.root / "review"
        self.rubrics = self.root / "rubrics.jsonl"
        self.dataset = self.root / "dataset"
        self.stamps = self.root / "stamps"
        self.work = self.root / "work"

    @property
    def traces(self) -> list[Path]:
        """The trace files that are there, in the order they are read."""
        return [path for path in (self.imported, self.generated) if path.exists()]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone in the folder among writing processes. Raises ConfigurationError at once if not.

        The system frees the lock of a process that is killed.
        """
        try:
            lock = private_file(self.root / ".lock", os.O_RDWR)
        except OSError as error:
            raise ConfigurationError(f"{self.root}: cannot be written: {error.strerror}") from error
        try:
            self._take(lock)
            yield
        finally:
            os.close(lock)

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "another"
            raise ConfigurationError(
                f"{self.root}: process {holder} works in this folder: wait for it, or end it"
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)


@dataclass(frozen=True)
class Work:
    """A run's folder and settings, and where to talk."""

    run: RunFolder
    settings: DatagenSettings
    console: Console = field(default_factory=lambda: Console(stderr=True))

    def say(self, text: str) -> None:
        """Print a line for people as it is: nothing in it is markup."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


Counts = dict[str, int]
"""What a stage counted, in the order to be told: kept in its stamp and shown in the funnel."""


def counts_line(counts: Counts) -> str:
    """Counts as a line to read; what was found nowhere is left out behind the first."""
    items = [item for place, item in enumerate(counts.items()) if item[1] or not place]
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in items)
