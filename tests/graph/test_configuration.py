"""`oresearch.toml`, `oresearch settings`, `--version`."""

from __future__ import annotations

from pathlib import Path

import pytest

from oresearch_graph.command.configuration import settings_of
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from tests.graph.test_cli import oresearch


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The user's file and the project's, in whose folder the tests are."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "oresearch").mkdir(parents=True)
    project = tmp_path / "project" / "below"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    return tmp_path / "config" / "oresearch" / "oresearch.toml", project.parent / "oresearch.toml"


def test_options_beat_the_environment_which_beats_the_project_which_beats_the_user(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    user, project = files
    user.write_text('effort = "deep"\ntone = "user"\nseed = 1\nlength = "user"\n')
    project.write_text('tone = "project"\nseed = 2\nlength = "project"\n[prompts]\nplanner = "P"\n')
    monkeypatch.setenv("ORESEARCH_SEED", "3")
    monkeypatch.setenv("ORESEARCH_LENGTH", "environment")
    settings = settings_of({"length": "option"})
    assert (settings.effort, settings.tone) == ("deep", "project")
    assert (settings.seed, settings.length) == (3, "option")
    assert settings.prompts == {"planner": "P"}
    assert settings.model_fields_set == {"effort", "tone", "seed", "length", "prompts"}


@pytest.mark.parametrize(
    "line",
    [
        'base_url = "https://evil.example/v1"', "allow_plain_http = true", 'tenant = "t"',
        "allow_private_addresses = true", 'planner_model = "gpt-5@https://evil.example/v1"',
        'researcher_models = ["a@http://evil.example/v1"]', '[parameters.planner]\napi_key = "k"',
    ],
)  # fmt: skip
def test_a_project_cannot_say_where_keys_are_sent(files: tuple[Path, Path], line: str):
    user, project = files
    project.write_text(line)
    with pytest.raises(ConfigurationError, match=r"a project cannot set .*oresearch\.toml"):
        settings_of({})
    project.rename(user)
    settings_of({})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("efort = 1", "there is no setting 'efort'; did you mean effort"),
        ('effort = "endless"', "the setting effort cannot be 'endless'"),
        ("effort =", "cannot be read: .*write it as TOML"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_name(files: tuple[Path, Path], text: str, why: str):
    files[1].write_text(text)
    with pytest.raises(ConfigurationError, match=f"oresearch.toml.*{why}"):
        settings_of({})


def test_a_project_ends_at_its_repository(files: tuple[Path, Path]):
    files[1].write_text("seed = 7")
    (Path.cwd() / ".git").mkdir()
    assert settings_of({}) == ResearchSettings()


def test_settings_prints_every_one_and_no_key(files: tuple[Path, Path]):
    files[0].write_text('tone = "plain"\n[parameters.planner]\napi_key = "sk-0123456789abcdef"\n')
    config = str(files[0].parent.parent)
    done = oresearch("settings", cwd=Path.cwd(), XDG_CONFIG_HOME=config, ORESEARCH_SEED="4")
    assert done.returncode == 0, done.stderr
    for name in ResearchSettings.model_fields:
        assert f"{name} (ORESEARCH_{name.upper()})" in done.stdout
    assert "here: plain" in done.stdout
    assert "here: 4" in done.stdout
    assert "here: holds a key" in done.stdout
    assert "sk-0123456789abcdef" not in done.stdout


def test_the_version_is_the_packages(tmp_path: Path):
    done = oresearch("--version", cwd=tmp_path)
    assert done.stdout.startswith("oresearch 0.")
