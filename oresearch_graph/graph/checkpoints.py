"""Checkpoint savers that know this graph's record types, so that reading a checkpoint neither
warns nor is refused where LangGraph restricts what may be deserialized."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from oresearch_graph.records import NAMES
from oresearch_graph.redaction import redacted


class RecordSerializer(JsonPlusSerializer):
    """LangGraph's serializer, which keeps an exception as its text; here without secrets."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:  # noqa: ANN401 - LangGraph's signature
        return super().dumps_typed(redacted(repr(obj)) if isinstance(obj, BaseException) else obj)


def record_serializer(
    more: Sequence[type] = (), *, pickle_fallback: bool = False
) -> JsonPlusSerializer:
    """That serializer, with our records (and `more` types) allowed by name."""
    names = [*NAMES, *((kind.__module__, kind.__name__) for kind in more)]
    return RecordSerializer(pickle_fallback=pickle_fallback, allowed_msgpack_modules=names)


def knowing_records(
    saver: BaseCheckpointSaver[str], more: Sequence[type] = ()
) -> BaseCheckpointSaver[str]:
    """The saver, or a copy on the same storage that reads our records without a warning.

    A serializer of the embedder's own, such as an encrypting one, is kept.
    """
    names = [*NAMES, *((kind.__module__, kind.__name__) for kind in more)]
    allowing = saver.with_allowlist(names)
    if allowing is not saver or type(saver.serde) is not JsonPlusSerializer:
        return allowing
    # LangGraph's default allows every type, with a warning for each: with_allowlist leaves it so.
    allowing = copy.copy(saver)
    allowing.serde = record_serializer(more, pickle_fallback=saver.serde.pickle_fallback)
    return allowing
