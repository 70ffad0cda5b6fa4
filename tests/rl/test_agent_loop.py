"""How a rollout ends: scored with its rows as verl takes them, or dropped with its reason."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tests.helpers.verl_quietly  # noqa: F401
from oresearch_graph.errors import ConfigurationError, JudgeError, ToolError
from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Trace, read_traces
from rl.rollouts.agent_loop import outputs
from rl.rollouts.ledger_policy import Engine, Sampling
from rl.rollouts.log import RolloutLog, RolloutRecord
from rl.rollouts.reward import RewardJudge
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.worker import RolloutWorker, ScoredRollout
from rl.settings import RewardSettings, RLSettings
from tests.helpers.faulty_tools import FaultyTools
from tests.helpers.rl_engine import (
    SAMPLING,
    Sampled,
    ScriptedEngine,
    ScriptedLedgerPolicy,
    small_tokens,
)
from tests.helpers.scripted import PAGES, Documents, research_script

TRUTH = GroundTruth(
    key_points=(KeyPoint(text="The Moon causes tides.", needs=(("Moon",), ("tides",))),)
)


@pytest.fixture(scope="module")
def tokens() -> ThreadTokens:
    return small_tokens()


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl.rollouts.worker.LedgerPolicy", ScriptedLedgerPolicy)


class Judge:
    """Says 0.75, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *, citations: Any = None
    ) -> Judged:
        if self.error is not None:
            raise self.error
        return Judged(quality=0.75, by="told", seconds=1.5)


