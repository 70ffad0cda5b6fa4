"""What a run was begun with is part of it: a resume, in this process or another, goes on with that;
what is set explicitly later wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command
from pydantic import SecretStr

from oresearch_graph import create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

QUESTION: Any = {"question": "What causes tides?"}
THREAD: Any = {"configurable": {"thread_id": "1"}}
APPROVED: Any = Command(resume={"action": "approve"})
BRAIN = ResearchBrain(("tides and the Moon", "tides and the Sun"), calls=1)


def stored_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def graph(server: OpenAIServer, saver: Any, **more: Any) -> Any:
    settings = ResearchSettings(
        base_url=server.base_url,
        model="first",
        rendering="turns",
        approve_plan=True,
        verifier="off",
    )
    return create_research_graph(
        search=Documents(PAGES), settings=settings, checkpointer=saver, **more
    )


@pytest.mark.parametrize("same", [True, False], ids=["in the process", "in another"])
async def test_a_resume_without_its_context_goes_on_with_it(tmp_path: Path, same: bool):
    context = ResearchSettings(model="second", max_tool_calls=1)
    with OpenAIServer(BRAIN, models=("first", "second")) as server:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "runs")) as saver:
            begun = graph(server, saver)
            await begun.ainvoke(QUESTION, THREAD, context=context)
            resumed = begun if same else graph(server, saver)
            result = await resumed.ainvoke(APPROVED, THREAD)
    assert {body["model"] for body in server.requests if "messages" in body} == {"second"}
    assert set(result["trace"].models.values()) == {"second"}
    assert all(u.tool_calls <= 1 for u in result["trace"].usage)


async def test_a_later_setting_wins_and_is_on_record(tmp_path: Path):
    with OpenAIServer(BRAIN, models=("first", "second")) as server:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "runs")) as saver:
            begun = graph(server, saver)
            await begun.ainvoke(QUESTION, THREAD)
            resumed = graph(server, saver)
            later = ResearchSettings(model="second")
            result = await resumed.ainvoke(APPROVED, THREAD, context=later)
            state = await resumed.aget_state(THREAD)
    assert result["trace"].models == {
        "planner": "first", "researcher": "second", "summarizer": "second",
    }  # fmt: skip
    assert state.values["run"].settings == {"model": "second"}


async def test_a_second_question_is_a_run_of_its_own(tmp_path: Path):
    with OpenAIServer(BRAIN, models=("first", "second")) as server:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "runs")) as saver:
            begun = graph(server, saver)
            context = ResearchSettings(model="second", approve_plan=False)
            await begun.ainvoke(QUESTION, THREAD, context=context)
            context = ResearchSettings(approve_plan=False)
            result = await begun.ainvoke({"question": "And the Sun?"}, THREAD, context=context)
    assert result["trace"].models["researcher"] == "first"


async def test_what_no_state_can_hold_must_be_given_again(tmp_path: Path):
    policy = ScriptedPolicy(research_script())
    settings = ResearchSettings(approve_plan=True)
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "runs")) as saver:
        begun = create_research_graph(
            policy, search=Documents(PAGES), settings=settings, checkpointer=saver
        )
        await begun.ainvoke(QUESTION, THREAD)
        without_model = create_research_graph(search=Documents(PAGES), checkpointer=saver)
        with pytest.raises(ConfigurationError, match="begun with model=scripted: give model"):
            await without_model.ainvoke(APPROVED, THREAD)
        without_search = create_research_graph(policy, checkpointer=saver)
        with pytest.raises(ConfigurationError, match="begun with search=documents: give search"):
            await without_search.ainvoke(APPROVED, THREAD)
        whole = create_research_graph(policy, search=Documents(PAGES), checkpointer=saver)
        assert (await whole.ainvoke(APPROVED, THREAD))["trace"].outcome == "complete"


async def test_a_key_is_in_no_state_and_asked_for_again(tmp_path: Path):
    secret = "sk-very-secret-0123456789"
    context = ResearchSettings(parameters={"planner": {"api_key": SecretStr(secret)}})
    with OpenAIServer(BRAIN, models=("first",)) as server:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "runs")) as saver:
            begun = graph(server, saver)
            await begun.ainvoke(QUESTION, THREAD, context=context)
            assert secret.encode() not in stored_in(tmp_path)
            with pytest.raises(ConfigurationError, match="begun with parameters that hold a key"):
                await graph(server, saver).ainvoke(APPROVED, THREAD)
            result = await begun.ainvoke(APPROVED, THREAD)
    assert result["trace"].outcome == "complete"
