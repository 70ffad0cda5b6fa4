"""Protocol fingerprints of datasets and checkpoints: what was trained is what is rolled out.

A checkpoint folder carries its Protocol in `oresearch_protocol.json`; a dataset's rows or traces
carry theirs. `rl.check.startup` compares them with the protocol that a configuration trains.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.prompts import protocol
from oresearch_graph.rows.sft import holds_rows, row_fingerprints
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Execution, Protocol, read_traces
from oresearch_graph.trace.validation import first_fault
from oresearch_graph.trace.whole_files import replacing

FILE: Final = "oresearch_protocol.json"


def training_protocol(settings: ResearchSettings, execution: Execution | None = None) -> Protocol:
    """The protocol that these settings train, in another execution if given.

    Raises ConfigurationError for prompts that go beyond the protocol.
    """
    if settings.extended:
        raise ConfigurationError(
            "oresearch.research: length, tone, outline, language and prompts are for serving; a "
            "policy is trained without them: remove them"
        )
    return protocol(settings.model_copy(update={"execution": execution or settings.execution}))


def write_fingerprint(folder: Path | str, trained: Protocol) -> Path:
    """Leave the protocol in a checkpoint's folder; a whole file or none."""
    path = Path(folder) / FILE
    with replacing(path) as file:
        file.write(f"{trained.model_dump_json(indent=2)}\n".encode())
    return path


def read_fingerprint(folder: Path | str) -> Protocol | None:
    """The protocol in a checkpoint's folder; None where it carries none.

    Raises ConfigurationError for a file that holds something else.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        return Protocol.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigurationError(
            f"{path}: not a protocol: {first_fault(error)}; copy it from the checkpoint it came "
            "from, or remove it"
        ) from error


def dataset_fingerprint(path: Path | str) -> dict[Execution, str]:
    """The fingerprint of a file of SFT rows or Traces, by execution. Traces of extended prompts,
    and those that middleware changed, are never trained on and do not count.

    Raises ConfigurationError where one execution has two.
    """
    of_execution: dict[Execution, str] = {}
    for execution, fingerprint in _fingerprints(Path(path)):
        first = of_execution.setdefault(execution, fingerprint)
        if first != fingerprint:
            raise ConfigurationError(
                f"{path}: {execution} rows of two protocols, {first} and {fingerprint}; "
                "export them into two files"
            )
    return of_execution


def _fingerprints(path: Path) -> Iterator[tuple[Execution, str]]:
    if holds_rows(path):
        yield from row_fingerprints(path)
        return
    for trace in read_traces(path):
        if not (trace.protocol.extended or trace.changed_by):
            yield trace.execution, trace.protocol.fingerprint
