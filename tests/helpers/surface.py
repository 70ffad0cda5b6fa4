"""What must work wherever oresearch is installed: `python -m tests.helpers.surface` in that place.

`make matrix` runs it where nothing is installed but the wheel and what the wheel asks for, so it
and what it imports need no test library. A check raises; what is printed says
which versions were used.
"""

from __future__ import annotations

import asyncio
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import oresearch_graph
from tests.helpers.loopback_site import running_site
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import (
    Habits,
    too_many,
)
from tests.helpers.small_pdf import pdf

QUESTION = "How does asyncio cancel tasks?"
SUBTASKS = ("What a flume is", "What a flume is good for")
PAGES = {
    "https://example.org/flume": "A flume is a channel. What a flume is: this is what sources say. "
    "What a flume is good for: this is what sources say.",
    "https://example.org/use": "A flume is good for measuring flow. It is what mills use.",
}
ARTICLE = """<html><head><title>Tides</title></head><body><article><h1>Tides</h1><p>{}</p>
<pre>high = 2
  low = 1</pre></article></body></html>"""
SENTENCE = "The moon pulls the water of the oceans, which rises twice each day on most coasts."
FRENCH = "La marée monte deux fois par jour sur la plupart des côtes, et la lune en est la cause."


def every_module_is_imported() -> None:
    """The public names, and every module: none wants what the wheel does not ask for."""
    for name in oresearch_graph.__all__:
        getattr(oresearch_graph, name)
    import_all(oresearch_graph)
    assert not any(map(find_spec, ("torch", "ray", "verl")))


def import_all(package: ModuleType) -> None:
    """Every module below `package`, but programs and what langgraph dev loads."""
    without = ("__main__",) if find_spec("starlette") else ("__main__", ".served.app")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(without):
            import_module(module.name)


def the_trace_is_read_without_the_graph() -> None:
    code = "import sys, oresearch_graph.trace; print({'langgraph', 'numpy'} & sys.modules.keys())"
    assert run("python", "-c", code) == "set()"


def the_command_answers_from_the_embedded_corpus() -> None:
    told = json.loads(run("oresearch", "run", QUESTION, "--search", "python", "--json"))
    assert told["outcome"] == "complete", told
    assert told["citations"]["accuracy"] == 1.0, told


def a_chat_model_researches() -> None:
    """In every rendering, each with a call that is refused first."""
    asyncio.run(_researches("prefill", "turns", "tools"))


async def _researches(*renderings: Any) -> None:
    from tests.helpers.scripted import Documents

    for rendering in renderings:
        habits = Habits(on_final_assistant="continue" if rendering == "prefill" else "restart")
        with OpenAIServer(ResearchBrain(SUBTASKS), habits) as server:
            server.faults.append(too_many())
            policy = oresearch_graph.ChatPolicy(
                "fake", base_url=server.base_url, rendering=rendering
            )
            graph = oresearch_graph.create_research_graph(
                oresearch_graph.Policies.single(policy), search=Documents(PAGES)
            )
            asked: Any = {"question": "What is a flume good for?"}
            states = [state async for state in graph.astream(asked, stream_mode="values")]
            state: Any = states[-1]
            trace = state["trace"]
            assert trace.outcome == "complete", (rendering, trace.failures)
            assert "## References" in state["report"], rendering


def pages_are_read() -> None:
    """One HTML page and one PDF, from a site of this machine."""
    from oresearch_graph.tools.web.address_guard import AddressGuard
    from oresearch_graph.tools.web.reader import WebReader

    with running_site() as site:
        urls = [
            site.add("/tides", ARTICLE.format(SENTENCE)),
            site.add("/tides.pdf", pdf(SENTENCE), content_type="application/pdf"),
        ]
        pages = asyncio.run(WebReader(AddressGuard(allow_private=True)).read(urls, ""))
    assert [page.fault for page in pages] == [None, None]
    assert all("twice each day" in page.text for page in pages), pages
    assert "high = 2\n  low = 1" in pages[0].text, pages


def a_language_is_known() -> None:
    from oresearch_graph.text.language import detect_language

    assert detect_language(FRENCH) == "fr"


def a_busy_service_is_asked_again() -> None:
    from oresearch_graph.tools.providers.service_calls import Busy, with_retries

    asked: list[bool] = []

    async def busy_once() -> str:
        asked.append(True)
        if len(asked) == 1:
            raise Busy("busy")
        return "answer"

    assert asyncio.run(with_retries(busy_once)) == "answer"


def a_neighbour_takes_our_tool() -> None:
    """Where deepagents is installed, with the models of Google and Anthropic that it brings."""
    if find_spec("deepagents") is None:
        return
    google: Any = import_module("langchain_google_genai")
    anthropic: Any = import_module("langchain_anthropic")
    model = anthropic.ChatAnthropic(model_name="fake", api_key="fake")
    google.ChatGoogleGenerativeAI(model="fake", api_key="fake")
    made: Any = import_module("deepagents")
    made.create_deep_agent(model=model, tools=[oresearch_graph.research_tool(search="python")])
    output = run("python", "examples/deep_agent.py")
    assert "## References" in output, "it is the subagent of one that is invoked"
    assert output.endswith("awaited: the same")


def run(*command: str) -> str:
    """What a program of this environment prints."""
    program = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout.strip()


CHECKS: tuple[Callable[[], None], ...] = (
    every_module_is_imported,
    the_trace_is_read_without_the_graph,
    the_command_answers_from_the_embedded_corpus,
    a_chat_model_researches,
    pages_are_read,
    a_language_is_known,
    a_busy_service_is_asked_again,
    a_neighbour_takes_our_tool,
)


def holds(checks: Iterable[Callable[[], None]], telling: Iterable[str]) -> None:
    """Runs the checks against the installed package, in a home of their own; the versions of
    `telling` are printed."""
    where = Path(oresearch_graph.__file__)
    assert where.is_relative_to(sys.prefix), f"{where} is not the installed package"
    # What we call must not be on its way out in any version that we allow.
    warnings.filterwarnings(
        "error", category=DeprecationWarning, module=r"(oresearch_graph|datagen)\b"
    )
    with tempfile.TemporaryDirectory() as home:
        os.environ["ORESEARCH_HOME"] = home
        for check in checks:
            check()
    there = {name: version(name) for name in telling if find_spec(name.replace("-", "_"))}
    sys.stdout.write(", ".join(f"{name} {number}" for name, number in there.items()))


if __name__ == "__main__":
    holds(CHECKS, ("langchain", "langchain-core", "langgraph", "tenacity", "deepagents"))
