"""ChatPolicy: any LangChain chat model as a policy."""

from __future__ import annotations

import re
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
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.policies.chat.constraint import constraint_fields
from oresearch_graph.policies.chat.endings import EchoGate, TextGate, without_echo
from oresearch_graph.policies.chat.exchange import Exchange
from oresearch_graph.policies.chat.limiter import AdaptiveLimiter
from oresearch_graph.policies.chat.metering import Meter, metered
from oresearch_graph.policies.chat.model_call import ModelCall, Patience
from oresearch_graph.policies.chat.model_objects import (
    ChatModel,
    chat_model,
    equipped,
    model_name,
)
from oresearch_graph.policies.chat.parameters import Sent, refuses_tools
from oresearch_graph.policies.chat.prices import list_price
from oresearch_graph.policies.chat.probe import Choice, is_official, known_choice, speaks_openai
from oresearch_graph.policies.chat.rendering import (
    Prefill,
    Request,
    ThreadRendering,
    Turns,
)
from oresearch_graph.policies.chat.rendering_tools import CRAWL_PAGE, WEB_SEARCH, Tools
from oresearch_graph.policies.chat.reply import Reply, protocol_text, read_message
from oresearch_graph.policies.chat.servers import BY_PREFIX, Server
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.policies.serving import Serving
from oresearch_graph.settings import Rendering
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Dialect, Usage, close_tag

_NO_STOP: Final = re.compile(r"(o\d|gpt-[5-9])(?!.*chat)")
"""OpenAI's reasoning models answer 400 to `stop`."""

_ENDS: Final = tuple(map(close_tag, ("subtask_list", "subtask_answer", "suggested_answer")))
"""What ends a thread of its own."""
_THOUGHTS: Final = 2
"""How often a text is continued that ended inside an open think."""


