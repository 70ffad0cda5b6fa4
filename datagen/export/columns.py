"""The columns of every file of a data set, as Arrow schemas."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from oresearch_graph.rows.files import arrow_columns
from oresearch_graph.rows.rl import rl_schema
from oresearch_graph.rows.sft import SFTRow

_TEXT: Final = pa.string()


def _list(**fields: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct(fields))


_EVIDENCE: Final = _list(
    source=pa.int64(), start=pa.int64(), end=pa.int64(), quote=_TEXT, score=pa.float64()
)
_ABOUT: Final[dict[str, pa.DataType]] = {
    "seed": _TEXT,
    "language": _TEXT,
    "domain": _TEXT,
    "models": _list(role=_TEXT, name=_TEXT),
    "quality": pa.float64(),
}
_MESSAGES: Final = _list(
    role=_TEXT,
    content=_TEXT,
    tool_calls=_list(id=_TEXT, type=_TEXT, function=pa.struct({"name": _TEXT, "arguments": _TEXT})),
    tool_call_id=_TEXT,
)

SFT: Final = pa.schema(
    {
        **arrow_columns(SFTRow),
        **_ABOUT,
        "sources": _list(id=pa.int64(), number=pa.int64(), url=_TEXT, title=_TEXT, sha256=_TEXT),
        "citations": _list(
            start=pa.int64(), end=pa.int64(), text=_TEXT, status=_TEXT,
            sources=pa.list_(pa.int64()), evidence=_EVIDENCE,
        ),
        "sha256": _TEXT,
    }
)  # fmt: skip
MESSAGES: Final = pa.schema(
    {"id": _TEXT, **_ABOUT, "messages": _MESSAGES, "tools": _TEXT, "sha256": _TEXT}
)
SHAREGPT: Final = pa.schema(
    {
        "id": _TEXT, **_ABOUT, "system": _TEXT,
        "conversations": _list(**{"from": _TEXT, "value": _TEXT}), "sha256": _TEXT,
    }
)  # fmt: skip
PREFERENCE: Final = pa.schema(
    {
        "id": _TEXT, "seed": _TEXT, "thread": _TEXT, "execution": _TEXT,
        "chosen_id": _TEXT, "rejected_id": _TEXT,
        "chosen_quality": pa.float64(), "rejected_quality": pa.float64(), "margin": pa.float64(),
        "prompt": _list(role=_TEXT, content=_TEXT),
        "chosen": _list(role=_TEXT, content=_TEXT),
        "rejected": _list(role=_TEXT, content=_TEXT),
        "chosen_segments": _list(author=_TEXT, text=_TEXT),
        "rejected_segments": _list(author=_TEXT, text=_TEXT),
        "sha256": _TEXT,
    }
)  # fmt: skip
SOURCES: Final = pa.schema(
    {
        "trace_id": _TEXT,
        "seed": _TEXT,
        "sources": _list(
            id=pa.int64(), url=_TEXT, title=_TEXT, text=_TEXT, sha256=_TEXT, read=pa.bool_(),
            published=_TEXT,
        ),
        "sha256": _TEXT,
    }
)  # fmt: skip
SELECTION: Final = pa.schema(
    {
        "seed": _TEXT, "candidates": pa.int64(), "judged": pa.int64(), "accepted": pa.int64(),
        "mean": pa.float64(), "variance": pa.float64(), "lowest": pa.float64(),
        "highest": pa.float64(), "question_sha256": _TEXT, "sha256": _TEXT,
    }
)  # fmt: skip

CONFIGS: Final[dict[str, pa.Schema]] = {
    "sft-threads": SFT,
    "sft-linear": SFT,
    "messages": MESSAGES,
    "sharegpt": SHAREGPT,
    "preference": PREFERENCE,
    "rl": rl_schema(),
    "rl-selection": SELECTION,
    "sources": SOURCES,
}
"""A folder for each, and a name for `datasets.load_dataset`."""
