"""The application that langgraph.json names as `http.app`: LangGraph's server puts its routes
into it, and the middleware here runs before all of them.

Loading it makes the process a server's: what it writes from then on is for its owner only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from oresearch_graph.served.gate import STUDIO, RequestGate

_STORE: Final = Path(".langgraph_api")
"""Where LangGraph's development server keeps threads and runs; it may have been made already."""

os.umask(0o077)
if _STORE.is_dir():
    _STORE.chmod(0o700)

_named = os.environ.get("ORESEARCH_ALLOWED_ORIGINS", "").split(",")
origins = [STUDIO, *(origin for each in _named if (origin := each.strip(" /")))]

app = Starlette(
    middleware=[
        Middleware(cast("Any", RequestGate), origins=origins),
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=["x-pagination-total", "x-pagination-next", "content-location"],
        ),
    ]
)
