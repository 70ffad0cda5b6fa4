"""What must work where the group `datagen` and the extras `mcp`, `pdf`, `studio` stand as well:
`python -m tests.helpers.surface_extras` in a folder of `datagen`, `examples` and `tests`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import httpx

import datagen
from oresearch_graph.tools.providers.mcp import mcp_tools
from tests.helpers.surface import holds, import_all, run

SEEDS = 6
MCP_SERVER = """
from mcp.server.fastmcp import FastMCP
server = FastMCP("library")
@server.tool()
def find_books(query: str) -> str:
    "Find books."
    return "On " + query
server.run()
"""


def every_module_of_datagen_is_imported() -> None:
    import_all(datagen)


def questions_become_rows() -> None:
    """The pipeline of examples/datagen.yaml, on its first seeds."""
    home = Path(os.environ["ORESEARCH_HOME"])
    seeds = home / "seeds.jsonl"
    with Path("examples/seeds.jsonl").open() as lines:
        seeds.write_text("".join(islice(lines, SEEDS)))
    config = Path("examples/datagen.yaml").read_text().replace("examples/seeds.jsonl", str(seeds))
    (home / "datagen.yaml").write_text(config)
    rows = str(home / "run")
    run("python", "-m", "datagen", "all", rows, "--config", str(home / "datagen.yaml"))
    run("python", "-m", "datagen", "verify", f"{rows}/dataset")


def an_mcp_server_is_used() -> None:
    connection = {"transport": "stdio", "command": sys.executable, "args": ["-c", MCP_SERVER]}

    async def ask() -> object:
        (tool,) = await mcp_tools({"library": connection})
        return await tool.ainvoke({"query": "tides"})

    assert "On tides" in str(asyncio.run(ask()))


def research_is_an_mcp_servers_tool() -> None:
    program = str(Path(sys.executable).with_name("oresearch"))
    settings = {"ORESEARCH_SEARCH": "python", "ORESEARCH_EFFORT": "quick"}
    connection = {"transport": "stdio", "command": program, "args": ["mcp"],
                  "env": {**os.environ, **settings}}  # fmt: skip

    async def ask() -> object:
        (tool,) = await mcp_tools({"oresearch": connection})
        return await tool.ainvoke({"question": "How does pickle store objects?"})

    assert "## References" in str(asyncio.run(ask()))


def a_report_is_printed() -> None:
    report = Path(os.environ["ORESEARCH_HOME"]) / "report.pdf"
    run("oresearch", "run", "How does pickle store objects?", "--quiet", "--out", str(report))
    assert report.read_bytes().startswith(b"%PDF-")


def studio_serves_the_graph() -> None:
    home = Path(os.environ["ORESEARCH_HOME"])
    config = {
        "dependencies": ["."],
        "graphs": {"research": "oresearch_graph.studio:graph"},
        "http": {"app": "oresearch_graph.served.app:app"},
    }
    (home / "langgraph.json").write_text(json.dumps(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser"]
    command += ["--no-reload", "--host", "127.0.0.1", "--port", port]
    log = home / "server.log"
    with log.open("wb") as out:
        environment = os.environ | {"ORESEARCH_SEARCH": "python"}
        server = subprocess.Popen(command, cwd=home, env=environment, stdout=out, stderr=out)
    try:
        question = {"question": "How does pickle store objects?"}
        asked = {"assistant_id": "research", "input": question, "context": {"effort": "quick"}}
        _await(f"http://127.0.0.1:{port}/ok", server, log)
        answer = httpx.post(f"http://127.0.0.1:{port}/runs/wait", json=asked, timeout=90)
        assert "## References" in answer.json().get("report", ""), answer.text[-2000:]
    finally:
        server.terminate()
        server.wait(30)


def _await(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        try:
            if httpx.get(address, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.3)
        assert server.poll() is None, log.read_text()[-2000:]
    raise AssertionError(log.read_text()[-2000:])


CHECKS = (
    every_module_of_datagen_is_imported,
    questions_become_rows,
    an_mcp_server_is_used,
    research_is_an_mcp_servers_tool,
    a_report_is_printed,
    studio_serves_the_graph,
)

if __name__ == "__main__":
    holds(CHECKS, ("datasets", "pyarrow", "langgraph-api", "langchain-mcp-adapters", "mcp"))
