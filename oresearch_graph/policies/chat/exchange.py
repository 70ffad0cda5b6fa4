"""Requests to one model's server, and what is known or was learnt of it: what it is, which
rendering fits, how fast it is, fields that it refuses, how long its context is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import merge_configs

from oresearch_graph.errors import PolicyError, PolicyOverflow, PolicyRefused
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.constraint import takes_grammar
from oresearch_graph.policies.chat.context import ContextWindow, Slots
from oresearch_graph.policies.chat.event_loops import (
    close_in_this_loop,
    in_this_loop,
    of_other_loop,
    renew,
)
from oresearch_graph.policies.chat.metering import METER, MeteredRequest, metered
from oresearch_graph.policies.chat.model_call import ModelCall
from oresearch_graph.policies.chat.parameters import BOUND, Parameters, Sent
from oresearch_graph.policies.chat.probe import (
    PACE,
    PACE_TOKENS,
    PACES,
    PROBE_TOKENS,
    PROBES,
    Choice,
    choice_by_probe,
    is_official,
    probe_request,
    speaks_openai,
)
from oresearch_graph.policies.chat.refusals import refusal_of
from oresearch_graph.policies.chat.reply import Pace, Reply, read_message
from oresearch_graph.policies.chat.servers import (
    AT_HOME,
    BATCHING,
    BY_PREFIX,
    KNOWS_MAX_TOKENS,
    Server,
    server_of,
)
from oresearch_graph.policies.serving import SLOW, Serving
from oresearch_graph.trace import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice


class Exchange:
    """Asks a model's server until it takes the request."""

    def __init__(
        self, model: BaseChatModel, name: str, choice: Choice | None,
        arguments: Mapping[str, Any], *, connected: bool, price: Price | ModelPrice | None = None,
    ) -> None:  # fmt: skip
        """`choice`: the rendering, where it is known without a request; `arguments`: of every call;
        `connected`: the model's HTTP client was made by `connect`, so another may be made."""
        self._price = price
        self.model, self.name, self.choice, self._arguments = model, name, choice, arguments
        self._address = getattr(model, "openai_api_base", None)
        self._describes = speaks_openai(model) and not is_official(self._address)
        """There may be a server that says something of itself."""
        self._described: Server | None = None
        self._unbilled: list[Usage] = []
        """Of probes that nobody counted, until somebody does."""
        self.parameters = Parameters()
        self.window, self.slots = ContextWindow(name), Slots()
        self._connected = connected
        self._renewable = connected or getattr(model, "http_async_client", None) is None

    def model_in_this_loop(self, model: BaseChatModel | None = None) -> BaseChatModel:
        return in_this_loop(model or self.model, renewable=self._renewable)

    async def aclose(self) -> None:
        """Close what was opened here: a connected model's client, and another for this loop."""
        await close_in_this_loop(self.model)
        client = getattr(self.model, "root_async_client", None)
        if self._connected and client is not None:
            try:
                await client.close()
            except RuntimeError as error:
                if not of_other_loop(error):
                    raise  # the connections of a loop that is gone are gone with it

    async def answer(
        self,
        call: ModelCall,
        request: Sent,
        config: RunnableConfig,
        on_text: Callable[[], Callable[[str], None]] | None = None,
    ) -> AIMessage:
        """The model's message; fields that its server refuses and that need not be are left out,
        from then on."""
        first: PolicyOverflow | None = None
        renewed = False
        while True:
            sent = self.parameters.fitted(request)
            sent = sent.without(BOUND) if first else sent
            sent = sent._replace(model=self.model_in_this_loop(sent.model))
            metered_request = self._metered(sent)
            try:
                if metered_request.bound is not None:
                    bounded = await self.bounded(sent, metered_request.bound)
                    sent = self.parameters.fitted(bounded)
                return await call(
                    sent.runnable, sent.messages, config=config, arguments=dict(sent.arguments),
                    on_text=on_text, metered=metered_request,
                )  # fmt: skip
            except PolicyOverflow as overflow:
                self.window.tokens = overflow.context or self.window.tokens
                # Prompt and bound together may be too much for it where the prompt alone is not.
                prompt = self.window.estimate(sent.messages)
                if first or sent.bound is None or prompt > (overflow.context or prompt):
                    raise
                first = overflow
            except PolicyRefused as refusal:
                if not self.parameters.learns(refusal.__cause__, sent):
                    raise first or refusal from refusal.__cause__
            except PolicyError as error:
                cause = error.__cause__
                if renewed or not self._renewable or cause is None or not of_other_loop(cause):
                    raise
                renewed = True
                renew(self.model)
            finally:
                metered_request.close()

    def _metered(self, sent: Sent) -> MeteredRequest:
        """The request, paid for. Raises BudgetExhausted."""
        meter = METER.get()
        while meter is not None and self._unbilled:
            meter.bill(self._unbilled.pop(0))
        prompt = self.window.estimate(sent.messages)
        return MeteredRequest(meter, self.name, prompt, sent.bound, self._price)

    @contextmanager
    def _probing(self) -> Iterator[None]:
        """What is asked outside of a run is billed to the first one that asks."""
        with metered("planner") as meter:
            yield
        if METER.get() is None:
            self._unbilled += meter.usage

    async def bounded(self, request: Sent, bound: int) -> Sent:
        """The request for a reply of so many tokens at most, in the field that its server knows."""
        plain = self._describes and (await self.server()).kind in KNOWS_MAX_TOKENS
        return request.bounded(bound, plain=plain)

    async def checked(self, messages: Sequence[BaseMessage], reply: Reply) -> Reply:
        """A reply to the whole prompt, from whose counts the context is learnt. Raises
        PolicyOverflow where the server cut the prompt in silence."""
        self.window.learn(messages, reply)
        if not self._describes or not self.window.counts_short(messages, reply):
            return reply
        # A server that loads its model with the first request tells the context from then on.
        if (await self.server()).context is None:
            self._described = await server_of(self.model_in_this_loop(), self.name)
        if overflow := self.window.cut(messages, reply, await self.server()):
            raise overflow
        return reply

    def room(self, messages: Sequence[BaseMessage], *, begins: bool) -> int | None:
        """See ContextWindow; a server that was not asked yet is not asked for this alone."""
        return self.window.room(messages, self._described or Server(), begins=begins)

    def slot(self, thread_id: str) -> dict[str, int]:
        """See Slots."""
        return self.slots.fields(thread_id, self._described or Server())

    async def settled(self, call: ModelCall) -> Choice:
        if self.choice is None:
            key = (self.name, str(self._address))
            self.choice = await PROBES.once(key, lambda: self._probe(call))
        return self.choice

    async def server(self) -> Server:
        """What the model's server says of itself, asked once; of a provider's own API nothing."""
        if self._described is None:
            model = self.model_in_this_loop()
            self._described = await server_of(model, self.name) if self._describes else Server()
        if self._described.context is None:
            return self._described._replace(context=self.window.tokens)
        return self._described

    async def serving(self, call: ModelCall) -> Serving:
        """What the server can do: asked once, and tried where it is slow or stands at home. A
        provider's own API, or a server that does not answer, tells nothing."""
        if not self._describes:
            return Serving()
        try:
            choice = await self.settled(call)
            server, pace = await self.server(), choice.pace
            if pace is None and (server.kind in AT_HOME or choice.slow):
                pace = await PACES.once(
                    (self.name, str(self._address)), lambda: self._measure(call)
                )
        except PolicyError:
            return Serving()
        tokens, prompt = pace or (None, None)
        return Serving(
            slots=server.slots, pace=tokens, reading=prompt,
            batches=server.kind in BATCHING, context=server.context,
            grammar=choice.rendering == "prefill" and takes_grammar(server.kind),
        )  # fmt: skip

    def body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """`extra_body` of a call replaces the constructor's, so the two are merged here."""
        if not fields:
            return {}
        of_model = getattr(self.model, "extra_body", None) or {}
        of_call = self._arguments.get("extra_body") or {}
        return {"extra_body": {**of_model, **of_call, **fields}}

    async def _probe(self, call: ModelCall) -> Choice:
        kind = (await self.server()).kind
        if kind == "DeepSeek" and not urlsplit(str(self._address)).path.startswith("/beta"):
            reason = "DeepSeek continues an assistant message at /beta alone: end the base URL so"
            return Choice("turns", reason)
        messages, fields = probe_request(by_prefix=kind in BY_PREFIX)
        arguments = {**self._arguments, **self.body(fields)}
        config = merge_configs(ensure_config(), {"tags": ["probe"]})
        began = time.monotonic()
        try:
            request = Sent(self.model, messages, arguments, needed=tuple(fields))
            request = request.bounded(PROBE_TOKENS, plain=kind in KNOWS_MAX_TOKENS)
            with self._probing():
                message = await self.answer(call, request, config)
        except PolicyRefused as refusal:
            if refusal.__cause__ and refusal_of(refusal.__cause__).status in {400, 422}:
                return choice_by_probe(None)
            raise
        reply = read_message(message)
        if (pace := reply.pace) is None and reply.completion_tokens:
            # A fast answer tells a fast server; a slow one may be the way there.
            tokens = reply.completion_tokens / max(1e-3, time.monotonic() - began)
            pace = Pace(tokens) if tokens >= SLOW else None
        return choice_by_probe(reply.text, pace)._replace(slow=pace is None)

    async def _measure(self, call: ModelCall) -> Pace | None:
        """The pace of a server that did not tell it: of a stream, from its first piece on."""
        times: list[float] = []
        config = merge_configs(ensure_config(), {"tags": ["probe"]})
        arguments = {**self._arguments, "max_tokens": PACE_TOKENS}
        with self._probing():
            message = await self.answer(
                call, Sent(self.model, PACE, arguments), config,
                lambda: lambda _: times.append(time.monotonic()),
            )  # fmt: skip
        reply = read_message(message)
        if reply.pace is None and len(times) > PACE_TOKENS // 2 and times[-1] > times[0]:
            return Pace((len(times) - 1) / (times[-1] - times[0]))
        return reply.pace
