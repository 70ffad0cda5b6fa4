"""verl's client of the inference engines, whose calls end with those who wait for them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import ray
from verl.workers.rollout.llm_server import LLMServerClient


class ResearchLLMClient(LLMServerClient):  # type: ignore[misc, unused-ignore]
    """verl's own awaits a Ray reference and leaves it when it is cancelled itself: the engine went
    on sampling for nobody, and what timed out took the place of what was asked next."""

    async def _acquire_server(self, request_id: str, **extra: Any) -> tuple[str, Any]:  # noqa: ANN401
        """An engine. verl counts it as taken before its caller can give it back: where the caller
        is cancelled meanwhile, it is given back here."""
        acquiring = asyncio.ensure_future(super()._acquire_server(request_id, **extra))
        try:
            server_id, server = await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            acquiring.add_done_callback(partial(self._give_back, request_id))
            raise
        return server_id, _Server(server)

    def _give_back(self, request_id: str, acquired: asyncio.Task[tuple[str, Any]]) -> None:
        if not acquired.cancelled() and acquired.exception() is None:
            self._release_server(acquired.result()[0], request_id=request_id)


class _Server:
    """An engine's actor, as far as the client asks it."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401 - Ray's handles have no types
        self._actor = actor

    @property
    def generate(self) -> _Generate:
        return _Generate(self._actor)


class _Generate:
    """`actor.generate.remote(…)`; vLLM aborts the request of a task that is cancelled."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401
        self._actor = actor

    async def remote(self, **arguments: Any) -> Any:  # noqa: ANN401
        reference = self._actor.generate.remote(**arguments)
        try:
            return await reference
        except asyncio.CancelledError:
            ray.cancel(reference)
            raise