class ChatPolicy:
    """A chat model that continues threads.

    `model` is a LangChain chat model or a name (`openai:gpt-5-mini`; with `base_url` any name that
    the server knows). `extra` are more parameters for it: for the constructor of a named model,
    for each call of a given one. `tools` are the extra tools whose tags belong to the protocol.
    """

    def __init__(
        self,
        model: ChatModel | str,
        *,
        base_url: str | None = None,
        extra: Mapping[str, Any] | None = None,
        rendering: Rendering = "auto",
        dialect: Dialect = "paper",
        tools: Sequence[BaseTool] = (),
        timeout: float = 180.0,
        patience: Patience | None = None,
        limiter: AdaptiveLimiter | None = None,
        concurrency: int = 8,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        price: Price | None = None,
        allow_plain_http: bool | None = None,
    ) -> None:
        sampling = {"temperature": temperature, "max_tokens": max_output_tokens}
        self._sampling = {key: value for key, value in sampling.items() if value is not None}
        self._arguments: dict[str, Any] = {}
        connected = isinstance(model, str)
        if isinstance(model, str):
            self.model = connect(
                model, base_url=base_url, timeout=timeout, extra=extra, temperature=temperature,
                max_output_tokens=max_output_tokens, allow_plain_http=allow_plain_http,
            )  # fmt: skip
        else:
            remember_within(model, extra)
            if base_url is not None:
                raise ConfigurationError("base_url goes with a model's name, not with a model")
            model, bound = chat_model(model)
            self.model = equipped(model)
            self._arguments = {**bound, **self._sampling, **revealed(extra or {})}
        self.name = model_name(self.model)
        self._server = getattr(self.model, "openai_api_base", None)
        self.own_price = price
        self.price = price or list_price(self.model, self.name)
        self._rendering_setting: Rendering = rendering
        self._dialect: Dialect = dialect
        self._tools = {tool.name: tool for tool in tools}
        self._call = ModelCall(
            self.name,
            limiter or AdaptiveLimiter.of(self.model, concurrency),
            (patience or Patience())._replace(timeout=timeout),
            says_finish=speaks_openai(self.model),
        )
        self._sends_stop = not (
            getattr(self.model, "use_responses_api", False)
            or (is_official(self._server) and _NO_STOP.match(self.name))
        )
        self._bounded = self._sends_stop and not getattr(self.model, "thinking", None)
        """A bound would cut the secret thinking of a model, and leave nothing of its reply."""
        self._exchange = Exchange(
            self.model, self.name, known_choice(self.model, rendering), self._arguments,
            connected=connected, price=self.price,
        )  # fmt: skip

    def beside(
        self, model: BaseChatModel, arguments: Mapping[str, Any], price: Price | None
    ) -> ChatPolicy:
        """This model with more arguments, or another with the same sampling; asked as patiently
        and by as many at one time."""
        same = model is self.model
        other = ChatPolicy(
            model, extra={**(self._arguments if same else self._sampling), **arguments},
            rendering=self._rendering_setting, dialect=self._dialect,
            tools=tuple(self._tools.values()), timeout=self._call.patience.timeout,
            patience=self._call.patience, limiter=self._call.limiter,
            price=self.own_price if same else price,
        )  # fmt: skip
        if (other.name, other._server) == (self.name, self._server):
            other._exchange.choice = self._exchange.choice or other._exchange.choice
        return other

    async def aclose(self) -> None:
        """Close the connections of a model that was made here from its name."""
        await self._exchange.aclose()

    @property
    def rendering_reason(self) -> str | None:
        """Which rendering is used and why; None until `settle` or the first call has asked."""
        choice = self._exchange.choice
        return choice and f"{choice.rendering}: {choice.reason}"

    async def settle(self) -> str:
        """Choose the rendering now, by one request where it takes one; its reason.

        A person is waiting: a server that cannot be reached is tried twice, not as often as in
        the middle of a run.
        """
        choice = await self._exchange.settled(self._call.with_tries(2))
        return f"{choice.rendering}: {choice.reason}"

    async def server(self) -> Server:
        """What the model's server says of itself, asked once; of a provider's own API nothing."""
        return await self._exchange.server()

    async def serving(self) -> Serving:
        """How the model is served: asked once, and tried where the server is slow or stands at
        home."""
        return await self._exchange.serving(self._call.with_tries(2))

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        with metered(thread.role, thread.branch) as meter:
            continuation = await self._continued(thread, stop, on_text)
        return continuation.model_copy(update={"usage": self._usage(meter)})

    async def _continued(
        self, thread: Thread, stop: Sequence[str], on_text: Callable[[str], None] | None
    ) -> Continuation:
        choice = await self._exchange.settled(self._call)
        rendering = self._rendering(choice, await self.server())
        try:
            reply, given = await self._reply(rendering, thread, stop, on_text)
        except PolicyRefused as refusal:
            asks_tools = isinstance(rendering, Tools) and thread.role == "researcher"
            if not (asks_tools and refuses_tools(refusal.__cause__)):
                raise
            self._exchange.choice = Choice("turns", "the server refuses tools")
            return await self._continued(thread, stop, on_text)
        if given:
            thread = thread.model_copy(update={"pending": given})
        if not (reply.text.strip() or reply.calls) and reply.reasoning and reply.finish != "length":
            reply = await self._out_of_reasoning(rendering, thread, stop, reply, on_text)
        text = rendering.read(thread, stop, reply)
        for _ in range(_THOUGHTS):
            if text.stop != "think":
                break
            pending = thread.model_copy(update={"pending": thread.pending + text.text})
            more, _ = await self._reply(rendering, pending, stop)
            thinking = "\n\n".join(filter(None, (text.reasoning, more.reasoning))) or None
            reply = more._replace(text=text.text + more.text, reasoning=thinking)
            text = rendering.read(thread, stop, reply)
            if on_text is not None and thread.role != "researcher" and text.stop != "think":
                TextGate(thread, stop, on_text)(reply.text)
        if text.stop == "think":
            text = text._replace(text=f"{text.text}</think>", stop="end", closed_by_world=True)
        if text.text.rstrip().endswith(_ENDS):
            self._exchange.slots.leave(thread.id)
        return Continuation(
            **text._asdict(),
            given=given,
            usage=Usage(role=thread.role),
            room=_room((await self.server()).context, reply),
        )

    async def _reply(
        self,
        rendering: ThreadRendering,
        thread: Thread,
        stop: Sequence[str],
        on_text: Callable[[str], None] | None = None,
        *,
        sends_stop: bool = True,
    ) -> tuple[Reply, str]:
        """A reply, and the opening tag that stands before it. One that the bound left nothing of
        was thought in secret: it is asked for without a bound."""
        request = rendering.request(thread, stop)
        if request.beginning:
            constraint = constraint_fields((await self.server()).kind, thread)
            request = request._replace(extra_body={**request.extra_body, **constraint})
        slot = self._exchange.slot(thread.id)
        request = request._replace(extra_body={**request.extra_body, **slot})
        message = await self._send(request, thread, stop if sends_stop else (), on_text)
        reply = await self._exchange.checked(request.messages, read_message(message))
        reply = reply._replace(text=without_echo(request.beginning, reply.text))
        if reply.finish == "length" and not (reply.text.strip() or reply.calls) and thread.bound:
            self._bounded = False
            return await self._reply(
                rendering, thread.unbound(), stop, on_text, sends_stop=sends_stop
            )
        # A model may write the given tag once more: then it is its own. A reasoning parser may take
        # the thought that was begun for it away.
        repeats = reply.text.lstrip().startswith(request.given.lstrip())
        parsed = bool(reply.reasoning) and "</think>" not in reply.text
        return reply, "" if repeats or (parsed and "<think>" in request.given) else request.given

    async def _out_of_reasoning(
        self,
        rendering: ThreadRendering,
        thread: Thread,
        stop: Sequence[str],
        reply: Reply,
        on_text: Callable[[str], None] | None,
    ) -> Reply:
        """The reply of a server that delivers everything as thinking, or that heeds a stop string
        in the thinking: it is asked once more, without stop strings."""
        for again in (True, False):
            text = protocol_text(thread, stop, reply.reasoning or "")
            if text is not None:
                if on_text is not None:
                    TextGate(thread, stop, on_text)(text)
                return reply._replace(text=text, reasoning=None)
            if not again:
                break
            reply, _ = await self._reply(rendering, thread, stop, on_text, sends_stop=False)
            if reply.text.strip() or reply.calls or not reply.reasoning:
                return reply
        raise PolicyError(
            f"{self.name}: the server put its whole answer into reasoning_content and left content "
            "empty: its reasoning parser does not fit this model; start it without one (vLLM and "
            "SGLang: no --reasoning-parser, llama.cpp: --reasoning-format none) or with this "
            "model's own"
        )

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

        def structuring(model: BaseChatModel) -> Any:  # noqa: ANN401 - a model and what reads it
            return model.with_structured_output(schema, include_raw=True) | RunnableLambda(raw)

        messages = [SystemMessage(thread.system), HumanMessage(thread.user_message())]
        request = Sent(self.model, messages, {}, runs=structuring)
        with metered(thread.role) as meter:
            await self._exchange.answer(self._call, request, _config(thread))
        if answers[-1]["parsed"] is None:
            why = answers[-1]["parsing_error"] or "it called no tool"
            raise PolicyError(f"{self.name} did not fill in the structure: {why}")
        return answers[-1]["parsed"], self._usage(meter)

    def _rendering(self, choice: Choice, server: Server) -> ThreadRendering:
        match choice.rendering:
            case "prefill":
                return Prefill(tuple(self._tools), by_prefix=server.kind in BY_PREFIX)
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
        arguments = {**self._arguments, **self._exchange.body(request.extra_body)}
        if self._sends_stop and stop:
            arguments["stop"] = list(stop)
        sent = self._sent(request, arguments)
        room = self._exchange.room(request.messages, begins=not thread.pending)
        if thread.bound is not None and self._bounded:
            sent = await self._exchange.bounded(sent, min(thread.bound, room or thread.bound))
        return await self._exchange.answer(
            self._call,
            sent,
            _config(thread),
            None if on_text is None else lambda: _gate(request, thread, stop, on_text),
        )

    def _sent(self, request: Request, arguments: Mapping[str, Any]) -> Sent:
        schemas = [self._schema(name) for name in request.tools]
        idle = bool(schemas) and not request.may_call and speaks_openai(self.model)
        return Sent(self.model, request.messages, arguments, schemas, "none" if idle else None)

    def _schema(self, name: str) -> dict[str, Any] | BaseTool:
        if name == "web_search":
            return WEB_SEARCH
        return CRAWL_PAGE if name == "crawl_page" else self._tools[name]

    def _usage(self, meter: Meter) -> Usage:
        """What was asked, probes among it, and what that cost."""
        return meter.total.model_copy(update={"model": self.name})


def _room(context: int | None, reply: Reply) -> int | None:
    """Tokens that the server's context holds behind the reply."""
    counts = (context, reply.prompt_tokens, reply.completion_tokens)
    if any(count is None for count in counts):
        return None
    return max(0, cast("int", context) - sum(cast("tuple[int, ...]", counts[1:])))


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
