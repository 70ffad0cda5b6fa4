"""Requests to one model's server, and what is known or was learnt of it: what it is, which
rendering fits, how fast it is, fields that it refuses, how long its context is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

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
from oresearch_graph.policies.chat.model_faults import LONGER
from oresearch_graph.policies.chat.parameters import BOUND, Parameters, Sent
from oresearch_graph.policies.chat.probe import (
    PACE,
    PACE_TOKENS,
    PACES,
    PROBE,
    PROBE_TOKENS,
    PROBES,
    Choice,
    choice_by_probe,
    is_official,
    speaks_openai,
)
from oresearch_graph.policies.chat.refusals import refusal_of
from oresearch_graph.policies.chat.rendering import CONTINUE_FINAL
from oresearch_graph.policies.chat.reply import Pace, Reply, read_message
from oresearch_graph.policies.chat.servers import AT_HOME, BATCHING, Server, server_of
from oresearch_graph.policies.serving import SLOW, Serving
from oresearch_graph.text.words import token_count

_LEAST: Final = 64
"""Tokens of a reply; with fewer a request is not worth sending."""
_SHARE: Final = 8
"""Of a context, which part a text that is begun must have."""
_READ: Final = 1_000
"""Tokens of a prompt from which on a server's count of them tells something."""
_FRAMED: Final = 300
"""Tokens of a prompt beside which a template's own count for little."""
_DENSEST: Final = 4.0
"""Of a model's tokens in one of ours: scripts that it hardly knows."""
_SILENT: Final = 2
"""How many times fewer tokens than we count a server counts where it cut the prompt."""


class Slots:
    """Which slot of llama.cpp's server each thread has. Left to itself the server gives a new
    thread the slot of one with the same system prompt; all else that stood there is lost, unless it
    has a cache in memory beside its slots, as newer ones have (--cache-ram)."""

    def __init__(self) -> None:
        self._by_thread: dict[str, int] = {}
        """The thread that waits longest for its next call is first."""
        self._free: list[int] | None = None

    def take(self, thread_id: str, slots: int) -> int:
        """The thread's slot of so many: a free one, else that of the thread that waits longest."""
        if self._free is None:
            self._free = list(reversed(range(slots)))
        slot = self._by_thread.pop(thread_id, None)
        if slot is None:
            oldest = next(iter(self._by_thread), "")
            slot = self._free.pop() if self._free else self._by_thread.pop(oldest, 0)
        self._by_thread[thread_id] = slot
        return slot

    def leave(self, thread_id: str) -> None:
        """The thread is over."""
        if self._free is not None and thread_id in self._by_thread:
            self._free.append(self._by_thread.pop(thread_id))


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
        """Tokens of the server's context, as a refusal said."""
        self.slots = Slots()
        self._scale = 1.2
        """How many of the model's tokens we count as one, at most."""
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
                prompt = self._scale * _counted(sent.messages)
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

    def slot(self, thread_id: str) -> dict[str, int]:
        """The request field that keeps a thread in one slot of its server, where it has several."""
        server = self._described or Server()
        if server.kind != "llama.cpp" or (server.slots or 1) == 1:
            return {}
        return {"id_slot": self.slots.take(thread_id, server.slots or 1)}

    def room(self, messages: Sequence[BaseMessage], *, begins: bool) -> int | None:
        """Tokens that the context leaves for the reply; None where it is not known. `begins`: a
        text is begun, not continued.

        Raises PolicyOverflow where that is too little: the server would refuse, or cut.
        """
        # A server that was not asked yet is not asked for this alone.
        if (context := (self._described or Server()).context or self.context) is None:
            return None
        prompt = round(self._scale * _counted(messages))
        if (room := context - prompt) < (context // _SHARE if begins else _LEAST):
            raise PolicyOverflow(
                f"{self.name}: about {prompt:,} tokens leave no room in a context of {context:,}; "
                f"{LONGER}",
                context=context, prompt=prompt,
            )  # fmt: skip
        return room

    def check(self, messages: Sequence[BaseMessage], reply: Reply) -> None:
        """Learn how the server counts tokens. Raises PolicyOverflow where it read far fewer than
        it was sent: Ollama cuts a prompt to its num_ctx in silence."""
        ours, theirs = _counted(messages), reply.prompt_tokens
        if theirs is None:
            return
        if ours >= _FRAMED:
            self._scale = min(_DENSEST, max(self._scale, theirs / ours))
        described = self._described or Server()
        unknown = self.context is None and described.context is None
        silent = ours > _READ and described.kind in {"Ollama", "unknown"}
        if unknown and silent and theirs * _SILENT < ours:
            self.context = max(_READ, theirs)
            self.unbilled.append(reply)
            raise PolicyOverflow(
                f"{self.name}: its server read {theirs:,} of about {ours:,} tokens and cut the "
                f"rest in silence; {LONGER}",
                context=self.context, prompt=ours,
            )  # fmt: skip

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
        arguments = {**self._arguments, **self.body(CONTINUE_FINAL), "max_tokens": PROBE_TOKENS}
        config = merge_configs(ensure_config(), {"tags": ["probe"]})
        began = time.monotonic()
        try:
            request = Sent(self.model, PROBE, arguments, needed=tuple(CONTINUE_FINAL))
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


def _counted(messages: Sequence[BaseMessage]) -> int:
    """Tokens of the messages, their tool calls among them, as we count."""
    texts = (f"{message.text}{getattr(message, 'tool_calls', None) or ''}" for message in messages)
    return sum(map(token_count, texts)) + _FRAME * len(messages)


_FRAME: Final = 4
"""Tokens that a chat template puts around a message."""
