"""The fault drill: a batch of rollouts in which tools time out, judge and engine fail, a page hangs
and a branch raises. What has to come of it is computed from the plan, never from the output."""

from __future__ import annotations

import math
from collections import Counter
from statistics import mean, stdev
from types import SimpleNamespace
from typing import Any

import pytest

import tests.helpers.verl_quietly  # noqa: F401
from rl.learning.groups import RolloutsUnusable
from rl.rollouts.thread_tokens import ThreadTokens
from rl.tools import training_tools as training_tools_module
from tests.helpers.fault_plan import FaultPlan
from tests.helpers.rl_engine import log_prob, small_tokens
from tests.helpers.rollout_batch import GARBAGE, Drill, planned_quality

SECONDS = 120.0
"""Of a whole batch, which takes about five; what hangs in it would hang for ever."""
ISSUE = FaultPlan(
    timeouts=0.2, judge=0.05, engine=0.02, hung_prompt="q03", raising="q05/1/2", seed=0
)
CLASSES = {
    "infrastructure.tool_error",
    "infrastructure.judge_error",
    "infrastructure.model_error",
    "infrastructure.internal",
    "web.page_timeout",
}
ROWS = {"parallel": 4, "sequential": 1}


@pytest.fixture(scope="module")
def tokens() -> ThreadTokens:
    return small_tokens()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_tools_module, "_WAITS", lambda _: 0.001)


async def drilled(
    plan: FaultPlan, tokens: ThreadTokens, monkeypatch: pytest.MonkeyPatch, execution: str
) -> Drill:
    drill = Drill(plan, tokens, monkeypatch, execution)
    await drill.roll(SECONDS)
    return drill


