"""One chat model in several event loops. Open connections belong to the loop that made them, so an
OpenAI-compatible model gets connections of its own in every loop but the first."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from langchain_core.language_models import BaseChatModel

from oresearch_graph.policies.chat.connections import async_connections

_WORDS: Final = ("different event loop", "different loop", "Event loop is closed", "loop is closed")
_lock: Final = threading.Lock()
_owners: Final[WeakKeyDictionary[Any, ref[asyncio.AbstractEventLoop] | None]] = WeakKeyDictionary()
"""The loop that used a client's connections first; None: some loop that is not ours."""
_clients: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Any]]] = WeakKeyDictionary()
"""The clients that were made for a loop, by the identity of the one they stand for."""


def of_other_loop(error: BaseException) -> bool:
    """A connection of another event loop, open or closed, was used, says the error or its cause."""
    link: BaseException | None = error
    for _ in range(10):
        if link is None:
            return False
        if isinstance(link, RuntimeError | ValueError) and any(w in str(link) for w in _WORDS):
            return True
        link = link.__cause__ or link.__context__
    return False


def in_this_loop(model: BaseChatModel, *, renewable: bool) -> BaseChatModel:
    """The model with the connections that it has in the running loop. `renewable`: its HTTP client
    is no one's own, so that another may stand for it."""
    client = getattr(model, "root_async_client", None)
    if client is None or not renewable:
        return model
    loop, http = asyncio.get_running_loop(), client._client  # noqa: SLF001 - it has no other name
    with _lock:
        if http not in _owners:
            _owners[http] = ref(loop)
        owner = _owners[http]
        if owner is not None and owner() is loop:
            return model
        clients = _clients.setdefault(loop, {})
        if id(http) not in clients:
            clients[id(http)] = client.copy(http_client=_like(http, str(client.base_url)))
        other = clients[id(http)]
    update = {"root_async_client": other, "async_client": other.chat.completions}
    return model.model_copy(update=update)


def renew(model: BaseChatModel) -> None:
    """The model's connections turned out to be another loop's, or its own are broken."""
    client = getattr(model, "root_async_client", None)
    if client is not None:
        with _lock:
            _owners[client._client] = None  # noqa: SLF001


async def close_in_this_loop(model: BaseChatModel) -> None:
    """Close what was made for the model in the running loop."""
    client = getattr(model, "root_async_client", None)
    if client is None:
        return
    with _lock:
        clients = _clients.get(asyncio.get_running_loop(), {})
        other = clients.pop(id(client._client), None)  # noqa: SLF001
    if other is not None:
        await other.close()


def _like(http: Any, url: str) -> Any:  # noqa: ANN401 - of the client's own package
    return async_connections(
        url, base_url=http.base_url, timeout=http.timeout, headers=http.headers
    )
