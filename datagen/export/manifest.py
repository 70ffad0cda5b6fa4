"""manifest.json: every file with its hash, and what the data set was made by. Written last, so
that its presence says that the folder is whole. Rows have hashes of their own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from datagen.settings.export import PageText
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.files import Row, canonical
from oresearch_graph.trace import Execution, Protocol, text_hash
from oresearch_graph.trace.validation import FrozenModel, first_fault

NAME: Final = "manifest.json"


class FileRecord(FrozenModel):
    """A file of the data set."""

    path: str
    """Relative to the data set's folder."""
    config: str | None = None
    split: str | None = None
    rows: int | None = None
    bytes: int
    sha256: str


def row_hash(row: Row) -> str:
    """SHA-256 of all columns of a row but the hash itself."""
    others = {name: value for name, value in row.items() if name != "sha256"}
    return text_hash(canonical(others))


def file_record(folder: Path, path: Path, **about: Any) -> FileRecord:  # noqa: ANN401
    """What the manifest says of a file that stands."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(
        path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=digest, **about
    )


class Manifest(FrozenModel):
    """What a data set's folder holds."""

    version: Literal[1] = 1
    settings: str
    """Fingerprint of the settings that the export read."""
    protocols: dict[Execution, Protocol]
    """The training protocols that rows are told under."""
    page_text: PageText
    scrubbed: bool
    counts: dict[str, int]
    files: tuple[FileRecord, ...]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it into the folder."""
    (folder / NAME).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Raises ConfigurationError for a folder without a manifest that can be read."""
    try:
        return Manifest.model_validate_json((folder / NAME).read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: no {NAME}: this is no data set that export wrote, or not all of it"
        ) from error
    except ValidationError as error:
        raise ConfigurationError(f"{folder / NAME}: {first_fault(error)}") from error
