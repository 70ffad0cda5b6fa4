"""The graphs that langgraph.json names, with nothing fixed: `research` for Studio and clients of
threads, `deep_research` for other agents.

Settings come from `ORESEARCH_*` variables, and what a client may choose from each run's context,
which Studio shows as a form.
"""

from __future__ import annotations

import os

from oresearch_graph.environment import resolve_settings
from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.served.client_settings import client_settings
from oresearch_graph.served.deep_research import deep_research_graph

_server = resolve_settings()
_models = os.environ.get("ORESEARCH_ALLOWED_MODELS", "").split(",")
graph = create_research_graph(settings=_server)
graph.context_schema = client_settings(
    _server, [name for each in _models if (name := each.strip())]
)
deep_research = deep_research_graph(graph)
