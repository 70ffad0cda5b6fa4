"""Secrets of a run end to end: what is written, shown, kept or sent on holds none of them.

Each case is one way in which a secret came out of such systems. It tells where to look as text by
place; what is looked for are the secrets in every usual spelling.
"""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.helpers.leak_places import (
    FLUME,
    IN_URL,
    KEY,
    PASSWORD,
    SHAPED,
    SUBTASKS,
    Case,
    World,
    leaks,
)
from tests.helpers.leak_runs import (
    base_url_malformed,
    base_url_unreachable,
    base_url_userinfo,
    base_url_userinfo_works,
    command,
    echo,
    echoed_by_documents,
    environment_refused,
    extra_tool,
    given_model,
    in_clear,
    judge,
    key_with_line_end,
    mcp_in_clear,
    mcp_server_dies,
    name_with_address,
    name_with_address_fails,
    parameter_headers,
    parameter_key,
    recorder,
    retriever,
    search_tool,
    searxng,
    searxng_malformed,
    searxng_unreachable,
    settings_refused,
    tavily,
    tavily_of_an_embedder,
    tool_answers_with_key,
)
from tests.helpers.loopback_site import Answer, running_site
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import (
    Habits,
)

pytestmark = pytest.mark.hostile

BASIC = base64.b64encode(f"anna:{KEY}".encode()).decode()
CASES = [
    Case("a 401 repeats the key", echo(401, {"error": {"message": f"Wrong {KEY}"}}), told="401"),
    Case("so does a 500, tried again", echo(500, {"error": {"message": f"Wrong key {KEY}"}})),
    Case("so does a 429", echo(429, {"error": f"{KEY} is over its quota"})),
    Case("so does a 400 with a list", echo(400, {"errors": [{"seen": KEY}]})),
    Case("to everybody", echo(401, {"error": {"message": KEY}}, first=True)),
    Case("in its headers", echo(403, {"headers": {"Authorization": f"Bearer {KEY}"}})),
    Case("in an address", echo(404, {"error": f"/v1?k={quote(KEY, safe='')}&z=1"})),
    Case("in HTML", echo(502, {"error": f"<b>{html.escape(KEY)}</b>"})),
    Case("in base64", echo(401, {"error": f"Proxy-Authorization was Basic {BASIC}"})),
    Case("broken off", echo(401, {"error": f"no key begins with {KEY[:14]}..., you know"})),
    Case("behind 30,000 letters", echo(401, {"error": "x" * 30_000 + KEY})),
    Case("where it is cut", echo(401, {"error": "x" * 230 + KEY + "y" * 500})),
    Case("a key of somebody else", echo(401, {"error": f"{SHAPED} of your org"}), (SHAPED,)),
    Case("a key in the parameters", parameter_key),
    Case("headers in the parameters", parameter_headers),
    Case("the key of a given model", given_model),
    Case("userinfo of a server that fails", base_url_userinfo, (PASSWORD,), told="HTTP 500"),
    Case("userinfo of a server that works", base_url_userinfo_works, (PASSWORD,)),
    Case("userinfo of a server that is away", base_url_unreachable, (PASSWORD,), told="127.0.0.1"),
    Case("userinfo in a model's name", name_with_address, (PASSWORD,)),
    Case("and its server fails", name_with_address_fails, (PASSWORD,)),
    Case("userinfo of what is no address", base_url_malformed, (PASSWORD,)),
    Case("SearXNG refuses JSON", searxng(Answer(b"no", 403)), (PASSWORD,), told="formats"),
    Case("SearXNG is out of order", searxng(Answer(b"no", 500)), (PASSWORD,), told="HTTP status"),
    Case("SearXNG wants another password", searxng(Answer(b"no", 401)), (PASSWORD,)),
    Case("what answers is no SearXNG", searxng(Answer(b"<html>")), (PASSWORD,)),
    Case("SearXNG sends elsewhere", searxng(Answer(b"", 302, headers={"Location": "/x"})),
         (PASSWORD,)),
    Case("SearXNG is away", searxng_unreachable, (PASSWORD,)),
    Case("SearXNG's address is wrong", searxng_malformed, (PASSWORD,)),
    Case("Tavily refuses the request", tavily(400, {"detail": {"error": f"{KEY} asks oddly"}})),
    Case("Tavily refuses the plan", tavily(403, {"detail": {"error": f"{KEY} may not"}})),
    Case("Tavily refuses the key", tavily(401, {"detail": {"error": f"{KEY} is no key"}})),
    Case("Tavily is out of order", tavily(500, {"detail": f"{KEY} broke it"})),
    Case("Tavily finds the key", tavily(200, {"results": [
        {"url": f"https://e.org/?k={KEY}", "title": KEY, "content": f"{FLUME} {KEY}"}]})),
    Case("the key of an embedder's Tavily", tavily_of_an_embedder),
    Case("a retriever raises", retriever),
    Case("a search tool raises", search_tool),
    Case("an extra tool raises", extra_tool(ValueError, f"POST ?api_key={SHAPED} {KEY}"),
         (KEY, SHAPED)),
    Case("an extra tool is broken", extra_tool(ZeroDivisionError, f"with {KEY}")),
    Case("an extra tool names an address",
         extra_tool(OSError, f"postgresql://anna:{IN_URL}@db/x is down"), (PASSWORD, IN_URL)),
    Case("an extra tool answers with the key", tool_answers_with_key),
    Case("a page repeats the key", echoed_by_documents(text=f"{FLUME} You sent {KEY}.")),
    Case("a page repeats it encoded",
         echoed_by_documents(text=f"{FLUME} {quote(KEY, safe='')} {json.dumps(KEY)} {BASIC}")),
    Case("a title and an address repeat it",
         echoed_by_documents(title=f"Hello {KEY}", url=f"https://e.org/?k={quote(KEY, safe='')}")),
    Case("a page's fault repeats it", echoed_by_documents(fault=f"refused: {KEY}")),
    Case("a record of the tools", recorder),
    Case("an MCP server dies", mcp_server_dies),
    Case("an MCP key in clear", mcp_in_clear, told="https"),
    Case("a role that is none", settings_refused(parameters={"writer": {"api_key": KEY}})),
    Case("parameters that are none", settings_refused(parameters={"researcher": KEY})),
    Case("a search that is none", settings_refused(search=f"searx:http://a:{IN_URL}@h"),
         (PASSWORD, IN_URL)),
    Case("a SearXNG of no scheme", settings_refused(search=f"searxng:a:{IN_URL}@h/x"),
         (PASSWORD, IN_URL)),
    Case("broken JSON in a variable", environment_refused("ORESEARCH_PARAMETERS", f'{{"a": {KEY}')),
    Case("a two-line key", environment_refused("OPENAI_API_KEY", f"{KEY}\n{KEY}"), told="_API_"),
    Case("a key of odd letters", environment_refused("OPENAI_API_KEY", f"{KEY}é"), told="_API_"),
    Case("a key that ends in a line end", key_with_line_end),
    Case("plain http: base_url", in_clear(model="fake", base_url="http://models.example/v1")),
    Case("plain http: a model's name", in_clear(researcher_models=("f@http://models.example/v1",),
                                                planner_model="f@http://models.example/v1",
                                                summarizer_model="f@http://models.example/v1")),
    Case("plain http: another provider",
         in_clear(model="openai:fake", base_url="http://models.example/v1")),
    Case("plain http: Tavily", in_clear(search="tavily")),
    Case("plain http: SearXNG", in_clear(search=f"searxng:http://anna:{IN_URL}@find.example"),
         (PASSWORD, IN_URL)),
    Case("a judge's server repeats the key", judge, (KEY, PASSWORD)),
    Case("the command, refused", command("--model", "fake", "--base-url", "{server}",
                                         OPENAI_API_KEY=KEY)),
    Case("the command, as JSON", command("--model", "fake", "--base-url", "{server}", "--json",
                                         OPENAI_API_KEY=KEY)),
    Case("the command, quiet", command("--model", "fake@{userinfo}", "--quiet",
                                       OPENAI_API_KEY=KEY), (KEY, PASSWORD, IN_URL)),
    Case("the command and a SearXNG", command("--search", f"searxng:http://a:{IN_URL}@127.0.0.1:9"),
         (PASSWORD, IN_URL), told="127.0.0.1:9"),
    Case("the command and parameters",
         command("--set", f'parameters={{"x": {{"api_key": "{KEY}"}}}}')),
    Case("the command and a wrong pair", command("--set", f"api_key={SHAPED}"), (SHAPED,)),
    Case("the command and a wrong key", command("--model", "openai:gpt-5-mini",
                                                OPENAI_API_KEY=f"{KEY} {KEY}"), told="OPENAI_API"),
]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("ORESEARCH_"):
            monkeypatch.delenv(name)
    with OpenAIServer(ResearchBrain(SUBTASKS), Habits()) as server, running_site() as site:
        yield World(tmp_path, server, site, monkeypatch)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_no_secret_comes_out(case: Case, world: World) -> None:
    places = await case.run(world)
    assert leaks(places, case.secrets) == []
    assert any(case.told in text for text in places.values())
    assert all("[redacted][redacted]" not in text for text in places.values())
