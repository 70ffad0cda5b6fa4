"""Which rendering a model gets, and why: from what is known of it, or by one request that shows
whether its server continues a final assistant message."""

from __future__ import annotations

import concurrent.futures
import threading
from asyncio import CancelledError, wrap_future
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage

from oresearch_graph.policies.chat.endings import without_echo
from oresearch_graph.policies.chat.rendering import begun
from oresearch_graph.policies.chat.rendering_tools import WEB_SEARCH
from oresearch_graph.policies.chat.reply import Pace
from oresearch_graph.settings import Rendering

Settled = Literal["prefill", "turns", "tools"]
Finding = TypeVar("Finding")

_BEGINNING: Final = "Here they are, one after the other, as you asked: 1, 2, 3, 4, 5, 6,"
_TASK: Final = HumanMessage("Count from 1 to 12, separated by commas. Write nothing else.")
PROBE_TOKENS: Final = 16
"""Of the answer: fewer than the beginning has, so that an answer which holds the beginning and
more was not written anew."""
PACE: Final[tuple[BaseMessage, ...]] = (
    HumanMessage("Count from 1 to 30, separated by commas. Write nothing else."),
)
PACE_TOKENS: Final = 24
PROBE_GOES_ON: Final = "7"
"""A server that continues goes on here; one that answers anew begins at 1 or with a sentence."""


def probe_request(*, by_prefix: bool) -> tuple[list[BaseMessage], dict[str, Any]]:
    """The probe's messages, and the fields of its request without which it shows nothing."""
    last, fields = begun(_BEGINNING, by_prefix=by_prefix)
    return [_TASK, last], fields


class Choice(NamedTuple):
    """A rendering and the reason for it, as the command line prints it."""

    rendering: Settled
    reason: str
    pace: Pace | None = None
    """What the probe showed of it."""
    slow: bool = False
    """The probe took so long that the pace is worth a second look."""


def known_choice(model: BaseChatModel, setting: Rendering) -> Choice | None:
    """The choice that needs no request; None: ask the server."""
    if setting != "auto":
        return Choice(setting, "set by the rendering setting")
    if speaks_openai(model):
        if is_official(getattr(model, "openai_api_base", None)):
            return Choice("tools", "OpenAI's own API has native tool calling")
        return None
    try:
        model.bind_tools([WEB_SEARCH])
    except NotImplementedError:
        return Choice("turns", f"{type(model).__name__} has no tool calling")
    return Choice("tools", f"{type(model).__name__} has native tool calling")


def speaks_openai(model: BaseChatModel) -> bool:
    """True for langchain-openai's models and their subclasses.

    By name: importing that package takes a second, which a run without a model need not pay.
    """
    return any(kind.__name__ == "BaseChatOpenAI" for kind in type(model).__mro__)


def is_official(base_url: str | None) -> bool:
    """True for the provider's own address, which is also what no address means."""
    return base_url is None or (urlsplit(base_url).hostname or "").endswith("openai.com")


def choice_by_probe(answer: str | None, pace: Pace | None = None) -> Choice:
    """The choice that the probe's answer makes; None: the server refused such a request."""
    if answer is None:
        return Choice("turns", "the server refuses to continue an assistant message")
    continuation = without_echo(_BEGINNING, answer)
    if continuation.lstrip(" ,\n").startswith(PROBE_GOES_ON):
        echo = "" if continuation == answer else " and returns it too"
        reason = f"the server continues an assistant message{echo} (one probe)"
        return Choice("prefill", reason, pace)
    return Choice("turns", "the server answers anew instead of continuing (one probe)", pace)


class _Probes(Generic[Finding]):
    """Findings by model and server, made once per process whichever branch or loop comes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], concurrent.futures.Future[Finding]] = {}

    async def once(self, key: tuple[str, str], ask: Callable[[], Awaitable[Finding]]) -> Finding:
        """The finding for the key; concurrent callers wait for the one that asks."""
        while True:
            with self._lock:
                future = self._made.get(key)
                if mine := future is None:
                    future = self._made[key] = concurrent.futures.Future()
            if mine:
                return await self._ask(key, future, ask)
            try:
                return await wrap_future(_follow(future))
            except concurrent.futures.CancelledError:
                if not future.cancelled():
                    raise  # this caller was cancelled, not the one that asks

    async def _ask(
        self, key: tuple[str, str], future: concurrent.futures.Future[Finding],
        ask: Callable[[], Awaitable[Finding]],
    ) -> Finding:  # fmt: skip
        try:
            finding = await ask()
        except BaseException as error:
            with self._lock:
                self._made.pop(key, None)
            if isinstance(error, CancelledError):
                future.cancel()
            else:
                future.set_exception(error)
            raise
        future.set_result(finding)
        return finding

    def forget(self) -> None:
        """For tests: servers come and go under one address."""
        with self._lock:
            self._made.clear()


def _follow(
    source: concurrent.futures.Future[Finding],
) -> concurrent.futures.Future[Finding]:
    """A future of one's own: cancelling it leaves the shared one alone."""
    copied: concurrent.futures.Future[Finding] = concurrent.futures.Future()

    def copy(future: concurrent.futures.Future[Finding]) -> None:
        if future.cancelled():
            copied.cancel()
            copied.set_running_or_notify_cancel()
        elif copied.set_running_or_notify_cancel():
            if (error := future.exception()) is not None:
                copied.set_exception(error)
            else:
                copied.set_result(future.result())

    source.add_done_callback(copy)
    return copied


PROBES: Final = _Probes[Choice]()
PACES: Final = _Probes["Pace | None"]()
