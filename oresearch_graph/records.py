"""Where a stored run finds the types of its records, wherever their code lies.

A checkpoint names a type by module and name. Each record that one holds bears the name of this
module, so any saver reads it by importing it from here, and moving its code breaks no stored run.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, TypeVar

Stored = TypeVar("Stored", bound=type)

_HOMES: Final = {
    "BranchTask": "graph.state",
    "CitationReport": "trace.record",
    "Failure": "trace.record",
    "Findings": "graph.state",
    "Protocol": "trace.record",
    "Run": "graph.state",
    "Serving": "policies.serving",
    "Source": "trace.record",
    "Span": "trace.record",
    "Step": "trace.step",
    "Trace": "trace.record",
    "Usage": "trace.record",
}
"""Names are never changed or taken away; homes may be."""

NAMES: Final = tuple((__name__, name) for name in _HOMES)
"""Module and name of each record, as a checkpoint names it."""


def stored(record: Stored) -> Stored:
    """A class decorator: checkpoints name the record by this module."""
    if record.__name__ not in _HOMES:
        raise TypeError(f"{record.__name__} has no home in {__name__}")
    record.__module__ = __name__
    return record


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the record of that name
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"oresearch_graph.{_HOMES[name]}"), name)
