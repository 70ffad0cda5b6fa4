"""The documents: links lead somewhere, paths are as short as they say, pages are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.reference import CONFIGS, DOCS, PAGES, what_ran

ROOT: Final = DOCS.parent
DOCUMENTS: Final = [
    *sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")),
    ROOT / "datagen" / "README.md", ROOT / "rl" / "README.md",
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_is_what_the_code_says(page: str) -> None:
    assert (DOCS / page).read_text("utf-8") == PAGES[page](), "python -m tests.reference writes it"


def test_what_ran_names_every_configuration(tmp_path: Path) -> None:
    runs = {file.stem for file in CONFIGS.glob("[!_]*.yaml")} - {"agent_loops"}
    table = what_ran(CONFIGS)
    assert set(re.findall(r"`([\w.-]+)`(?=[,] | \|)", table)) == runs
    assert table in (DOCS / "training.md").read_text("utf-8")
    (tmp_path / "new_9000gpu.yaml").write_text("# A run.\ndefaults:\n  - _gpu\n")
    with pytest.raises(KeyError, match="9000gpu"):
        what_ran(tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document: Path) -> None:
    text = document.read_text("utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize(
    ("question", "most"),
    [("What does a researcher do", 3), ("Where are citations checked", 3), ("RL reward", 4)],
)
def test_a_newcomer_reads_few_files(question: str, most: int) -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    (path,) = [part for part in re.split(r"\n\n", text) if question in part.splitlines()[0]]
    files = re.findall(r"\]\((\.\./[\w/]+\.py)\)", path)
    assert 1 <= len(files) <= most
    assert "docs/architecture.md" in (ROOT / "README.md").read_text("utf-8")


def test_the_readme_names_every_room() -> None:
    tree = (ROOT / "README.md").read_text("utf-8").partition("## The tree")[2]
    rooms = {
        path.name + ("/" if path.is_dir() else "")
        for path in (ROOT / "oresearch_graph").iterdir()
        if not path.name.startswith("__") and path.name != "py.typed"
    }
    assert {room for room in rooms if room not in tree} == set()


def test_what_shows_an_integration_is_there() -> None:
    text = (DOCS / "integrations.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "](../" in line]
    missing = []
    for row in rows:
        for path, name in re.findall(r"\]\(\.\./([\w/]+\.py)\)(?: `(\w+)`)?", row):
            source = (ROOT / path).read_text("utf-8")
            if name and f"def test_{name}(" not in source:
                missing.append(f"{path}: {name}")
            if path.startswith("examples/") and "__main__" not in source:
                missing.append(path)
    assert missing == []
    assert len(rows) >= 62
