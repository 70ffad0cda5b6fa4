"""Runs with LangChain's AgentMiddleware around their researchers, against a scripted server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from oresearch_graph import ResearchSettings, Trace, create_research_graph
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Body, Fault, Habits

QUESTION: Any = {"question": "What causes tides?"}
TIDES = ("tides and the Moon", "tides and the Sun")
BRAIN = ResearchBrain(TIDES, calls=2)
MAIL = "tide@moon.example"
WITH_MAIL = {url: f"{text} Ask {MAIL} for more." for url, text in PAGES.items()}
RENDERINGS = {
    "turns": Habits(),
    "tools": Habits(),
    "prefill": Habits(on_final_assistant="continue"),
}


def model(server: OpenAIServer, name: str = "fake") -> ChatOpenAI:
    return ChatOpenAI(
        model=name, base_url=server.base_url, api_key=SecretStr("none"), max_retries=0
    )


def graph(
    server: OpenAIServer, *middleware: Any, search: Any = None, tools: Sequence[Any] = (),
    **settings: Any,
) -> Any:  # fmt: skip
    values: dict[str, Any] = {"rendering": "turns", "effort": "quick"} | settings
    return create_research_graph(
        model(server), tools, middleware=middleware, search=search or Documents(PAGES),
        settings=ResearchSettings(**values),
    )  # fmt: skip


def traced(server: OpenAIServer, *middleware: Any, **options: Any) -> Trace:
    trace: Trace = graph(server, *middleware, **options).invoke(QUESTION)["trace"]
    return trace


def of_researchers(server: OpenAIServer) -> list[str]:
    """What researchers sent."""
    asked = [str(body["messages"]) for body in server.requests if "messages" in body]
    return [text for text in asked if "</subtask_list>" in text and "<suggested_answer>" not in
            text[-400:]]  # fmt: skip


def steps_of(trace: Trace) -> list[tuple[str, str]]:
    return [(step.kind, step.text) for step in trace.steps]


def refusing_researchers(body: Body) -> Fault | None:
    text = str(body.get("messages"))
    ends = text[-60:]
    asks = "</subtask_list>" in text and "suggested_answer>" not in ends
    return Fault("status", 401) if asks else None
