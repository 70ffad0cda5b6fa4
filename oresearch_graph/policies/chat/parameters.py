"""The optional fields of a request: which there are, how a refusal names one, what replaces it.

A server that refuses a request for a field that we can do without is asked again without it, or
with what stands in for it, and the model is not sent that field again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool

from oresearch_graph.policies.chat.probe import speaks_openai
from oresearch_graph.policies.chat.refusals import ServerRefusal, refusal_of

_log = logging.getLogger("oresearch_graph")

SYSTEM: Final = "system role"
BOUND: Final = "max_tokens"
_SPELLINGS: Final[dict[str, tuple[str, ...]]] = {
    "stop": ("stop", "stop_sequences", "stopSequences", "stop_strings"),
    "stream_options": ("stream_options", "include_usage", "stream_usage"),
    BOUND: (
        "max_completion_tokens", "max_tokens", "max_output_tokens", "maxOutputTokens",
        "max_new_tokens", "maxTokens", "num_predict",
    ),
    "temperature": ("temperature",),
    "top_p": ("top_p", "topP"),
    "top_k": ("top_k", "topK"),
    "seed": ("seed", "random_seed"),
    "presence_penalty": ("presence_penalty", "presencePenalty"),
    "frequency_penalty": ("frequency_penalty", "frequencyPenalty"),
    "tool_choice": ("tool_choice", "toolChoice", "tool choice", "toolConfig"),
}  # fmt: skip
"""Names of a field in the providers' words; every other field has its own name alone."""
_OF_MODEL: Final = (
    *_SPELLINGS, "min_p", "logit_bias", "logprobs", "top_logprobs", "parallel_tool_calls",
    "reasoning_effort", "reasoning", "verbosity", "service_tier", "store",
)  # fmt: skip
"""What a model's constructor may have set."""
_NEEDED: Final = frozenset(("model", "messages", "stream", "tools", "extra_body", "input"))
_AROUND_PREFILL: Final = ("continue_final_message", "add_generation_prompt")
"""Two that are one: neither makes sense alone."""

