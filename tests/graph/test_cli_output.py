"""What goes to standard output and error commands no terminal, piped or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oresearch_graph.command import cli
from oresearch_graph.command.outcome import as_json, print_report
from oresearch_graph.command.places import Places
from oresearch_graph.command.terminal import json_line
from oresearch_graph.errors import ToolError
from oresearch_graph.trace import Failure, Trace

ODD = "\x1b]0;pwned\x07\x9b31m\r\u202e\u2066\u200f\u061c\u2028\ufeff\x00"
COMMANDS = set("\x1b\x07\x9b\r\u202e\u2066\u200f\u061c\x00")


def test_a_piped_report_is_harmless(capsys: pytest.CaptureFixture[str]):
    print_report(f"# 潮汐\n\nTides{ODD} are large.\n")
    out = capsys.readouterr().out
    assert not set(out) & COMMANDS
    assert out.startswith("# 潮汐\n\nTides")


def test_json_is_read_back_and_harmless():
    failure = Failure(name="tool_error", fault="web", message=ODD)
    told = as_json(
        Trace(question=f"潮汐 {ODD}", failures=(failure,)), ODD, Places((Path("r.md"),), Path("t"))
    )
    assert not set(told) & {*COMMANDS, "\u2028", "\ufeff"}
    assert "潮汐" in told
    assert json.loads(told)["report"] == ODD
    assert json.loads(json_line({"a": ODD})) == {"a": ODD}


def test_an_error_is_one_harmless_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fails() -> None:
        raise ToolError(f"the service said\n{ODD}: try again")

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit):
        cli.main()
    error = capsys.readouterr().err
    assert error.endswith(": try again\n")
    assert error.count("\n") == 1
    assert not set(error) & COMMANDS
