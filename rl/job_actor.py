"""One actor of a name in the whole Ray job, made by whichever worker asks first."""

from __future__ import annotations

import threading
from typing import Any

import ray

_kept: dict[str, Any] = {}
"""Ray ends an actor when its maker's first handle is gone, so that one is never let go."""
_lock = threading.Lock()


def job_actor(name: str, kind: type, *arguments: object, max_concurrency: int = 1_000) -> Any:  # noqa: ANN401 - Ray's handles have no type
    """The handle of the actor called `name`, made as `kind(*arguments)` if there is none. It takes
    no CPU from Ray's count and ends with the process that made it. Blocks."""
    with _lock:
        if name not in _kept:
            actor = ray.remote(kind).options(
                name=name, get_if_exists=True, num_cpus=0, max_concurrency=max_concurrency
            )
            _kept[name] = actor.remote(*arguments)
        return _kept[name]


def forget_actor(name: str) -> None:
    """The actor has died: the next who asks finds or makes another."""
    with _lock:
        _kept.pop(name, None)
