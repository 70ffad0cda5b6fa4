"""verl's client of the inference engines, whose calls end with those who wait for them."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from verl.workers.rollout.llm_server import LLMServerClient


class ResearchLLMClient(LLMServerClient):  # type: ignore[misc, unused-ignore]
    """verl's own awaits a Ray reference and leaves it when it is cancelled itself: the engine went
    on sampling for nobody, and what timed out took the place of what was asked next."""

    async def _acquire_server(self, request_id: str, **extra: Any) -> tuple[str, Any]:  # noqa: ANN401
        server_id, server = await super()._acquire_server(request_id, **extra)
        return server_id, _Server(server)


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
