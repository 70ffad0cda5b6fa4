"""ChatOpenAI that keeps what OpenAI-compatible servers add to a reply.

langchain-openai follows OpenAI's own API and drops other fields by design (see the docstring of
BaseChatOpenAI and langchain issues 35059, 37960): `reasoning_content` or `reasoning` (the model's
thinking), `stop_reason` (vLLM) and `matched_stop` (SGLang). It names a subclass as the remedy;
langchain-deepseek overrides the same two methods. Arguments of tool calls that come as an object,
where the API has a string that holds one, are taken as they are.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final, cast

import openai
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import Field

from oresearch_graph.policies.chat.rendering import PREFIX

_THINKING: Final = ("reasoning_content", "reasoning")
_STOPPED_BY: Final = ("stop_reason", "matched_stop")


class CompatibleChatOpenAI(ChatOpenAI):
    """ChatOpenAI for any server that speaks its API."""

    served_by: object = Field(default=None, exclude=True, repr=False)
    """A server that is to last as long as the model."""

    @classmethod
    def of(cls, model: ChatOpenAI) -> CompatibleChatOpenAI:
        """The same model, clients and settings included, that keeps what servers add."""
        return cls.model_construct(model.model_fields_set, **dict(model))

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> dict[str, Any]:  # fmt: skip
        """A final assistant message with `prefix` is to be continued by DeepSeek and Mistral."""
        payload = super()._get_request_payload(input_, stop=stop, **kwargs)
        last = self._convert_input(input_).to_messages()[-1]
        if isinstance(last, AIMessage) and last.additional_kwargs.get(PREFIX):
            payload["messages"][-1][PREFIX] = True
        return payload

    async def _astream(
        self, *args: Any, **kwargs: Any  # noqa: ANN401 - LangChain's own signature
    ) -> AsyncIterator[ChatGenerationChunk]:  # fmt: skip
        # Each chunk is dumped by the client's own types before it comes to us.
        serializing = "Pydantic serializer warnings"
        warnings.filterwarnings("ignore", message=serializing, category=UserWarning)
        async with aclosing(cast("AsyncGenerator[Any]", super()._astream(*args, **kwargs))) as all_:
            async for chunk in all_:
                yield chunk

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type,
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk | None:  # fmt: skip
        for choice in chunk.get("choices") or []:
            _spell_arguments(choice.get("delta") or {})
        generation = super()._convert_chunk_to_generation_chunk(
            chunk, default_chunk_class, base_generation_info
        )
        choices = chunk.get("choices") or []
        if generation is None or not choices:
            return generation
        generation.message.additional_kwargs.update(_thinking(choices[0].get("delta") or {}))
        if choices[0].get("finish_reason"):
            generation.generation_info = {
                **(generation.generation_info or {}),
                **_stopped_by(choices[0]),
                **_timings(chunk),
            }
        return generation

    def _create_chat_result(
        self,
        response: dict[str, Any] | openai.BaseModel,
        generation_info: dict[str, Any] | None = None,
    ) -> ChatResult:
        for choice in _of(response, "choices") or []:
            _spell_arguments(_of(choice, "message"), whole=True)
        result = super()._create_chat_result(response, generation_info)
        plain = response if isinstance(response, dict) else response.model_dump(warnings=False)
        for generation, choice in zip(result.generations, plain["choices"], strict=True):
            generation.message.additional_kwargs.update(_thinking(choice["message"]))
            generation.generation_info = {
                **(generation.generation_info or {}), **_stopped_by(choice), **_timings(plain),
            }  # fmt: skip
        return result


def _of(holder: Any, name: str) -> Any:  # noqa: ANN401 - a dict, or the client's own class
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _spell_arguments(message: Any, *, whole: bool = False) -> None:  # noqa: ANN401
    """Tool calls with their arguments as a string. `whole`: they are no pieces of a stream."""
    for call in _of(message, "tool_calls") or []:
        function = _of(call, "function")
        arguments = _of(function, "arguments")
        spelled = _spelled(arguments) if whole or isinstance(arguments, dict | list) else arguments
        if isinstance(function, dict):
            function["arguments"] = spelled
        elif function is not None:
            function.arguments = spelled


def _spelled(arguments: Any) -> str:  # noqa: ANN401
    """As a string that holds an object, if it can be read as one; else as it was written."""
    value, text = arguments, arguments if isinstance(arguments, str) else json.dumps(arguments)
    for _ in range(2):  # some servers encode twice
        if isinstance(value, str):
            try:
                value = json.loads(value, strict=False)
            except (ValueError, RecursionError):
                return text
    if value is None:
        return "{}"
    return json.dumps(value if isinstance(value, dict) else {"items": value}, ensure_ascii=False)


def _thinking(message: Mapping[str, Any]) -> dict[str, str]:
    for key in _THINKING:
        if isinstance(text := message.get(key), str) and text:
            return {"reasoning_content": text}
    return {}


def _timings(answer: Mapping[str, Any]) -> dict[str, Any]:
    """How fast llama.cpp's server was."""
    return {"timings": timings} if isinstance(timings := answer.get("timings"), dict) else {}


def _stopped_by(choice: Mapping[str, Any]) -> dict[str, Any]:
    return {key: choice[key] for key in _STOPPED_BY if key in choice}
