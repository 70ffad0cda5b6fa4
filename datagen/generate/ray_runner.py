"""RayRunner: the same candidates on an existing Ray cluster, an actor for each CPU.

Actors make candidates, this process alone writes them down.

Not covered: a killed driver. Finished candidates stand; those in hand are made anew.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from datagen.generate.book import Book
from datagen.generate.plan import Job
from datagen.generate.ray_crew import Crew
from datagen.generate.runner import Runner
from datagen.run.work import Work
from oresearch_graph.errors import ConfigurationError


def runner_on_ray(address: str) -> Runner:
    """A runner on the cluster at this address: `auto`, `host:port` or `ray://…`."""
    return RayRunner(address)


class RayRunner:
    """See the module."""

    def __init__(self, address: str) -> None:
        self._address = address

    def run(self, jobs: Iterator[Job], book: Book, work: Work) -> None:
        ray, joined = _join(self._address)
        crew = Crew(ray, jobs, book, work.settings)
        try:
            crew.work_off()
        finally:
            crew.dismiss()
            if joined:
                ray.shutdown()


def _join(address: str) -> tuple[Any, bool]:
    """Ray, connected to the cluster; and whether that was done here."""
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError("--ray needs Ray: pip install ray") from error
    if ray.is_initialized():
        return ray, False
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise ConfigurationError(
            f"--ray {address}: there is no cluster: {' '.join(str(error).split())}"
        ) from error
    return ray, True


def _reach(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself tries for minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()
