"""The SQLite saver against LangGraph's own suite for savers, the part for servers included."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES

from oresearch_graph.graph.sqlite_saver import sqlite_saver


async def test_langgraphs_suite_for_savers_passes_whole(tmp_path: Path):
    @checkpointer_test(name="sqlite")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        async with sqlite_saver(tmp_path / "checkpoints.sqlite") as made:
            yield made

    report = await validate(saver)
    assert report.passed_all(), report
    assert set(report.results) == {capability.value for capability in ALL_CAPABILITIES}


async def test_another_strategy_is_refused_in_one_line(tmp_path: Path):
    async with sqlite_saver(tmp_path / "checkpoints.sqlite") as saver:
        with pytest.raises(
            ValueError, match="there is no strategy 'oldest': keep_latest or delete"
        ):
            await saver.aprune(["1"], strategy="oldest")
    assert (tmp_path / "checkpoints.sqlite").stat().st_mode & 0o077 == 0
