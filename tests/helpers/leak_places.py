"""Where a secret may come out of a run: a world on loopback, and what the run leaves, by place."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.policies.chat.probe import PROBES
from oresearch_graph.tools.backend import Hit, Hits, Page
from oresearch_graph.trace import write_traces
from oresearch_graph.view.page import traces_page
from tests.helpers.loopback_site import Site
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import (
    Body,
    Fault,
)

KEY = "Zq8vLw3R/tY6u+Kp1NxB4"
"""Of no provider's shape: only knowing it helps."""
SHAPED = "sk-proj-T3BlbkFJq8vLw3RtY6uKp1N"
"""Nobody's that this process knows: only its shape helps."""
PASSWORD = "Grün/Tor+9 Zaun%7"
IN_URL = quote(PASSWORD, safe="")
QUESTION: Any = {"question": "What is a flume good for?"}
SUBTASKS = ("What a flume is", "What a flume is good for")
FLUME = "A flume is a channel. What a flume is: this is what the sources say. It is good for flow."

Places = dict[str, str]


def spellings(secret: str) -> set[str]:
    """As it may be read from a text, or decoded out of one."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret),
        json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1],
        encoded, encoded.rstrip("="), secret[: len(secret) * 2 // 3], secret[len(secret) // 3 :],
    }  # fmt: skip


def leaks(places: Places, secrets: tuple[str, ...]) -> list[str]:
    return [
        f"{place}: …{text[max(0, text.index(each) - 60) : text.index(each) + 80]}…"
        for place, text in places.items()
        for secret in secrets
        for each in spellings(secret)
        if each in text
    ]


class World(NamedTuple):
    """What a case may use. The first request of the model's server is answered, later ones by
    `fault` where it is set."""

    folder: Path
    server: OpenAIServer
    site: Site
    monkeypatch: pytest.MonkeyPatch

    def fails(self, status: int, body: object, *, first: bool = False) -> None:
        """The server answers researchers so; with `first` everybody."""

        def fault(asked: Body) -> Fault | None:
            researching = "<subtask>" in json.dumps(asked["messages"])
            return Fault("status", status, "0", body) if first or researching else None  # type: ignore[arg-type]

        self.server.fault_for = fault


class Documents:
    """A backend whose texts the case writes."""

    name = "documents"

    def __init__(self, text: str = FLUME, *, title: str = "Flume", url: str = "", fault: str = ""):
        self.url, self.title, self.text = url or "https://example.org/flume", title, text
        self.fault = fault

    async def search(self, queries: Any, k: int) -> list[Hits]:
        hit = Hit(url=self.url, title=self.title, snippet=self.text)
        return [Hits(query=query, hits=(hit,)) for query in queries]

    async def read(self, urls: Any, focus: str) -> list[Page]:
        if self.fault:
            return [Page(url=url, fault=self.fault) for url in urls]
        return [Page(url=url, title=self.title, text=self.text) for url in urls]


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged while it is open, tracebacks as well."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


async def places_of(
    world: World, *, model: Any = "fake", search: Any = None, tools: Any = (), reader: Any = None,
    own_server: bool = True, **settings: Any,
) -> Places:  # fmt: skip
    """One run, and every place where something of it can be read afterwards."""
    PROBES.forget()
    base = {"base_url": world.server.base_url} if own_server and isinstance(model, str) else {}
    file, places, events = world.folder / "state.sqlite", Places(), list[str]()
    values: Mapping[str, Any] = {}
    thread: Any = {"configurable": {"thread_id": "one"}}
    with logged() as log:
        async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
            try:
                given = ResearchSettings(model_timeout=5, subtask_timeout=8, **base, **settings)
                places["settings"] = f"{given!r} {given}"
                graph = create_research_graph(
                    model, tools, search=search or Documents(), reader=reader, settings=given,
                    checkpointer=saver,
                )  # fmt: skip
                modes: Any = ["custom", "updates", "values", "messages", "tasks"]
                async for event in graph.astream(
                    QUESTION, thread, stream_mode=modes, subgraphs=True
                ):
                    events.append(repr(event))
            except Exception as error:  # noqa: BLE001 - what an embedder would print
                places["traceback"] = "".join(traceback.format_exception(error))
            with suppress(UnboundLocalError):
                values = (await graph.aget_state(thread)).values
    places |= {
        "events": "\n".join(events),
        "logs": log.getvalue(),
        "checkpoints": "".join(
            each.read_bytes().decode("latin-1") for each in world.folder.glob("state.sqlite*")
        ),
        "requests": json.dumps([world.server.requests], ensure_ascii=False),
        "failures": repr(values.get("failures")) + json.dumps(str(values.get("failures"))),
        "report": str(values.get("report")) + str(values.get("messages")),
    }
    if (trace := values.get("trace")) is not None:
        write_traces(world.folder / "trace.jsonl", [trace])
        places["trace"] = (world.folder / "trace.jsonl").read_text("utf-8")
        places["page"] = traces_page([trace])
    assert "traceback" in places or trace is not None
    return places


def commanded(world: World, *arguments: str, **env: str) -> Places:
    """`oresearch` in a process of its own: what it prints and writes."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-c", "from oresearch_graph.command.cli import main; main()", *arguments],
        cwd=world.folder, env=kept | {"ORESEARCH_HOME": str(world.folder / "home")} | env,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    places = {"stdout": done.stdout, "stderr": done.stderr}
    for path in world.folder.rglob("*"):
        if path.is_file():
            places[path.name] = path.read_bytes().decode("utf-8", "replace")
    assert done.returncode or places["stdout"]
    return places


Run = Callable[[World], Awaitable[Places]]


class Case(NamedTuple):
    name: str
    run: Run
    secrets: tuple[str, ...] = (KEY,)
    told: str = ""
    """What must be readable all the same, in some place."""
