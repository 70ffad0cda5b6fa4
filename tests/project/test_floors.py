"""Imports climb one way. Lower floors know nothing of higher ones, and nothing heavy is loaded
before it is wanted."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import oresearch_graph

PACKAGE = Path(oresearch_graph.__file__).parent

FLOORS = [
    ["records", "limits"],
    ["known_secrets"],
    ["redaction"],
    ["errors"],
    ["keys"],
    ["network"],
    ["trace"],
    ["settings"],
    ["environment"],
    ["prompts", "threads"],
    ["text"],
    ["evidence", "rows"],
    ["policies"],
    ["tools"],
    ["judging"],
    ["graph"],
    ["served", "evaluate", "view"],
    ["studio"],
    ["command"],
]
"""From the ground up; modules of one floor do not import each other."""

HEIGHT = {name: height for height, floor in enumerate(FLOORS) for name in floor}
TRAINING = {"torch", "ray", "verl", "vllm", "transformers"}


def modules() -> list[tuple[str, Path]]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return [
        (path.relative_to(PACKAGE).with_suffix("").parts[0], path)
        for path in paths
        if path != PACKAGE / "__init__.py"
    ]


def imported(path: Path) -> set[str]:
    """The dotted names that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path.name}: relative imports hide the floor"
            names = [alias.name for alias in node.names]
            found |= {node.module, *(f"{node.module}.{name}" for name in names)}
    return found


def own(names: set[str]) -> set[str]:
    """The parts of our package among imported names; a lazy name counts as the part it is from."""
    parts = {name.split(".")[1] for name in names if name.startswith("oresearch_graph.")}
    homes = {home.split(".")[0] for name, home in oresearch_graph._HOMES.items() if name in parts}
    return (parts & HEIGHT.keys()) | homes


def test_every_module_has_its_floor():
    assert {name for name, _ in modules()} == set(HEIGHT)


def test_imports_climb():
    inversions = [
        f"{path.name} on floor {name} imports {other}"
        for name, path in modules()
        for other in own(imported(path)) - {name}
        if HEIGHT[other] >= HEIGHT[name]
    ]
    assert inversions == []


def test_a_floor_is_found_however_it_is_imported(tmp_path: Path):
    code = """
from oresearch_graph import create_research_graph
from oresearch_graph.trace.record import Trace
def late() -> None:
    import oresearch_graph.tools.web_search
"""
    (tmp_path / "module.py").write_text(code)
    assert own(imported(tmp_path / "module.py")) == {"graph", "trace", "tools"}


def roots(path: Path) -> set[str]:
    """The top names of what a file imports."""
    return {module.split(".")[0] for module in imported(path)}


def test_nothing_of_training_is_imported():
    for _, path in modules():
        assert not roots(path) & (TRAINING | {"rl", "datagen"}), path.name


RL_FLOORS = [
    ["settings"],
    ["cpu", "tools"],
    ["rollouts"],
    ["rows", "environment"],
    ["learning"],
    ["rl_rows", "metrics"],
    ["tiny"],
    ["check", "checkpoints", "launch"],
    ["plan"],
    ["grpo", "sft", "export", "plot", "gpu_check"],
]
"""The training side, from the ground up."""


DATAGEN_FLOORS = [
    ["settings", "records"],
    ["run"],
    ["questions"],
    ["seeds", "imports", "generate", "filter", "judge", "rubrics", "review", "export"],
    ["funnel"],
    ["stages"],
    ["__main__"],
]
"""The data side, from the ground up; stages meet in the files of a run and nowhere else."""


@pytest.mark.parametrize(("side", "floors"), [("rl", RL_FLOORS), ("datagen", DATAGEN_FLOORS)])
def test_imports_of_training_and_data_climb(side: str, floors: list[list[str]]):
    height = {name: floor for floor, names in enumerate(floors) for name in names}
    root = PACKAGE.parent / side
    for path in root.rglob("*.py"):
        own_name = path.relative_to(root).with_suffix("").parts[0]
        if own_name == "__init__":
            continue
        names = {m.split(".")[1] for m in imported(path) if m.startswith(f"{side}.")} - {own_name}
        assert all(height[name] < height[own_name] for name in names), (path, names)


def test_ray_is_loaded_by_the_cluster_runner_alone():
    for path in (PACKAGE.parent / "datagen").rglob("*.py"):
        assert path.stem == "ray_runner" or not roots(path) & TRAINING, path


@pytest.mark.parametrize(("folder", "other"), [("rl", "datagen"), ("datagen", "rl")])
def test_training_and_data_meet_in_files_only(folder: str, other: str):
    for path in (PACKAGE.parent / folder).rglob("*.py"):
        assert not roots(path) & {other, "tests"}, path


def test_the_language_needs_pydantic_and_the_standard_library_only():
    for path in (PACKAGE / "trace").glob("*.py"):
        outside = {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names)
        assert outside <= {"pydantic", "oresearch_graph"}, path.name
        assert own(imported(path)) <= {"trace", "errors", "records", "redaction"}


LIGHT: Final = {
    "import oresearch_graph.command.cli": {"langgraph", "langchain_core", "pydantic"},
    "import oresearch_graph.trace": {"langgraph", "langchain_core", "httpx"},
    "from oresearch_graph import Trace, violations": {"langgraph", "langchain_core"},
    "from oresearch_graph import create_research_graph": {"langchain_openai", "trafilatura"},
    "import oresearch_graph.policies.chat.policy": {"langchain_openai", "genai_prices"},
}
"""Statements from the lightest on, and what must not be loaded after each and those before it."""


@pytest.fixture(scope="module")
def modules_after() -> dict[str, list[str]]:
    """The modules that one process has after each statement, in their order."""
    code = (
        "import json, sys\nloaded = {}\nfor statement in sys.argv[1:]:\n"
        "    exec(statement)\n    loaded[statement] = list(sys.modules)\nprint(json.dumps(loaded))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *LIGHT], capture_output=True, text=True, check=True, timeout=60
    )
    loaded: dict[str, list[str]] = json.loads(done.stdout)
    return loaded


@pytest.mark.parametrize("statement", LIGHT)
def test_importing_is_light(statement: str, modules_after: dict[str, list[str]]):
    assert not LIGHT[statement] & set(modules_after[statement])


def test_help_is_told_without_loading_the_graph():
    code = (
        "import sys\nfrom oresearch_graph.command.cli import main\n"
        "sys.argv = ['oresearch', '--help']\n"
        "try:\n    main()\nfinally:\n    print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Usage" in done.stdout
    assert "typer" in done.stderr.split()
    assert not {"langgraph", "langchain_core", "httpx"} & set(done.stderr.split())
