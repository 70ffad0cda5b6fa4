"""Which documents a run works on: from settings to a search backend and a page reader.

Everything a run needs is on what is returned: source rules, and one cache for the run or tenant.
"""

from __future__ import annotations

import os
from typing import Final, cast

from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.address_guard import AddressGuard
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.tools.corpus import LocalCorpus
from oresearch_graph.tools.page_cache import CachedReader, cache_for
from oresearch_graph.tools.python_corpus import PythonCorpus
from oresearch_graph.tools.retriever import RetrieverSearch, ToolSearch
from oresearch_graph.tools.searxng import SearxngSearch
from oresearch_graph.tools.source_rules import RuledReader, RuledSearch, SourceRules
from oresearch_graph.tools.tavily import TavilySearch
from oresearch_graph.tools.web_reader import WebReader

Documents = tuple[SearchBackend, PageReader]

_SEARXNG: Final = "searxng:"
_PYTHON = PythonCorpus()
"""One for the process: it holds no state but the index on disk."""


def search_name(settings: ResearchSettings) -> str:
    """What `search` comes to: auto is a folder if one is set, then Tavily, then Python's docs."""
    if settings.search != "auto":
        return settings.search
    if settings.corpus:
        return "corpus"
    return "tavily" if os.environ.get("TAVILY_API_KEY") else "python"


def describe_search(settings: ResearchSettings) -> str:
    """The choice in a few words for people."""
    name = search_name(settings)
    match name:
        case "corpus":
            return f"the folder {settings.corpus}"
        case "python":
            return "Python's own documentation (the embedded corpus)"
        case "tavily":
            return "the web, by Tavily"
        case _:
            return f"the web, by SearXNG at {name.removeprefix(_SEARXNG)}"


def choose_backend(settings: ResearchSettings) -> Documents:
    """The backend and reader that the settings name. May block: it looks at the folder.

    Raises ConfigurationError for what cannot work, with the fix.
    """
    name = search_name(settings)
    if name == "python":
        return _ruled(_PYTHON, _PYTHON, settings)
    if name == "corpus":
        if not settings.corpus:
            raise ConfigurationError("search=corpus needs a folder: set corpus (--corpus DIR)")
        corpus = LocalCorpus(settings.corpus)
        corpus.check()
        return _ruled(corpus, corpus, settings)
    if name == "tavily":
        return _ruled(_tavily(settings), _web(settings), settings)
    if name.startswith(_SEARXNG):
        backend = SearxngSearch(name.removeprefix(_SEARXNG))
        return _ruled(backend, _web(settings), settings)
    raise ConfigurationError(
        f"unknown search {name!r}: use auto, tavily, corpus, python or searxng:URL"
    )


def search_backend(
    given: SearchBackend | BaseRetriever | BaseTool, settings: ResearchSettings
) -> Documents:
    """An embedder's own backend, retriever or search tool, under the run's rules and cache."""
    web = _web(settings)
    if isinstance(given, BaseRetriever):
        retriever = RetrieverSearch(given, web)
        return _ruled(retriever, retriever, settings)
    if isinstance(given, BaseTool):
        tool = ToolSearch(given, web)
        return _ruled(tool, tool, settings)
    own = cast("PageReader", given) if callable(getattr(given, "read", None)) else None
    return _ruled(given, own or web, settings)


def _ruled(search: SearchBackend, reader: PageReader, settings: ResearchSettings) -> Documents:
    rules = SourceRules.of(settings)
    cached = CachedReader(reader, cache_for(settings.tenant, settings.cache_seconds))
    return RuledSearch(search, rules), RuledReader(cached, rules)


def _web(settings: ResearchSettings) -> PageReader:
    return WebReader(AddressGuard(allow_private=settings.allow_private_addresses))


def _tavily(settings: ResearchSettings) -> SearchBackend:
    key = os.environ.get("TAVILY_API_KEY")
    if not key:
        raise ConfigurationError(
            "search=tavily needs a key: set TAVILY_API_KEY, or search another way (--search python)"
        )
    base_url = os.environ.get("TAVILY_BASE_URL")
    return TavilySearch(key, base_url=base_url, rules=SourceRules.of(settings))
