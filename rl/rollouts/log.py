"""The rollout log: which rollouts began, how each ended, and why those that were dropped were.

A dropped rollout leaves nothing in verl's queue, so agent loops tell its fate here. There is one
log per training run: a named Ray actor, or an object of this process where Ray does not run. The
trainer drains it at every step; the watchdog asks it what is still waited for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

import ray
from ray.actor import ActorHandle

Fate = Literal["kept", "dropped"]

NOTHING_SAMPLED: Final = "policy.nothing_sampled"
"""The one class of the policy's for which a rollout is dropped: there is nothing to train on."""
_SCORED: Final = ("policy.", "web.")
_ACTOR: Final = "oresearch_rollout_log"
_ANSWER_SECONDS: Final = 60.0


@dataclass(frozen=True)
class RolloutRecord:
    """One rollout as its agent loop reported it."""

    uid: str
    session: int
    question: str
    step: int
    validate: bool = False
    fate: Fate | None = None
    """None while it runs. dropped: infrastructure failed, nothing of it is trained on."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Failures by class, also those of a rollout that was kept."""
    tools: Mapping[str, int] = field(default_factory=dict)
    """Tool calls by the tool's name."""
    began: float = 0.0
    """Seconds on the log's own clock."""
    seconds: float | None = None
    """From begin to report; None while it runs or where no begin was told."""

    @property
    def dropped_by(self) -> frozenset[str]:
        """The classes of failure for which it was dropped: none that is scored, and no
        `plan_fallback`, which follows from another. Empty for one that was kept."""
        if self.fate != "dropped":
            return frozenset()
        others = {
            name
            for name in self.failures
            if not name.startswith(_SCORED) and not name.endswith(".plan_fallback")
        }
        return frozenset(others | ({NOTHING_SAMPLED} & self.failures.keys()))


class RolloutReports(Protocol):
    """What agent loops and the trainer ask of the log, wherever it lives."""

    def begin(
        self, uid: str, session: int, question: str, step: int, validate: bool = False
    ) -> None: ...

    def report(
        self,
        uid: str,
        session: int,
        fate: Fate,
        failures: Mapping[str, int] | None = None,
        tools: Mapping[str, int] | None = None,
    ) -> None: ...

    def drain(self, validate: bool = False) -> list[RolloutRecord]: ...

    def waiting(self) -> list[RolloutRecord]: ...

    def idle(self) -> float: ...


class RolloutLog:
    """The log itself. Not thread-safe; Ray calls an actor's methods one by one."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], RolloutRecord] = {}
        self._ended: list[RolloutRecord] = []
        self._moved = time.monotonic()

    def begin(
        self, uid: str, session: int, question: str, step: int, validate: bool = False
    ) -> None:
        """A rollout starts."""
        self._moved = time.monotonic()
        record = RolloutRecord(uid, session, question, step, validate, began=self._moved)
        self._running[uid, session] = record

    def report(
        self,
        uid: str,
        session: int,
        fate: Fate,
        failures: Mapping[str, int] | None = None,
        tools: Mapping[str, int] | None = None,
    ) -> None:
        """A rollout ended. One whose begin was never told is kept with step −1."""
        self._moved = time.monotonic()
        begun = self._running.pop((uid, session), None)
        record = begun or RolloutRecord(uid, session, "", step=-1)
        self._ended.append(
            replace(
                record,
                fate=fate,
                failures=dict(failures or {}),
                tools=dict(tools or {}),
                seconds=None if begun is None else self._moved - begun.began,
            )
        )

    def drain(self, validate: bool = False) -> list[RolloutRecord]:
        """The rollouts that ended since the last drain, of training or of validation."""
        records = [record for record in self._ended if record.validate is validate]
        self._ended = [record for record in self._ended if record.validate is not validate]
        return records

    def waiting(self) -> list[RolloutRecord]:
        """The rollouts that began and did not end, the oldest first."""
        return sorted(self._running.values(), key=lambda record: record.began)

    def idle(self) -> float:
        """Seconds in which no rollout began or ended."""
        return time.monotonic() - self._moved


class RemoteRolloutLog:
    """The log in a Ray actor. Telling it something does not wait; asking does."""

    def __init__(self, actor: ActorHandle) -> None:
        self._actor = actor

    def begin(
        self, uid: str, session: int, question: str, step: int, validate: bool = False
    ) -> None:
        self._actor.begin.remote(uid, session, question, step, validate)

    def report(
        self,
        uid: str,
        session: int,
        fate: Fate,
        failures: Mapping[str, int] | None = None,
        tools: Mapping[str, int] | None = None,
    ) -> None:
        self._actor.report.remote(uid, session, fate, dict(failures or {}), dict(tools or {}))

    def drain(self, validate: bool = False) -> list[RolloutRecord]:
        records: list[RolloutRecord] = ray.get(
            self._actor.drain.remote(validate), timeout=_ANSWER_SECONDS
        )
        return records

    def waiting(self) -> list[RolloutRecord]:
        records: list[RolloutRecord] = ray.get(
            self._actor.waiting.remote(), timeout=_ANSWER_SECONDS
        )
        return records

    def idle(self) -> float:
        seconds: float = ray.get(self._actor.idle.remote(), timeout=_ANSWER_SECONDS)
        return seconds


_here = RolloutLog()


def open_rollout_log() -> RolloutReports:
    """The run's log. The trainer opens it before the workers start: a Ray actor lives as long as
    the process that made it. Without Ray, the one of this process."""
    if not ray.is_initialized():
        return _here
    # It counts and holds a few dictionaries: no core of its own. A restart loses one step's counts.
    actor = ray.remote(RolloutLog).options(
        name=_ACTOR, get_if_exists=True, num_cpus=0, max_restarts=-1
    )
    return RemoteRolloutLog(actor.remote())
