"""`import`: traces from elsewhere join the run's candidates, with their questions as seeds.

Three kinds of row are read: a tagged trajectory as the O-Researcher authors publish them (`prompt`,
`current_answer`), an OpenAI-style message log (`messages`), and a Trace of this project. An id is
made of what a row holds, so importing it twice adds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from datagen.imports.message_log import read_log
from datagen.imports.trace import ImportFault, trace_of
from datagen.questions.files import load_benchmarks
from datagen.questions.index import Benchmarks
from datagen.questions.likeness import tidy, wording
from datagen.records import Seed, seed_id
from datagen.run.folder import Counts, Work
from datagen.run.record_files import RecordWriter, read_records
from datagen.run.rows import FileRow, read_rows
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.text.language import detect_language
from oresearch_graph.trace import Trace, TraceWriter, parse_trace, text_hash
from oresearch_graph.trace.validation import first_fault

_QUESTIONS: Final = ("prompt", "question", "query")
_MODELS: Final = ("model", "model_name")
_TOLD: Final = 20
"""Rows left out that are told of one by one."""


def import_files(work: Work, files: Sequence[Path]) -> Counts:
    """Append the traces of files to `imported.jsonl`, and the questions that are no seeds yet to
    `seeds.jsonl`; the seeds stage keeps those.

    A row that is no trace is told with its place, and so is one whose question is a benchmark's;
    the others are imported. Raises ConfigurationError for a file that cannot be read or holds no
    trace at all; what was imported before stays.
    """
    benchmarks = load_benchmarks(work.settings.seeds)
    with (
        TraceWriter(work.run.imported) as traces,
        RecordWriter(work.run.seeds, Seed) as seeds,
    ):
        importing = _Importing(work, benchmarks, traces, seeds)
        for file in files:
            importing.file(file)
    return importing.counts


class _Importing:
    """One import, and what it counts."""

    def __init__(
        self, work: Work, benchmarks: Benchmarks, traces: TraceWriter, seeds: RecordWriter[Seed]
    ) -> None:
        self._work, self._benchmarks = work, benchmarks
        self._traces, self._seeds = traces, seeds
        self._known = {
            seed_id(seed.question): seed.id for seed in read_records(work.run.seeds, Seed)
        }
        self.counts: Counts = dict.fromkeys(
            ("imported", "there_already", "new_seeds", "contaminated", "broken"), 0
        )

    def file(self, file: Path) -> None:
        sound, first_fault = 0, ""
        for row in read_rows(str(file)):
            try:
                self._row(row, file)
                sound += 1
            except ImportFault as fault:
                first_fault = first_fault or f"{row.place}: {fault}"
                self._left_out("broken", row, str(fault))
        if not sound:
            raise ConfigurationError(f"{file}: no trace in it: {first_fault or 'it is empty'}")

    def _row(self, row: FileRow, file: Path) -> None:
        if row.fault:
            raise ImportFault(row.fault)
        trace = read_trace(row.values)
        question = tidy(trace.question)
        benchmark = self._benchmarks.find(wording(question))
        if benchmark is not None:
            self._left_out("contaminated", row, f"it is a benchmark's question: {benchmark[:200]}")
            return
        seed = self._known.get(seed_id(question))
        name = f"{seed or seed_id(question)}.i{_mark(row.values)}"
        if seed is None:  # before its trace, so that a kill leaves no trace without its seed
            seed = self._new_seed(question, trace, file)
        if name in self._traces.done:
            self.counts["there_already"] += 1
            return
        self._traces.write(trace.model_copy(update={"id": name}))
        self.counts["imported"] += 1

    def _new_seed(self, question: str, trace: Trace, file: Path) -> str:
        seed = Seed(
            id=seed_id(question), question=question, source=file.name, origin="imported",
            language=trace.language or detect_language(question),
        )  # fmt: skip
        self._seeds.write(seed)
        self._known[seed.id] = seed.id
        self.counts["new_seeds"] += 1
        return seed.id

    def _left_out(self, count: str, row: FileRow, why: str) -> None:
        self.counts[count] += 1
        count_so_far = self.counts["broken"] + self.counts["contaminated"]
        if count_so_far <= _TOLD:
            self._work.say(f"{row.place}: left out: {' '.join(why.split())}")


def read_trace(values: Mapping[str, Any]) -> Trace:
    """The Trace of a row, without an id of this run. Raises ImportFault."""
    if "messages" in values:
        return _of_log(values)
    if "current_answer" in values:
        return _of_trajectory(values)
    if "steps" in values and "question" in values:
        return _of_trace(values)
    raise ImportFault(
        f"it has the columns {', '.join(map(str, values)) or '(none)'}: a message log has "
        "`messages`, a trajectory `prompt` and `current_answer`"
    )


def _of_log(values: Mapping[str, Any]) -> Trace:
    log = read_log(values["messages"])
    prompt = text_hash(log.system)[:16] if log.system else ""
    return trace_of(
        log.question, log.steps, prompt=prompt, tools=log.tools, model=_text(values, _MODELS)
    )


def _of_trajectory(values: Mapping[str, Any]) -> Trace:
    """In the released models' runs one context grew: the policy wrote the subtasks as well."""
    question, text = _text(values, _QUESTIONS), values["current_answer"]
    if question is None:
        raise ImportFault("there is no question in it (`prompt`)")
    if not isinstance(text, str) or not text.strip():
        raise ImportFault("`current_answer` holds no text")
    parsed = parse_trace(text, execution="sequential", question=question)
    return trace_of(
        parsed.question, parsed.steps, tools=parsed.protocol.tools, model=_text(values, _MODELS)
    )


def _of_trace(values: Mapping[str, Any]) -> Trace:
    try:
        return Trace.model_validate_json(json.dumps(values))
    except (ValidationError, ValueError, TypeError) as error:
        why = first_fault(error, "it") if isinstance(error, ValidationError) else str(error)
        raise ImportFault(f"it is no Trace: {why}") from error


def _text(values: Mapping[str, Any], names: Sequence[str]) -> str | None:
    texts: Iterator[Any] = (values.get(name) for name in names)
    return next((text for text in texts if isinstance(text, str) and text.strip()), None)


def _mark(values: Mapping[str, Any]) -> str:
    """Of all that a row holds, however its file writes it."""
    content = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
    return text_hash(content)[:10]
