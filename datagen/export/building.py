"""A data set's folder takes its place whole, or the one that stood there stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from oresearch_graph.errors import ConfigurationError


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its place when the block ends.

    Raises ConfigurationError for a disk that does not take it. A process killed between the two
    renames leaves the old folder as `<name>.old`, which the next call puts back.
    """
    part, old = folder.with_name(f"{folder.name}.part"), folder.with_name(f"{folder.name}.old")
    try:
        _restore(folder, old)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigurationError(f"{folder}: not written: {why}; what was there is kept") from error
    finally:
        _restore(folder, old)
        shutil.rmtree(part, ignore_errors=True)


def _restore(folder: Path, old: Path) -> None:
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)