class Bench:
    """One worker with its log, and rollouts of it."""

    def __init__(
        self, tokens: ThreadTokens, *, documents: Any = None, error: Exception | None = None,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.tokens, self.log = tokens, RolloutLog()
        self.documents = documents or Documents(PAGES)
        self.worker = RolloutWorker(
            RLSettings.model_validate(settings), tokens, self.log,
            judge=RewardJudge(RewardSettings(), Judge(error)),
            documents=(self.documents, self.documents),
        )  # fmt: skip

    async def roll(
        self, engine: Engine | None = None, *, sampling: Sampling = SAMPLING, **row: Any
    ) -> ScoredRollout | None:
        asked = {
            "raw_prompt": [{"role": "user", "content": "What causes tides?"}],
            "reward_model": {"style": "rule", "ground_truth": TRUTH.to_json()},
            "uid": "u", "session_id": 0, "global_steps": 7,
        }  # fmt: skip
        return await self.worker.rollout(
            {**asked, **row}, engine or ScriptedEngine(self.tokens), sampling
        )

    def told(self, *, validate: bool = False) -> RolloutRecord:
        [record] = self.log.drain(validate)
        assert self.log.waiting() == []
        return record


async def scored_one(tokens: ThreadTokens, **settings: Any) -> ScoredRollout:
    scored = await Bench(tokens, **settings).roll()
    assert scored is not None
    return scored


def kept(folder: Path, split: str = "train") -> list[Trace]:
    [file] = folder.glob(f"{split}-*.jsonl")
    return list(read_traces(file))


def rewards(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    [file] = folder.glob(f"{split}-*.rewards")
    return [json.loads(line) for line in file.read_text().splitlines()]


def silent(tokens: ThreadTokens) -> ScriptedEngine:
    """An engine that never samples anything but an end."""

    class Silent(ScriptedEngine):
        async def generate(self, request_id: str, **_: Any) -> Sampled:
            return Sampled([], [])

    return Silent(tokens)


async def test_the_reward_stands_on_the_last_output_alone(tokens: ThreadTokens):
    scored = await scored_one(tokens)
    made = outputs(scored, 7)
    assert [output.extra_fields["role"] for output in made] == [
        "planner", "researcher", "researcher", "summarizer",
    ]  # fmt: skip
    assert [output.reward_score for output in made] == [None, None, None, scored.parts.total]
    assert scored.parts.total == pytest.approx(0.6 * 0.75 + 0.2 * 0.0 + 0.2 * 1.0)
    assert ["reward_extra_info" in output.extra_fields for output in made] == [False] * 3 + [True]
    assert made[-1].metrics.compute_score == 1.5


async def test_in_sequence_the_one_output_has_the_reward(tokens: ThreadTokens):
    scored = await scored_one(tokens, research={"execution": "sequential"})
    [output] = outputs(scored, 7)
    assert output.reward_score == scored.parts.total
    assert output.num_turns == 2 * 6


async def test_outputs_are_the_rows_without_world_text_behind_the_last_sampled_id(
    tokens: ThreadTokens,
):
    scored = await scored_one(tokens)
    row = scored.rows[1]
    before = list(row.response_ids), list(row.mask), list(row.log_probs)
    assert row.mask[-1] == 1
    row.show([5, 6, 7], "an observation that nothing came after")
    made = outputs(scored, 7)[1]
    assert (made.response_ids, made.response_mask, made.response_logprobs) == before
    assert made.prompt_ids == row.prompt_ids
    assert 0 in made.response_mask


async def test_versions_of_the_weights_are_the_engines_or_else_the_step(tokens: ThreadTokens):
    scored = await scored_one(tokens)
    for row, versions in zip(scored.rows, [[4, 6, 5], [], [3], [3, 3]], strict=True):
        row.versions = versions
    fields = [output.extra_fields for output in outputs(scored, 7)]
    told = [(field["min_global_steps"], field["max_global_steps"]) for field in fields]
    assert told == [(4, 6), (7, 7), (3, 3), (3, 3)]


async def test_each_output_says_whose_it_is_and_how_it_stopped(tokens: ThreadTokens):
    scored = await scored_one(tokens)
    fields = [output.extra_fields for output in outputs(scored, 7)]
    assert [field["branch"] for field in fields] == [None, 1, 2, None]
    assert [field["stops"] for field in fields] == [["stop"], ["stop"] * 2, ["stop"] * 2, ["stop"]]
    assert {field["rows"] for field in fields} == {4}
    assert {field["trace_id"] for field in fields} == {scored.rollout.trace.id}  # type: ignore[union-attr]
    assert fields[1]["sampled_by"] == {"researcher": scored.rows[1].sampled}


def nothing_asked(thread: Thread) -> str:
    if thread.role == "researcher":
        return "\n\n<think>I know it.</think>\n\n<subtask_answer>The Moon.</subtask_answer>"
    return research_script()(thread)


def talks_on(thread: Thread) -> str:
    return "so many words " * 1_000 if thread.role == "summarizer" else research_script()(thread)


@pytest.mark.parametrize("script", [nothing_asked, talks_on, lambda _: "no tag at all"])
async def test_every_rollout_tells_the_same_numbers(
    script: Callable[[Thread], str], tokens: ThreadTokens
):
    good = await scored_one(tokens)
    bad = await Bench(tokens).roll(ScriptedEngine(tokens, script))
    assert bad is not None
    assert bad.info.keys() == good.info.keys()
    assert bad.parts.total < good.parts.total
    assert good.info["truncations"] == good.info["prefix_breaks"] == 0.0
    assert bad.info["truncations"] == (1.0 if script is talks_on else 0.0)


async def test_traces_and_rewards_are_kept_by_step_and_split(tokens: ThreadTokens, tmp_path: Path):
    bench = Bench(tokens, traces=str(tmp_path))
    first = await bench.roll()
    second = await bench.roll(global_steps=8)
    third = await bench.roll(extra_info={"split": "validation"})
    assert first is not None
    assert second is not None
    assert third is not None
    for scored, place in [
        (first, "step_000007/train"), (second, "step_000008/train"),
        (third, "step_000007/validation"),
    ]:  # fmt: skip
        folder, split = place.split("/")
        assert kept(tmp_path / folder, split) == [scored.rollout.trace]
        [line] = rewards(tmp_path / folder, split)
        assert line["reward"] == scored.info


async def test_a_rollout_without_a_judge_is_kept_on_disk_without_a_reward(
    tokens: ThreadTokens, tmp_path: Path
):
    bench = Bench(tokens, error=JudgeError("no opinion"), traces=str(tmp_path))
    assert await bench.roll() is None
    [line] = rewards(tmp_path / "step_000007")
    assert line["reward"] is None
    assert line["failures"] == {"infrastructure.judge_error": 1}
    assert bench.told().failures == {"infrastructure.judge_error": 1}


async def test_traces_that_cannot_be_written_cost_no_rollout_and_are_told_once(
    tokens: ThreadTokens, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "a file"
    folder.write_text("in the way")
    bench = Bench(tokens, traces=str(folder))
    with caplog.at_level(logging.WARNING, "oresearch.rl"):
        assert await bench.roll() is not None
        assert await bench.roll() is not None
    assert len([r for r in caplog.records if "are not kept" in r.message]) == 1
    assert [record.fate for record in bench.log.drain()] == ["kept", "kept"]


async def test_a_folder_that_fails_between_others_leaves_their_files_alone(
    tokens: ThreadTokens, tmp_path: Path
):
    bench = Bench(tokens, traces=str(tmp_path))
    (tmp_path / "step_000008").write_text("in the way")
    for step in (7, 8, 7):
        assert await bench.roll(global_steps=step) is not None
    assert len(kept(tmp_path / "step_000007")) == len(rewards(tmp_path / "step_000007")) == 2


@pytest.mark.parametrize("split", ["validation", "val", "test", "held_out"])
async def test_a_validation_row_is_told_as_one(split: str, tokens: ThreadTokens):
    bench = Bench(tokens)
    await bench.roll(extra_info={"split": split})
    assert bench.log.drain() == []
    assert bench.told(validate=True).fate == "kept"


async def test_the_log_is_told_what_was_called(tokens: ThreadTokens):
    bench = Bench(tokens)
    await bench.roll(ScriptedEngine(tokens, research_script(turns=3)), uid="x", session_id=2)
    record = bench.told()
    assert (record.uid, record.session, record.step) == ("x", 2, 7)
    assert record.question == "What causes tides?"
    assert record.tools == {"web_search": 6, "crawl_page": 0}
    assert record.failures == {}


async def test_another_question_is_searched_for_where_the_row_says_so(tokens: ThreadTokens):
    bench = Bench(tokens)
    await bench.roll(extra_info={"search_instead": "the Sun"})
    assert set(bench.documents.searched) == {"the Sun"}


async def test_a_rollout_that_meets_its_deadline_is_dropped(tokens: ThreadTokens):
    hung = FaultyTools(Documents(PAGES), Documents(PAGES), timeouts=1.0)
    bench = Bench(tokens, documents=hung, seconds={"rollout": 0.3}, tools={"timeout": 60.0})
    async with asyncio.timeout(20):
        assert await bench.roll() is None
    record = bench.told()
    assert (record.fate, record.failures) == ("dropped", {"infrastructure.deadline": 1})


async def test_an_engine_that_hangs_is_tried_again_then_infrastructures(tokens: ThreadTokens):
    engine = ScriptedEngine(tokens, seconds=60.0)
    bench = Bench(tokens)
    async with asyncio.timeout(20):
        sampling = Sampling({"logprobs": True}, 100_000, 200, 200, seconds=0.05)
        assert await bench.roll(engine, sampling=sampling) is None
    failures = bench.told().failures
    # The planner's call and that of the one branch which stands in for a plan.
    assert failures == {"infrastructure.timeout": 2, "infrastructure.plan_fallback": 1}
    assert len(engine.prompts) == 4


async def test_cancellation_passes_through_and_is_told(tokens: ThreadTokens):
    asked = asyncio.Event()

    class Asked(ScriptedEngine):
        async def generate(self, request_id: str, **call: Any) -> Sampled:
            asked.set()
            return await super().generate(request_id, **call)

    bench = Bench(tokens)
    task = asyncio.create_task(bench.roll(Asked(tokens, seconds=60.0)))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    record = bench.told()
    assert (record.fate, record.failures) == ("dropped", {"infrastructure.cancelled": 1})


async def test_a_policy_that_samples_nothing_has_nothing_to_train_on(tokens: ThreadTokens):
    bench = Bench(tokens)
    assert await bench.roll(silent(tokens)) is None
    record = bench.told()
    assert record.fate == "dropped"
    assert record.failures["policy.nothing_sampled"] == 1
    assert not [name for name in record.failures if name.startswith("infrastructure.")]


async def test_a_judge_with_a_defect_drops_the_rollout_and_is_named(
    tokens: ThreadTokens, caplog: pytest.LogCaptureFixture
):
    bench = Bench(tokens, error=KeyError("a defect"))
    assert await bench.roll() is None
    record = bench.told()
    assert (record.fate, record.failures) == ("dropped", {"infrastructure.internal": 1})
    assert record.tools["web_search"] == 2
    assert "What causes tides?" in caplog.text


async def test_documents_that_cannot_be_opened_drop_the_rollout(
    tokens: ThreadTokens, monkeypatch: pytest.MonkeyPatch
):
    def out_of_order(_: RLSettings) -> None:
        raise ToolError("the index service is silent: start it")

    monkeypatch.setattr("rl.rollouts.worker.open_documents", out_of_order)
    bench = Bench(tokens)
    bench.worker._documents = None
    assert await bench.roll() is None
    assert bench.told().failures == {"infrastructure.tool_error": 1}


@pytest.mark.parametrize("judged", [True, False])
async def test_a_configuration_that_cannot_work_ends_every_rollout_by_its_own_error(
    judged: bool, tokens: ThreadTokens
):
    class Mute(ScriptedEngine):
        async def generate(self, request_id: str, **call: Any) -> Sampled:
            answer = await super().generate(request_id, **call)
            answer.log_probs = answer.log_probs if judged else None
            return answer

    bench = Bench(tokens)
    row: dict[str, Any] = (
        {"reward_model": {"style": "rule", "ground_truth": "{}"}} if judged else {}
    )
    cause = "neither key points nor a rubric" if judged else "calculate_log_probs=True"
    with pytest.raises(ConfigurationError, match=cause):
        await bench.roll(Mute(tokens), **row)
    record = bench.told()
    assert (record.fate, record.failures) == ("dropped", {"infrastructure.configuration": 1})


async def test_in_sequence_researchers_leave_room_for_the_report(
    tokens: ThreadTokens, monkeypatch: pytest.MonkeyPatch
):
    rooms: dict[str, set[int]] = {}

    class Watched(ScriptedLedgerPolicy):
        async def continue_thread(self, thread: Thread, *arguments: Any, **options: Any) -> Any:
            given: Continuation = await super().continue_thread(thread, *arguments, **options)
            row = self.ledger.row(thread.id)
            assert row is not None
            assert given.room is not None
            rooms.setdefault(thread.role, set()).add(
                self.sampling.window - len(row.ids) - given.room
            )
            return given

    monkeypatch.setattr("rl.rollouts.worker.LedgerPolicy", Watched)
    await Bench(tokens, research={"execution": "sequential"}).roll()
    report = SAMPLING.report_tokens
    assert rooms == {"planner": {report}, "researcher": {report}, "summarizer": {0}}
    rooms.clear()
    await Bench(tokens).roll()
    assert rooms == {"planner": {0}, "researcher": {0}, "summarizer": {0}}
