"""LangChain's own standard tests of what LangChain knows: our tools."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from oresearch_graph import create_research_graph, research_tool
from oresearch_graph.tools.crawl_page import CrawlPage
from oresearch_graph.tools.web_search import WebSearch
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script


class _Research:
    @property
    def tool_constructor(self) -> BaseTool:
        policy = ScriptedPolicy(research_script())
        return research_tool(create_research_graph(policy, search=Documents(PAGES)))

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"question": "What causes tides?"}


class _Search:
    @property
    def tool_constructor(self) -> BaseTool:
        return WebSearch(Documents(PAGES)).as_langchain_tool()

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"queries": ["tides", "the Moon"], "num": 2}


class _Crawl:
    @property
    def tool_constructor(self) -> BaseTool:
        return CrawlPage(Documents(PAGES)).as_langchain_tool()

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"urls": [next(iter(PAGES))]}


class TestResearchToolUnit(_Research, ToolsUnitTests): ...


class TestResearchTool(_Research, ToolsIntegrationTests): ...


class TestWebSearchUnit(_Search, ToolsUnitTests): ...


class TestWebSearch(_Search, ToolsIntegrationTests): ...


class TestCrawlPageUnit(_Crawl, ToolsUnitTests): ...


class TestCrawlPage(_Crawl, ToolsIntegrationTests): ...
