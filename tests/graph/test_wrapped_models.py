"""What wraps a chat model is taken apart, or refused by name before any run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.chat_models import init_chat_model
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.model_judge import ModelJudge
from oresearch_graph.policies.chat.policy import ChatPolicy
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents

QUESTION: Any = {"question": "What causes tides?"}
SETTINGS = ResearchSettings(rendering="turns", effort="quick")


def model(base_url: str = "http://127.0.0.1:9/v1") -> ChatOpenAI:
    return ChatOpenAI(model="fake", base_url=base_url, api_key=SecretStr("none"))


class Counter(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tags: list[list[str]] = []

    def on_chat_model_start(self, *_: Any, tags: list[str] | None = None, **__: Any) -> None:
        self.tags.append(tags or [])


async def test_what_is_bound_is_in_every_request_and_what_is_configured_in_every_run():
    counter = Counter()
    with OpenAIServer(ResearchBrain(("tides and the Moon",), calls=1)) as server:
        bound = model(server.base_url).bind(seed=7, user="one").with_config(
            tags=["mine"], callbacks=[counter]
        )  # fmt: skip
        graph = create_research_graph(bound, search=Documents(PAGES), settings=SETTINGS)
        trace = (await graph.ainvoke(QUESTION))["trace"]
    asked = [body for body in server.requests if "messages" in body]
    assert trace.outcome == "complete"
    assert {(body["seed"], body["user"]) for body in asked} == {(7, "one")}
    assert len(counter.tags) == len(asked)
    assert all("mine" in tags for tags in counter.tags)
    assert set(trace.models.values()) == {"fake"}


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "fallbacks": (
        lambda: model().with_fallbacks([model()]),
        "RunnableWithFallbacks cannot be the model: another model would write without the trace",
    ),
    "retry": (
        lambda: model().with_retry(),
        "RunnableRetry cannot be the model: retries are made, paced and counted by the graph",
    ),
    "retry of a bound one": (lambda: model().bind(seed=1).with_retry(), "RunnableRetry cannot"),
    "bound with fallbacks": (
        lambda: model().with_fallbacks([model()]).with_config(tags=["x"]),
        "RunnableWithFallbacks cannot",
    ),
    "configurable": (
        lambda: init_chat_model(configurable_fields=("model",)),
        "a configurable chat model cannot be used: .* give the model itself",
    ),
    "configurable fields": (
        lambda: model().configurable_fields(temperature=ConfigurableField(id="t")),
        "RunnableConfigurableFields cannot be the model: .* give the model itself",
    ),
    "chain": (
        lambda: ChatPromptTemplate.from_template("{x}") | model() | StrOutputParser(),
        "RunnableSequence cannot be the model: give the chat model alone",
    ),
    "structured": (
        lambda: model().with_structured_output({"title": "T", "type": "object", "properties": {}}),
        "RunnableSequence cannot be the model",
    ),
    "tools": (
        lambda: model().bind_tools([{"type": "function", "function": {"name": "f"}}]),
        "a model with tools bound cannot be used: bind it without",
    ),
    "stop": (lambda: model().bind(stop=["x"]), "a model with stop bound cannot be used"),
    "no chat model": (
        lambda: FakeListLLM(responses=["x"]),
        "FakeListLLM cannot be the model: it completes texts: give a chat model",
    ),
    "a function": (lambda: len, "model cannot be builtin_function_or_method: give a model's name"),
    "a dict": (lambda: {"model": "x"}, "model cannot be dict: give a model's name, a chat model"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_kept_is_refused_at_construction(kind: str):
    make, why = REFUSED[kind]
    with pytest.raises(ConfigurationError, match=why) as refusal:
        create_research_graph(make(), search=Documents(PAGES))
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("taker", [ChatPolicy, ModelJudge])
def test_policies_and_judges_refuse_the_same(taker: Any):
    with pytest.raises(ConfigurationError, match="RunnableRetry cannot be the model"):
        taker(model().with_retry())
