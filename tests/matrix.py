"""oresearch installed as strangers install it, and its surface tried there.

    python -m tests.matrix [CASE …]

One wheel is built of the checkout, from the ranges of pyproject.toml: no lock is read. Each case
is a fresh environment with that wheel and its neighbours, in which `tests.helpers.surface`
must hold.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
BUNDLED_PIP = "23.2.1"
"""What `python -m venv` of Python 3.11.7 and 3.12.1 brings; Debian 12's is of its age."""
AT_ONCE = 2


@dataclass(frozen=True)
class Case:
    """An environment: what stands in it beside the wheel, and who chose the versions."""

    name: str
    neighbours: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """What the checkout needs beside the wheel."""
    oldest: bool = False
    """The lowest versions that the ranges of pyproject.toml allow."""
    pip: str | None = None
    """Installed by this pip, in place of uv."""

    @property
    def programs(self) -> tuple[str, ...]:
        return (
            ("tests.helpers.surface", "tests.helpers.surface_extras")
            if self.extras
            else ("tests.helpers.surface",)
        )


CASES = (
    Case("oldest", oldest=True),
    Case("newest"),
    Case(
        "oldest-extras", extras=("local", "mcp", "pdf", "studio"), groups=("datagen",), oldest=True
    ),
    Case("newest-extras", extras=("local", "mcp", "pdf", "studio"), groups=("datagen",)),
    # Without a floor uv goes back to a deepagents of long ago rather than to an older tenacity.
    Case(
        "neighbours",
        neighbours=("deepagents>=0.7", "langchain-google-genai>=4.4", "langchain-anthropic>=1.7"),
    ),
    Case("bundled-pip", pip=BUNDLED_PIP),
)


class Fault(Exception):
    """A program of a case failed; the message is what it said."""


def run(*command: str | Path, cwd: Path) -> str:
    """What a program prints. It sees no key and no module of the checkout."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and name not in {"PYTHONPATH", "VIRTUAL_ENV"}
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env=clean, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Fault((done.stdout + done.stderr).strip())
    return done.stdout.strip()


def uv(*arguments: str | Path, cwd: Path) -> str:
    return run(sys.executable, "-m", "uv", *arguments, cwd=cwd)


def built_wheel(folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, CHECKOUT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def versions_of(case: Case, wheel: Path, folder: Path) -> str:
    """Installs the case and runs its programs; the versions that it was tried with."""
    folder.mkdir()
    for beside in ("tests", "datagen", "examples"):
        (folder / beside).symlink_to(CHECKOUT / beside)
    uv("venv", "--quiet", "--python", sys.executable, "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    install: tuple[str | Path, ...] = ("pip", "install", "--quiet", "--python", python)
    extras = f"[{','.join(case.extras)}]" if case.extras else ""
    wanted = (f"{wheel}{extras}", *case.neighbours, *groups_of(case))
    if case.pip:
        uv(*install, f"pip=={case.pip}", cwd=folder)
        run(python, "-m", "pip", "install", "--quiet", *wanted, cwd=folder)
    elif case.oldest:
        uv(*install, *wanted, "--constraint", lowest(case, python, folder), cwd=folder)
    else:
        uv(*install, *wanted, cwd=folder)
    return ", ".join(run(python, "-m", program, cwd=folder) for program in case.programs)


def groups_of(case: Case) -> list[str]:
    return [f"--group={CHECKOUT / 'pyproject.toml'}:{group}" for group in case.groups]


def lowest(case: Case, python: Path, folder: Path) -> Path:
    """The floors of what pyproject.toml names, as pins. To uv, a wheel's own needs are not
    direct ones."""
    pins = folder / "lowest.txt"
    extras = [f"--extra={extra}" for extra in case.extras]
    uv(
        "pip", "compile", "--quiet", "--python", python, "--resolution", "lowest-direct",
        *extras, *groups_of(case), CHECKOUT / "pyproject.toml", "--output-file", pins, cwd=folder,
    )  # fmt: skip
    return pins


def tried(case: Case, wheel: Path, folder: Path) -> bool:
    """Prints the case's line: what it was tried with, or the last line of what failed; the lines
    before that go to stderr."""
    began = time.monotonic()
    try:
        word, said = "ok  ", versions_of(case, wheel, folder / case.name)
    except (Fault, subprocess.TimeoutExpired) as fault:
        word, (*before, said) = "FAIL", str(fault).splitlines()[-20:]
        sys.stderr.write("\n".join([f"-- {case.name}", *before, ""]))
    sys.stdout.write(f"{word} {case.name:14} {time.monotonic() - began:4.0f} s  {said}\n")
    sys.stdout.flush()
    return word == "ok  "


def main(names: list[str]) -> None:
    unknown = set(names) - {case.name for case in CASES}
    if unknown:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}; there are "
                 f"{', '.join(case.name for case in CASES)}")  # fmt: skip
    cases = [case for case in CASES if not names or case.name in names]
    with tempfile.TemporaryDirectory(prefix="oresearch-matrix-") as folder:
        wheel = built_wheel(Path(folder))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            good = list(pool.map(partial(tried, wheel=wheel, folder=Path(folder)), cases))
    sys.stdout.write(f"{good.count(True)} passed, {good.count(False)} failed\n")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
