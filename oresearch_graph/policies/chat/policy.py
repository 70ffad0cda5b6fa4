"""ChatPolicy: any LangChain chat model as a policy."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda, ensure_config
from langchain_core.runnables.config import merge_configs
from langchain_core.tools import BaseTool
from pydantic import BaseModel

from oresearch_graph.errors import ConfigurationError, PolicyError, PolicyRefused
from oresearch_graph.keys import revealed
from oresearch_graph.known_secrets import remember_within
from oresearch_graph.policies.chat.bounds import bound_parameter
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.policies.chat.constraint import constraint_fields
from oresearch_graph.policies.chat.endings import EchoGate, TextGate, without_echo
from oresearch_graph.policies.chat.limiter import AdaptiveLimiter
from oresearch_graph.policies.chat.model_call import ChatRunnable, ModelCall, Patience
from oresearch_graph.policies.chat.model_faults import unsupported_parameter
from oresearch_graph.policies.chat.prices import Price, cost, known_price
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
    known_choice,
    speaks_openai,
)
from oresearch_graph.policies.chat.rendering import (
    CONTINUE_FINAL,
    Prefill,
    Request,
    ThreadRendering,
    Turns,
)
from oresearch_graph.policies.chat.rendering_tools import CRAWL_PAGE, WEB_SEARCH, Tools
from oresearch_graph.policies.chat.reply import Pace, Reply, read_message
from oresearch_graph.policies.chat.servers import AT_HOME, Server, server_of
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.policies.serving import SLOW, Serving
from oresearch_graph.redaction import redacted
from oresearch_graph.settings import Rendering
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Dialect, Usage, known_sum

_NO_STOP: Final = re.compile(r"(o\d|gpt-[5-9])(?!.*chat)")
"""OpenAI's reasoning models answer 400 to `stop`."""


