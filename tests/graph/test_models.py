"""Policies from settings: who plays which role, what is said when a model cannot be had; prices."""

import pytest
from langchain_core.language_models import FakeListChatModel

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.connect import split_name
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.prices import cost, known_price
from oresearch_graph.policies.models import Policies, chat_policies
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Role
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import research_brain

LOCAL = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)


def test_roles_and_a_seeded_pool() -> None:
    settings = ResearchSettings(
        model="main", base_url=LOCAL, researcher_models=("a", "b", "c"), summarizer_model="best",
        seed=7, concurrency=5,
    )  # fmt: skip
    policies, again = chat_policies(settings), chat_policies(settings)
    assert policies.names == {"planner": "main", "researcher": "a, b, c", "summarizer": "best"}
    drawn = [policies.of("researcher", branch).name for branch in range(1, 40)]
    assert drawn == [again.researcher_for(branch).name for branch in range(1, 40)]
    assert set(drawn) == {"a", "b", "c"}
    other = Policies(policies.planner, policies.researchers, policies.summarizer, seed=8)
    assert drawn != [other.researcher_for(branch).name for branch in range(1, 40)]


async def test_a_role_may_have_its_own_server_and_parameters() -> None:
    with OpenAIServer(research_brain) as one, OpenAIServer(research_brain) as two:
        settings = ResearchSettings(
            model="fake", base_url=one.base_url, rendering="turns",
            summarizer_model=f"fake@{two.base_url}",
        )  # fmt: skip
        extra = {"top_p": 0.5, "extra_body": {"min_p": 0.1}}
        policies = chat_policies(settings, parameters={"summarizer": extra})
        roles: tuple[Role, ...] = ("planner", "summarizer")
        for role in roles:
            thread = Thread(id="t", system="S", question="Q", role=role)
            await policies.of(role).continue_thread(thread, ("</subtask_list>",))
        assert "top_p" not in one.requests[0]
        assert (two.requests[0]["top_p"], two.requests[0]["min_p"]) == (0.5, 0.1)
    assert policies.planner is policies.researcher_for(1)


def test_one_model_is_one_policy_in_every_role() -> None:
    policies = chat_policies(ResearchSettings(model="main", base_url=LOCAL))
    assert policies.planner is policies.summarizer is policies.researcher_for(3)


async def test_a_local_server_wants_no_key_and_gets_no_second_retry_policy() -> None:
    with OpenAIServer(research_brain, models=("qwen3:8b",)) as server:
        settings = ResearchSettings(
            model="qwen3:8b", base_url=server.base_url, temperature=0.3, max_output_tokens=200
        )
        planner = chat_policies(settings).planner
        assert isinstance(planner, ChatPolicy)
        assert (await planner.settle()).startswith("turns: the server answers anew")
        body = server.requests[-1]
        assert (body["model"], body["temperature"]) == ("qwen3:8b", 0.3)
        assert planner.model.max_retries == 0  # type: ignore[attr-defined]  # ChatOpenAI's


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "no model for the planner: set model"),
        ({"model": "openai:gpt-5-mini"}, "no key for OpenAI: set OPENAI_API_KEY"),
        ({"model": "x", "base_url": "https://models.example/v1"}, "any text, if the server"),
        ({"model": "x", "base_url": "localhost:8000"}, "is no base URL; write one such as http"),
        ({"model": "nobody-knows-this"}, "names no known provider"),
        ({"model": "  ", "base_url": LOCAL}, "the model's name is empty"),
        ({"model": "fireworks:some-model"}, "pip install"),
    ],
)
def test_what_cannot_work_is_said_with_its_fix(settings: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as raised:
        chat_policies(ResearchSettings.model_validate(settings))
    assert "\n" not in str(raised.value)


def test_names() -> None:
    assert split_name("openai:gpt-5", None) == ("openai", "gpt-5")
    assert split_name("gpt-5", None) == ("openai", "gpt-5")
    assert split_name("qwen3:8b", LOCAL) == ("openai", "qwen3:8b")
    assert split_name("anthropic:claude", LOCAL) == ("anthropic", "claude")


def test_official_models_call_tools_and_reasoning_models_get_no_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    chat = ChatPolicy("openai:gpt-5-mini")
    assert chat.rendering_reason == "tools: OpenAI's own API has native tool calling"
    assert not chat._sends_stop
    assert ChatPolicy("openai:gpt-4.1")._sends_stop
    assert chat.price == known_price("gpt-5-mini")


def test_a_price_holds_for_the_provider_only() -> None:
    assert ChatPolicy("gpt-5-mini", base_url=LOCAL).price is None
    assert ChatPolicy("gpt-5-mini", base_url=LOCAL, price=Price(1, 1, 1)).price == Price(1, 1, 1)


def test_cost_is_none_when_anything_is_unknown() -> None:
    price = known_price("openai:gpt-5-mini-2025-08-07")
    assert cost(price, 1_000_000, None, 0) == pytest.approx(0.25)
    assert cost(price, 1_000_000, 1_000_000, 1_000_000) == pytest.approx(2.025)
    assert cost(price, None, None, 5) is None
    assert cost(None, 5, 5, 5) is None
    assert known_price("some-model") is None


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("gpt-5-mini", Price(0.25, 0.025, 2.0)),
        ("openai:gpt-4.1-nano", Price(0.1, 0.025, 0.4)),
        ("gpt-4o-2024-11-20", Price(2.5, 1.25, 10.0)),
        ("gpt-4o-2024-05-13", Price(5.0, 5.0, 15.0)),
        ("o3", Price(2.0, 0.5, 8.0)),
    ],
)
def test_the_list_prices_are_per_million_tokens(model: str, price: Price) -> None:
    for counts in ((1_000, 0, 0), (1_000, 1_000, 0), (0, 0, 1_000), (90_000, 20_000, 500)):
        assert cost(known_price(model), *counts) == pytest.approx(cost(price, *counts))


def test_long_prompts_have_a_price_of_their_own() -> None:
    price = known_price("gpt-5.4")
    assert cost(price, 272_000, 0, 0) == pytest.approx(2.5 * 0.272)
    assert cost(price, 300_000, 0, 0) == pytest.approx(5.0 * 0.3)


@pytest.mark.parametrize(
    "model", ["", ":", "gpt", "gpt-5-unheard", "whisper-1", "text-embedding-3-small", "qwen3:8b",
              "claude-sonnet-4-5", "omni-moderation-latest", "gpt-3.5-turbo-instruct" + "x" * 200]
)  # fmt: skip
def test_what_has_no_price_per_token_is_unknown(model: str) -> None:
    assert known_price(model) is None


def test_a_price_is_of_its_provider_only() -> None:
    class Elsewhere(FakeListChatModel):
        model_name: str = "gpt-5-mini"

    assert ChatPolicy(Elsewhere(responses=[])).name == "gpt-5-mini"
    assert ChatPolicy(Elsewhere(responses=[])).price is None
