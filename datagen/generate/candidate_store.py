"""CandidateStore: what has become of each candidate, on the disk at once, and what it all has cost;
Runner, the seam to the machines that make candidates.

The store is the one writer of `generated.jsonl` and `lost.jsonl`, whoever runs the candidates. To
read what stands in a file no trace is built, so a hundred thousand take seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, Self

from pydantic import ValidationError
from pydantic_core import from_json

from datagen.generate.plan import Job, recipes_mark
from datagen.records import Lost, seed_id
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import RecordWriter, file_lines, read_records, write_records
from datagen.settings import GenerateSettings
from oresearch_graph.errors import PolicyError, TraceFileError
from oresearch_graph.trace import FailureName, Trace, TraceWriter, Usage, known_sum
from oresearch_graph.trace.lines import Closing

_INFRASTRUCTURE: Final[frozenset[FailureName]] = frozenset(
    ("model_error", "timeout", "tool_error", "internal")
)
"""Failures after which a candidate is made again. A budget that is spent is its own end."""
_IN_A_ROW: Final = 5
"""Candidates lost without one model call answered in between: a service is unavailable."""

_CHECKPOINTS: Final = 2
"""How checkpoints name their records: 2, by `oresearch_graph.records`."""


class Spending(NamedTuple):
    """What model calls cost. None: no provider said."""

    tokens: int | None = None
    """Prompt and completion tokens."""
    cost: float | None = None
    """US dollars."""

    @classmethod
    def of(cls, usages: Iterable[Usage]) -> Self:
        tokens: int | None = None
        cost: float | None = None
        for usage in usages:
            tokens = known_sum((tokens, usage.prompt_tokens, usage.completion_tokens))
            cost = known_sum((cost, usage.cost))
        return cls(tokens, cost)

    def plus(self, other: Spending) -> Spending:
        tokens = known_sum((self.tokens, other.tokens))
        return Spending(tokens, known_sum((self.cost, other.cost)))


class FinishedCandidate(NamedTuple):
    """A candidate whose trace stands in the file."""

    id: str
    question_id: str
    """The id that its question gives a seed: another question under the same id is another."""
    spending: Spending
    extractive: bool
    constrained: bool
    """Its text was held to the protocol's grammar."""


def read_finished(path: Path) -> Iterator[FinishedCandidate]:
    """What stands in a trace file; a last line without its end is being written, or was cut.

    Raises TraceFileError naming a line that is no trace.
    """
    for line in file_lines(path, unended=False):
        yield _finished_candidate(path, line.number, line.text)


def _finished_candidate(path: Path, number: int, line: bytes) -> FinishedCandidate:
    try:
        raw: Any = from_json(line)
        spending = Spending.of(Usage.model_validate(usage) for usage in raw["usage"])
        extractive = "extractive" in raw["models"].values()
        constrained = raw["protocol"].get("constrained", False)
        return FinishedCandidate(
            str(raw["id"]), seed_id(raw["question"]), spending, extractive, constrained
        )
    except (ValueError, ValidationError, KeyError, TypeError, AttributeError) as error:
        raise TraceFileError(
            f"{path}:{number}: not a trace: take the line out, its candidate is made again"
        ) from error


