"""What is imported is declared, what is declared is locked, and a lock says what is in it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
SETS = {**PROJECT["optional-dependencies"], **PYPROJECT["dependency-groups"]}
"""Extras of the wheel, and groups of the checkout."""
OWN = {"oresearch_graph", "datagen", "rl", "tests"}
LOCKS = {
    "dev.lock": ("dev", "test", "datagen", "studio", "mcp", "local", "vectors", "pdf"),
    "rl/cpu.lock": (),
}
"""The extras and groups that stand in a lock beside the wheel's own dependencies."""
OF_EXTRAS = {
    "anyio": "mcp", "huggingface_hub": "local", "langchain_mcp_adapters": "mcp", "mcp": "mcp",
    "numpy": "vectors", "pyarrow": "datagen", "starlette": "studio", "weasyprint": "pdf",
    "wordllama": "vectors", "xllamacpp": "local",
}  # fmt: skip
"""What the wheel imports for an extra or a group only, where its commands ask for it."""
OF_OTHERS = {"ray", "tokenizers"}
"""What datagen uses where a cluster or a model is there already."""
_NAMED_EXTRA = re.compile(r"missing_extra\(['\"](\w+)")
_PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


def declared(*sets: str) -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(line for name in sets for line in SETS[name])]
    wanted = [Requirement(line) for line in lines if isinstance(line, str)]
    return {canonicalize_name(each.name): each for each in wanted}


def imported(package: str) -> set[str]:
    """The packages of others that the modules below `package` import, wherever in them."""
    names: set[str] = set()
    for path in (CHECKOUT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - OWN - sys.stdlib_module_names


def undeclared(modules: set[str], *sets: str) -> set[str]:
    homes, names = packages_distributions(), declared(*sets).keys()
    return {
        module
        for module in modules
        if not {canonicalize_name(home) for home in homes.get(module, [module])} & names
    }


def test_what_the_wheel_imports_is_declared():
    modules = imported("oresearch_graph")
    assert undeclared(modules - OF_EXTRAS.keys()) == set()
    for module in modules & OF_EXTRAS.keys():
        assert undeclared({module}, OF_EXTRAS[module]) == set()


def test_what_datagen_imports_is_declared():
    assert undeclared(imported("datagen") - OF_OTHERS, "datagen") == set()


def test_what_old_pips_leave_out_is_declared():
    """justext asks for lxml's extra `html_clean`, which lxml names `html-clean`: pip 23 drops it
    with a warning, and no HTML page is read."""
    assert "lxml-html-clean" in declared()


@pytest.mark.parametrize(("lock", "sets"), LOCKS.items())
def test_a_lock_holds_what_is_declared(lock: str, sets: tuple[str, ...]):
    text = (CHECKOUT / lock).read_text(encoding="utf-8")
    pins: dict[str, set[str]] = {}
    for name, version in _PIN.findall(text):
        pins.setdefault(canonicalize_name(name), set()).add(version)
    for name, requirement in declared(*sets).items():
        assert pins.get(name), f"{name} is not in {lock}: make lock"
        for version in pins[name]:
            assert version in requirement.specifier, f"{name} in {lock} is out of range: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_no_address(lock: str):
    """Every line but comments is a pin with its hashes: a file comes from wherever pip looks."""
    text = (CHECKOUT / lock).read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        pin, *hashes = line.split("--hash=")
        assert re.fullmatch(r"[\w.-]+==[^\s/@]+( ; [\w .'<>=!()]+)?", pin.strip()), line[:200]
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in hashes), pin


def test_torch_is_in_no_lock():
    """Its CPU build and the registry's file differ: the Makefile installs it by version."""
    for lock in LOCKS:
        names = [name for name, _ in _PIN.findall((CHECKOUT / lock).read_text(encoding="utf-8"))]
        assert "torch" not in names


def test_an_extra_that_a_message_names_is_declared_and_named_in_one_way():
    texts = [path.read_text("utf-8") for path in (CHECKOUT / "oresearch_graph").rglob("*.py")]
    named = {name for text in texts for name in _NAMED_EXTRA.findall(text)}
    assert named == {"local", "mcp", "pdf", "vectors"}
    assert named <= PROJECT["optional-dependencies"].keys()
    assert sum(text.count("an extra that is not installed") for text in texts) == 1
