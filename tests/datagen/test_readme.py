"""datagen/README.md says what is there."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from datagen.__main__ import app
from datagen.export.columns import CONFIGS
from datagen.settings import DatagenSettings
from datagen.stages import STAGES

FOLDER = Path(__file__).parents[2] / "datagen"
README = (FOLDER / "README.md").read_text("utf-8")


def test_its_settings_are_settings():
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    settings = DatagenSettings.model_validate(yaml.safe_load(block))
    assert [teacher.name for teacher in settings.generate.teachers] == ["mini", "mixed"]


def test_the_example_settings_are_settings():
    text = (FOLDER.parent / "examples" / "datagen.yaml").read_text("utf-8")
    assert DatagenSettings.model_validate(yaml.safe_load(text)).generate.teachers == ()


def test_every_command_it_names_is_there():
    there = {
        command.name or getattr(command.callback, "__name__", "")
        for command in app.registered_commands
    }
    named = set(re.findall(r"python -m datagen (\w+)", README))
    assert named <= there
    assert {stage.name for stage in STAGES} | {"import"} <= set(
        re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    )


def test_the_tree_is_the_folder():
    tree = README.rpartition("```\n")[0].rpartition("```\n")[2]
    named = set(re.findall(r"^(\S+?)/? ", tree, re.MULTILINE)) | set(re.findall(r"(\w+)/ ", tree))
    there = {
        path.name for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith("__")
    } | {path.name for path in FOLDER.glob("*.py") if not path.name.startswith("__")}
    assert named == there


def test_every_kind_of_row_is_told():
    names = {name for cell in re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)
             for name in re.findall(r"`([\w-]+)`", cell)}  # fmt: skip
    assert set(CONFIGS) <= names
