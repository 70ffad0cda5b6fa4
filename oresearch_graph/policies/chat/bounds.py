"""How the bound of a reply's length is sent to a chat model."""

from __future__ import annotations

from typing import Final

from langchain_core.language_models import BaseChatModel

_NAMES: Final = {
    "BaseChatOpenAI": "max_tokens", "ChatAnthropic": "max_tokens", "ChatMistralAI": "max_tokens",
    "ChatGroq": "max_tokens", "ChatFireworks": "max_tokens", "ChatCohere": "max_tokens",
    "ChatBedrockConverse": "max_tokens", "ChatHuggingFace": "max_tokens",
    "ChatOllama": "num_predict", "ChatGoogleGenerativeAI": "max_output_tokens",
    "ChatVertexAI": "max_output_tokens",
}  # fmt: skip
"""The argument of a call, by the class of LangChain's package or one that it is derived from."""


def bound_parameter(model: BaseChatModel, *, reasons: bool) -> str | None:
    """The argument's name; None where none is known, and for a model that thinks in secret: a
    bound would cut its thinking, and nothing of the reply would be left."""
    if reasons:
        return None
    classes = (kind.__name__ for kind in type(model).__mro__)
    return next((_NAMES[name] for name in classes if name in _NAMES), None)