class ChatPolicy:
    """A chat model that continues threads.

    `model` is a LangChain chat model or a name (`openai:gpt-5-mini`; with `base_url` any name that
    the server knows). `extra` are more parameters for it: for the constructor of a named model,
    for each call of a given one. `tools` are the extra tools whose tags belong to the protocol.
    """

    def __init__(
        self,
        model: BaseChatModel | str,
        *,
        base_url: str | None = None,
        extra: Mapping[str, Any] | None = None,
        rendering: Rendering = "auto",
        dialect: Dialect = "paper",
        tools: Sequence[BaseTool] = (),
        timeout: float = 180.0,
        patience: Patience | None = None,
        limiter: AdaptiveLimiter | None = None,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        price: Price | None = None,
        allow_plain_http: bool | None = None,
    ) -> None:
        sampling = {"temperature": temperature, "max_tokens": max_output_tokens}
        self._arguments: dict[str, Any] = {}
        self._connected = isinstance(model, str)
        if isinstance(model, str):
            self.model = connect(
                model, base_url=base_url, timeout=timeout, extra=extra, temperature=temperature,
                max_output_tokens=max_output_tokens, allow_plain_http=allow_plain_http,
            )  # fmt: skip
        else:
            remember_within(model, extra)
            if base_url is not None:
                raise ConfigurationError("base_url goes with a model's name, not with a model")
            self.model = _with_usage(model)
            arguments = {key: value for key, value in sampling.items() if value is not None}
            self._arguments = {**arguments, **revealed(extra or {})}
        self.name = model_name(self.model)
        self._server = getattr(self.model, "openai_api_base", None)
        priced = speaks_openai(self.model) and is_official(self._server)
        self.price = price or (known_price(self.name) if priced else None)
        self._dialect: Dialect = dialect
        self._tools = {tool.name: tool for tool in tools}
        self._call = ModelCall(
            self.name,
            limiter or AdaptiveLimiter(8),
            (patience or Patience())._replace(timeout=timeout),
            says_finish=speaks_openai(self.model),
        )
        self._choice = known_choice(self.model, rendering)
        self._sends_stop = not (
            getattr(self.model, "use_responses_api", False)
            or (is_official(self._server) and _NO_STOP.match(self.name))
        )
        self._bound_name = bound_parameter(self.model, reasons=not self._sends_stop)
        self._most = max_output_tokens
        self._unbilled: Reply | None = None
        self._described: Server | None = None

    async def aclose(self) -> None:
        """Close the connections of a model that was made here from its name."""
        client = getattr(self.model, "root_async_client", None)
        if self._connected and client is not None:
            await client.close()

    @property
    def rendering_reason(self) -> str | None:
        """Which rendering is used and why; None until `settle` or the first call has asked."""
        return self._choice and f"{self._choice.rendering}: {self._choice.reason}"

    async def settle(self) -> str:
        """Choose the rendering now, by one request where it takes one; its reason.

        A person is waiting: a server that cannot be reached is tried twice, not as often as in
        the middle of a run.
        """
        hasty = self._call.with_tries(2)
        choice = await self._settled(hasty)
        return f"{choice.rendering}: {choice.reason}"

    async def server(self) -> Server:
        """What the model's server says of itself, asked once; of a provider's own API nothing."""
        if self._described is None:
            asks = speaks_openai(self.model) and not is_official(self._server)
            self._described = await server_of(self.model, self.name) if asks else Server()
        return self._described

    async def serving(self) -> Serving:
        """What the server can do: asked once, and tried where it is slow or stands at home. A
        provider's own API, or a server that does not answer, tells nothing."""
        if not speaks_openai(self.model) or is_official(self._server):
            return Serving()
        try:
            choice = await self._settled(self._call.with_tries(2))
            server, pace = await self.server(), choice.pace
            if pace is None and (server.kind in AT_HOME or choice.slow):
                pace = await PACES.once((self.name, str(self._server)), self._measure)
        except PolicyError:
            return Serving()
        tokens, prompt = pace or (None, None)
        return Serving(slots=server.slots, pace=tokens, reading=prompt)

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        rendering = self._rendering(await self._settled())
        request = rendering.request(thread, stop)
        server = await self.server()
        if request.beginning:
            constraint = constraint_fields(server.kind, thread)
            request = request._replace(extra_body={**request.extra_body, **constraint})
        reply = await self._reply(request, thread, stop, on_text)
        # A model may write the given tag once more: then it is its own.
        given = "" if reply.text.lstrip().startswith(request.given.lstrip()) else request.given
        if given:
            thread = thread.model_copy(update={"pending": given})
        text = rendering.read(thread, stop, reply)
        return Continuation(
            **text._asdict(),
            given=given,
            usage=self._usage(thread, reply),
            room=_room(server.context, reply),
        )

    async def _reply(
        self,
        request: Request,
        thread: Thread,
        stop: Sequence[str],
        on_text: Callable[[str], None] | None,
    ) -> Reply:
        """A reply that the bound left nothing of was thought in secret: it is asked for without."""
        reply = read_message(await self._send(request, thread, stop, on_text))
        reply = reply._replace(text=without_echo(request.beginning, reply.text))
        if reply.finish == "length" and not (reply.text.strip() or reply.calls) and thread.bound:
            self._bound_name, self._unbilled = None, reply
            return await self._reply(request, thread.unbound(), stop, on_text)
        return reply

    async def structured(
        self, thread: Thread, schema: type[BaseModel] | dict[str, Any]
    ) -> tuple[Any, Usage]:
        """What the thread's question says, as `schema`; and what the call cost.

        Raises PolicyError when the service fails, or what it writes does not fit the schema.
        """
        answers: list[Any] = []

        def raw(answer: Any) -> AIMessage:  # noqa: ANN401 - a dict, typed as what is asked for
            answers.append(answer)
            return cast("AIMessage", answer["raw"])

        model = self.model.with_structured_output(schema, include_raw=True) | RunnableLambda(raw)
        messages = [SystemMessage(thread.system), HumanMessage(thread.user_message())]
        message = await self._call(model, messages, config=_config(thread), arguments={})
        if answers[-1]["parsed"] is None:
            why = answers[-1]["parsing_error"] or "it called no tool"
            raise PolicyError(f"{self.name} did not fill in the structure: {why}")
        return answers[-1]["parsed"], self._usage(thread, read_message(message))

    async def _settled(self, call: ModelCall | None = None) -> Choice:
        if self._choice is None:
            key = (self.name, str(self._server))
            self._choice = await PROBES.once(key, lambda: self._probe(call or self._call))
        return self._choice

    def _rendering(self, choice: Choice) -> ThreadRendering:
        match choice.rendering:
            case "prefill":
                return Prefill(tuple(self._tools))
            case "turns":
                return Turns(tuple(self._tools))
            case "tools":
                return Tools(tuple(self._tools), self._dialect)

    async def _send(
        self,
        request: Request,
        thread: Thread,
        stop: Sequence[str],
        on_text: Callable[[str], None] | None,
    ) -> AIMessage:
        arguments = {**self._arguments, **self._body(request.extra_body)}
        if self._sends_stop:
            arguments["stop"] = list(stop)
        if thread.bound is not None and self._bound_name is not None:
            arguments[self._bound_name] = min(thread.bound, self._most or thread.bound)
        try:
            return await self._call(
                self._with_tools(request),
                request.messages,
                config=_config(thread),
                arguments=arguments,
                on_text=None if on_text is None else lambda: _gate(request, thread, stop, on_text),
            )
        except PolicyRefused as refusal:
            if not (self._sends_stop and unsupported_parameter(refusal.__cause__, "stop")):
                raise
            self._sends_stop = False
            return await self._send(request, thread, stop, on_text)

    def _body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """`extra_body` of a call replaces the constructor's, so the two are merged here."""
        if not fields:
            return {}
        of_model = getattr(self.model, "extra_body", None) or {}
        of_call = self._arguments.get("extra_body") or {}
        return {"extra_body": {**of_model, **of_call, **fields}}

    def _with_tools(self, request: Request) -> ChatRunnable:
        if not request.tools:
            return self.model
        schemas = [self._schema(name) for name in request.tools]
        if not request.may_call and speaks_openai(self.model):
            return self.model.bind_tools(schemas, tool_choice="none")
        return self.model.bind_tools(schemas)

    def _schema(self, name: str) -> dict[str, Any] | BaseTool:
        if name == "web_search":
            return WEB_SEARCH
        return CRAWL_PAGE if name == "crawl_page" else self._tools[name]

    async def _probe(self, call: ModelCall) -> Choice:
        arguments = {**self._arguments, **self._body(CONTINUE_FINAL), "max_tokens": PROBE_TOKENS}
        config = merge_configs(ensure_config(), {"tags": ["probe"]})
        began = time.monotonic()
        try:
            message = await call(self.model, PROBE, config=config, arguments=arguments)
        except PolicyRefused as refusal:
            if getattr(refusal.__cause__, "status_code", None) in {400, 422}:
                return choice_by_probe(None)
            raise
        self._unbilled = reply = read_message(message)
        if (pace := reply.pace) is None and reply.completion_tokens:
            # A fast answer tells a fast server; a slow one may be the way there.
            tokens = reply.completion_tokens / max(1e-3, time.monotonic() - began)
            pace = Pace(tokens) if tokens >= SLOW else None
        return choice_by_probe(reply.text, pace)._replace(slow=pace is None)

    async def _measure(self) -> Pace | None:
        """The pace of a server that did not tell it: of a stream, from its first piece on."""
        times: list[float] = []
        config = merge_configs(ensure_config(), {"tags": ["probe"]})
        arguments = {**self._arguments, "max_tokens": PACE_TOKENS}
        message = await self._call.with_tries(2)(
            self.model, PACE, config=config, arguments=arguments,
            on_text=lambda: lambda _: times.append(time.monotonic()),
        )  # fmt: skip
        reply = read_message(message)
        if reply.pace is None and len(times) > PACE_TOKENS // 2 and times[-1] > times[0]:
            return Pace((len(times) - 1) / (times[-1] - times[0]))
        return reply.pace

    def _usage(self, thread: Thread, reply: Reply) -> Usage:
        """What this call cost, and the probe before it."""
        replies = [reply] if self._unbilled is None else [self._unbilled, reply]
        self._unbilled = None
        return Usage(
            role=thread.role,
            branch=thread.branch,
            model=self.name,
            calls=len(replies),
            prompt_tokens=known_sum(r.prompt_tokens for r in replies),
            cached_tokens=known_sum(r.cached_tokens for r in replies),
            completion_tokens=known_sum(r.completion_tokens for r in replies),
            cost=known_sum(
                cost(self.price, r.prompt_tokens, r.cached_tokens, r.completion_tokens)
                for r in replies
            ),
        )


