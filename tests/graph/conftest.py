"""What tests of the graph get."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.openai_server import OpenAIServer


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A model's server that researches tides."""
    from tests.helpers.middleware_runs import BRAIN  # with langchain_openai, a second to import

    with OpenAIServer(BRAIN) as running:
        yield running
