"""Stamps: which settings and which input a stage's output was made of, and so what is stale.

A stage is stale when its settings, its version or its input changed since, or when a stage before
it is stale; a changed rubric re-runs the judge and what follows, and nothing before.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ValidationError

from datagen.records import Record
from datagen.run.folder import RunFolder
from datagen.run.record_files import write_document

_WHOLE: Final = 1 << 30
"""Bytes of a file that is hashed whole: about a second. Only files of traces grow larger."""
_EDGE: Final = 65_536

State = Literal["missing", "fresh", "stale"]


class StageStamp(Record):
    """A finished stage."""

    stage: str
    fingerprint: str
    """Of the stage's settings and version."""
    inputs: dict[str, str]
    """Digest of each input file by its name."""
    counts: dict[str, int]
    finished: str
    """ISO 8601 in UTC."""


def fingerprint(version: int, sections: Sequence[BaseModel]) -> str:
    """Sixteen hexadecimal digits over a stage's version and the settings it reads."""
    basis = [version, [section.model_dump(mode="json") for section in sections]]
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:16]


def digest(path: Path) -> str:
    """Of a file's size and content; of one above a gigabyte, which only grows, of both its ends.

    An edit in the middle of such a file that keeps its size is not seen; `verify` reads everything.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return "none"
    return _digest(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, _changed: int, _file: int) -> str:
    """Kept as long as the file is the same: `all` asks for each of them many times."""
    with path.open("rb") as file:
        if size <= _WHOLE:
            content = hashlib.file_digest(file, "sha256")
        else:
            content = hashlib.sha256(file.read(_EDGE))
            file.seek(size - _EDGE)
            content.update(file.read(_EDGE))
    return f"{size}:{content.hexdigest()[:16]}"


def inputs_of(files: Sequence[Path]) -> dict[str, str]:
    """The digest of each file by its name; of two with one name by their places as well."""
    names = Counter(file.name for file in files)
    return {file.name if names[file.name] == 1 else str(file): digest(file) for file in files}


def write_stamp(
    run: RunFolder, stage: str, mark: str, inputs: dict[str, str], counts: dict[str, int]
) -> StageStamp:
    """Say that a stage is finished; `inputs` are those from before it began."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    stamp = StageStamp(stage=stage, fingerprint=mark, inputs=inputs, counts=counts, finished=at)
    write_document(run.stamps / f"{stage}.json", stamp)
    return stamp


def read_stamp(run: RunFolder, stage: str) -> StageStamp | None:
    """The stamp of a stage; None when it was never finished, or its stamp is spoilt."""
    try:
        return StageStamp.model_validate_json((run.stamps / f"{stage}.json").read_bytes())
    except (OSError, ValidationError):
        return None


def state_of(run: RunFolder, stage: str, mark: str, inputs: Sequence[Path], output: Path) -> State:
    """Whether a stage's output stands, its own settings and input considered."""
    stamp = read_stamp(run, stage)
    if stamp is None or not output.exists():
        return "missing"
    same = stamp.fingerprint == mark and stamp.inputs == inputs_of(inputs)
    return "fresh" if same else "stale"
