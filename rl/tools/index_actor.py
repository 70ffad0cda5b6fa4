"""The index service inside a Ray job: an actor that serves a folder to the workers of all nodes."""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import ray
from ray.exceptions import RayError

from oresearch_graph.errors import ConfigurationError, ToolError
from rl.job_actor import forget_actor, job_actor
from rl.tools.index_service import IndexService, open_corpus, serving

_NAME_SECONDS: Final = 1.0
"""Until Ray has noticed an actor's death and its name is free."""


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
