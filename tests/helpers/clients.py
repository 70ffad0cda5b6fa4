"""Every client of the package, and what it says of a server that it cannot reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from langchain_openai import ChatOpenAI

from oresearch_graph.errors import OresearchError
from oresearch_graph.policies.chat.model_call import Patience
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.servers import served_model
from oresearch_graph.threads import Thread
from oresearch_graph.tools.crawl_page import CrawlPage
from oresearch_graph.tools.providers.mcp import mcp_tools
from oresearch_graph.tools.providers.searxng import SearxngSearch
from oresearch_graph.tools.providers.tavily import TavilySearch
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import WebReader

SECRET = "of-the-proxy-77"
KEY = "sk-of-the-test-4711"
PLAN = Thread(id="t", system="You research.", question="Why?", role="planner")
READER = WebReader(AddressGuard(allow_private=True))
QUICK = Patience(timeout=5.0, tries=2, backoff=0.01)


async def ask_model(url: str, model: ChatOpenAI | str = "fake") -> None:
    more = {} if isinstance(model, ChatOpenAI) else {"base_url": f"{url}/v1"}
    policy = ChatPolicy(model, rendering="turns", patience=QUICK, **more)  # type: ignore[arg-type]
    try:
        await policy.continue_thread(PLAN, ("</subtask_list>",), on_text=lambda _: None)
    finally:
        await policy.aclose()


async def ask_for_models(url: str) -> None:
    await served_model(f"{url}/v1")


async def ask_searxng(url: str) -> None:
    await SearxngSearch(url).search(["q"], 1)


async def ask_tavily(url: str) -> None:
    await TavilySearch("tvly-of-the-test", base_url=url).search(["q"], 1)


async def ask_mcp(url: str) -> None:
    await mcp_tools({"docs": {"transport": "streamable_http", "url": f"{url}/mcp"}})


async def open_page(url: str) -> None:
    result = await CrawlPage(READER).call([f"{url}/page"])
    assert result.pages[0].fault is not None
    raise OresearchError(result.pages[0].fault)


CLIENTS: list[Callable[[str], Awaitable[None]]] = [
    ask_model, ask_for_models, ask_searxng, ask_tavily, ask_mcp, open_page,
]  # fmt: skip


async def said_by(client: Callable[[str], Awaitable[None]], url: str) -> str:
    with pytest.raises(OresearchError) as raised:
        await client(url)
    said = str(raised.value)
    assert "\n" not in said
    assert not any(secret in said for secret in (SECRET, KEY, "tvly-of"))
    return said
