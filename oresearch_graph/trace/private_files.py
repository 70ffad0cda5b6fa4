"""Files that only their owner reads: a question and its sources are nobody else's business.

What is only added to keeps the mode that a person gave it.
"""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

_creating = threading.Lock()


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing. Raises OSError."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def private_file(path: Path, flags: int = os.O_WRONLY) -> int:
    """Make a file and its folder where they are missing; the open descriptor. Raises OSError."""
    private_folder(path.parent)
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)


def create_private(path: Path) -> None:
    """Make an empty file for SQLite, which would let everyone read it. Raises OSError.

    A file that is there is not opened: closing it would drop every lock that this process holds on
    the database (https://sqlite.org/howtocorrupt.html, section 2.2).
    """
    private_folder(path.parent)
    with _creating, suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def write_private(path: Path, content: str | bytes) -> None:
    """Write bytes, or a text in UTF-8, in the place of the file, which stays as it was if they
    cannot all be written. Raises OSError.

    What cannot be replaced is written over: a device, or a file in a folder of somebody else's.
    """
    content = content.encode("utf-8", "replace") if isinstance(content, str) else content
    target = Path(os.path.realpath(path))
    private_folder(target.parent)
    if target.exists() and not (target.is_file() and os.access(target.parent, os.W_OK)):
        with os.fdopen(private_file(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            file.write(content)
        return
    descriptor, part = tempfile.mkstemp(prefix=".oresearch-", dir=target.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(part).replace(target)
    finally:
        Path(part).unlink(missing_ok=True)
