"""A PostgreSQL server of its own, on a socket in a folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_PLACES: Final = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
_PATH: Final = os.pathsep.join([*_PLACES, os.environ.get("PATH", "")])
MISSING: Final = None if shutil.which("initdb", path=_PATH) else "PostgreSQL is not installed"
"""Why none can be had, if so."""


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a database that is gone afterwards. PostgreSQL does not run as root."""
    user: dict[str, Any] = {} if os.getuid() else {"user": pwd.getpwnam("nobody").pw_uid}
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        if user:
            os.chown(folder, user["user"], -1)

        def run(program: str, *arguments: str) -> None:
            command = [shutil.which(program, path=_PATH) or program, *arguments]
            subprocess.run(
                command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60, **user
            )

        data, log = f"{folder}/data", f"{folder}/log"
        run("initdb", "-D", data, "-A", "trust", "-U", "research", "-E", "UTF8", "--no-locale",
            "--no-sync")  # fmt: skip
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")
        try:
            yield f"postgresql://research@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
