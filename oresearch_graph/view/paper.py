"""A page as PDF, by WeasyPrint (the extra `pdf`), in a process of its own: what strangers wrote may
take long to lay out, and nothing that the page names is fetched.

As a program (`python -m oresearch_graph.view.paper`) it is that process: HTML in, and out comes a
line of JSON with the characters that no font here has, then the PDF.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import subprocess
import sys
import warnings
from contextlib import suppress
from typing import Any, Final

from oresearch_graph.errors import ConfigurationError, OresearchError, missing_extra
from oresearch_graph.text.scripts import CJK

_log: Final = logging.getLogger("oresearch_graph")
_SECONDS: Final = 300.0
_MEMORY: Final = 4_000_000_000
"""Bytes of address space."""
_ENVIRONMENT: Final = ("PATH", "HOME", "TMPDIR", "LANG", "VIRTUAL_ENV", "PYTHONHOME",
                       "LD_LIBRARY_PATH", "FONTCONFIG_FILE", "FONTCONFIG_PATH")  # fmt: skip
_PREFIXES: Final = ("LC_", "XDG_", "DYLD_")
# The time of a line break grows with the square of what stands before it without a place to break.
_TAG: Final = re.compile(r"(<[^<>]*>)")
_LONG_WORD: Final = re.compile(rf"(?:&[#\w]{{1,10}};|[^\s&{CJK}]){{60}}")
_BLANKS: Final = re.compile(r"[ \t\xa0]{100,}")
_OVER: Final = (
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
    "\ufe20-\ufe2f]"
)
_STACK: Final = re.compile(rf"({_OVER}{{20}}){_OVER}+")
"""Marks over one letter: no script stacks so many."""
_ENDS: Final = frozenset(("</a>", "</em>", "</strong>", "</code>", "</span>"))
_BREAK: Final = "\u200b"


def require_paper() -> None:
    """Raise ConfigurationError where no PDF can be made."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of libraries that it will need one day
            import weasyprint  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ConfigurationError(f"PDF needs {missing_extra('pdf')}") from error
    except OSError as error:  # it loads Pango, which pip does not bring
        raise ConfigurationError(
            "PDF needs the library Pango, which is not installed: apt-get install "
            "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0, or brew install pango"
        ) from error


def paper(page: str) -> bytes:
    """The PDF of a page. Raises ConfigurationError where the extra is missing, OresearchError where
    the page takes too long."""
    require_paper()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_PREFIXES)
    }
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(each) for each in sys.path)  # noqa: PTH100
    command = [sys.executable, "-P", "-m", "oresearch_graph.view.paper"]
    try:
        done = subprocess.run(  # noqa: S603 - this Python, this package
            command, input=_breakable(page).encode("utf-8", "replace"), env=environment,
            capture_output=True, timeout=_SECONDS, check=True,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError) as error:
        slow = isinstance(error, subprocess.TimeoutExpired)
        why = f"takes more than {_SECONDS:.0f} s" if slow else "failed"
        raise OresearchError(f"the layout as PDF {why}: take .html and print it") from error
    head, _, content = done.stdout.partition(b"\n")
    if unknown := json.loads(head):
        _log.warning(
            "no font on this machine has %d of the PDF's characters (%s): they are boxes; install "
            "fonts for them, such as fonts-noto-core, fonts-noto-cjk, fonts-noto-color-emoji",
            len(unknown), " ".join(unknown[:10]),
        )  # fmt: skip
    return content


def _breakable(page: str) -> str:
    """The page with places to break where a line has none."""
    pieces = _TAG.split(page)
    for at, piece in enumerate(pieces):
        if at % 2 == 0:
            piece = _STACK.sub(r"\1", _BLANKS.sub(" " * 100, piece))
            pieces[at] = _LONG_WORD.sub(rf"\g<0>{_BREAK}", piece)
        elif piece in _ENDS:
            pieces[at] = f"{piece}{_BREAK}"
    return "".join(pieces)


class _UnknownCharacters(logging.Handler):
    """Collects the characters that WeasyPrint found in no font."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.characters: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, str) and record.msg.startswith(".notdef") and record.args:
            self.characters[str(record.args[0])] = None  # type: ignore[index]


def main() -> None:
    """Be the process of one page."""
    import weasyprint
    from weasyprint.urls import URLFetcher

    class Nothing(URLFetcher):  # type: ignore[misc]  # untyped
        def fetch(self, url: str, headers: Any = None) -> Any:  # noqa: ANN401, ARG002 - as it is called
            raise ValueError(f"nothing is fetched: {url[:100]}")

    with suppress(OSError, ValueError):  # a system without such a limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.RLIM_INFINITY))
    unknown = _UnknownCharacters()
    logging.getLogger("weasyprint").addHandler(unknown)
    page = sys.stdin.buffer.read().decode()
    content = weasyprint.HTML(string=page, url_fetcher=Nothing()).write_pdf(pdf_tags=True)
    sys.stdout.buffer.write(json.dumps(list(unknown.characters)).encode() + b"\n" + content)


if __name__ == "__main__":
    main()
