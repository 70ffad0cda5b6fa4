"""Every regular expression of the three packages, found in their source, with texts made to hurt
it: the characters that its own repetitions take, behind what comes before them."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from re import _constants as code  # type: ignore[attr-defined]  # the parser has no public name
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

from tests.helpers.linear_texts import Family

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("oresearch_graph", "datagen", "rl")
_USES: Final = {"search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
COMPILING: Final = frozenset({"compile", *_USES})
_REPEATS: Final = (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT)
SAMPLES: Final = "a A1_\t\n.,:-/\\|`*#<&()[]{}'\"é中。，"
_MANY: Final = 20


class Used(NamedTuple):
    """A pattern and one way in which its module uses it."""

    name: str
    """`module:NAME`, or `module:function` for one that stands in a call."""
    pattern: re.Pattern[Any]
    use: str

    def read(self, text: str | bytes) -> object:
        text = text.encode("utf-8", "replace") if self.bytes and isinstance(text, str) else text
        if self.use in {"search", "match", "fullmatch", "split"}:
            return getattr(self.pattern, self.use)(text)
        return sum(1 for _ in self.pattern.finditer(text))

    @property
    def bytes(self) -> bool:
        return isinstance(self.pattern.pattern, bytes)


class Module(NamedTuple):
    """A module that imports `re`."""

    name: str
    tree: ast.Module

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Each call of a function of `re` with the name of the function that makes it; "" for
        one that runs when the module is imported."""
        yield from _calls(self.tree, "")


def modules() -> Iterator[Module]:
    """The modules of the three packages that import `re`, or a kin of it."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            if "import re" not in text and "from re" not in text:
                continue
            tree = ast.parse(text)
            if any(_imports_re(node) for node in ast.walk(tree)):
                yield Module(".".join(path.relative_to(ROOT).with_suffix("").parts), tree)


def _imports_re(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in {"re", "regex"}
    return isinstance(node, ast.Import) and any(n.name in {"re", "regex"} for n in node.names)


def _calls(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _calls(child, child.name if inside else function)  # type: ignore[attr-defined]
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
        yield function, node


def patterns(module: Module) -> Iterator[Used]:
    """The module's constants, and what stands in its calls as far as constants make it."""
    names = vars(importlib.import_module(module.name))
    uses: dict[str, set[str]] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            uses.setdefault(node.value.id, set()).add(node.attr)
    for name, value in names.items():
        for pattern in _patterns_in(value):
            for use in sorted(uses.get(name, set()) & _USES) or ["search"]:
                yield Used(f"{module.name}:{name}", pattern, use)
    for function, call in module.calls():
        use = called(call)
        if use in _USES and (made := written(call, module)) is not None:
            yield Used(f"{module.name}:{function}", made, use)


def _patterns_in(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _patterns_in(each)


def called(call: ast.Call) -> str:
    """The name of the function of `re`."""
    assert isinstance(call.func, ast.Attribute)
    return call.func.attr


def written(call: ast.Call, module: Module) -> re.Pattern[Any] | None:
    """The pattern of a call; None where it is made of what only the running function knows."""
    names = dict(vars(importlib.import_module(module.name)))
    place = {"compile": 1, "split": 9, "sub": 9, "subn": 9}.get(called(call), 2)
    flags = [*call.args[place:], *(word.value for word in call.keywords if word.arg == "flags")]
    try:
        return re.compile(*(eval(ast.unparse(each), names) for each in (call.args[0], *flags)))  # noqa: S307
    except NameError:
        return None


def attacks(pattern: re.Pattern[Any], samples: str = SAMPLES) -> list[Family]:
    """Texts that make a careless pattern look at one place again and again."""
    source = pattern.pattern
    flags = pattern.flags
    if isinstance(source, bytes):
        source, flags = source.decode("latin-1"), flags | re.ASCII
    tree = parser.parse(source, flags)
    found: dict[Family, None] = {}
    for sample in samples:
        whole = _text(tree, sample)
        units = [sample, whole, whole[:-1], f"{whole}\x00"]
        found |= dict.fromkeys(Family(unit, "", tail) for unit in units if unit for tail in "\x00a")
        for before, taken in set(_repetitions(tree, "", sample)):
            heads = [Family(taken, before, tail) for tail in ("", "\x00", "a")]
            runs = [Family(before + taken * times) for times in (1, 30)]
            found |= dict.fromkeys(
                [*heads, *runs, Family(f"{before} "), Family(f"{taken} ", before)]
            )
    return [family for family in found if family.unit]


def _repetitions(tree: Any, before: str, sample: str) -> Iterator[tuple[str, str]]:
    """What a text must hold before each repetition, and what that takes over and over."""
    for op, value in tree:
        if op in _REPEATS and value[1] > _MANY and (taken := _text(value[2], sample)):
            yield before, taken
        for inner in _inner(op, value):
            yield from _repetitions(inner, before, sample)
        before += _text([(op, value)], sample)


def _inner(op: Any, value: Any) -> list[Any]:
    if op in _REPEATS:
        return [value[2]]
    if op is code.BRANCH:
        return list(value[1])
    if op is code.SUBPATTERN:
        return [value[3]]
    if op is code.ATOMIC_GROUP:
        return [value]
    return [value[1]] if op in {code.ASSERT, code.ASSERT_NOT} else []


def _text(tree: Any, sample: str) -> str:
    """A text that the pattern takes, made of the sample where it may be."""
    pieces: list[str] = []
    for op, value in tree:
        if op is code.LITERAL:
            pieces.append(chr(value))
        elif op in {code.ANY, code.NOT_LITERAL}:
            pieces.append(sample)
        elif op is code.IN:
            pieces.append(_member(value, sample))
        elif op in _REPEATS:
            pieces.append(_text(value[2], sample) * max(value[0], min(value[1], 1)))
        elif op is code.BRANCH:
            pieces.append(_text(value[1][0], sample))
        elif op in {code.SUBPATTERN, code.ATOMIC_GROUP}:
            pieces += [_text(inner, sample) for inner in _inner(op, value)]
    return "".join(pieces)


_CATEGORIES: Final[dict[str, Callable[[str], bool]]] = {
    "DIGIT": str.isdigit, "SPACE": str.isspace, "WORD": lambda c: c.isalnum() or c == "_",
}  # fmt: skip


def _member(members: Any, sample: str) -> str:
    """The sample if the class holds it, else another character of the class."""
    for character in sample + SAMPLES:
        if any(_holds(op, value, character) for op, value in members) != (
            members[0][0] is code.NEGATE
        ):
            return character
    return next(
        chr(v if op is code.LITERAL else v[0]) for op, v in members if op is not code.NEGATE
    )


def _holds(op: Any, value: Any, character: str) -> bool:
    if op is code.LITERAL:
        return bool(ord(character) == value)
    if op is code.RANGE:
        return bool(value[0] <= ord(character) <= value[1])
    if op is code.CATEGORY:
        kind = str(value).rpartition("_")[2]
        return _CATEGORIES[kind](character) != ("NOT" in str(value))
    return False
