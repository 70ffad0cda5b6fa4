"""The shape of the product's tree: sizes of files, single importers, and what names say."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PARTICIPLES: Final = {
    "found", "told", "said", "asked", "made", "held", "kept", "given", "known", "wanted",
    "shown", "taken", "written", "chosen", "named", "listed", "left", "done", "seen",
    "dropped", "came", "own", "cited", "spoken", "spent", "read", "dealt", "placed",
}  # fmt: skip
"""They tell how a value came, not what it is."""


class File(NamedTuple):
    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def folder(self) -> str:
        return self.name.rpartition(".")[0]


@cache
def files() -> tuple[File, ...]:
    return tuple(
        File(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"),
            path,
            len(text.splitlines()),
            ast.parse(text),
        )
        for package in ("oresearch_graph", "datagen", "rl")
        for path in sorted((ROOT / package).rglob("*.py"))
        for text in [path.read_text("utf-8")]
    )


def modules() -> list[File]:
    """The files that hold code: an `__init__` counts from 80 lines on."""
    return [file for file in files() if file.path.name != "__init__.py" or file.lines > 80]


def importers(at_load: bool = False) -> dict[str, set[str]]:
    """Which modules import a module, anywhere or while they are loaded."""
    names = {file.name for file in files()}
    result: dict[str, set[str]] = defaultdict(set)
    for file in files():
        for node in file.tree.body if at_load else ast.walk(file.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    for target in (f"{node.module}.{alias.name}", node.module):
                        if target in names:
                            result[target].add(file.name)
                            break
    return result


def test_files_have_the_size_of_one_thing() -> None:
    measured = modules()
    assert [file.name for file in measured if file.lines > 400] == []
    assert sum(file.lines for file in measured) / len(measured) >= 145


def test_few_modules_serve_one_neighbour_only() -> None:
    by, measured = importers(), modules()
    alone = [
        file.name
        for file in measured
        if len(by[file.name]) == 1 and next(iter(by[file.name])).rpartition(".")[0] == file.folder
    ]
    assert len(alone) / len(measured) <= 0.155, alone


def test_no_module_imports_itself_by_others() -> None:
    above = importers(at_load=True)
    waiting = {file.name: {name for name in above if file.name in above[name]} for file in files()}
    while ready := [name for name, below in waiting.items() if not below & waiting.keys()]:
        for name in ready:
            del waiting[name]
    assert waiting == {}


def test_a_class_name_means_one_thing() -> None:
    names = Counter(
        node.name
        for file in files()
        for node in ast.walk(file.tree)
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1 and name[0] != "_"] == []
    assert [name for name, count in names.items() if count > 5] == []


def test_names_say_what_they_hold() -> None:
    names = Counter[str]()
    for file in files():
        for node in ast.walk(file.tree):
            match node:
                case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                    names[name] += 1
                case ast.arg(arg=name):
                    names[name] += 1
    assert sum(names[name] for name in PARTICIPLES) / names.total() < 0.01
