"""`oresearch doctor` against servers that differ in what they can."""

from __future__ import annotations

from typing import Any

import pytest

from oresearch_graph.command import doctor
from oresearch_graph.command.doctor import diagnose, print_servers
from oresearch_graph.errors import ConfigurationError, PolicyError
from oresearch_graph.policies.chat.probe import PROBES
from oresearch_graph.policies.chat.servers import KINDS
from oresearch_graph.settings import ResearchSettings
from tests.helpers.loopback_proxy import without_network_variables
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import (
    Habits,
    ToolCalls,
)

SETTINGS = ResearchSettings(search="python")


@pytest.fixture(autouse=True)
def _nothing_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    PROBES.forget()
    without_network_variables(monkeypatch)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("TAVILY_API_KEY", raising=False)


def counting(messages: list[dict[str, Any]], body: dict[str, Any]) -> str | ToolCalls:
    if body.get("tools"):
        return ToolCalls((("web_search", {"queries": ["the Quill bridge"]}),))
    return " 7, 8, 9" if messages[-1]["role"] == "assistant" else "1, 2, 3, 4, 5, 6, 7, 8, 9"


def findings(server: OpenAIServer, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert diagnose(server.base_url, None, SETTINGS) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 10
    return {label: text.strip() for label, _, text in (each.partition(" ") for each in told)}


def test_a_server_that_can_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with OpenAIServer(counting, Habits(on_final_assistant="echo")) as server:
        told = findings(server, capsys)
    assert told["server"].endswith(server.base_url)
    assert told["model"] == "fake"
    assert told["rendering"].startswith("prefill: the server continues")
    assert told["stop"] == "stop strings end the text"
    assert told["tools"] == "native tool calls"
    assert told["usage"] == "prompt, reply, cached"
    assert told["pace"].endswith("tokens/s")
    assert told["keys"] == "not set: OPENAI_API_KEY, TAVILY_API_KEY"
    assert told["search"].startswith("Python's own documentation")


def test_a_server_that_can_next_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    habits = Habits(honours_stop=False, tool_calling=False, usage=False)
    with OpenAIServer(counting, habits) as server:
        told = findings(server, capsys)
    assert told["rendering"].startswith("turns: the server answers anew")
    assert told["stop"] == "stop strings are ignored"
    assert told["tools"] == "no native tool call was made"
    assert told["usage"] == "none: token budgets cannot hold"
    assert told["pace"] == "not known: no tokens counted"


def test_a_dead_port_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"9/v1.* add --model NAME"):
        diagnose("http://127.0.0.1:9/v1", None, SETTINGS)
    with pytest.raises(PolicyError, match="no connection"):
        diagnose("http://127.0.0.1:9/v1", "m", SETTINGS)


def test_servers_of_this_machine_are_looked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer(counting) as server:
        port = int(server.base_url.rpartition(":")[2].removesuffix("/v1"))
        monkeypatch.setattr(doctor, "PORTS", {port: "llama.cpp", 9: "Ollama"})
        assert diagnose(None, None, SETTINGS) == 0
        told = capsys.readouterr().out
        assert f"next        oresearch doctor --base-url {server.base_url}" in told
    monkeypatch.setattr(doctor, "PORTS", {9: "Ollama"})
    assert diagnose(None, None, SETTINGS) == 1
    assert "none on this machine's usual ports: 9 (Ollama)" in capsys.readouterr().out


def test_each_kind_of_server_says_whether_it_was_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert print_servers() == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(KINDS)
    for kind, line in zip(KINDS, told, strict=True):
        assert line.startswith(kind.name)
        assert ("not recorded" in line) is not kind.recorded
        assert kind.source in line