_REFUSED: Final = re.compile(
    r"""
    support | unknown | unrecogni[sz]ed | unexpected | forbidden | unavailable | deprecated
  | removed | incompatible | disabled | invalid | illegal | mutually[ ]exclusive | no[ ]longer
  | (?:not|n't|never) [ ] (?:both[ ])? (?:be[ ]|currently[ ]|yet[ ]|a[ ]|an[ ])?
    (?:permitted|allowed|accept|valid|enabled|available|implemented|recogni[sz]ed|applicable|compatible
      |used|set|specified|provided|take|have|one[ ]of|expected|known|defined|parameter|legal)
  | may[ ]only | only [^.;]{0,40} (?:allowed|permitted|supported|accepted)
  | extra[ ](?:inputs?|fields?|arguments?) | additional[ ]propert | no[ ]such
  | roles[ ]must[ ]alternate
    """,
    re.VERBOSE | re.IGNORECASE,
)
_OF_VALUE: Final = re.compile(
    r"""
    too[ ](?:large|long|many|high|big|small|low) | must[ ] | at[ ](?:most|least) | maximum | minimum
  | between | range | greater | less[ ]than | above | below | exceed
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""The value is at fault, not the field."""
_OF_MODEL_ONLY: Final = re.compile(r"support|(?:this|the|that) model|only", re.IGNORECASE)
_NO_TOOLS: Final = re.compile(
    r"""
    (?:support|enable|allow|accept|permit|unknown|unexpected|unrecogni[sz]ed)[^.;]{0,60}
      \b(?:tools?\b|tool[ ]?(?:use|call)|function[ -]call)
  | \b(?:tools?\b|tool[ ]?(?:use|call)|function[ -]call)[^.;]{0,80}
      (?:not[ ](?:supported|available|enabled|allowed|permitted)|unsupported|requires?\b)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SYSTEM_WORDS: Final = re.compile(
    r"\b(?:system|developer)\b(?=[^.;]{0,80}(?:role|message|prompt|instruction|support))"
    r"|(?:role|message|prompt|instruction)[^.;]{0,80}\b(?:system|developer)\b"
    r"|roles must alternate",
    re.IGNORECASE,
)


_BOUND_NAMES: Final = {
    "BaseChatOpenAI": "max_tokens", "ChatAnthropic": "max_tokens", "ChatMistralAI": "max_tokens",
    "ChatGroq": "max_tokens", "ChatFireworks": "max_tokens", "ChatOllama": "num_predict",
    "ChatGoogleGenerativeAI": "max_output_tokens",
}  # fmt: skip
"""The bound's name by the class of LangChain's package or one that is derived from it; others are
sent none."""


class Sent(NamedTuple):
    """A request before and after it was fitted to what its server takes."""

    model: BaseChatModel
    messages: Sequence[BaseMessage]
    arguments: Mapping[str, Any]
    """Of the call; `extra_body` among them."""
    tools: Sequence[dict[str, Any] | BaseTool] = ()
    tool_choice: str | None = None
    needed: tuple[str, ...] = ()
    """Fields without which the request would ask for something else."""
    runs: Callable[[BaseChatModel], Any] | None = None
    """Makes of the model what is to be run."""

    @property
    def runnable(self) -> Any:  # noqa: ANN401 - a model, with tools or without
        if self.runs is not None:
            return self.runs(self.model)
        if not self.tools:
            return self.model
        more = {} if self.tool_choice is None else {"tool_choice": self.tool_choice}
        return self.model.bind_tools(self.tools, **more)

    @property
    def extra_body(self) -> Mapping[str, Any]:
        return self.arguments.get("extra_body") or {}

    @property
    def fields(self) -> dict[str, tuple[str, ...]]:
        """The optional fields in it, each with its names in a refusal."""
        names = [*self.arguments, *self.extra_body, *_set_by_model(self.model)]
        names += [] if self.tool_choice is None else ["tool_choice"]
        fields = {
            field: _SPELLINGS.get(field, (field,))
            for field in map(_field_of, names)
            if field not in _NEEDED and field not in self.needed
        }
        if any(isinstance(message, SystemMessage) for message in self.messages):
            fields[SYSTEM] = (SYSTEM,)
        return fields

    @property
    def bound(self) -> int | None:
        """The most tokens of the reply, the least that the call or its model has."""
        places = (self.arguments, self.extra_body, dict(_model_fields(self.model)))
        bounds = (place.get(name) for place in places for name in _SPELLINGS[BOUND])
        return min(
            (bound for bound in bounds if isinstance(bound, int) and bound > 0), default=None
        )

    def bounded(self, bound: int, *, plain: bool) -> Sent:
        """The request for a reply of so many tokens at most, or of fewer where it has fewer.
        `plain`: an OpenAI-compatible server knows the field by its plain name alone."""
        names = {kind.__name__: None for kind in type(self.model).__mro__}
        name = next((_BOUND_NAMES[kind] for kind in names if kind in _BOUND_NAMES), None)
        bound = min(bound, self.bound or bound)
        if name is None:
            return self
        if name == "num_predict":  # a call's own goes on to the client, which has no such argument
            return self._replace(model=self.model.model_copy(update={name: bound}))
        if plain:
            sent = self.without(BOUND)
            body = {**_body_of(sent), "max_tokens": bound}
            return sent._replace(arguments={**sent.arguments, "extra_body": body})
        return self._replace(arguments={**self.arguments, name: bound})

    def without(self, field: str) -> Sent:
        """The request without one of its fields; without a system role, the first user message
        says what the system message said."""
        if field == SYSTEM:
            return self._replace(messages=_folded(self.messages))
        if field == "tool_choice":
            return self._replace(tool_choice=None)
        names = _SPELLINGS.get(field, (field,))
        arguments = {key: value for key, value in self.arguments.items() if key not in names}
        if self.extra_body:
            arguments["extra_body"] = _less(self.extra_body, names)
        return self._replace(arguments=arguments, model=_without(self.model, field, names))


class Parameters:
    """What a model's server was found not to take."""

    def __init__(self) -> None:
        self._refused: dict[str, None] = {}
        self._renamed: str | None = None
        """The name under which the bound is sent instead, in the body itself."""

    def fitted(self, request: Sent) -> Sent:
        """The request as its server takes it."""
        sent = request
        for field in self._refused:
            if field != BOUND or self._renamed is None:
                sent = sent.without(field)
        if self._renamed is not None and (bound := request.bound) is not None:
            sent = sent.without(BOUND)
            body = {**_body_of(sent), self._renamed: bound}
            sent = sent._replace(arguments={**sent.arguments, "extra_body": body})
        return sent

    def learns(self, error: BaseException | None, sent: Sent) -> bool:
        """True when the refusal of what was sent names a field that can be left out or replaced:
        the model is not sent it again."""
        if error is None:
            return False
        refusal = refusal_of(error)
        if refusal.filtered or not (refusal.status in {400, 422} or refusal.of_template):
            return False
        fields = named_fields(refusal, sent.fields)
        for field in fields:
            if field == BOUND and self._renames(refusal, sent):
                continue
            self._refused[field] = None
            self._renamed = None if field == BOUND else self._renamed
            if field in _AROUND_PREFILL:
                self._refused |= dict.fromkeys(_AROUND_PREFILL)
            _log.info("left out of further requests, the server refused it: %s", field)
        return bool(fields)

    def _renames(self, refusal: ServerRefusal, sent: Sent) -> bool:
        """An OpenAI-compatible server knows the bound by one of two names, if its value is fit."""
        if self._renamed:
            return self._renamed not in sent.extra_body  # sent before the other name was learnt
        if not speaks_openai(sent.model) or _OF_VALUE.search(refusal.words):
            return False
        text = f"{refusal.fields} {refusal.words}"
        places = {name: _whole_word(text, name) for name in ("max_completion_tokens", "max_tokens")}
        refused = min(
            ((at, name) for name, at in places.items() if at is not None), default=(0, "")
        )[1]
        if (
            refused == "max_tokens"
            and "max_tokens" not in sent.extra_body
            and any(kind.__name__ == "ChatOpenAI" for kind in type(sent.model).__mro__)
        ):
            return False  # it was sent under the other name
        self._renamed = "max_tokens" if refused != "max_tokens" else "max_completion_tokens"
        return True


def refuses_tools(error: BaseException | None) -> bool:
    """The server takes no tools for this model: not that it takes these, or this choice, ill."""
    if error is None or (refusal := refusal_of(error)).status not in {400, 404, 422, 501}:
        return False
    return bool(_NO_TOOLS.search(refusal.words)) or any(
        path == ("tools",) and _REFUSED.search(refusal.words) for path in refusal.fields
    )


def named_fields(refusal: ServerRefusal, fields: Mapping[str, Sequence[str]]) -> list[str]:
    """The fields of a request that the refusal names as refused: all that its body points at, or
    the first that its words name."""
    # `invalid_request_error` says nothing of a field.
    codes = (code for code in refusal.codes.split() if not code.lower().startswith("invalid"))
    words = f"{refusal.words} {' '.join(codes)}"
    if not (_REFUSED.search(words) or _OF_VALUE.search(words)):
        return []
    pointed = [field for path in refusal.fields if (field := _pointed(path, fields))]
    hits = dict.fromkeys(pointed) or dict.fromkeys(_first_named(refusal.words, fields))
    return [field for field in hits if _at_fault(field, words)]


def _at_fault(field: str, words: str) -> bool:
    """A value out of range is its owner's to mend, save where the field is ours to choose."""
    if field in {"stop", BOUND}:
        return True
    if not _REFUSED.search(words):
        return False
    return not _OF_VALUE.search(words) or bool(_OF_MODEL_ONLY.search(words)) or field == SYSTEM


def _pointed(path: Sequence[str], fields: Mapping[str, Sequence[str]]) -> str | None:
    if path[0] == "messages" and path[-1] == "role" and SYSTEM in fields:
        return SYSTEM
    return next((field for field, names in fields.items() if path[0] in names), None)


def _first_named(words: str, fields: Mapping[str, Sequence[str]]) -> Iterator[str]:
    places = [
        (place, field)
        for field, names in fields.items()
        if (place := _place(words, field, names)) is not None
    ]
    if places:
        yield min(places)[1]


def _place(words: str, field: str, names: Sequence[str]) -> int | None:
    if field == SYSTEM:
        match = _SYSTEM_WORDS.search(words)
        return match.start() if match else None
    places = (_whole_word(words, name) for name in names)
    return min((place for place in places if place is not None), default=None)


def _whole_word(words: str, name: str) -> int | None:
    words, name, start = words.lower(), name.lower(), 0
    while (at := words.find(name, start)) >= 0:
        end = at + len(name)
        around = words[at - 1 : at] + words[end : end + 1]
        if not any(each.isalnum() or each == "_" for each in around):
            return at
        start = end
    return None


def _field_of(name: str) -> str:
    return next((field for field, names in _SPELLINGS.items() if name in names), name)


def _model_fields(model: BaseChatModel) -> Iterator[tuple[str, Any]]:
    names = {*_OF_MODEL, *(name for names in _SPELLINGS.values() for name in names)}
    for name in names & set(type(model).model_fields):
        if (value := getattr(model, name, None)) not in (None, [], ()):
            yield name, value


def _set_by_model(model: BaseChatModel) -> Iterator[str]:
    yield from (name for name, value in _model_fields(model) if value is not False)
    for place in ("model_kwargs", "extra_body"):
        if isinstance(more := getattr(model, place, None), Mapping):
            yield from more


def _without(model: BaseChatModel, field: str, names: Sequence[str]) -> BaseChatModel:
    """The model without the field; the same one where it has none."""
    update: dict[str, Any] = {
        name: False if field == "stream_options" else None
        for name, value in _model_fields(model)
        if name in names and value is not False
    }
    for place in ("model_kwargs", "extra_body"):
        more = getattr(model, place, None)
        if isinstance(more, Mapping) and any(name in more for name in names):
            update[place] = _less(more, names)
    return model.model_copy(update=update) if update else model


def _less(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}


def _body_of(sent: Sent) -> Mapping[str, Any]:
    """`extra_body` of a call replaces the constructor's."""
    return {**(getattr(sent.model, "extra_body", None) or {}), **sent.extra_body}


def _folded(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages with what the system says at the head of the first user message."""
    system = [str(m.text) for m in messages if isinstance(m, SystemMessage)]
    rest = [message for message in messages if not isinstance(message, SystemMessage)]
    first = next((i for i, message in enumerate(rest) if isinstance(message, HumanMessage)), None)
    if first is None:
        return [HumanMessage("\n\n".join(system)), *rest]
    text = "\n\n".join([*system, str(rest[first].text)])
    return [*rest[:first], HumanMessage(text), *rest[first + 1 :]]
