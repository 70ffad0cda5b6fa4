"""`oresearch mcp`, asked by the MCP client that people's programs use."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import McpError

from oresearch_graph.graph.cited_report import DESCRIPTION, CitedReport
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import Habits

QUESTION: Final = "What causes the tides?"
PAGE: Final = """# Tides

The tides are caused by the moon, which pulls the water of the oceans. On most coasts the water
rises twice each day. The sun causes tides too, and they are about half as high.
"""
PROGRAM: Final = "from oresearch_graph.command.cli import main; main()"


def environment(home: Path, **settings: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    names = {f"ORESEARCH_{name.upper()}": value for name, value in settings.items()}
    return clean | {"ORESEARCH_HOME": str(home), "XDG_CONFIG_HOME": str(home)} | names


@asynccontextmanager
async def session(home: Path, program: str = PROGRAM, **settings: str) -> AsyncIterator[Any]:
    (home / "tides.md").write_text(PAGE)
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-c", program, "mcp"],
        env=environment(home, search="corpus", corpus=str(home), effort="quick", **settings),
        cwd=home,
    )
    with (home / "errors.txt").open("a+") as errors:
        async with (
            stdio_client(parameters, errlog=errors) as (incoming, outgoing),
            ClientSession(incoming, outgoing) as client,
        ):
            await client.initialize()
            yield client


@pytest.fixture
def model() -> Iterator[OpenAIServer]:
    with OpenAIServer(ResearchBrain(("One", "Two"), calls=4), Habits(latency=0.3)) as serving:
        yield serving


def over(model: OpenAIServer) -> dict[str, str]:
    return {"model": "fake", "base_url": model.base_url, "rendering": "turns"}


async def asked(model: OpenAIServer, requests: int = 3) -> None:
    async with asyncio.timeout(30):
        while len(model.requests) < requests:  # noqa: ASYNC110 - another process makes it so
            await asyncio.sleep(0.02)


async def is_at_rest(model: OpenAIServer) -> None:
    await asyncio.sleep(2)
    before = len(model.requests)
    await asyncio.sleep(1)
    assert len(model.requests) == before < 10


async def test_a_client_is_offered_one_tool_and_gets_report_and_sources(tmp_path: Path):
    told: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with session(tmp_path) as client:
        (tool,) = (await client.list_tools()).tools
        assert (tool.name, tool.description) == ("deep_research", DESCRIPTION)
        assert set(tool.inputSchema["properties"]) == {"question", "effort"}
        result = await client.call_tool(
            tool.name, {"question": QUESTION, "effort": "quick"}, progress_callback=hear
        )
    assert not result.isError
    report = CitedReport.model_validate(result.structuredContent)
    (content,) = result.content
    assert content.text == report.report
    assert report.outcome == "complete"
    assert report.sources
    assert all(f"[{each.id}]. {each.url}" in content.text for each in report.sources)
    assert [progress for progress, _ in told] == list(range(1, len(told) + 1))
    assert str(told[0][1]).startswith("plan: ")
    assert any("searching" in (message or "") for _, message in told)


async def test_what_is_printed_is_no_part_of_the_protocol(tmp_path: Path):
    noisy = (
        "import os\nfrom oresearch_graph.command import mcp_server\n"
        "make = mcp_server.create_research_graph\n"
        "def noisily(**options):\n"
        "    print('a library speaks', flush=True)\n    os.system('echo a child speaks')\n"
        "    return make(**options)\n"
        "mcp_server.create_research_graph = noisily\n"
    )
    async with session(tmp_path, noisy + PROGRAM) as client:
        assert not (await client.call_tool("deep_research", {"question": QUESTION})).isError
    errors = (tmp_path / "errors.txt").read_text()
    assert "a library speaks\na child speaks\n" in errors


async def test_what_cannot_be_is_an_error_of_the_tool(tmp_path: Path, model: OpenAIServer):
    async with session(tmp_path, **over(model), max_model_calls="1") as client:
        for arguments in ({}, {"question": 1}, {"question": QUESTION, "effort": "huge"}):
            assert (await client.call_tool("deep_research", arguments)).isError
        wrong = await client.call_tool("shallow_research", {"question": QUESTION})
        assert "deep_research" in wrong.content[0].text
        spent = await client.call_tool("deep_research", {"question": QUESTION})
    assert spent.isError
    assert "budget" in spent.content[0].text
    assert spent.structuredContent["report"] is None


async def test_a_cancelled_request_stops_its_run(tmp_path: Path, model: OpenAIServer):
    async with session(tmp_path, **over(model)) as client:
        calling = asyncio.create_task(client.call_tool("deep_research", {"question": QUESTION}))
        await asked(model)
        number = client._request_id - 1
        cancelled = types.CancelledNotification(
            params=types.CancelledNotificationParams(requestId=number, reason="changed my mind")
        )
        await client.send_notification(types.ClientNotification(cancelled))
        with pytest.raises(McpError, match="cancelled"):
            await calling
        await is_at_rest(model)
        before = len(model.requests)
        model.habits = Habits()
        again = await client.call_tool("deep_research", {"question": QUESTION})
        assert not again.isError
        assert len(model.requests) > before


async def test_a_client_that_ends_ends_the_server(tmp_path: Path, model: OpenAIServer):
    """By closing its end of the pipe, as one that is killed does."""
    (tmp_path / "tides.md").write_text(PAGE)
    client = {"protocolVersion": "2025-06-18", "capabilities": {},
              "clientInfo": {"name": "test", "version": "1"}}  # fmt: skip
    call = {"name": "deep_research", "arguments": {"question": QUESTION}}
    messages: list[dict[str, Any]] = [
        {"id": 0, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": call},
    ]
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "mcp", stdin=PIPE, stdout=PIPE, stderr=PIPE,
        env=environment(tmp_path, search="corpus", corpus=str(tmp_path), **over(model)),
    )  # fmt: skip
    assert server.stdin is not None
    server.stdin.writelines(
        f"{json.dumps({'jsonrpc': '2.0', **each})}\n".encode() for each in messages
    )
    await asked(model)
    answered, errors = await asyncio.wait_for(server.communicate(b""), 15)
    assert (server.returncode, errors) == (0, b"")
    assert [json.loads(line)["id"] for line in answered.splitlines()] == [0]
    await is_at_rest(model)


def test_without_the_extra_there_is_one_clear_line(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['mcp'] = None\n" + PROGRAM, "mcp"],
        capture_output=True, text=True, timeout=60, check=False, env=environment(tmp_path),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith("pip install '.[mcp]' in the checkout")
