"""Trace files: appended to, streamed, resumed, and what is said of broken ones."""

from __future__ import annotations

import json
import multiprocessing
import resource
from pathlib import Path
from typing import Any

import pytest

from oresearch_graph.errors import TraceFileError
from oresearch_graph.trace import (
    Protocol,
    Step,
    Trace,
    TraceWriter,
    read_traces,
    trace_json_schema,
    write_traces,
)
from tests.helpers.traces import good_trace


def named(name: str) -> Trace:
    return good_trace().model_copy(update={"id": name})


def test_traces_are_appended_and_read_back_equal(tmp_path: Path):
    path = tmp_path / "deep" / "traces.jsonl"
    write_traces(path, [named("a")])
    write_traces(path, [named("b")])
    assert list(read_traces(path)) == [named("a"), named("b")]


def test_reading_streams(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    write_traces(path, [named("a"), named("b")])
    with path.open("a") as file:
        file.write("broken\n")
    stream = read_traces(path)
    assert next(stream).id == "a"


def test_a_writer_knows_what_was_done(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    write_traces(path, [named("a")])
    with TraceWriter(path) as writer:
        assert writer.done == {"a"}
        writer.write(named("b"))
        assert writer.done == {"a", "b"}


def test_a_line_cut_by_a_crash_is_set_aside_and_nothing_else(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    write_traces(path, [named("a"), named("b")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with TraceWriter(path) as writer:
        assert writer.done == {"a"}
        writer.write(named("c"))
    assert [trace.id for trace in read_traces(path)] == ["a", "c"]
    aside = (tmp_path / "t.jsonl.cut").read_bytes()
    assert whole.splitlines()[1].startswith(aside.rstrip(b"\n"))


def test_a_broken_line_is_named_with_its_place(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    write_traces(path, [named("a")])
    with path.open("a") as file:
        file.write('{"question": 3}\n')
    with pytest.raises(TraceFileError, match=r"t\.jsonl:2: not a trace: question"):
        list(read_traces(path))


def test_a_cut_last_line_says_so(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"question": "a"')
    with pytest.raises(TraceFileError, match="was the writer killed"):
        list(read_traces(path))


def test_a_missing_file_is_one_line(tmp_path: Path):
    with pytest.raises(TraceFileError, match="cannot be read: No such file"):
        list(read_traces(tmp_path / "none.jsonl"))


def append(path: Path, name: str) -> None:
    with TraceWriter(path) as writer:
        for number in range(20):
            writer.write(named(f"{name}{number}"))


def test_processes_may_share_a_file(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    expected = {f"{name}{number}" for name in "ab" for number in range(20)}
    assert {trace.id for trace in read_traces(path)} == expected


def fill(path: Path) -> None:
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with TraceWriter(path) as writer:
            writer.write(named("b"))
    except TraceFileError:
        raise SystemExit(7) from None


def test_a_full_disk_loses_nothing_and_leaves_no_part(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    write_traces(path, [named("a")])
    process = multiprocessing.get_context("spawn").Process(target=fill, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == 7
    assert [trace.id for trace in read_traces(path)] == ["a"]


def test_the_schema_describes_a_line():
    schema = trace_json_schema()
    line = json.loads(good_trace().model_dump_json())
    assert set(schema["properties"]) == set(line)
    assert schema["properties"]["version"]["const"] == 2
    assert set(schema["$defs"]["Step"]["properties"]) == set(Step.model_fields)


def test_a_record_of_another_version_or_with_unknown_fields_is_refused():
    line = json.loads(good_trace().model_dump_json())
    for change in ({"version": 3}, {"token_ids": [1]}):
        with pytest.raises(ValueError, match=next(iter(change))):
            Trace.model_validate(line | change)


def test_version_1_is_read():
    def claim(status: str, *missing: str) -> dict[str, Any]:
        return {"start": 0, "end": 1, "text": "x", "sources": [1], "status": status,
                "missing": missing}  # fmt: skip

    claims = [
        claim("supported"),
        claim("unsupported"),
        claim("unsupported", "3"),
        claim("dangling"),
    ]
    line = json.loads(good_trace().model_dump_json()) | {
        "version": 1, "citations": {"claims": claims, "sentences": 4},
    }  # fmt: skip
    trace = Trace.model_validate(line)
    assert trace.version == 2
    assert trace.citations is not None
    assert [c.status for c in trace.citations.claims] == [
        "found", "unchecked", "missing", "dangling",
    ]  # fmt: skip
    assert Trace.model_validate_json(trace.model_dump_json()) == trace


def test_fingerprints_tell_protocols_apart():
    protocols = [
        Protocol(), Protocol(dialect="released"), Protocol(execution="sequential"),
        Protocol(prompt="x"), Protocol(tools=("look_up",)), Protocol(extended=True),
        Protocol(constrained=True), Protocol(changed_by=("PIIMiddleware[email]",)),
    ]  # fmt: skip
    assert len({protocol.fingerprint for protocol in protocols}) == len(protocols)
    assert Protocol().fingerprint == Protocol().fingerprint
