"""Which rollouts of a step are trained on, and how long a step waits for them.

verl's own buffer polls every two seconds, waits without end, and trains on groups of one. This one
judges each prompt's group as it ends (`groups`), asks for a bounded number of further prompts in
place of those it leaves out, ends a step that stands still by naming what it waits for, and
clears from the queue whatever is not trained on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.utils.skip import SkipManager

from oresearch_graph.errors import OresearchError
from rl.learning.drops import watch_drops
from rl.learning.groups import (
    LeftOut,
    QueuedRollout,
    RolloutsUnusable,
    last_keys,
    parse_row_key,
    reason_left_out,
)
from rl.rollouts.log import RolloutRecord, RolloutReports
from rl.settings import GroupSettings

_NAMED: Final = 5
_QUESTION_LENGTH: Final = 100


class StepTimedOut(OresearchError):
    """No rollout of a step began or ended within `oresearch.seconds.step`."""


class ResearchReplayBuffer(ReplayBuffer):  # type: ignore[misc, unused-ignore]
    """verl's replay buffer for synchronous training, with groups judged on `quality`.

    `questions` is the trainer's own mapping from uid to question, read when something is wrong.
    """

    def __init__(
        self,
        *,
        groups: GroupSettings,
        seconds: float,
        refill_fn: Callable[[int], int] | None,
        log: RolloutReports,
        questions: Mapping[str, str],
        poll_interval: float = 0.2,
        **options: object,
    ) -> None:
        super().__init__(poll_interval=poll_interval, refill_fn=refill_fn, **options)
        if not hasattr(self, "_sync_metadata_from_transfer_queue"):
            raise RuntimeError(
                "verl's ReplayBuffer changed; rl/learning/replay_buffer.py is for verl 0.9.1"
            )
        self.groups = groups
        self.seconds = seconds
        self.log = log
        self.questions = questions
        self.rollouts: list[QueuedRollout] = []
        """Every rollout of the last training step that has rows, those left out among them."""
        self.records: list[RolloutRecord] = []
        """What the log had of that step when it was sampled."""
        self.sampled = False
        """True once rollouts came in, of training or validation."""
        self.muted: set[str] = set()
        """Prompts of the last batch whose rollouts get no advantage."""
        self._verdicts: dict[str, LeftOut | None] = {}
        self._deadline = 0.0

    @SkipManager.annotate_tq(role="rollout_tq", phase="sample")  # type: ignore[untyped-decorator, unused-ignore]
    def sample(
        self,
        global_steps: int,  # noqa: ARG002 - part of verl's interface
        partition_id: str,
        batch_size: int,
    ) -> tuple[KVBatchMeta, dict[str, float]]:
        """The rows of a step, and what was counted on the way under `oresearch/groups/`.

        Raises StepTimedOut, and RolloutsUnusable when nothing is left to train or validate on, or
        infrastructure dropped too many.
        """
        self._deadline = time.monotonic() + self.seconds
        if partition_id == "val":
            return self._validation()
        self.rollouts, self._verdicts = [], {}
        refilled = self._gather(partition_id, batch_size)
        self.records = self.log.drain()
        uids = self._trainable(partition_id)[:batch_size]
        drops = watch_drops(self.records)
        left_out = Counter(reason for reason in self._verdicts.values() if reason)
        batch = self._take_batch(partition_id, uids)
        self.muted = {uid for uid in uids if self._verdicts[uid] == "no_signal"}
        return batch, {
            "oresearch/groups/trained": float(len(uids)),
            "oresearch/groups/left_out/too_few": float(left_out["too_few"]),
            "oresearch/groups/left_out/no_signal": float(left_out["no_signal"]),
            "oresearch/groups/refilled": float(refilled),
            "oresearch/groups/without_signal": float(len(self.muted)),
            **drops,
        }

    def _gather(self, partition: str, batch_size: int) -> int:
        """Wait until nothing runs and no refill is due; the number of prompts refilled."""
        refilled = 0
        while True:
            self._sync_metadata_from_transfer_queue()
            self._judge(partition)
            good = sum(reason is None for reason in self._verdicts.values())
            running = self._running(partition)
            missing = batch_size - good - len(running)
            refill = min(missing, self.groups.refill - refilled)
            if refill > 0 and self.refill_fn is not None:
                self.refill_fn(refill)
                refilled += refill
            elif not running:
                return refilled
            else:
                self._wait(running)

    def _judge(self, partition: str) -> None:
        """Verdicts on groups that ended since the last poll; an ended group does not change."""
        fresh = self._ended(partition) - self._verdicts.keys()
        members: dict[str, list[QueuedRollout]] = {uid: [] for uid in fresh}
        keys = [key for key in self.partitions[partition] if parse_row_key(key).uid in fresh]
        for rollout in self._read(partition, last_keys(keys)):
            members[rollout.uid].append(rollout)
        for uid, rollouts in members.items():
            self._verdicts[uid] = reason_left_out(rollouts, self.groups.tolerance)
            self.rollouts += rollouts

    def _read(self, partition: str, keys: list[str]) -> list[QueuedRollout]:
        if not keys:
            return []
        data = tq.kv_batch_get(keys=keys, partition_id=partition, select_fields=["extra_fields"])
        facts = [getattr(value, "data", value) for value in data["extra_fields"]]
        return [QueuedRollout(key, fact) for key, fact in zip(keys, facts, strict=True)]

    def _trainable(self, partition: str) -> list[str]:
        """Groups with a signal; where there are none, those without one. They are `muted`: ending
        the run would cost more than a step that changes nothing."""
        by_age = sorted(
            self._verdicts, key=lambda uid: (self.prompt_global_steps[partition].get(uid, 0), uid)
        )
        for verdict in (None, "no_signal"):
            if uids := [uid for uid in by_age if self._verdicts[uid] == verdict]:
                return uids
        what = f"none of {len(by_age)} prompts has two rollouts to compare"
        raise self._nothing_left(what, self.records)

    def _take_batch(self, partition: str, uids: Iterable[str]) -> KVBatchMeta:
        """The batch of the chosen prompts; everything else in the partition is cleared."""
        batch_uids = set(uids)
        self._clear_groups(partition, self._ended(partition) - batch_uids)
        self.sampled = True
        return self._materialize_batch(
            partition, sorted(batch_uids), dict(self.partitions[partition])
        )

    def _validation(self) -> tuple[KVBatchMeta, dict[str, float]]:
        """Every row of every prompt; prompts whose rollouts were all dropped have none."""
        while True:
            self._sync_metadata_from_transfer_queue()
            if not (running := self._running("val")):
                break
            self._wait(running)
        if not self.partitions["val"]:
            what = "no rollout of the validation questions came through"
            raise self._nothing_left(what, self.log.drain(validate=True))
        return self._take_batch("val", self._ended("val")), {}

    def _running(self, partition: str) -> set[str]:
        return set(self.pending_keys[partition] | self.running_keys[partition])

    def _ended(self, partition: str) -> set[str]:
        return set(self.finished_keys[partition] | self.failure_keys[partition])

    def _wait(self, running: set[str]) -> None:
        now = time.monotonic()
        if now > self._deadline:
            # The step has as many rounds of rollouts as the engine's places make of it: what counts
            # is that they go on.
            self._deadline = now + self.seconds - self.log.idle()
        if now > self._deadline:
            raise StepTimedOut(
                f"no rollout began or ended in oresearch.seconds.step = {self.seconds:g} s; waited "
                f"for: {self._questions(running)}. Look at engine, tools and judge, or raise the "
                "limit"
            )
        time.sleep(self.poll_interval)

    def _questions(self, running: set[str]) -> str:
        """The questions of these prompts, with the number of their rollouts that run."""
        waiting = [record for record in self.log.waiting() if record.uid in running]
        questions = {**self.questions, **{record.uid: record.question for record in waiting}}
        open_rollouts = Counter(record.uid for record in waiting)
        names = [
            f"{questions.get(uid, uid)[:_QUESTION_LENGTH]!r} ({open_rollouts[uid]} running)"
            for uid in sorted(running)
        ]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return "; ".join(names[:_NAMED]) + more

    def _nothing_left(self, what: str, records: list[RolloutRecord]) -> RolloutsUnusable:
        failures: Counter[str] = Counter()
        for record in records:
            failures.update(record.failures)
        summary = ", ".join(f"{name} {count}" for name, count in failures.most_common())
        drop_count = sum(record.fate == "dropped" for record in records)
        # Nothing runs any more, so what never reported was ended by an error of its own.
        raised = len(self.log.waiting())
        return RolloutsUnusable(
            f"{what}: infrastructure is unavailable ({drop_count} rollouts dropped, {raised} "
            f"raised; failures: {summary or 'none reported'}). Repair it and start "
            "again: checkpoints are kept and training resumes from the last one"
        )
