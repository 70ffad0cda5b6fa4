"""Chat models that are given as objects: taken out of what wraps them, or refused by name; and
equipped so that nothing of a reply is lost and no try is paid by nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager, Callbacks
from langchain_core.language_models import BaseChatModel, BaseLanguageModel
from langchain_core.runnables import Runnable, RunnableConfig, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBinding, RunnableSequence
from langchain_core.runnables.configurable import DynamicRunnable
from langchain_core.runnables.retry import RunnableRetry

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.chat.probe import speaks_openai
from oresearch_graph.redaction import redacted

ChatModel = BaseChatModel | Runnable[Any, Any]
"""A chat model, or what `bind` and `with_config` make of one."""

_OURS: Final = frozenset((
    "tools", "tool_choice", "functions", "function_call", "response_format", "stop", "stream", "n",
))  # fmt: skip
"""Parameters of a call that the graph sets itself."""
_CONFIGURABLE: Final = (
    "what it is would be decided in each call: give the model itself; a run may name another in "
    'its context: {"model": "provider:name"}'
)
_REFUSED: Final[dict[type[Any], str]] = {
    RunnableWithFallbacks: "another model would write without the trace knowing: give one model; "
    "researchers may draw from several, named in researcher_models",
    RunnableRetry: "retries are made, paced and counted by the graph: give the model itself",
    DynamicRunnable: _CONFIGURABLE,
    RunnableSequence: "give the chat model alone, without a prompt or a parser",
    BaseLanguageModel: "it completes texts: give a chat model, such as ChatOllama for OllamaLLM",
}


class BoundModel(NamedTuple):
    """A chat model with what every call of it says."""

    model: BaseChatModel
    arguments: dict[str, Any]


def chat_model(model: object) -> BoundModel:
    """The chat model that an embedder's object stands for, bound parameters apart. Raises
    ConfigurationError for what wraps one in a way that the graph cannot keep."""
    if isinstance(model, BaseChatModel):
        return BoundModel(model, {})
    if type(model).__name__ == "_ConfigurableModel":  # init_chat_model's own, and private
        raise ConfigurationError(f"a configurable chat model cannot be used: {_CONFIGURABLE}")
    for kind, why in _REFUSED.items():
        if isinstance(model, kind):
            raise ConfigurationError(f"{type(model).__name__} cannot be the model: {why}")
    if not isinstance(model, RunnableBinding):
        raise ConfigurationError(
            f"model cannot be {type(model).__name__}: give a model's name, a chat model, a policy, "
            "or Policies with one for each role"
        )
    if model.config_factories:
        raise ConfigurationError(
            "a model with listeners cannot be used, they would be lost: give it callbacks"
        )
    inner = chat_model(model.bound)
    if ours := _OURS.intersection(model.kwargs):
        names = ", ".join(sorted(ours))
        raise ConfigurationError(f"a model with {names} bound cannot be used: bind it without")
    return BoundModel(_configured(inner.model, model.config), {**inner.arguments, **model.kwargs})


def _configured(model: BaseChatModel, config: RunnableConfig) -> BaseChatModel:
    """The model with the tags, metadata and handlers that `with_config` gave it: without any, the
    model itself."""
    if not config:
        return model
    update: dict[str, Any] = {
        "tags": [*(model.tags or []), *(config.get("tags") or [])],
        "metadata": {**(model.metadata or {}), **(config.get("metadata") or {})},
    }
    update["callbacks"] = [*_handlers(model.callbacks), *_handlers(config.get("callbacks"))]
    return model.model_copy(update={name: value for name, value in update.items() if value})


def _handlers(callbacks: Callbacks) -> list[BaseCallbackHandler]:
    if isinstance(callbacks, BaseCallbackManager):
        return callbacks.handlers
    return callbacks or []


def model_name(model: BaseChatModel) -> str:
    """The name by which the provider knows the model, else the class's."""
    for field in ("model_name", "model", "model_id", "deployment_name"):
        if isinstance(name := getattr(model, field, None), str) and name:
            return redacted(name.removeprefix("models/"))
    return type(model).__name__


def equipped(model: BaseChatModel) -> BaseChatModel:
    """The model as it is used here. LangGraph may stream any call, and a stream carries usage only
    when asked to; of a reply nothing that the server adds may be lost; and a try that the client
    made by itself would be paid by nobody."""
    if hasattr(model, "root_async_client"):
        model = model.model_copy(update=_tried_once(model))
    if speaks_openai(model) and getattr(model, "stream_usage", None) is None:
        model = model.model_copy(update={"stream_usage": True})
    if type(model).__name__ == "ChatOpenAI":
        from langchain_openai import ChatOpenAI  # a second to import, unless it was already

        from oresearch_graph.policies.chat.openai_compatible import CompatibleChatOpenAI

        if type(model) is ChatOpenAI:
            return CompatibleChatOpenAI.of(model)
    return model


def _tried_once(model: Any) -> Mapping[str, Any]:  # noqa: ANN401 - of langchain-openai's family
    """Fields of the same model over its clients, which try once."""
    update: dict[str, Any] = {"max_retries": 0}
    for root in ("root_async_client", "root_client"):
        if (client := getattr(model, root, None)) is not None:
            update[root] = client.with_options(max_retries=0)
    for name in ("async_client", "client"):
        if (client := getattr(getattr(model, name, None), "_client", None)) is not None:
            update[name] = client.with_options(max_retries=0).chat.completions
    return update
