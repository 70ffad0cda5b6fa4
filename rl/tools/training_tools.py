"""The documents of a training run: which ones, shared in a process, patient for each rollout."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.backend import Hits, PageReader, SearchBackend
from oresearch_graph.tools.choose import Documents, choose_backend
from oresearch_graph.tools.corpus.local import IndexedCorpus, LocalCorpus
from oresearch_graph.tools.corpus.python_docs import PythonCorpus
from oresearch_graph.tools.recorded import Replay
from oresearch_graph.tools.source_rules import RuledReader, RuledSearch, SourceRules
from rl.settings import RLSettings, ToolSettings
from rl.tools.index_actor import shared_index
from rl.tools.index_client import IndexClient
from rl.tools.patient_tools import Patience, PatientReader, PatientSearch, ToolCounts
from rl.tools.tool_limiter import ToolLimiter, tool_limiter

_LEASE_MARGIN: Final = 10.0
"""Seconds that a turn may outlast its try before its permit counts as a dead worker's."""


@dataclass(frozen=True)
class TrainingTools:
    """One rollout's documents, and what happened to its calls."""

    search: SearchBackend
    reader: PageReader
    counts: ToolCounts


def training_tools(settings: RLSettings, documents: Documents | None = None) -> TrainingTools:
    """The tools of one rollout over the process' documents, or over `documents` where given.

    The first call in a process opens the documents and may index a folder or start a service:
    await it in a thread, `open_documents` before that. Later ones are cheap. A process' event
    loop has one limiter. Raises ConfigurationError.
    """
    search, reader = documents or open_documents(settings)
    counts = ToolCounts()
    patience = Patience(settings.tools, _limiter(settings.tools), counts)
    return TrainingTools(PatientSearch(search, patience), PatientReader(reader, patience), counts)


_opened: dict[str, Documents] = {}
_opening = threading.Lock()


def open_documents(settings: RLSettings) -> Documents:
    """The documents that the settings name, opened once per process. Blocks while it opens them:
    call it in a thread. Raises ConfigurationError, and ToolError for a service out of order."""
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
        IndexClient(tools.address, seconds=_patience_of_client(tools)).check()
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
    seconds = _patience_of_client(tools)
    if tools.address:
        client = IndexClient(tools.address, seconds=seconds)
    else:
        folder = str(_path(tools))
        client = IndexClient(lambda: shared_index(folder), seconds=seconds)
    client.check()
    return client


def _patience_of_client(tools: ToolSettings) -> float:
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


_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[float, ...], ToolLimiter]] = (
    WeakKeyDictionary()
)


def _limiter(tools: ToolSettings) -> ToolLimiter:
    lease = max(tools.timeout, tools.page_timeout) + _LEASE_MARGIN
    of_loop = _limiters.setdefault(asyncio.get_running_loop(), {})
    key = (tools.concurrency, lease, tools.turn_timeout)
    if key not in of_loop:
        of_loop[key] = tool_limiter(tools.concurrency, lease=lease, longest_wait=tools.turn_timeout)
    return of_loop[key]


class Redirected:
    """A search backend that looks for `instead`, whatever is asked: the control arm in which
    observations are shuffled between questions. Hits come under the query that was asked."""

    def __init__(self, search: SearchBackend, instead: str) -> None:
        self.name = search.name
        self._search, self._instead = search, instead

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        [found] = await self._search.search([self._instead], k)
        return [found.model_copy(update={"query": query}) for query in queries]


def shuffled(tools: TrainingTools, question: str) -> TrainingTools:
    """The same tools, except that every search is for another rollout's `question`."""
    return replace(tools, search=Redirected(tools.search, question))
