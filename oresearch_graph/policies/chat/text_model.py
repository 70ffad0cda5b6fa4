"""TextModel: a model that answers messages with one text, outside of any thread: a judge, a writer
of questions. What its server refuses is left out, and a slow one is given the time it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import merge_configs
from langgraph.constants import TAG_NOSTREAM

from oresearch_graph.known_secrets import remember_within
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.policies.chat.exchange import Exchange
from oresearch_graph.policies.chat.limiter import AdaptiveLimiter
from oresearch_graph.policies.chat.model_call import ModelCall, Patience
from oresearch_graph.policies.chat.model_objects import ChatModel, chat_model, model_name
from oresearch_graph.policies.chat.parameters import Sent
from oresearch_graph.policies.chat.prices import list_price
from oresearch_graph.policies.chat.probe import Choice, speaks_openai
from oresearch_graph.policies.serving import Serving

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

_SECONDS: Final = 120.0
"""For one request to a fast server."""
_LONGEST: Final = 7_200.0
_REPLY: Final = 2_000
"""Tokens of a reply, at most, where the server is slow: a small model may write on without end."""
_CHARACTERS: Final = 3
"""Of a token, at least."""
_RESERVE: Final = 2.0
"""The pace falls as the prompt grows."""


class TextModel:
    """One model, by its name or as LangChain has it."""

    def __init__(
        self, model: ChatModel | str, base_url: str | None = None, *, concurrency: int,
        tries: int, timeout: float | None = None, price: Price | None = None,
        serving: Serving | None = None, allow_plain_http: bool | None = None,
    ) -> None:  # fmt: skip
        """`concurrency` is that of requests, less where the server has fewer slots; `timeout` the
        seconds of one, None: as its server's pace asks. `price`: in place of the known one.
        `serving`: how it is served; None: its server is asked. Raises ConfigurationError for a
        model that cannot be had."""
        self.connected = isinstance(model, str)
        """It was made here from its name, and its sampling is ours to choose."""
        if isinstance(model, str):
            model = connect(
                model, base_url=base_url, timeout=timeout or _LONGEST,
                allow_plain_http=allow_plain_http,
            )  # fmt: skip
        remember_within(model)
        model, bound = chat_model(model)
        self.name = model_name(model)
        self.speaks_openai = speaks_openai(model)
        self.price: Price | ModelPrice | None = price or list_price(model, self.name)
        self._model, self._timeout, self._concurrency = model, timeout, concurrency
        self._call = ModelCall(
            self.name, AdaptiveLimiter.of(model, concurrency), Patience(tries=tries),
            says_finish=self.speaks_openai,
        )  # fmt: skip
        choice = Choice("turns", "it is asked for whole texts")
        self._exchange = Exchange(
            model, self.name, choice, bound, connected=self.connected, price=self.price
        )
        self._serving: Serving | None = None
        if serving is not None:
            self._use(serving)

    async def answer(
        self, messages: Sequence[BaseMessage], arguments: Mapping[str, Any] | None = None,
        runs: Callable[[BaseChatModel], Any] | None = None, name: str = "judge",
    ) -> AIMessage:  # fmt: skip
        """The model's message. `runs` makes of the model what is to be run; `name` is what
        callbacks see, and who streams a graph's messages sees nothing. Raises PolicyError."""
        serving = await self._served()
        request = Sent(self._model, messages, arguments or {}, runs=runs)
        if serving.slow:
            request = await self._exchange.bounded(request, _REPLY)
        seconds = self._timeout or _seconds(serving, messages)
        patience = self._call.patience._replace(timeout=seconds)
        call = self._call.with_patience(patience)
        config: RunnableConfig = {
            "run_name": name,
            "tags": [name, TAG_NOSTREAM],
            "metadata": {"role": name, "branch": None},
        }
        return await self._exchange.answer(call, request, merge_configs(ensure_config(), config))

    async def aclose(self) -> None:
        """Close the connections of a model that was given by name."""
        if self.connected:
            await self._exchange.aclose()

    async def _served(self) -> Serving:
        """How it is served. No more is asked at one time than a server has slots for: a request
        that waits there waits on its own time."""
        if self._serving is None:
            serving = await self._exchange.serving(self._call.with_tries(1))
            if self._serving is None:
                self._use(serving)
        return self._serving or serving

    def _use(self, serving: Serving) -> None:
        self._serving = serving
        if serving.slots is not None and serving.slots < self._concurrency:
            limiter = AdaptiveLimiter.of(self._model, serving.slots)
            self._call = self._call.with_limiter(limiter)


def _seconds(serving: Serving, messages: Sequence[BaseMessage]) -> float:
    if not serving.slow or serving.pace is None:
        return _SECONDS
    prompt = sum(len(str(message.text)) for message in messages) / _CHARACTERS
    seconds = prompt / (serving.reading or 4 * serving.pace) + _REPLY / serving.pace
    return min(_LONGEST, max(_SECONDS, _RESERVE * seconds))
