"""What makes a stage stale, and what a command that is refused leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.__main__ import _work
from datagen.run.folder import RunFolder, Work
from datagen.run.stamps import digest, fingerprint, inputs_of, write_stamp
from datagen.settings import DatagenSettings
from datagen.stages import STAGES, outdated_before, states
from oresearch_graph.errors import ConfigurationError

SETTINGS = DatagenSettings()
AFTER = {stage.name: STAGES[place:] for place, stage in enumerate(STAGES)}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A folder in which every stage has written something, and is stamped."""
    run = RunFolder(tmp_path / "run")
    run.dataset.mkdir(parents=True)
    run.review.mkdir()
    for file in (
        run.seeds, run.imported, run.generated, run.filtered, run.judged, run.rubrics,
        run.review / "decisions.jsonl", run.review / "result.json",
    ):  # fmt: skip
        file.write_text("first\n")
    for stage in STAGES:
        mark = fingerprint(stage.version, stage.sections(SETTINGS))
        write_stamp(run, stage.name, mark, inputs_of(stage.reads(run, SETTINGS)), {})
    assert set(states(run, SETTINGS).values()) == {"fresh"}
    return run


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        ("seeds.jsonl", {"generate", "judge", "rubrics", "review", "export"}),
        # Other traces may get the very findings of those before, and the same scores.
        ("generated.jsonl", {"filter", "judge", "export"}),
        ("imported.jsonl", {"filter", "judge", "export"}),
        ("filtered.jsonl", {"judge"}),
        ("judged.jsonl", {"rubrics", "review", "export"}),
        ("rubrics.jsonl", {"review", "export"}),
        ("review/decisions.jsonl", {"review"}),
        ("review/result.json", {"export"}),
    ],
)
def test_a_stage_is_stale_when_a_file_that_it_reads_changed(
    run: RunFolder, changed: str, stages: set[str]
):
    (run.root / changed).write_text("other\n")
    stale = {
        stage.name
        for stage in STAGES
        if any(file == run.root / changed for file in stage.reads(run, SETTINGS))
    }
    assert stale == stages
    found = states(run, SETTINGS)
    first = next(name for name in found if found[name] != "fresh")
    assert first in stages
    assert all(found[stage.name] == "stale" for stage in AFTER[first])


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_whose_output_was_deleted_is_missing(run: RunFolder, stage):
    output = stage.writes(run)
    output.rmdir() if output.is_dir() else output.unlink()
    found = states(run, SETTINGS)
    assert found[stage.name] == "missing"
    assert all(found[later.name] == "stale" for later in AFTER[stage.name][1:])


def test_two_verdicts_that_change_places_in_the_middle_of_a_file_are_seen(tmp_path: Path):
    file = tmp_path / "judged.jsonl"
    lines = [b'{"accepted":true}\n', b'{"accepted":false}\n']
    around = b" " * 100_000
    file.write_bytes(around + b"".join(lines) + around)
    before = digest(file)
    file.write_bytes(around + b"".join(reversed(lines)) + around)
    assert digest(file) != before


def test_a_command_that_is_refused_changes_no_setting_of_the_one_that_runs(tmp_path: Path):
    run = RunFolder(tmp_path)
    _work(tmp_path, None, ["judge.min_quality=0.7"])
    with run.locked(), pytest.raises(ConfigurationError, match="works in this folder"):
        _work(tmp_path, None, ["judge.min_quality=0.1"])
    assert _work(tmp_path, None, None).settings.judge.min_quality == 0.7


def test_a_stage_that_runs_alone_is_told_what_before_it_is_outdated(run: RunFolder):
    assert outdated_before("export", Work(run, SETTINGS)) == []
    strict = SETTINGS.model_copy(update={"judge": SETTINGS.judge.model_copy(update={"votes": 5})})
    assert outdated_before("export", Work(run, strict)) == ["judge", "rubrics", "review"]
    assert outdated_before("judge", Work(run, strict)) == []