def train_step(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """The step's batch as the trainer takes it up to the actor's update, and its metrics."""
    for name in ("batch_metrics", "staleness_metrics"):
        monkeypatch.setattr(f"rl.learning.trainer.{name}", lambda *_: {})
    trainer = drill.trainer
    trainer.resource_pool_manager = SimpleNamespace(get_n_gpus=lambda: 2)
    batch, metrics = trainer.replay_buffer.sample(
        global_steps=1, partition_id="train", batch_size=drill.plan.prompts
    )
    batch = trainer._balance_batch(batch, metrics)
    for key in batch.keys:
        row = drill.queue.fields["train"][key]
        row["old_log_probs"] = row["rollout_log_probs"]
    trainer._compute_advantage(batch, metrics)
    trainer._compute_metrics(batch, metrics, {}, 1, 0)
    return batch, metrics


def kept(plan: FaultPlan) -> list[str]:
    return [name for name in plan.names if plan.expected(name).kept]


def trained(plan: FaultPlan) -> list[str]:
    """Rollouts that the step trains on: those that are kept, of prompts that keep two."""
    by_prompt = Counter(name.split("/")[0] for name in kept(plan))
    return [name for name in kept(plan) if by_prompt[name.split("/")[0]] >= 2]


def check_rows(drill: Drill, execution: str) -> None:
    """Every trained id was sampled by the engine, in that thread, under exactly that prefix; and
    all that a kept rollout sampled is there."""
    for name in kept(drill.plan):
        rows = drill.rows([name])
        assert len(rows) == ROWS[execution]
        assert (
            sum(int(row["response_mask"].sum()) for row in rows.values())
            == (drill.engine.of_rollout[name])
        )
    for row in drill.rows(drill.plan.names).values():
        check_row(drill, row)


def check_row(drill: Drill, row: dict[str, Any]) -> None:
    prompt, response = row["prompts"].tolist(), row["responses"].tolist()
    mask, values = row["response_mask"].tolist(), row["rollout_log_probs"].tolist()
    thread, place = row["extra_fields"]["thread"], 0
    while place < len(response):
        if not mask[place]:
            assert values[place] == 0.0
            place += 1
            continue
        span = drill.engine.sampled[thread, tuple(prompt + response[:place])]
        end = place + len(span)
        assert response[place:end] == span
        assert set(mask[place:end]) == {1}
        assert values[place:end] == pytest.approx([log_prob(token) for token in span], abs=1e-6)
        place = end
    assert GARBAGE not in drill.engine.tokens.decode(response)


def check_fates(drill: Drill) -> None:
    """Each rollout's fate and failures, in the log, are the plan's."""
    records = {f"{r.uid}/{r.session}": r for r in drill.log.drain()}
    assert set(records) == set(drill.plan.names)
    assert drill.log.waiting() == []
    for name, record in records.items():
        expected = drill.plan.expected(name)
        told = {k: n for k, n in record.failures.items() if not k.startswith("policy.")}
        assert (name, told) == (name, dict(expected.failures))
        assert record.fate == ("kept" if expected.kept else "dropped"), name
    drill.log._ended = list(records.values())


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
async def test_the_drill_of_the_issue(
    execution: str, tokens: ThreadTokens, monkeypatch: pytest.MonkeyPatch
):
    plan, expected = ISSUE, [ISSUE.expected(name) for name in ISSUE.names]
    total: Counter[str] = sum((each.failures for each in expected), Counter())
    assert total.keys() >= CLASSES, "the seed leaves out a class"
    assert len({name.split("/")[0] for name in trained(plan)}) < plan.prompts, "no group is lost"

    drill = await drilled(plan, tokens, monkeypatch, execution)

    check_fates(drill)
    check_rows(drill, execution)
    assert sum(drill.engine.faults.values()) == sum(each.engine_faults for each in expected)
    assert drill.tools.played["timeout"] == sum(each.silent for each in expected)
    assert drill.tools.played["raising"] == 1
    check_training(drill, total, monkeypatch)


def check_training(drill: Drill, total: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The step gets its batch: the groups that still compare, each with the advantages that its
    valid rollouts alone give; nothing of a dropped one is anywhere."""
    plan = drill.plan
    dropped = set(plan.names) - set(kept(plan))
    assert drill.rows(sorted(dropped)) == {}
    assert dropped
    rewards = {name: 0.6 * planned_quality(name) + 0.4 for name in kept(plan)}
    for name in kept(plan):
        for row in drill.rows([name]).values():
            assert row["rm_scores"].sum().item() == pytest.approx(rewards[name], abs=1e-6)

    batch, metrics = train_step(drill, monkeypatch)

    rows = drill.rows(trained(plan))
    assert {key for key in batch.keys if not key.startswith("pad")} == set(rows)
    for key, row in rows.items():
        name = key.rsplit("_", 1)[0].replace("_", "/")
        group = [value for other, value in rewards.items() if other[:3] == name[:3]]
        gap = (rewards[name] - mean(group)) / (stdev(group) + 1e-6)
        wanted = row["response_mask"] * gap
        assert row["advantages"].tolist() == pytest.approx(wanted.tolist(), abs=1e-4)
    check_metrics(drill, total, metrics)


def check_metrics(drill: Drill, total: Counter[str], metrics: dict[str, Any]) -> None:
    plan, prompts = drill.plan, {name.split("/")[0] for name in trained(drill.plan)}
    assert metrics["oresearch/rollouts/kept"] == len(kept(plan))
    assert metrics["oresearch/rollouts/dropped"] == len(plan.names) - len(kept(plan))
    assert metrics["oresearch/groups/trained"] == len(prompts)
    assert metrics["oresearch/groups/left_out/too_few"] == plan.prompts - len(prompts)
    for name, count in total.items():
        assert metrics[f"oresearch/failures/{name}"] == count
    found = [planned_quality(name) for name in kept(plan)]
    assert metrics["oresearch/reward/quality/mean"] == pytest.approx(mean(found))
    assert metrics["oresearch/reward/quality/min"] > 0.0
    assert math.isclose(metrics["oresearch/mismatch/kl"], 0.0, abs_tol=1e-6)


async def test_without_faults_the_same_batch_drops_nothing(
    tokens: ThreadTokens, monkeypatch: pytest.MonkeyPatch
):
    plan = FaultPlan(seed=ISSUE.seed)
    drill = await drilled(plan, tokens, monkeypatch, "parallel")
    assert [record.failures for record in drill.log._ended] == [{}] * len(plan.names)
    check_fates(drill)
    check_rows(drill, "parallel")
    assert not drill.tools.played
    batch, metrics = train_step(drill, monkeypatch)
    assert len(batch.keys) == 4 * len(plan.names)
    assert metrics["oresearch/rollouts/dropped"] == 0.0
    assert metrics["oresearch/groups/trained"] == plan.prompts


@pytest.mark.parametrize(
    ("outage", "told"),
    [
        # Without a plan the question is the one subtask: planner and one branch fail in each.
        ({"engine": 1.0, "mended": 0.0}, "infrastructure.model_error 16"),
        ({"timeouts": 1.0}, "infrastructure.tool_error 16"),
        ({"judge": 1.0}, "infrastructure.judge_error 8"),
    ],
)
async def test_an_outage_ends_the_step_with_one_clear_error_and_trains_on_nothing(
    outage: dict[str, float], told: str, tokens: ThreadTokens, monkeypatch: pytest.MonkeyPatch
):
    plan = FaultPlan(prompts=4, rollouts=2, **outage)  # type: ignore[arg-type]
    drill = await drilled(plan, tokens, monkeypatch, "parallel")
    assert drill.queue.fields.get("train", {}) == {}
    with pytest.raises(RolloutsUnusable) as caught:
        train_step(drill, monkeypatch)
    message = str(caught.value)
    assert "none of 4 prompts has two rollouts to compare" in message
    assert "8 rollouts dropped" in message
    assert told in message
    assert "\n" not in message
