"""Maker: the Ray actor that makes candidates, and Made, what it gives back.

Every node needs this package installed and the teachers' keys in its environment.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from datagen.generate.plan import Job
from datagen.generate.workshop import Workshop, open_workshop
from datagen.settings import DatagenSettings
from oresearch_graph.errors import OresearchError
from oresearch_graph.trace import Trace, Usage


class Made(NamedTuple):
    """What an actor gives back."""

    trace: Trace | None
    lost: str | None
    stop: str | None
    """What would hit every candidate."""
    usages: tuple[Usage, ...]


class Maker:
    """The actor: a workshop on some machine of the cluster, with a checkpoint file of its own."""

    def __init__(self, settings: DatagenSettings) -> None:
        self._settings, self._lock = settings, asyncio.Lock()
        self._shop: Workshop | None = None
        self._open = AsyncExitStack()

    async def ready(self) -> bool:
        """The actor lives."""
        return True

    async def make(self, job: Job) -> Made:
        usages: list[Usage] = []
        try:
            shop = await self._workshop()
            result = await shop.attempt(job, usages.append)
            await shop.forget(job.id)
        except OresearchError as error:
            return Made(None, None, str(error), tuple(usages))
        if isinstance(result, Trace):
            return Made(result, None, None, tuple(usages))
        return Made(None, result, None, tuple(usages))

    async def close(self) -> None:
        """Leave nothing on the machine."""
        await self._open.aclose()

    async def _workshop(self) -> Workshop:
        async with self._lock:
            if self._shop is None:
                folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="datagen-"))
                file = Path(folder) / "candidates.sqlite"
                self._shop = await self._open.enter_async_context(
                    open_workshop(file, self._settings)
                )
            return self._shop
