"""The embedded default corpus: this Python's own documentation, indexed at first use and kept per
Python version.

It is what every installation carries: the language reference of `pydoc` and the standard library's
docstrings. Sources are parsed, not imported; only modules without source (compiled into the
interpreter) are imported, from a fixed list of harmless ones."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import platform
import re
import sys
import sysconfig
import threading
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from oresearch_graph.tools.corpus.index import CorpusIndex, Document, cache_folder
from oresearch_graph.tools.corpus.local import IndexedCorpus

_COMPILED: Final = (
    "array", "atexit", "binascii", "builtins", "cmath", "errno", "faulthandler", "fcntl", "gc",
    "itertools", "marshal", "math", "mmap", "resource", "select", "sys", "syslog", "termios",
    "time", "unicodedata", "zlib",
)  # fmt: skip
_BEHIND: Final = {
    "_collections_abc": "collections.abc", "_pydatetime": "datetime", "_pydecimal": "decimal",
    "_pyio": "io",
}  # fmt: skip
"""Private modules whose docstrings are those of a public one."""
_TWINS: Final = {"os": "posix", "functools": "_functools", "collections": "_collections",
                 "operator": "_operator", "socket": "_socket", "struct": "_struct"}  # fmt: skip
"""Public modules whose functions are documented in a compiled twin."""
_SKIPPED: Final = frozenset(
    ("antigravity", "this", "idlelib", "test", "tests", "turtle", "turtledemo", "lib2to3",
     "site-packages", "ensurepip", "pydoc_data", "__pycache__", "__phello__", "msilib",
     "distutils", "tkinter", "encodings", "__main__")
)  # fmt: skip
_SHORTEST: Final = 200
"""Characters: a module that says less is no page."""


class PythonPage(NamedTuple):
    """One page. Its address is `python:topic/NAME` or `python:module/DOTTED.NAME`."""

    address: str
    title: str
    text: str


def python_pages() -> Iterator[PythonPage]:
    """Every page of this interpreter's own documentation."""
    yield from topic_pages()
    yield from module_pages()


def topic_pages() -> Iterator[PythonPage]:
    """The language reference, a page per topic of `help()`."""
    from pydoc_data.topics import topics

    for name, text in topics.items():
        lines = text.strip().splitlines()
        heading = lines[0].strip() if lines else name
        title = f"{_plain(heading)} (Python language reference: {name})"
        yield PythonPage(f"python:topic/{name}", title, _plain(text.strip()))


def module_pages() -> Iterator[PythonPage]:
    """The standard library, a page per public module."""
    root = Path(sysconfig.get_path("stdlib"))
    names_before: set[str] = set()
    for file in sorted(root.rglob("*.py")):
        name = _module_name(file.relative_to(root))
        if name is None or name in names_before:
            continue
        text = _source_text(file)
        if name in _TWINS:
            text += "\n\n" + _compiled_text(_TWINS[name])
        if len(text) >= _SHORTEST:
            names_before.add(name)
            yield _module_page(name, text)
    for name in _COMPILED:
        text = _compiled_text(name) if name not in names_before else ""
        if len(text) >= _SHORTEST:
            yield _module_page(name, text)


def _module_page(name: str, text: str) -> PythonPage:
    first = re.sub(r"\s+", " ", text.split("\n\n", 1)[0]).strip()
    summary = first if len(first) <= 90 and not first.startswith(("class ", "def ")) else ""
    summary = summary.removeprefix(f"{name} - ").removeprefix(f"{name}: ")
    title = f"{name} module" + (f": {summary}" if summary else "")
    return PythonPage(f"python:module/{name}", title, f"Module {name}\n\n{text.strip()}")


def _module_name(relative: Path) -> str | None:
    parts = list(relative.with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    name = ".".join(parts)
    if name in _BEHIND:
        return _BEHIND[name]
    hidden = any(part.startswith("_") or part in _SKIPPED for part in parts)
    outside = not parts or parts[0] not in sys.stdlib_module_names
    return None if hidden or outside else name


def _source_text(file: Path) -> str:
    """The docstrings of a source file with the signatures they belong to."""
    try:
        with tokenize.open(file) as source:
            tree = ast.parse(source.read())
    except (SyntaxError, UnicodeDecodeError, OSError):
        return ""
    return "\n\n".join(filter(None, [_docstring(tree), *_members(tree, "")]))


def _members(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for node in parent.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = _docstring(node)
        if node.name.startswith("_") and node.name != "__init__":
            continue
        heading = _heading(node, prefix)
        if docstring or isinstance(node, ast.ClassDef):
            yield f"{heading}\n{docstring}".strip()
        if isinstance(node, ast.ClassDef):
            yield from _members(node, f"{prefix}{node.name}.")


def _heading(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, prefix: str) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {prefix}{node.name}({bases})" if bases else f"class {prefix}{node.name}"
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return f"{word} {prefix}{node.name}({ast.unparse(node.args)})"


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return (ast.get_docstring(node) or "").strip()


def _compiled_text(name: str) -> str:
    try:
        module = importlib.import_module(name)
    except ImportError:  # not on this platform
        return ""
    parts = [inspect.getdoc(module) or "", *_compiled_members(module)]
    return "\n\n".join(part for part in parts if part)


def _compiled_members(parent: ModuleType | type, prefix: str = "") -> Iterator[str]:
    for name, member in sorted(vars(parent).items()):
        docstring = inspect.getdoc(member)
        documented = callable(member) and docstring and not name.startswith("_")
        if not documented or (inspect.isclass(member) and issubclass(member, BaseException)):
            continue
        word = "class" if inspect.isclass(member) else "def"
        yield f"{word} {prefix}{name}\n{docstring}"
        if inspect.isclass(member) and not prefix:
            yield from _compiled_members(member, f"{name}.")


def _plain(text: str) -> str:
    """Topic text without the emphasis marks that make quotes hard to find; grammar and code,
    which are indented, stay as they are."""
    lines = (line if line.startswith("   ") else _unmarked(line) for line in text.splitlines())
    return "\n".join(line for line in lines if not re.fullmatch(r"[*=~^-]{3,}", line))


def _unmarked(line: str) -> str:
    return re.sub(r"\*\*([^*]+)\*\*", r"\1", re.sub(r'"([^"]{1,80})"', r"\1", line))


_EDITION = 1
"""Of the pages' making: an index of another edition is not used."""


class PythonCorpus(IndexedCorpus):
    """The language reference and the standard library's docstrings."""

    def __init__(self, *, cache: Path | None = None) -> None:
        name = f"python-{platform.python_version()}-{_EDITION}.sqlite"
        super().__init__("python", CorpusIndex((cache or cache_folder()) / "corpora" / name))
        self._ready = False
        self._lock = threading.Lock()

    def refresh(self) -> None:
        with self._lock:
            if not self._ready and not self.index.counts()[0]:
                self._build()
            self._ready = True

    def _build(self) -> None:
        """In one transaction: an index that holds anything holds everything."""
        from oresearch_graph.tools.corpus.python_docs import python_pages

        self.index.change(
            put=[
                Document(
                    address=page.address,
                    title=page.title,
                    text=page.text,
                    digest=hashlib.sha256(page.text.encode()).hexdigest(),
                )
                for page in python_pages()
            ]
        )
