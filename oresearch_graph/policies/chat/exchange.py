"""Requests to one model's server, and what they taught about it: fields that it refuses, how long
its context is, and that its connections belong to another event loop."""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from oresearch_graph.errors import PolicyError, PolicyOverflow, PolicyRefused
from oresearch_graph.policies.chat.event_loops import (
    close_in_this_loop,
    in_this_loop,
    of_other_loop,
    renew,
)
from oresearch_graph.policies.chat.model_call import ModelCall
from oresearch_graph.policies.chat.parameters import BOUND, Parameters, Sent


class Exchange:
    """Asks a model's server until it takes the request."""

    def __init__(self, model: BaseChatModel, *, connected: bool) -> None:
        """`connected`: the model's HTTP client was made by `connect`, so another may be made."""
        self.model = model
        self.parameters = Parameters()
        self.context: int | None = None
        """Tokens of the server's context, as a refusal said."""
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
