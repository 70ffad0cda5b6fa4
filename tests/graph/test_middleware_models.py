"""Models that middleware asks in a researcher's place, or again, or with other settings."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents.middleware import (
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    wrap_model_call,
)
from openai import AuthenticationError, RateLimitError

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph import run_context
from oresearch_graph.graph.run_context import RunContext
from tests.helpers.middleware_runs import (
    BRAIN,
    QUESTION,
    RENDERINGS,
    graph,
    model,
    of_researchers,
    refusing_researchers,
    steps_of,
    traced,
)
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Habits


def test_another_model_answers_where_the_first_refuses(server: OpenAIServer):
    server.fault_for = refusing_researchers
    with OpenAIServer(BRAIN, models=("other",)) as second:
        trace = traced(server, ModelFallbackMiddleware(model(second, "other")))
    assert trace.outcome == "complete"
    assert trace.models == {"planner": "fake", "researcher": "other", "summarizer": "fake"}
    assert trace.changed_by == ()
    by_model = {(u.role, u.branch, u.model): u for u in trace.usage if u.role == "researcher"}
    for branch in (1, 2):
        refused = by_model["researcher", branch, "fake"]
        assert (refused.calls, refused.unanswered) == (3, 3)
        assert by_model["researcher", branch, "other"].calls == 3
    asked = [body for body in second.requests if "messages" in body]
    assert len(asked) == 6


def test_the_budget_counts_what_middleware_tries(server: OpenAIServer):
    """Ten calls: two are the planner's and a report's, and no retry is free."""
    server.fault_for = refusing_researchers
    retry = ModelRetryMiddleware(max_retries=50, initial_delay=0.0, jitter=False)
    trace = traced(server, retry, max_model_calls=10)
    asked = [body for body in server.requests if "messages" in body]
    assert sum(usage.calls for usage in trace.usage) == len(asked) <= 10
    names = {f.name for f in trace.failures if f.role == "researcher"}
    assert "budget" in names


def test_words_about_an_error_are_no_answer(server: OpenAIServer):
    server.fault_for = refusing_researchers
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False)
    trace = traced(server, retry)
    assert "Model call failed" not in str(steps_of(trace))
    assert {f.name for f in trace.failures if f.branch} == {"model_error"}
    assert trace.changed_by == ()
    assert len(of_researchers(server)) == 4


@pytest.mark.parametrize(("kind", "tries"), [(AuthenticationError, 2), (RateLimitError, 1)])
def test_what_the_provider_raised_is_the_cause(server: OpenAIServer, kind: Any, tries: int):
    server.fault_for = refusing_researchers
    retry = ModelRetryMiddleware(
        max_retries=1, initial_delay=0.0, jitter=False,
        retry_on=lambda error: isinstance(error.__cause__, kind),
    )  # fmt: skip
    trace = traced(server, retry)
    assert len(of_researchers(server)) == 2 * tries
    assert {f.name for f in trace.failures if f.branch} == {"model_error"}


def test_a_model_without_a_price_is_not_asked_where_money_is_limited(server: OpenAIServer):
    server.fault_for = refusing_researchers
    with OpenAIServer(BRAIN, models=("other",)) as second:
        subject = graph(
            server, ModelFallbackMiddleware(model(second, "other")), max_cost=1.0,
            prices={"fake": [1, 1, 1]},
        )  # fmt: skip
        with pytest.raises(ConfigurationError, match="the price of other is not known"):
            subject.invoke(QUESTION)
    assert not [body for body in second.requests if "messages" in body]


def test_settings_of_a_request_are_sent_and_mark_the_trace(server: OpenAIServer):
    @wrap_model_call
    def seeded(request: Any, handler: Any) -> Any:
        return handler(request.override(model_settings={"seed": 7}))

    trace = traced(server, seeded)
    assert sum(body.get("seed") == 7 for body in server.requests) == 6
    assert trace.outcome == "complete"
    assert trace.changed_by == ("seeded",)


@pytest.mark.parametrize("rendering", ["turns", "auto"])
def test_a_hook_adds_to_what_a_model_is_sent_anyway(rendering: str):
    """What the model was given with, and the settings of the run; and nothing is probed anew."""

    @wrap_model_call
    def seeded(request: Any, handler: Any) -> Any:
        return handler(request.override(model_settings={"seed": 7}))

    @wrap_model_call
    def bound(request: Any, handler: Any) -> Any:
        return handler(request.override(model=request.model.bind(seed=7)))

    for middleware in (seeded, bound):
        with OpenAIServer(BRAIN) as server:
            subject = create_research_graph(
                model(server).bind(reasoning_effort="low"), middleware=[middleware],
                search=Documents(PAGES),
                settings=ResearchSettings(rendering=rendering, effort="quick", temperature=0.5),
            )  # fmt: skip
            trace = subject.invoke(QUESTION)["trace"]
            asked = [body for body in server.requests if "messages" in body]
        with_seed = [body for body in asked if body.get("seed") == 7]
        assert len(with_seed) == 6
        assert all(body["reasoning_effort"] == "low" for body in with_seed)
        assert all(body["temperature"] == 0.5 for body in with_seed)
        probes = [body for body in asked if "Count from 1" in str(body["messages"])]
        assert len(probes) == (rendering == "auto")
        assert trace.changed_by == (middleware.name,)


def test_the_settings_of_sampling_hold_for_another_model(server: OpenAIServer):
    server.fault_for = refusing_researchers
    with OpenAIServer(BRAIN, models=("other",)) as second:
        fallback = ModelFallbackMiddleware(model(second, "other").bind(seed=7))  # type: ignore[arg-type]
        traced(server, fallback, temperature=0.5)
    asked = [body for body in second.requests if "messages" in body]
    assert {(body["temperature"], body["seed"]) for body in asked} == {(0.5, 7)}


def test_the_models_that_hooks_name_are_not_all_remembered(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    contexts: list[RunContext] = []
    whole = RunContext.other_policy

    def other_policy(self: RunContext, *arguments: Any) -> Any:
        contexts.append(self)
        return whole(self, *arguments)

    monkeypatch.setattr(RunContext, "other_policy", other_policy)
    monkeypatch.setattr(run_context, "_OTHERS", 2)
    seeds = iter(range(100))

    @wrap_model_call
    async def seeded(request: Any, handler: Any) -> Any:
        return await handler(request.override(model_settings={"seed": next(seeds)}))

    traced(server, seeded)
    assert len(contexts) == 6
    assert len(contexts[0]._others) == 2


def test_a_model_of_another_rendering_goes_on_with_the_thread():
    with (
        OpenAIServer(BRAIN, RENDERINGS["prefill"]) as first,
        OpenAIServer(BRAIN, Habits(on_final_assistant="refuse"), models=("other",)) as second,
    ):
        first.fault_for = refusing_researchers
        fallback = ModelFallbackMiddleware(model(second, "other"))
        trace = traced(first, fallback, rendering="auto")
    assert trace.outcome == "complete"
    assert trace.models["researcher"] == "other"
    assert any("continue_final_message" in body for body in first.requests)