class CandidateStore(Closing):
    """What became of a run's candidates; a context manager.

    Memory: an id for each finished candidate, a record for each lost one, no trace.
    """

    def __init__(self, run: RunFolder, settings: GenerateSettings) -> None:
        """Raises TraceFileError or ConfigurationError for a broken line."""
        self._settings = settings
        # Opened first: it moves aside what a killed process left of its last line.
        self._traces = TraceWriter(run.generated, done=())
        self.extractive: int = 0
        self._settled = Spending()
        self._question_ids: dict[str, str] = {}
        for finished in read_finished(run.generated):
            self._traces.done.add(finished.id)
            self._question_ids[finished.id] = finished.question_id
            self._settled = self._settled.plus(finished.spending)
            self.extractive += finished.extractive
        self._lost_file = RecordWriter(run.lost, Lost)
        self._lost_path = run.lost
        self.lost = {
            lost.id: lost for lost in read_records(run.lost, Lost) if lost.id not in self.done
        }
        self._open: dict[str, Spending] = {}
        self._silent_losses = 0
        self.finished_here = 0
        """Candidates finished in this run of the stage."""
        self.stopped: str | None = None
        """The limit that was met, in words."""

    @property
    def done(self) -> set[str]:
        """Candidates whose trace is on the disk."""
        return self._traces.done

    @property
    def running(self) -> int:
        return len(self._open)

    @property
    def spending(self) -> Spending:
        """Of the whole run: finished and lost candidates, and what running ones have told."""
        total = self._settled
        for lost in list(self.lost.values()):
            if lost.id not in self._open:
                total = total.plus(Spending(lost.tokens, lost.cost))
        for usage in list(self._open.values()):
            total = total.plus(usage)
        return total

    def has(self, job: Job) -> bool:
        """Its trace is on the disk, and asks what the seed asks: a seed file may have come to give
        another question the same id. The last trace with an id counts."""
        return self._question_ids.get(job.id) == seed_id(job.question)

    def given_up(self, candidate: str) -> bool:
        """Lost as often as it is tried."""
        lost = self.lost.get(candidate)
        return lost is not None and lost.tries >= self._settings.tries

    def may_begin(self) -> bool:
        """False once a limit of the whole run is met: what runs ends, nothing is begun."""
        self.stopped = self.stopped or self._limit()
        return self.stopped is None

    def begin(self, candidate: str) -> None:
        lost = self.lost.get(candidate)
        self._open[candidate] = Spending() if lost is None else Spending(lost.tokens, lost.cost)

    def charge(self, candidate: str, usage: Usage) -> None:
        """A call of a running candidate was answered."""
        self._silent_losses = 0
        self._open[candidate] = self._open.get(candidate, Spending()).plus(Spending.of((usage,)))

    def finish(self, candidate: str, trace: Trace) -> bool:
        """Keep a trace, which is on the disk then. False: services failed it, and it is lost."""
        faults = [failure for failure in trace.failures if failure.name in _INFRASTRUCTURE]
        if faults:
            self.lose(candidate, faults[0].message)
            return False
        self._traces.write(trace.model_copy(update={"id": candidate}))
        self._question_ids[candidate] = seed_id(trace.question)
        self._open.pop(candidate, None)
        self.lost.pop(candidate, None)
        self._settled = self._settled.plus(Spending.of(trace.usage))
        self.extractive += trace.extractive
        self.finished_here += 1
        self._silent_losses = 0
        return True

    def lose(self, candidate: str, reason: str) -> None:
        """Record a candidate that ended without a trace.

        Raises PolicyError when so many were lost in a row that the next would be, too.
        """
        usage = self._open.pop(candidate, Spending())
        tries = self.lost[candidate].tries + 1 if candidate in self.lost else 1
        lost = Lost(id=candidate, reason=reason, tries=tries, tokens=usage.tokens, cost=usage.cost)
        self._lost_file.write(lost)
        self.lost[candidate] = lost
        self._silent_losses += 1
        if self._silent_losses >= _IN_A_ROW:
            raise PolicyError(
                f"{_IN_A_ROW} candidates were lost one after the other, the last one: {reason}"
            )

    def drop(self, candidate: str) -> None:
        """It stops unfinished, and is neither kept nor lost."""
        self._open.pop(candidate, None)

    def close(self) -> None:
        """Leave only those in the file of lost ones that still are."""
        self._traces.close()
        self._lost_file.close()
        write_records(self._lost_path, self.lost.values())

    def _limit(self) -> str | None:
        settings = self._settings
        if settings.max_tokens is None and settings.max_cost is None:
            return None
        usage = self.spending
        if settings.max_tokens is not None and (usage.tokens or 0) >= settings.max_tokens:
            return (
                f"{usage.tokens:,} tokens are spent of generate.max_tokens={settings.max_tokens:,}"
            )
        if settings.max_cost is not None and (usage.cost or 0.0) >= settings.max_cost:
            return f"${usage.cost:.2f} is spent of generate.max_cost={settings.max_cost:g}"
        return None


class Runner(Protocol):
    """Where candidates are made."""

    def run(self, jobs: Iterator[Job], store: CandidateStore, work: Work) -> None:
        """Make the candidates, as long as the store lets any begin, and enter each in it.

        Raises OresearchError for what would hit every candidate.
        """
        ...


def checkpoint_file(work: Work) -> Path:
    """Where this run's candidates are kept while they are made; another one for other recipes, and
    for checkpoints that name their records otherwise: a candidate in one of those is begun anew."""
    return work.run.work / f"candidates-{recipes_mark(work.settings)}-{_CHECKPOINTS}.sqlite"
