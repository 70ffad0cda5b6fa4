"""Requests to one model's server, and what is known or was learnt of it: what it is, which
rendering fits, how fast it is, fields that it refuses, how long its context is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import merge_configs

from oresearch_graph.errors import PolicyError, PolicyOverflow, PolicyRefused
from oresearch_graph.policies.chat.constraint import takes_grammar
from oresearch_graph.policies.chat.event_loops import (
    close_in_this_loop,
    in_this_loop,
    of_other_loop,
    renew,
)
from oresearch_graph.policies.chat.model_call import ModelCall
from oresearch_graph.policies.chat.model_faults import ANY_LONGER, LONGER
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

_WORD: Final = re.compile(r"[A-Za-z]\S*")
_FULL: Final = 0.95
"""Of a context, that a cut prompt takes."""
_LEAST_CONTEXT: Final = 1_024
"""Tokens; a smaller count is what a cache left to read."""


class Exchange:
    """Asks a model's server until it takes the request."""

    def __init__(
        self, model: BaseChatModel, name: str, choice: Choice | None,
        arguments: Mapping[str, Any], *, connected: bool,
    ) -> None:  # fmt: skip
        """`choice`: the rendering, where it is known without a request; `arguments`: of every call;
        `connected`: the model's HTTP client was made by `connect`, so another may be made."""
        self.model, self.name, self.choice, self._arguments = model, name, choice, arguments
        self._address = getattr(model, "openai_api_base", None)
        self._described: Server | None = None
        self.unbilled: list[Reply] = []
        """Replies to probes, until a continuation has counted them."""
        self.parameters = Parameters()
        self.context: int | None = None
        """Tokens of the server's context, as a refusal or a cut prompt showed."""
        self._short_count: int | None = None
        """Tokens of the last prompt that the server counted to less than it has."""
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
            try:
                return await call(
                    sent.runnable, sent.messages, config=config, arguments=dict(sent.arguments),
                    on_text=on_text,
                )  # fmt: skip
            except PolicyOverflow as overflow:
                self.context = overflow.context or self.context
                # Prompt and bound together may be too much for it where the prompt alone is not.
                if first or sent.bound is None:
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

    async def bounded(self, request: Sent, bound: int) -> Sent:
        """The request for a reply of so many tokens at most, in the field that its server knows."""
        describes = speaks_openai(self.model) and not is_official(self._address)
        plain = describes and (await self.server()).kind in KNOWS_MAX_TOKENS
        return request.bounded(bound, plain=plain)

    async def settled(self, call: ModelCall) -> Choice:
        if self.choice is None:
            key = (self.name, str(self._address))
            self.choice = await PROBES.once(key, lambda: self._probe(call))
        return self.choice

    async def server(self) -> Server:
        """What the model's server says of itself, asked once; of a provider's own API nothing."""
        if self._described is None:
            asks = speaks_openai(self.model) and not is_official(self._address)
            model = self.model_in_this_loop()
            self._described = await server_of(model, self.name) if asks else Server()
        if self._described.context is None:
            return self._described._replace(context=self.context)
        return self._described

    async def silent_cut(
        self, messages: Sequence[BaseMessage], reply: Reply
    ) -> PolicyOverflow | None:
        """The overflow that a server hides by cutting the prompt, as Ollama does at `num_ctx`.

        A prompt has more tokens than words, in any script that has words. A count below that may
        as well be of what was not cached; it is of a cut prompt where it is at the context that the
        server tells, where the words alone are beyond that, or where two prompts were counted
        the same.
        """
        counted = (reply.prompt_tokens or 0) + (reply.cached_tokens or 0)
        words = sum(1 for message in messages for _ in _WORD.finditer(str(message.text)))
        asks = speaks_openai(self.model) and not is_official(self._address)
        if not asks or not reply.prompt_tokens or counted >= words:
            return None
        # A server that loads its model with the first request tells the context from then on.
        if (server := await self.server()).context is None:
            self._described = server = await server_of(self.model_in_this_loop(), self.name)
        context, before, self._short_count = server.context, self._short_count, counted
        again = before is not None and abs(counted - before) <= before // 100
        if context is None and again and counted >= _LEAST_CONTEXT:
            context = self.context = counted
        if context is None or (words <= context and counted < _FULL * context):
            return None
        fix = LONGER.get(server.kind, ANY_LONGER)
        return PolicyOverflow(
            f"{self.name}: the server cut the prompt in silence, to {counted} of more than {words} "
            f"tokens: {fix}",
            context=context,
        )

    async def serving(self, call: ModelCall) -> Serving:
        """What the server can do: asked once, and tried where it is slow or stands at home. A
        provider's own API, or a server that does not answer, tells nothing."""
        if not speaks_openai(self.model) or is_official(self._address):
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
            batches=server.kind in BATCHING,
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
            message = await self.answer(call, request, config)
        except PolicyRefused as refusal:
            if refusal.__cause__ and refusal_of(refusal.__cause__).status in {400, 422}:
                return choice_by_probe(None)
            raise
        reply = read_message(message)
        self.unbilled.append(reply)
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
        message = await self.answer(
            call, Sent(self.model, PACE, arguments), config,
            lambda: lambda _: times.append(time.monotonic()),
        )  # fmt: skip
        reply = read_message(message)
        if reply.pace is None and len(times) > PACE_TOKENS // 2 and times[-1] > times[0]:
            return Pace((len(times) - 1) / (times[-1] - times[0]))
        return reply.pace
