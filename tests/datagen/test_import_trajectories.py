"""Trajectories in the released models' form, as tagged text with the question beside it."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from datagen.imports.stage import import_files
from datagen.records import Seed
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import read_records
from datagen.settings import DatagenSettings
from oresearch_graph.trace import Trace, read_traces, violations

RELEASED = """<subtask_list>
1. What causes tides
2. How large tides get
</subtask_list>
<subtask>What causes tides</subtask>
<think>The cause first.</think>
<web_search>query=cause of tides | moon & sun&num=3</web_search>
<observation>[1] Tides
https://example.org/tides
Tides are caused by the Moon.</observation>
<think>That is it.</think>
<subtask_answer>The Moon causes tides [1].

References
[1]. https://example.org/tides - Tides</subtask_answer>
<subtask>How large tides get</subtask>
<think>A page will say.</think>
<crawl_page>url=https://example.org/bay</crawl_page>
<observation>https://example.org/bay
In the bay tides reach 16 metres.</observation>
They reach 16 metres.</subtask_answer>
"""
REPORT = """<suggested_answer>
## Introduction
Tides.

## Body
The Moon causes tides [1].

## Conclusion
The Moon does.

## References
[1]. https://example.org/tides - Tides
</suggested_answer>
"""


def imported(folder: Path, trajectory: str) -> tuple[Work, Trace]:
    file = folder / "released.jsonl"
    row = {"id": 7, "prompt": "What causes tides, and how large are they?", "article": "",
           "current_answer": trajectory}  # fmt: skip
    file.write_text(json.dumps(row), "utf-8")
    work = Work(RunFolder(folder / "run"), DatagenSettings(), Console(file=io.StringIO()))
    assert import_files(work, [file])["imported"] == 1
    (trace,) = read_traces(work.run.imported)
    return work, trace


def test_a_finished_one_keeps_its_authors_its_sources_and_its_faults(tmp_path: Path):
    work, trace = imported(tmp_path, RELEASED + REPORT)
    (seed,) = read_records(work.run.seeds, Seed)
    assert (seed.origin, trace.id.rpartition(".")[0]) == ("imported", seed.id)
    assert (trace.protocol.dialect, trace.protocol.execution) == ("released", "sequential")
    assert (trace.outcome, trace.models, trace.usage) == ("complete", {}, ())
    assert all((s.author == "world") == (s.kind == "observation") for s in trace.steps)
    assert trace.sources is not None
    assert "https://example.org/tides" in {source.url for source in trace.sources}
    assert trace.citations is not None
    assert [claim.status for claim in trace.citations.claims] == ["found"]
    assert "missing_open_tag" in {violation.code for violation in violations(trace)}


def test_one_that_was_cut_short_is_partial(tmp_path: Path):
    _, trace = imported(tmp_path, RELEASED)
    assert trace.outcome == "partial"
    assert trace.answer is None
    assert "no_suggested_answer" in {violation.code for violation in violations(trace)}