def _room(context: int | None, reply: Reply) -> int | None:
    """Tokens that the server's context holds behind the reply."""
    counts = (context, reply.prompt_tokens, reply.completion_tokens)
    if any(count is None for count in counts):
        return None
    return max(0, cast("int", context) - sum(cast("tuple[int, ...]", counts[1:])))


def model_name(model: BaseChatModel) -> str:
    """The name by which the provider knows the model, else the class's."""
    for field in ("model_name", "model", "model_id", "deployment_name"):
        if isinstance(name := getattr(model, field, None), str) and name:
            return redacted(name.removeprefix("models/"))
    return type(model).__name__


def _with_usage(model: BaseChatModel) -> BaseChatModel:
    """LangGraph may stream any call, and a stream carries usage only when asked to."""
    if speaks_openai(model) and getattr(model, "stream_usage", None) is None:
        return model.model_copy(update={"stream_usage": True})
    return model


def _gate(
    request: Request, thread: Thread, stop: Sequence[str], on_text: Callable[[str], None]
) -> Callable[[str], None]:
    """What listens to one try of a stream."""
    if request.given and thread.next:
        thread = thread.model_copy(update={"forced": thread.next.tag})
        on_text = _opened(request.given, on_text)
    gate = TextGate(thread, stop, on_text)
    return EchoGate(request.beginning, gate) if request.beginning else gate


def _opened(given: str, on_text: Callable[[str], None]) -> Callable[[str], None]:
    """Hears the given tag before the first piece of text."""
    opening = [given]

    def hear(piece: str) -> None:
        on_text("".join((*opening, piece)))
        opening.clear()

    return hear


def _config(thread: Thread) -> RunnableConfig:
    """The running node's configuration, so that its callbacks and streams see the call."""
    place = "" if thread.branch is None else f":{thread.branch}"
    config: RunnableConfig = {
        "tags": [thread.role],
        "metadata": {"role": thread.role, "branch": thread.branch, "thread": thread.id},
        "run_name": f"{thread.role}{place}",
    }
    return merge_configs(ensure_config(), config)
