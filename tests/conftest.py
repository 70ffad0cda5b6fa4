"""What tests get: connections that they open to a model's server are closed behind them."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from oresearch_graph.judging.model_judge import ModelJudge
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.tools.corpus.python_docs import PythonCorpus
from tests.helpers.openai_server import OpenAIServer

# Tests of training belong to the training environment: `make test-train` runs them there, and
# `make verifiers` those of verifiers in its own.
_IN_RL = (Path(__file__).parent / "rl").glob("*.py")
_WITH_VERIFIERS = {"test_verifiers_environment.py"} if find_spec("verifiers") else set[str]()
collect_ignore = [] if find_spec("verl") else [p for p in _IN_RL if p.name not in _WITH_VERIFIERS]

# A busy machine draws slowly and runs late; neither is a fault of what is tested.
settings.register_profile(
    "same_every_time", deadline=None, suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)  # fmt: skip
settings.register_profile("search", settings.get_profile("same_every_time"), derandomize=False)
settings.load_profile("same_every_time")


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs are kept, and settings looked for, in folders of the tests' own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        yield


@pytest.fixture(scope="session")
def python_corpus(tmp_path_factory: pytest.TempPathFactory) -> PythonCorpus:
    """The embedded corpus; its first use makes an index for this run of the tests, whatever worker
    needs it first, which takes five seconds."""
    folder = tmp_path_factory.getbasetemp()
    run = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return PythonCorpus(cache=run / "python_corpus")


@pytest.fixture(scope="session")
def python_texts(python_corpus: PythonCorpus) -> dict[str, str]:
    """Its pages by address."""
    python_corpus.update()
    pages = map(python_corpus.index.page, python_corpus.index.stamps())
    return {page.url: page.text for page in pages if page is not None}


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every model that a ChatPolicy connected to by name."""
    made: list[Any] = []

    def recording(*arguments: Any, **options: Any) -> Any:
        made.append(connect(*arguments, **options))
        return made[-1]

    monkeypatch.setattr("oresearch_graph.policies.chat.policy.connect", recording)
    return made


@pytest.fixture
async def closed_in_the_tests_loop(connections: list[Any]) -> AsyncIterator[None]:
    yield
    await _close(connections)


@pytest.fixture(autouse=True)
def closed_connections(request: pytest.FixtureRequest, connections: list[Any]) -> Iterator[None]:
    """Close them. An event loop is made for a test that has none only where there is need."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("closed_in_the_tests_loop")
    yield
    if connections:
        asyncio.run(_close(connections))


async def _close(connections: list[Any]) -> None:
    while connections:
        if (client := getattr(connections.pop(), "root_async_client", None)) is not None:
            await client.close()


@pytest.fixture
async def judge_at() -> Any:
    """Model judges at a server, closed behind the test."""
    made: list[ModelJudge] = []

    def make(server: OpenAIServer, **more: Any) -> ModelJudge:
        given = {"model": "fake", "base_url": server.base_url, "timeout": 10.0, **more}
        made.append(ModelJudge(**given))
        return made[-1]

    yield make
    for judge in made:
        await judge.aclose()
