"""From settings to the backend and reader of a run. Blocks a little (it looks at folders): call it
in a thread."""

from __future__ import annotations

import asyncio
import os
from functools import lru_cache
from typing import Final, cast

from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_core.vectorstores import VectorStore
from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.keys import environment_key, shown_address
from oresearch_graph.known_secrets import remember_within
from oresearch_graph.redaction import redacted
from oresearch_graph.settings import ResearchSettings, setting_fault
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.tools.corpus.folder import display_path
from oresearch_graph.tools.corpus.index import cache_folder
from oresearch_graph.tools.corpus.local import IndexedCorpus, IndexReport, LocalCorpus
from oresearch_graph.tools.corpus.python_docs import PythonCorpus
from oresearch_graph.tools.providers.retriever import RetrieverSearch, ToolSearch
from oresearch_graph.tools.providers.searxng import SearxngSearch
from oresearch_graph.tools.providers.tavily import TavilyReader, TavilySearch
from oresearch_graph.tools.source_rules import RuledReader, RuledSearch, SourceRules
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.page_cache import CachedReader, cache_for
from oresearch_graph.tools.web.reader import WebReader

Documents = tuple[SearchBackend, PageReader]
_SEARXNG: Final = "searxng:"
_EXTRACTS: Final = "tavily-extract"
_TAVILY: Final = ("tavily", _EXTRACTS)


def choose_backend(settings: ResearchSettings) -> Documents:
    """The search backend and page reader that `settings.search` names, under its source rules.

    Raises ConfigurationError, naming cause and fix, for what cannot work.
    """
    name = search_name(settings)
    rules = _rules(settings)
    if name in _TAVILY:
        return _tavily(settings, rules, extracts=name == _EXTRACTS)
    if name.startswith(_SEARXNG):
        searxng = SearxngSearch(
            name.removeprefix(_SEARXNG), allow_plain_http=settings.allow_plain_http
        )
        return _ruled(searxng, web_reader(settings), rules)
    corpus = _python() if name == "python" else _folder(settings)
    return _ruled(corpus, corpus, rules)


def search_backend(
    backend: SearchBackend | BaseRetriever | BaseTool | VectorStore, settings: ResearchSettings
) -> Documents:
    """An embedder's own backend, retriever, vector store or search tool, with the reader that goes
    with it: its own where it has one, else the web's. Raises ConfigurationError for what cannot
    search."""
    rules = _rules(settings)
    remember_within(backend)
    if isinstance(backend, VectorStore):
        backend = backend.as_retriever(search_kwargs={"k": settings.limits.results})
    if isinstance(backend, BaseRetriever):
        retriever = RetrieverSearch(backend, web_reader(settings))
        return _ruled(retriever, retriever, rules)
    if isinstance(backend, BaseTool):
        tool = ToolSearch(backend, web_reader(settings))
        return _ruled(tool, tool, rules)
    if not hasattr(backend, "search"):
        raise ConfigurationError(
            f"{type(backend).__name__} cannot search: give a SearchBackend, a LangChain retriever, "
            "vector store or tool"
        )
    if isinstance(backend, IndexedCorpus):
        return _ruled(backend, backend, rules)
    if hasattr(backend, "read"):
        return _ruled(backend, _cached(cast("PageReader", backend), settings), rules)
    return _ruled(backend, web_reader(settings), rules)


def search_name(settings: ResearchSettings) -> str:
    """What `search` comes to: auto is a folder if one is set, then Tavily, then Python's docs.

    Raises ConfigurationError for a value that is no choice.
    """
    search = settings.search.strip()
    if search == "auto":
        if settings.corpus:
            return "corpus"
        return "tavily" if os.environ.get("TAVILY_API_KEY") else "python"
    if search in (*_TAVILY, "corpus", "python") or search.startswith(_SEARXNG):
        return search
    raise ConfigurationError(
        f"search={shown_address(search)} is unknown: use auto, tavily, corpus, python or "
        "searxng:URL (or tavily-extract: Tavily opens the pages too)"
    )


def describe_search(settings: ResearchSettings) -> str:
    """The choice in a few words for people."""
    name = search_name(settings)
    match name:
        case "corpus":
            return f"the documents in {display_path(settings.corpus or '')}"
        case "python":
            return "Python's own documentation (the embedded corpus)"
        case "tavily":
            return "the web, by Tavily"
        case "tavily-extract":
            return "the web, by Tavily, which also opens the pages"
        case _:
            return f"the web, by SearXNG at {redacted(name.removeprefix(_SEARXNG))}"


async def prepare(search: SearchBackend) -> IndexReport | None:
    """Bring a corpus' index up to date before the run, so that no tool call waits for it. None
    for a backend without an index."""
    inner = search.backend if isinstance(search, RuledSearch) else search
    return await asyncio.to_thread(inner.update) if isinstance(inner, IndexedCorpus) else None


def _tavily(settings: ResearchSettings, rules: SourceRules, *, extracts: bool) -> Documents:
    key, base_url = _tavily_key(), os.environ.get("TAVILY_BASE_URL")
    plain = settings.allow_plain_http
    search = TavilySearch(key, base_url=base_url, rules=rules, allow_plain_http=plain)
    if not extracts:
        return _ruled(search, web_reader(settings), rules)
    reader = TavilyReader(key, base_url=base_url, allow_plain_http=plain)
    return _ruled(search, _cached(reader, settings), rules)


def _tavily_key() -> str:
    key = environment_key("TAVILY_API_KEY")
    if not key:
        raise ConfigurationError(
            "search=tavily needs a key: set TAVILY_API_KEY, or search another way (--search python)"
        )
    return key


def _folder(settings: ResearchSettings) -> LocalCorpus:
    if not settings.corpus:
        raise ConfigurationError("search=corpus needs a folder or file: set corpus (--corpus DIR)")
    corpus = _local(settings.corpus, str(cache_folder()))
    corpus.check()
    return corpus


@lru_cache(maxsize=16)
def _local(folder: str, _cache: str) -> LocalCorpus:
    return LocalCorpus(folder)


def _python() -> PythonCorpus:
    return _embedded(str(cache_folder()))


@lru_cache(maxsize=4)
def _embedded(_cache: str) -> PythonCorpus:
    return PythonCorpus()


def web_reader(settings: ResearchSettings) -> PageReader:
    """The reader of the live web under these settings."""
    guard = AddressGuard(allow_private=settings.allow_private_addresses)
    return _cached(WebReader(guard), settings)


def _cached(reader: PageReader, settings: ResearchSettings) -> PageReader:
    return CachedReader(reader, cache_for(settings.tenant, settings.cache_seconds))


def _rules(settings: ResearchSettings) -> SourceRules:
    try:
        return SourceRules.of(settings)
    except ValidationError as error:
        raise ConfigurationError(setting_fault(error)) from None


def _ruled(search: SearchBackend, reader: PageReader, rules: SourceRules) -> Documents:
    if rules.empty:
        return search, reader
    return RuledSearch(search, rules), RuledReader(reader, rules)
