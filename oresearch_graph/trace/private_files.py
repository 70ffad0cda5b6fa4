"""Files that only their owner reads: a question and its sources are nobody else's business.

What is there already keeps the mode that a person gave it.
"""

from __future__ import annotations

import os
from pathlib import Path


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing. Raises OSError."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def private_file(path: Path, flags: int = os.O_WRONLY) -> int:
    """Make a file and its folder where they are missing; the open descriptor. Raises OSError."""
    private_folder(path.parent)
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)


def write_private(path: Path, text: str) -> None:
    """Write a text in UTF-8 over what the file held. Raises OSError."""
    with os.fdopen(private_file(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(text.encode("utf-8", "replace"))
