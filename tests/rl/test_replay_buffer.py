"""Which rollouts a step trains on, how long it waits, and what stays in the queue."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import tests.helpers.verl_quietly  # noqa: F401
from rl.learning.groups import QueuedRollout, RolloutsUnusable, reason_left_out
from rl.learning.replay_buffer import ResearchReplayBuffer, StepTimedOut
from rl.rollouts.log import Fate, RolloutLog
from rl.settings import GroupSettings
from tests.helpers.queue_double import QueueDouble


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> QueueDouble:
    return QueueDouble(monkeypatch)


def buffer(
    groups: GroupSettings | None = None,
    *,
    seconds: float = 20.0,
    refill: Callable[[int], int] | None = None,
    log: RolloutLog | None = None,
    questions: dict[str, str] | None = None,
) -> ResearchReplayBuffer:
    return ResearchReplayBuffer(
        groups=groups or GroupSettings(),
        seconds=seconds,
        refill_fn=refill,
        log=log or RolloutLog(),
        questions=questions or {},
        poll_interval=0.001,
        trainer_mode="sync",
        trainer_config={},
        max_off_policy_threshold=None,
        max_off_policy_strategy="drop",
        sampler_kwargs={},
    )


def group(queue: QueueDouble, uid: str, *qualities: float, rows: int = 1, **options: Any) -> None:
    """A prompt that ended with these rollouts."""
    for session, quality in enumerate(qualities):
        queue.rollout(uid, session, rows, quality=quality, total=quality, **options)
    queue.prompt(uid, "finished", **options)


def sample(held: ResearchReplayBuffer, size: int, partition: str = "train") -> Any:
    return held.sample(global_steps=1, partition_id=partition, batch_size=size)


def test_all_rows_of_the_groups_with_a_signal_are_taken(queue: QueueDouble):
    group(queue, "a", 0.1, 0.9, rows=3)
    group(queue, "b", 0.5, 0.4)
    batch, metrics = sample(buffer(), 2)
    assert len(batch.keys) == 8
    assert queue.left() == set(batch.keys)
    assert metrics["oresearch/groups/trained"] == 2.0


def test_groups_with_one_rollout_are_left_out_and_cleared(queue: QueueDouble):
    group(queue, "a", 0.1, 0.9)
    group(queue, "b", 1.0, rows=2)
    group(queue, "c")
    batch, metrics = sample(buffer(), 3)
    assert sorted(batch.keys) == ["a_0_0", "a_1_0"]
    assert queue.left() == {"a_0_0", "a_1_0"}
    assert metrics["oresearch/groups/left_out/too_few"] == 2.0


def test_groups_are_judged_on_quality_and_not_on_the_shaped_total(queue: QueueDouble):
    group(queue, "a", 0.1, 0.9)
    queue.rollout("b", 0, quality=0.5, total=0.9)
    queue.rollout("b", 1, quality=0.5, total=0.1)
    queue.prompt("b", "finished")
    batch, metrics = sample(buffer(), 2)
    assert {key[0] for key in batch.keys} == {"a"}
    assert metrics["oresearch/groups/left_out/no_signal"] == 1.0


def test_a_failed_prompt_with_two_rollouts_is_trained_on(queue: QueueDouble):
    group(queue, "a", 0.1, 0.9)
    queue.prompt("a", "failure")
    batch, _ = sample(buffer(), 1)
    assert len(batch.keys) == 2


def test_groups_left_out_are_replaced_no_further_than_the_bound(queue: QueueDouble):
    asked: list[int] = []

    def refill(count: int) -> int:
        asked.append(count)
        for place in range(count):
            group(queue, f"more{len(asked)}{place}", 0.5, 0.5)
        return count

    group(queue, "a", 0.1, 0.9)
    group(queue, "b", 0.5, 0.5)
    group(queue, "c", 0.5)
    _, metrics = sample(buffer(GroupSettings(refill=3), refill=refill), 3)
    assert asked == [2, 1]
    assert metrics["oresearch/groups/refilled"] == 3.0
    assert metrics["oresearch/groups/trained"] == 1.0


def test_a_refill_that_has_a_signal_fills_the_batch(queue: QueueDouble):
    def refill(count: int) -> int:
        group(queue, "new", 0.0, 1.0)
        return count

    group(queue, "a", 0.1, 0.9)
    group(queue, "b", 0.5, 0.5)
    batch, metrics = sample(buffer(GroupSettings(refill=8), refill=refill), 2)
    assert {key.split("_")[0] for key in batch.keys} == {"a", "new"}
    assert metrics["oresearch/groups/refilled"] == 1.0


def test_a_refill_is_asked_for_while_other_prompts_still_run(queue: QueueDouble):
    asked: list[tuple[int, str]] = []

    def refill(count: int) -> int:
        asked.append((count, queue.tags["train"]["slow"]["status"]))
        group(queue, "new", 0.0, 1.0)
        return count

    def on_list(look: int) -> None:
        if look == 4:
            group(queue, "slow", 0.0, 1.0)

    group(queue, "b", 0.5, 0.5)
    queue.prompt("slow", "running")
    queue.on_list = on_list
    batch, _ = sample(buffer(GroupSettings(refill=5), refill=refill), 2)
    assert asked == [(1, "running")]
    assert {key.split("_")[0] for key in batch.keys} == {"slow", "new"}


def test_without_any_signal_the_step_trains_on_what_there_is_and_counts_it(queue: QueueDouble):
    group(queue, "a", 0.5, 0.5)
    group(queue, "b", 0.7)
    batch, metrics = sample(buffer(), 2)
    assert {key[0] for key in batch.keys} == {"a"}
    assert metrics["oresearch/groups/without_signal"] == 1.0


def test_without_two_rollouts_anywhere_the_run_ends_with_the_failures_by_class(queue: QueueDouble):
    log = RolloutLog()
    for session in (0, 1):
        log.begin("a", session, "Why?", step=1)
    log.report("a", 0, "dropped", {"judge": 2})
    log.report("a", 1, "dropped", {"engine": 1})
    group(queue, "a")
    group(queue, "b", 0.7)
    log.begin("b", 1, "How?", step=1)
    with pytest.raises(RolloutsUnusable) as caught:
        sample(buffer(log=log), 2)
    message = str(caught.value)
    assert "none of 2 prompts has two rollouts" in message
    assert "2 rollouts dropped, 1 raised; failures: judge 2, engine 1" in message
    assert "checkpoints are kept" in message


def dropped(log: RolloutLog, count: int, *classes: str, of: int) -> RolloutLog:
    """So many rollouts, of which the first `count` were dropped by these classes."""
    for session in range(of):
        log.begin("x", session, "Why?", step=1)
        fate: Fate = "dropped" if session < count else "kept"
        log.report("x", session, fate, dict.fromkeys(classes, 3) | {"web.page": 1})
    return log


@pytest.mark.parametrize(("count", "warned"), [(1, False), (2, True), (5, True)])
def test_a_class_that_drops_more_than_a_tenth_of_a_step_is_told(
    queue: QueueDouble, caplog: pytest.LogCaptureFixture, count: int, *, warned: bool
):
    group(queue, "a", 0.1, 0.9)
    log = dropped(RolloutLog(), count, "infrastructure.judge_error", of=10)
    held = buffer(log=log)
    _, metrics = sample(held, 1)
    assert metrics["oresearch/dropped/infrastructure.judge_error"] == count / 10
    assert "oresearch/dropped/web.page" not in metrics
    lines = [record.message for record in caplog.records if "were dropped" in record.message]
    assert len(lines) == warned
    told = f"of the step's 10 rollouts {count}0% were dropped by infrastructure.judge_error: "
    assert all(line.startswith(told) for line in lines)
    assert all("look at the judge's server" in line for line in lines)
    assert len(held.records) == 10, "the step's metrics still count them"


def test_a_class_that_drops_more_than_half_of_a_step_ends_the_run(queue: QueueDouble):
    group(queue, "a", 0.1, 0.9)
    classes = ("infrastructure.timeout", "infrastructure.plan_fallback", "policy.grammar")
    with pytest.raises(RolloutsUnusable) as caught:
        sample(buffer(log=dropped(RolloutLog(), 6, *classes, of=10)), 1)
    message = str(caught.value)
    assert message.startswith(
        "60% of the step's 10 rollouts were dropped: 60% were dropped by infrastructure.timeout"
    )
    assert "raise oresearch.seconds.call" in message
    assert "\n" not in message
    assert queue.left("train") >= {"a_0_0", "a_1_0"}, "nothing was taken from the queue"


@pytest.mark.parametrize("others", [1, 4])
def test_classes_end_it_that_drop_more_than_half_together(queue: QueueDouble, others: int):
    group(queue, "a", 0.1, 0.9)
    log = dropped(RolloutLog(), 4, "infrastructure.timeout", of=10)
    for session in range(others):
        log.report("y", session, "dropped", {"policy.nothing_sampled": 1})
    held = buffer(log=log)
    if others == 1:
        _, metrics = sample(held, 1)
        assert metrics["oresearch/dropped/infrastructure.timeout"] == pytest.approx(4 / 11)
        assert metrics["oresearch/dropped/policy.nothing_sampled"] == pytest.approx(1 / 11)
        return
    with pytest.raises(RolloutsUnusable, match=r"^57% of the step's 14 .*timeout.*nothing_sampled"):
        sample(held, 1)


def test_an_unscored_rollout_is_refused_and_never_taken_for_zero(queue: QueueDouble):
    queue.rollout("a", 0, total=0.1)
    queue.rollout("a", 1, quality=0.5)
    queue.prompt("a", "finished")
    with pytest.raises(RolloutsUnusable, match="a_0_0 came without quality"):
        sample(buffer(), 1)


def test_the_step_waits_until_nothing_runs(queue: QueueDouble):
    def on_list(look: int) -> None:
        if look == 3:
            group(queue, "b", 0.0, 1.0)

    group(queue, "a", 0.1, 0.9)
    queue.prompt("b", "pending")
    queue.on_list = on_list
    batch, _ = sample(buffer(), 2)
    assert queue.looks == 3
    assert len(batch.keys) == 4


def test_a_step_that_takes_too_long_names_the_questions_it_waits_for(queue: QueueDouble):
    log = RolloutLog()
    log.begin("b", 0, "Who dug the tunnel?", step=1)
    group(queue, "a", 0.1, 0.9)
    queue.prompt("b", "running")
    queue.prompt("c", "pending")
    held = buffer(seconds=0.02, log=log, questions={"c": "Why is it closed?"})
    with pytest.raises(StepTimedOut) as caught:
        sample(held, 3)
    message = str(caught.value)
    assert "'Who dug the tunnel?' (1 running); 'Why is it closed?' (0 running)" in message
    assert "oresearch.seconds.step = 0.02 s" in message


@pytest.mark.parametrize("moves", [True, False])
def test_a_step_that_goes_on_is_waited_for(
    queue: QueueDouble, monkeypatch: pytest.MonkeyPatch, *, moves: bool
):
    """A rollout ends every 50 of the 60 seconds, for eight times as long."""
    seconds = [0]

    def sleep(_: float) -> None:
        seconds[0] += 50

    clock = SimpleNamespace(monotonic=lambda: seconds[0], sleep=sleep)
    monkeypatch.setattr("rl.learning.replay_buffer.time", clock)
    monkeypatch.setattr("rl.rollouts.log.time", clock)
    log = RolloutLog()

    def on_list(look: int) -> None:
        if moves:
            log.report("b", look, "kept")
        if look == 11:
            group(queue, "b", 0.0, 1.0)

    group(queue, "a", 0.1, 0.9)
    queue.prompt("b", "running")
    queue.on_list = on_list
    held = buffer(seconds=60, log=log)
    if moves:
        assert len(sample(held, 2)[0].keys) == 4
        assert seconds[0] == 500
    else:
        with pytest.raises(StepTimedOut):
            sample(held, 2)


def test_every_rollout_of_the_step_is_known_also_of_groups_left_out(queue: QueueDouble):
    group(queue, "a", 0.1, 0.9, rows=2)
    group(queue, "b", 0.3)
    held = buffer()
    sample(held, 2)
    assert sorted(rollout.key for rollout in held.rollouts) == ["a_0_1", "a_1_1", "b_0_0"]


def test_a_validation_takes_every_prompt_and_leaves_the_training_step_alone(queue: QueueDouble):
    group(queue, "a", 0.1, 0.9)
    held = buffer()
    sample(held, 1)
    group(queue, "v", 0.5, partition="val")
    group(queue, "w", partition="val")
    batch, metrics = sample(held, 2, "val")
    assert batch.keys == ["v_0_0"]
    assert metrics == {}
    assert queue.left("val") == {"v_0_0"}
    assert len(held.rollouts) == 2


def test_a_validation_of_which_nothing_came_through_ends_the_run(queue: QueueDouble):
    group(queue, "v", partition="val")
    with pytest.raises(RolloutsUnusable, match="validation questions"):
        sample(buffer(), 1, "val")


@pytest.mark.parametrize(
    ("qualities", "tolerance", "reason"),
    [
        ([0.5], None, "too_few"),
        ([0.5, 0.5], None, None),
        ([0.5, 0.5], 0.0, "no_signal"),
        ([0.5, 0.55], 0.05, "no_signal"),
        ([0.5, 0.56], 0.05, None),
        ([0.1 + 0.2, 0.3], 0.0, "no_signal"),
    ],
)
def test_reasons_to_leave_a_group_out(qualities: list[float], tolerance: Any, reason: Any):
    rollouts = [QueuedRollout("a_0_0", {"reward_extra_info": {"quality": q}}) for q in qualities]
    assert reason_left_out(rollouts, tolerance) == reason
