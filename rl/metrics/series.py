"""A training run's metrics: where verl's loggers are told to write them, and what is there.

Everything lies in the run's folder (`trainer.default_local_dir`). `metrics/` holds one JSON Lines
file per start, written by verl's `file` logger, which empties its file when it opens it
(verl/utils/tracking.py, FileLogger): hence a folder for each start. `tensorboard/` holds the event
files of the `tensorboard` logger; they are read where there is no `metrics/`.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from oresearch_graph.errors import ConfigurationError

FOLDER: Final = "metrics"
EVENTS: Final = "tensorboard"

Series = dict[int, float]
"""A metric's values by step. Steps at which it was not measured are not in it."""
_Row = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True)
class RunMetrics:
    """What a run logged, over all its starts."""

    series: Mapping[str, Series]
    """By the metric's name."""
    source: Path
    """The folder that was read."""

    @property
    def by_step(self) -> dict[int, dict[str, float]]:
        """All that was measured at each step, by the metric's name."""
        steps: dict[int, dict[str, float]] = {}
        for name, series in self.series.items():
            for step, value in series.items():
                steps.setdefault(step, {})[name] = value
        return dict(sorted(steps.items()))


def metrics_environment(run: Path | str) -> dict[str, str]:
    """Make verl's loggers write into the run's folder: set it in this process and return it for
    the others. A variable that is set already stays as it is; W&B is offline unless told."""
    folder = Path(run).absolute()
    started = time.strftime("%Y%m%d-%H%M%S")
    variables = {
        "VERL_FILE_LOGGER_ROOT": str(folder / FOLDER / started),
        "TENSORBOARD_DIR": str(folder / EVENTS),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
    }
    return {name: os.environ.setdefault(name, value) for name, value in variables.items()}


def read_metrics(run: Path | str) -> RunMetrics:
    """The metrics in a run's folder. Raises ConfigurationError where there are none.

    A start that resumed an earlier one logs some of its steps again: the later start wins, and
    what the earlier one logged beyond the step it was resumed from is left out.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: there is no such folder; name the run's own")
    for source, starts in ((folder / FOLDER, _json_starts), (folder, _event_starts)):
        if series := _join_starts(starts(source)):
            return RunMetrics(series, source)
    raise ConfigurationError(
        f"{folder}: no metrics in it: neither {FOLDER}/…/*.jsonl nor TensorBoard's event files; "
        "name the run's trainer.default_local_dir, and have `file` in its trainer.logger"
    )


def _join_starts(starts: Iterable[Iterable[_Row]]) -> dict[str, Series]:
    """The series of starts in their order."""
    series: dict[str, Series] = {}
    for start in starts:
        rows = list(start)
        first = min((step for step, _ in rows), default=math.inf)
        for values in series.values():
            for step in [step for step in values if step > first]:
                del values[step]
        for step, data in rows:
            for name, value in data.items():
                # JSON has null where the value was not a number.
                if isinstance(value, int | float) and math.isfinite(value):
                    series.setdefault(name, {})[step] = float(value)
    return {name: dict(sorted(values.items())) for name, values in series.items() if values}


def _json_starts(folder: Path) -> Iterator[list[_Row]]:
    for file in sorted(folder.rglob("*.jsonl")):
        yield list(_json_rows(file))


def _json_rows(file: Path) -> Iterator[_Row]:
    """Raises ConfigurationError, naming the line; a last line cut off by a crash is left out."""
    lines = file.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            yield int(entry["step"]), dict(entry["data"])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                return
            raise ConfigurationError(
                f"{file}:{number}: not a line of verl's file logger: remove it"
            ) from error


def _event_starts(folder: Path) -> Iterator[list[_Row]]:
    # A second to import, for runs without a JSON Lines file alone.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = folder.rglob("events.out.tfevents.*")
    # The name begins with the second of the start.
    for file in sorted(files, key=lambda path: path.name):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        names = events.Tags()["scalars"]
        yield [
            (event.step, {name: event.value}) for name in names for event in events.Scalars(name)
        ]
