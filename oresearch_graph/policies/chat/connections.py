"""The HTTP clients of OpenAI's package: of httpx, or of its successor, as the package's version
has it. Importing that package takes half a second, so it is done where one is made."""

from __future__ import annotations

import sys
from typing import Any, Final

from oresearch_graph.network.clients import client_options, timeouts

OPENAI: Final = "https://api.openai.com/v1"
"""Where requests go without a base URL."""


def async_connections(url: str, **more: Any) -> Any:  # noqa: ANN401 - httpx's, as above
    """A client for that address. Raises ConfigurationError."""
    import openai

    return openai.DefaultAsyncHttpxClient(**client_options(url, _library()), **more)


def connections(url: str) -> Any:  # noqa: ANN401
    """The same for callers without an event loop."""
    import openai

    return openai.DefaultHttpxClient(**client_options(url, _library()))


def call_timeout(seconds: float) -> Any:  # noqa: ANN401
    """What the package takes as time-out of a call."""
    return timeouts(seconds, _library())


def _library() -> Any:  # noqa: ANN401
    import openai

    return sys.modules[openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]]
