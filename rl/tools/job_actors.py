"""What all workers of a Ray job share, each an actor found by its name: the index of a folder, and
the permits of the tool limiter."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError

from oresearch_graph.errors import ConfigurationError, ToolError
from rl.tools.index_service import IndexService, open_corpus, serving
from rl.tools.tool_limiter import Permits

_NAME_SECONDS: Final = 1.0
"""Until Ray has noticed an actor's death and its name is free."""
_CONNECT_TRIES: Final = 20
_CONNECT_PAUSE: Final = 0.25
"""Seconds; a name is free only when Ray has noticed its actor's death."""

_handles: dict[str, Any] = {}
"""Ray ends an actor when its maker's first handle is gone, so that one is never let go."""
_lock = threading.Lock()


def job_actor(name: str, kind: type, *arguments: object, max_concurrency: int = 1_000) -> Any:  # noqa: ANN401 - Ray's handles have no type
    """The handle of the actor called `name`, made as `kind(*arguments)` if there is none. It takes
    no CPU from Ray's count and ends with the process that made it. Blocks."""
    with _lock:
        if name not in _handles:
            actor = ray.remote(kind).options(
                name=name, get_if_exists=True, num_cpus=0, max_concurrency=max_concurrency
            )
            _handles[name] = actor.remote(*arguments)
        return _handles[name]


def forget_actor(name: str) -> None:
    """The actor has died: the next who asks finds or makes another."""
    with _lock:
        _handles.pop(name, None)


class IndexActor:
    """Serves one folder at its node's address for as long as it lives."""

    def __init__(self, folder: str) -> None:
        self._running = ExitStack()
        service = IndexService(open_corpus(folder))
        host = ray.util.get_node_ip_address()
        self._address = self._running.enter_context(serving(service, host))

    def address(self) -> str:
        return self._address


def shared_index(folder: str) -> str:
    """The address of the job's index over `folder` (or `python`), started by whoever asks first.

    The folder must be the same on every node, or hold what the starting node serves. Blocks until
    the folder is indexed: call it in a thread. The actor ends with the process that made it; who
    asks next starts another. Raises ConfigurationError and ToolError.
    """
    if not ray.is_initialized():
        raise ConfigurationError(
            "oresearch.tools.source=service without an address needs Ray: set "
            "oresearch.tools.address to one that runs (python -m rl.tools.index_service FOLDER)"
        )
    where = folder if folder == "python" else str(Path(folder).expanduser().resolve())
    name = f"oresearch-index-{hashlib.sha256(where.encode()).hexdigest()[:16]}"
    for last in (False, True):
        try:
            address: str = ray.get(job_actor(name, IndexActor, where).address.remote())
        except RayError as error:
            forget_actor(name)
            time.sleep(_NAME_SECONDS)
            if last:
                raise ToolError(f"the index service did not start: {_cause(error)}") from error
        else:
            return address
    raise AssertionError("the last try returns or raises")


def _cause(error: RayError) -> str:
    """The one line that matters: a Ray error is its worker's whole traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class RayPermits:
    """Permits in a Ray actor, found by name or made by whoever comes first. The actor ends with
    its maker; the next who asks makes another."""

    def __init__(self, limit: int) -> None:
        self._limit, self._name = limit, f"oresearch-tool-limiter-{limit}"
        self._actor: Any = None

    async def take(self, worker: str, most: int, lease: float, wait: float) -> list[int]:
        for _ in range(_CONNECT_TRIES):
            try:
                actor = self._actor or await asyncio.to_thread(self._connect)
                leases: list[int] = await actor.take.remote(worker, most, lease, wait)
            except RayError as error:
                cause = error
                self._actor = None
                forget_actor(self._name)
                await asyncio.sleep(_CONNECT_PAUSE)
            else:
                return leases
        raise ToolError(
            f"the limiter of tool calls, a Ray actor, does not answer ({cause}): check the cluster"
        )

    def give_back(self, leases: Sequence[int]) -> None:
        if self._actor is not None:
            self._actor.give_back.remote(list(leases))

    def _connect(self) -> Any:  # noqa: ANN401 - Ray's handles have no type
        self._actor = job_actor(self._name, Permits, self._limit, max_concurrency=10_000)
        return self._actor
