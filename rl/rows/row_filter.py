"""Which traces and rows are trained on, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.prompts import system_prompt
from oresearch_graph.rows.sft import (
    WHOLE,
    RowsMode,
    SFTRow,
    UnclearThreads,
    holds_rows,
    read_rows,
    trace_rows,
)
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Execution, Outcome, Protocol, Trace, read_traces, text_hash
from rl.rows.fingerprint import training_protocol

Reason = Literal[
    "extended",  # prompts beyond the training protocol
    "changed",  # middleware changed a request or a reply
    "other_fingerprint",
    "extractive",  # written without a language model
    "repaired",  # rejected text was corrected under a prompt that training does not show
    "outcome",
    "unclear_threads",  # steps that do not tell which thread wrote them
    "nothing_to_train",  # no text of the policy
]


class RowFilterSettings(BaseModel):
    """Which traces are let in; keys of verl's `data`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: RowsMode = "threads"
    allow_extractive: bool = False
    """Train on the model-free policy's text: tests and demonstrations."""
    allow_repaired: bool = False
    outcomes: tuple[Outcome, ...] = ("complete", "partial")


class Refusal(NamedTuple):
    """A trace or row that is left out."""

    trace: str
    reason: Reason
    message: str


class RowFilter:
    """Lets rows through and counts what it refused."""

    def __init__(self, research: ResearchSettings, settings: RowFilterSettings) -> None:
        """`research` is the trained graph's. Raises ConfigurationError if prompts extend it."""
        self.settings = settings
        self.system = system_prompt(research)
        self.protocols: dict[Execution, Protocol] = {
            "parallel": training_protocol(research, "parallel"),
            "sequential": training_protocol(research, "sequential"),
        }
        self.refused: list[Refusal] = []
        self.count = 0
        """Traces, or rows of a row file."""

    def rows(self, path: Path | str) -> Iterator[SFTRow]:
        """The admitted rows of a file of SFT rows or of Traces.

        Raises ConfigurationError or TraceFileError, naming the line, for what cannot be read.
        """
        if holds_rows(path):
            for row in read_rows(path):
                self._same_mode(path, row)
                self.count += 1
                if not self._refuse(row.id, self._row_fault(row)):
                    yield row
            return
        for trace in read_traces(path):
            self.count += 1
            yield from self._of_trace(trace)

    @property
    def reasons(self) -> dict[Reason, int]:
        """Refusals by reason, most frequent first."""
        return dict(Counter(refusal.reason for refusal in self.refused).most_common())

    def _of_trace(self, trace: Trace) -> Sequence[SFTRow]:
        if self._refuse(trace.id, self._trace_fault(trace)):
            return ()
        try:
            rows = trace_rows(trace, self.system, self.settings.rows)
        except UnclearThreads as error:
            self._refuse(trace.id, ("unclear_threads", str(error)))
            return ()
        if not rows:
            self._refuse(trace.id, ("nothing_to_train", "the policy wrote nothing"))
        return rows

    def _trace_fault(self, trace: Trace) -> tuple[Reason, str] | None:
        allowed, protocol = self.settings, trace.protocol
        if protocol.extended:
            return "extended", "its prompts go beyond the training protocol"
        if protocol.changed_by:
            return "changed", f"middleware changed it: {', '.join(protocol.changed_by)}"
        expected = self.protocols[trace.execution]
        if protocol.fingerprint != expected.fingerprint:
            return "other_fingerprint", _difference(protocol, expected)
        if trace.extractive and not allowed.allow_extractive:
            return "extractive", "written without a language model; data.allow_extractive admits it"
        if trace.repaired and not allowed.allow_repaired:
            return "repaired", "text was corrected; data.allow_repaired admits it"
        if trace.outcome not in allowed.outcomes:
            return "outcome", f"it is {trace.outcome}; data.outcomes has {list(allowed.outcomes)}"
        return None

    def _row_fault(self, row: SFTRow) -> tuple[Reason, str] | None:
        expected = self.protocols[row.execution]
        if row.fingerprint != expected.fingerprint:
            return "other_fingerprint", _two(row.fingerprint, expected.fingerprint)
        if text_hash(row.system)[:16] != expected.prompt:
            return "other_fingerprint", "its system prompt is not the one its fingerprint names"
        return None if row.policy_text else ("nothing_to_train", "no segment is the policy's")

    def _refuse(self, trace: str, fault: tuple[Reason, str] | None) -> bool:
        if fault is not None:
            self.refused.append(Refusal(trace, *fault))
        return fault is not None

    def _same_mode(self, path: Path | str, row: SFTRow) -> None:
        """Sequential traces are one row in both modes; the others must be as the setting says."""
        linear = row.execution == "parallel" and row.thread == WHOLE
        if row.execution == "parallel" and linear != (self.settings.rows == "linear"):
            mode = "linear" if linear else "threads"
            raise ConfigurationError(
                f"{path}: row {row.id} is one of {mode} rows, data.rows is "
                f"{self.settings.rows}: set data.rows to {mode}, or export again"
            )


def _two(fingerprint: str, expected: str) -> str:
    return f"its protocol is {fingerprint}, the training's is {expected}"


def _difference(protocol: Protocol, expected: Protocol) -> str:
    """Both fingerprints, and the fields in which they differ."""
    fields = [
        f"{name} {getattr(protocol, name)!r} for {getattr(expected, name)!r}"
        for name in Protocol.model_fields
        if getattr(protocol, name) != getattr(expected, name)
    ]
    return f"{_two(protocol.fingerprint, expected.fingerprint)} ({', '.join(fields)})"
