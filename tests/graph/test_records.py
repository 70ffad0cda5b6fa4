"""Stored runs outlive the places of their records' code."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

import oresearch_graph
from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.records import NAMES, stored
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}
RESUMED = """
import asyncio, sys
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command
from oresearch_graph import Trace, create_research_graph
from oresearch_graph.trace.moved import Step
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

async def main():
    async with AsyncSqliteSaver.from_conn_string(sys.argv[1]) as saver:
        graph = create_research_graph(
            ScriptedPolicy(research_script()), search=Documents(PAGES), checkpointer=saver
        )
        thread = {"configurable": {"thread_id": "one"}}
        state = (await graph.aget_state(thread)).values
        assert all(type(step) is Step for step in state["plan"]), state["plan"]
        result = await graph.ainvoke(Command(resume={"action": "approve"}), thread)
        assert type(result["trace"]) is Trace
        print(result["trace"].outcome)

asyncio.run(main())
"""


@pytest.mark.parametrize("name", [name for _, name in NAMES])
def test_a_record_is_found_and_named_by_its_permanent_path(name: str) -> None:
    record = getattr(import_module("oresearch_graph.records"), name)
    assert (record.__module__, record.__qualname__) in NAMES
    assert pickle.loads(pickle.dumps(record)) is record  # noqa: S301


def test_a_record_without_a_home_is_refused() -> None:
    with pytest.raises(TypeError, match="Guest has no home"):
        stored(type("Guest", (), {}))


async def _stopped_for_approval(file: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        graph = create_research_graph(
            ScriptedPolicy(research_script()), search=Documents(PAGES), checkpointer=saver,
            settings=ResearchSettings(approve_plan=True),
        )  # fmt: skip
        question: Any = {"question": "What causes tides?"}
        assert "__interrupt__" in await graph.ainvoke(question, THREAD)


async def test_checkpoints_name_nothing_else_of_this_package(tmp_path: Path) -> None:
    file = tmp_path / "state.sqlite"
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        graph = create_research_graph(
            ScriptedPolicy(research_script()), search=Documents(PAGES), checkpointer=saver
        )
        question: Any = {"question": "What causes tides?"}
        await graph.ainvoke(question, THREAD)
        # By its values: in the file a page may end in the middle of a name.
        rows = await saver.conn.execute_fetchall(
            "SELECT CAST(checkpoint AS BLOB), CAST(metadata AS BLOB) FROM checkpoints "
            "UNION ALL SELECT CAST(type AS BLOB), CAST(value AS BLOB) FROM writes"
        )
    stored_values = b"\n".join(value for row in rows for value in row if value)
    named = set(re.findall(rb"oresearch_graph[.\w]*", stored_values))
    assert named == {b"oresearch_graph.records"}


def test_a_run_goes_on_after_a_record_was_moved(tmp_path: Path) -> None:
    file = tmp_path / "state.sqlite"
    asyncio.run(_stopped_for_approval(file))
    house = tmp_path / "house"
    package = shutil.copytree(Path(oresearch_graph.__file__).parent, house / "oresearch_graph")
    shutil.copytree(Path(__file__).parents[1], house / "tests")
    (package / "trace" / "step.py").rename(package / "trace" / "moved.py")
    for path in package.rglob("*.py"):
        text = path.read_text("utf-8")
        path.write_text(re.sub(r"\btrace\.step\b", "trace.moved", text), "utf-8")
    resumed = subprocess.run(
        [sys.executable, "-P", "-c", RESUMED, str(file)], cwd=house,
        env={**os.environ, "PYTHONPATH": str(house)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (resumed.stdout.strip(), resumed.returncode) == ("complete", 0), resumed.stderr
