"""The documents of a training run: which ones, opened once in a process."""

from __future__ import annotations

import math
import threading
from pathlib import Path

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.tools.choose import Documents, choose_backend
from oresearch_graph.tools.corpus.local import IndexedCorpus, LocalCorpus
from oresearch_graph.tools.corpus.python_docs import PythonCorpus
from oresearch_graph.tools.recorded import Replay
from oresearch_graph.tools.source_rules import RuledReader, RuledSearch, SourceRules
from rl.settings import RLSettings, ToolSettings
from rl.tools.index_client import IndexClient
from rl.tools.job_actors import shared_index

_opened: dict[str, Documents] = {}
_opening = threading.Lock()


def open_documents(settings: RLSettings) -> Documents:
    """The documents that the settings name, opened once per process. Blocks while it opens them:
    call it in a thread. Raises ConfigurationError, and ToolError for an unavailable service."""
    tools = settings.tools
    research = settings.research_settings
    key = f"{tools.source} {tools.path} {tools.address} {research.model_dump_json()}"
    with _opening:
        if key not in _opened:
            _opened[key] = _documents(tools, research)
        return _opened[key]


def check_documents(settings: RLSettings) -> None:
    """Raise ConfigurationError or ToolError unless the documents can be had. Starts nothing: of
    a service that training will start, the folder is checked. Blocks."""
    tools = settings.tools
    if tools.source == "service" and tools.address:
        IndexClient(tools.address, seconds=_client_seconds(tools)).check()
    elif tools.source in ("corpus", "service"):
        if str(_path(tools)) != "python":
            LocalCorpus(_path(tools)).check()
    elif tools.source != "python":
        _documents(tools, settings.research_settings)


def _documents(tools: ToolSettings, research: ResearchSettings) -> Documents:
    rules = SourceRules.of(research)
    match tools.source:
        case "live":
            return choose_backend(research)
        case "recorded":  # the source rules held when it was recorded
            replay = Replay(_path(tools))
            return replay, replay
        case "service":
            client = _service(tools)
            return _ruled(client, client, rules)
        case "python":
            corpus: IndexedCorpus = PythonCorpus()
        case "corpus":
            # Documents do not change under a run: what a rollout found, its siblings find.
            corpus = LocalCorpus(_path(tools), refresh_seconds=math.inf)
    corpus.update()
    return _ruled(corpus, corpus, rules)


def _service(tools: ToolSettings) -> IndexClient:
    seconds = _client_seconds(tools)
    if tools.address:
        client = IndexClient(tools.address, seconds=seconds)
    else:
        folder = str(_path(tools))
        client = IndexClient(lambda: shared_index(folder), seconds=seconds)
    client.check()
    return client


def _client_seconds(tools: ToolSettings) -> float:
    """Less than a page's time: an index that is silent is a service's fault, not a page's."""
    return 0.8 * min(tools.timeout, tools.page_timeout)


def _ruled(search: SearchBackend, reader: PageReader, rules: SourceRules) -> Documents:
    if rules.empty:
        return search, reader
    return RuledSearch(search, rules), RuledReader(reader, rules)


def _path(tools: ToolSettings) -> Path:
    if tools.path is None:
        what = "the file of recorded answers" if tools.source == "recorded" else "the folder"
        raise ConfigurationError(
            f"oresearch.tools.source={tools.source} needs {what}: set oresearch.tools.path"
        )
    return tools.path
