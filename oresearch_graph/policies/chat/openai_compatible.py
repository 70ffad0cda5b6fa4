"""ChatOpenAI that keeps what OpenAI-compatible servers add to a reply.

langchain-openai follows OpenAI's own API and drops other fields by design (see the docstring of
BaseChatOpenAI and langchain issues 35059, 37960): `reasoning_content` or `reasoning` (the model's
thinking), `stop_reason` (vLLM) and `matched_stop` (SGLang). It names a subclass as the remedy;
langchain-deepseek overrides the same two methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import openai
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import Field

_THINKING: Final = ("reasoning_content", "reasoning")
_STOPPED_BY: Final = ("stop_reason", "matched_stop")


class CompatibleChatOpenAI(ChatOpenAI):
    """ChatOpenAI for any server that speaks its API."""

    served_by: object = Field(default=None, exclude=True, repr=False)
    """A server that is to last as long as the model."""

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type,
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk | None:  # fmt: skip
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
        result = super()._create_chat_result(response, generation_info)
        plain = response if isinstance(response, dict) else response.model_dump(warnings=False)
        for generation, choice in zip(result.generations, plain["choices"], strict=True):
            generation.message.additional_kwargs.update(_thinking(choice["message"]))
            generation.generation_info = {
                **(generation.generation_info or {}), **_stopped_by(choice), **_timings(plain),
            }  # fmt: skip
        return result


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
