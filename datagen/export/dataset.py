"""Writing a data set from what is chosen in a run.

A trace is read once for its rows, and a rejected one once for each pair it is in; what is held is
a few numbers a candidate. The folder takes its place when all of it is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from datagen.export.admission import Refused
from datagen.export.candidates import (
    SPLITS,
    JudgedCandidate,
    SeedOrigin,
    Split,
    judged_candidates,
    pairs_of,
    seed_origins,
    selection_row,
    split_of,
)
from datagen.export.card import write_card
from datagen.export.files import Manifest, Tables, file_record, write_manifest
from datagen.export.prepared import PreparedTrace
from datagen.export.rows import RowMaker
from datagen.export.sft_rows import About
from datagen.records import SeedTruth
from datagen.run.folder import Counts, Work
from datagen.run.record_files import read_records
from datagen.run.review_result import RUBRIC
from datagen.run.stamps import fingerprint
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.rl import RLRow, rl_question
from oresearch_graph.trace import text_hash


def write_dataset(work: Work, refused: Collection[str] = ()) -> Counts:
    """Write the run's data set without the items that people `refused`.

    Raises ConfigurationError when there is nothing to write, or no room; an earlier data set is
    kept then.
    """
    judged = judged_candidates(work.run)
    if not any(candidate.chosen for lines in judged.values() for candidate in lines):
        raise ConfigurationError(
            f"{work.run.judged}: no candidate is chosen: run judge first, or lower its thresholds"
        )
    with building(work.run.dataset) as folder:
        return _Export(work, judged, frozenset(refused), folder).write()


class _Export:
    """One data set being written."""

    def __init__(
        self, work: Work, judged: dict[str, list[JudgedCandidate]], refused: frozenset[str],
        folder: Path,
    ) -> None:  # fmt: skip
        self.work, self.judged, self.refused, self.folder = work, judged, refused, folder
        self.seeds = seed_origins(work.run)
        self.tables = Tables(folder, work.settings.export.formats)
        self.maker = RowMaker(work.settings, self.tables)
        self.shelf = TraceShelf(work.run.traces)

    def write(self) -> Counts:
        try:
            for seed, candidates in self.judged.items():
                self._write_seed(seed, candidates)
            self._write_questions()
        finally:
            self.tables.close()
        if not self.maker.traces:
            raise ConfigurationError(f"no trace can be exported: {'; '.join(self._reasons())}")
        counts = self._counts()
        write_card(self.folder, self.work, self.maker, self._origins(), counts)
        self._write_manifest(counts)
        return counts

    def _write_seed(self, seed: str, candidates: list[JudgedCandidate]) -> None:
        chosen: dict[str, PreparedTrace] = {}
        split = self._split(seed)
        origin = self.seeds.get(seed, SeedOrigin())
        for candidate in candidates:
            if candidate.chosen and candidate.id in self.refused:
                fault = Refused("rejected_by_people", "reviewers did not accept it")
                self.maker.admission.refuse(candidate.id, fault)
            elif candidate.chosen:
                about = About(seed, origin.domain, candidate.quality)
                whole = self.maker.add(self.shelf.get(candidate.id), about, split)
                if whole is not None:
                    chosen[candidate.id] = whole
        for pair in pairs_of(candidates, self.work.settings.export):
            if pair.chosen in chosen:
                rejected = self.shelf.get(pair.rejected)
                self.maker.add_pair(pair, chosen[pair.chosen], rejected, seed=seed, split=split)

    def _write_questions(self) -> None:
        """RL's questions: those of the rubrics stage that there is something to judge by."""
        index = dict.fromkeys(SPLITS, 0)
        for truth in read_records(self.work.run.rubrics, SeedTruth):
            if f"{RUBRIC}{truth.seed}" in self.refused:
                self.maker.left_out["rl: rejected_by_people"] += 1
                continue
            if not truth.truth.judgeable:
                continue
            split = self._split(truth.seed)
            origin = self.seeds.get(truth.seed, SeedOrigin())
            question = rl_question(
                truth.seed, truth.question, truth.truth,
                domain=origin.domain, language=origin.language,
            )  # fmt: skip
            row = RLRow.of(question, index[split], split).model_dump(mode="json")
            self.tables.write_line("rl", split, row, question.line)
            candidates = self.judged.get(truth.seed, [])
            spread = selection_row(truth.seed, candidates, text_hash(question.line))
            self.tables.write("rl-selection", split, spread)
            index[split] += 1

    def _split(self, seed: str) -> Split:
        return split_of(seed, self.work.settings.export)

    def _origins(self) -> Iterator[SeedOrigin]:
        """Those of the seeds that have a chosen candidate."""
        for seed, candidates in self.judged.items():
            if any(candidate.chosen for candidate in candidates):
                yield self.seeds.get(seed, SeedOrigin())

    def _reasons(self) -> Iterator[str]:
        for reason, count in self.maker.admission.refused.most_common():
            yield f"{count} {reason} ({self.maker.admission.first[reason]})"

    def _counts(self) -> Counts:
        configs = dict.fromkeys(r.config for r in self.tables.records() if r.config)
        refused, constrained = self.maker.admission.refused, self.maker.admission.constrained
        return {
            "traces": self.maker.traces,
            **({"constrained": constrained} if constrained else {}),
            **{f"{name}_rows": self.tables.rows(name) for name in configs},
            "refused": refused.total(),
            **{f"refused_{reason}": count for reason, count in refused.most_common()},
        }

    def _write_manifest(self, counts: Counts) -> None:
        settings = self.work.settings
        card = file_record(self.folder, self.folder / "README.md")
        manifest = Manifest(
            settings=fingerprint(1, [settings.export]),
            protocols=self.maker.admission.protocols,
            page_text=settings.export.page_text,
            scrubbed=settings.export.scrub,
            counts=counts,
            files=(*self.tables.records(), card),
        )
        write_manifest(self.folder, manifest)


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its place when the block ends.

    Raises ConfigurationError for a disk that does not take it. A process killed between the two
    renames leaves the old folder as `<name>.old`, which the next call puts back.
    """
    part, old = folder.with_name(f"{folder.name}.part"), folder.with_name(f"{folder.name}.old")
    try:
        _restore(folder, old)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigurationError(f"{folder}: not written: {why}; what was there is kept") from error
    finally:
        _restore(folder, old)
        shutil.rmtree(part, ignore_errors=True)


def _restore(folder: Path, old: Path) -> None:
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)
