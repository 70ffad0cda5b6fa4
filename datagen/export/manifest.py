"""manifest.json: every file with its hash, and what the data set was made by. Written last, so
that its presence says that the folder is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from datagen.export.tables import FileRecord
from datagen.settings.export import PageText
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Execution, Protocol

NAME: Final = "manifest.json"


class Manifest(BaseModel):
    """What a data set's folder holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(f"{folder / NAME}: {place}: {first['msg']}") from error
