"""rl/README.md says what is there: its commands, settings, configurations, metrics and files."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.util import find_spec
from typing import Any

import pytest
import typer
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from oresearch_graph.command.cli import app
from oresearch_graph.settings import ResearchSettings
from rl.launch.composition import CHECKOUT, compose_config, config_names
from rl.learning.step_metrics import described
from rl.metrics.table import metrics_table
from rl.settings import RLSettings, from_config

RL = CHECKOUT / "rl"
TEXT = (RL / "README.md").read_text("utf-8")
PROSE = TEXT.split("## The files")[0]
TREE = TEXT.split("## The files")[1].split("```")[1]


def named(pattern: str, text: str = TEXT) -> list[str]:
    """What the text names, each once."""
    return list(dict.fromkeys(re.findall(pattern, text)))


def test_the_table_of_metrics_is_the_list_of_metrics():
    assert metrics_table() in TEXT, "put what python -m rl.metrics.table prints into rl/README.md"


def test_metrics_that_the_text_speaks_of_are_logged():
    spoken = [name for name in named(r"`(oresearch/[^`…]+)`", PROSE) if "<" not in name]
    assert len(spoken) > 25
    # Those with <words> stand in the table, which is compared as a whole.
    assert [name for name in spoken if described(name) is None] == []


def test_every_command_is_there():
    modules = named(r"python -m ([\w.]+)")
    assert {"rl.sft", "rl.grpo", "rl.export", "rl.plot", "rl.tiny.prepare"} <= set(modules)
    assert [module for module in modules if find_spec(module) is None] == []
    targets = re.findall(
        r"^([\w-]+):(?!=)", (CHECKOUT / "Makefile").read_text("utf-8"), re.MULTILINE
    )
    made = named(r"make ([a-z-]+)\b(?= &&|`)")
    assert {"rl-cpu", "learn"} <= set(made) <= set(targets)
    group = typer.main.get_command(app)
    commands = set(getattr(group, "commands", {}))
    assert set(named(r"`oresearch ([a-z]+)")) <= commands


def test_what_is_to_be_installed_is_a_group():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
    groups = named(r"pip install -e \. --group (\w+)")
    assert groups
    assert set(groups) <= project["dependency-groups"].keys()


def test_every_configuration_is_told_of_and_no_other():
    table = PROSE.split("| configuration |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"`([^`]+)`", table)) == config_names()
    started = named(r"rl\.(?:grpo|sft) ([a-z][\w.-]+)") + named(r'GRPO="([\w.-]+)')
    assert started
    assert set(started) <= set(config_names())


def test_every_setting_of_verl_is_one():
    keys = named(r"\b((?:trainer|data|algorithm|actor_rollout_ref|model)\.[a-z_.]+[a-z])\b")
    keys = [key for key in keys if not key.endswith(".py")]
    assert len(keys) > 10
    composed = [compose_config("sft_cpu_tiny"), compose_config("qwen2.5-7b_8gpu")]
    assert [key for key in keys if not any(holds(config, key) for config in composed)] == []


def holds(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    found = OmegaConf.select(config, parent)
    return OmegaConf.is_config(found) and name in found


def test_every_setting_of_ours_is_one():
    keys = named(r"\boresearch\.([a-z_]+(?:\.[a-z_]+)*)\b")
    assert len(keys) > 8
    assert [key for key in keys if not is_setting(key)] == []


def is_setting(key: str) -> bool:
    kind: Any = RLSettings
    for name in key.split("."):
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return False
        if name not in kind.model_fields:
            return False
        research = kind is RLSettings and name == "research"
        kind = ResearchSettings if research else kind.model_fields[name].annotation
    return True


def test_the_example_of_our_key_is_valid():
    example = PROSE.split("```yaml")[1].split("```")[0]
    settings = from_config(OmegaConf.create(example))
    assert settings.judge.kind == "model"
    assert settings.research_settings.limits.subtasks == 5


def test_files_that_the_text_names_are_there():
    paths = named(r"`(rl/[\w./]+)`") + [
        word for word in named(r"`(_?[\w.-]+\.(?:py|yaml|lock))`") if "/" not in word
    ]
    assert len(paths) > 4
    assert [path for path in paths if not (CHECKOUT / path).exists()] == []


def test_the_tree_is_the_folder():
    there = {str(path.relative_to(RL)) for path in RL.rglob("*.py") if path.name != "__init__.py"}
    told, folder = [], ""
    for indent, name in re.findall(r"^( {2,4})([\w.-]+(?:/|\.py))(?= )", TREE, re.MULTILINE):
        if name.endswith("/"):
            folder = name
        else:
            told.append(name if len(indent) == 2 else folder + name)
    assert sorted(told) == sorted(there), "rl/README.md ends with the tree of rl/"


def test_the_tree_says_something_of_each_file():
    lines = [line for line in TREE.splitlines() if line.startswith("  ")]
    assert [line for line in lines if not re.fullmatch(r" +\S+ +\S.{5,70}", line)] == []


BLOCKS = re.findall(r"^```\n((?:make|python|ray)[\s\S]*?)```", TEXT, re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS)
def test_commands_are_words_that_a_shell_reads(block: str):
    for line in block.replace("\\\n", " ").split("\n\n"):
        assert shlex.split(line)
    assert max(map(len, block.splitlines())) <= 100


def test_no_line_of_prose_is_too_long():
    lines = [line for line in TEXT.splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 105] == []
