"""Writing a data set from what is chosen in a run.

A trace is read once for its rows, and a rejected one once for each pair it is in; what is held is
a few numbers a candidate. The folder takes its place when all of it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from datagen.export.admission import Refused
from datagen.export.building import building
from datagen.export.card import write_card
from datagen.export.manifest import Manifest, write_manifest
from datagen.export.pairs import pairs_of
from datagen.export.rl_questions import rl_question, rl_row, selection_row
from datagen.export.rows import RowMaker
from datagen.export.sft_rows import About
from datagen.export.splits import SPLITS, Split, split_of
from datagen.export.tables import Tables, canonical, file_record
from datagen.export.verdicts import Origin, Verdict, origins, verdicts
from datagen.records import SeedTruth
from datagen.run.folder import Counts, Work
from datagen.run.record_files import read_records
from datagen.run.review_result import RUBRIC
from datagen.run.stamps import fingerprint
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Trace, text_hash


def write_dataset(work: Work, refused: Collection[str] = ()) -> Counts:
    """Write the run's data set without the items that people `refused`.

    Raises ConfigurationError when there is nothing to write, or no room; an earlier data set is
    kept then.
    """
    judged = verdicts(work.run)
    if not any(verdict.chosen for lines in judged.values() for verdict in lines):
        raise ConfigurationError(
            f"{work.run.judged}: no candidate is chosen: run judge first, or lower its thresholds"
        )
    with building(work.run.dataset) as folder:
        return _Export(work, judged, frozenset(refused), folder).write()


class _Export:
    """One data set being written."""

    def __init__(
        self, work: Work, judged: dict[str, list[Verdict]], refused: frozenset[str], folder: Path
    ) -> None:
        self.work, self.judged, self.refused, self.folder = work, judged, refused, folder
        self.seeds = origins(work.run)
        self.tables = Tables(folder, work.settings.export.formats)
        self.maker = RowMaker(work.settings, self.tables)
        self.shelf = TraceShelf(work.run.traces)

    def write(self) -> Counts:
        try:
            for seed, lines in self.judged.items():
                self._write_seed(seed, lines)
            self._write_questions()
        finally:
            self.tables.close()
        if not self.maker.traces:
            raise ConfigurationError(f"no trace can be exported: {'; '.join(self._reasons())}")
        counts = self._counts()
        write_card(self.folder, self.work, self.maker, self._told_seeds(), counts)
        self._write_manifest(counts)
        return counts

    def _write_seed(self, seed: str, lines: list[Verdict]) -> None:
        chosen: dict[str, Trace] = {}
        split = self._split(seed)
        origin = self.seeds.get(seed, _UNKNOWN)
        for verdict in lines:
            if verdict.chosen and verdict.id in self.refused:
                fault = Refused("rejected_by_people", "reviewers did not accept it")
                self.maker.admission.refuse(verdict.id, fault)
            elif verdict.chosen:
                about = About(seed, origin.domain, verdict.quality)
                trace = self.maker.add(self.shelf.get(verdict.id), about, split)
                if trace is not None:
                    chosen[verdict.id] = trace
        for pair in pairs_of(lines, self.work.settings.export):
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
            question = rl_question(truth, self.seeds.get(truth.seed))
            line = canonical(question)
            row = rl_row(question, truth.truth, index[split], split)
            self.tables.write_line("rl", split, row, line)
            lines = self.judged.get(truth.seed, [])
            told = selection_row(truth.seed, lines, text_hash(line))
            self.tables.write("rl-selection", split, told)
            index[split] += 1

    def _split(self, seed: str) -> Split:
        return split_of(seed, self.work.settings.export)

    def _told_seeds(self) -> Iterator[Origin]:
        """The seeds that have a chosen candidate."""
        for seed, lines in self.judged.items():
            if any(verdict.chosen for verdict in lines):
                yield self.seeds.get(seed, _UNKNOWN)

    def _reasons(self) -> Iterator[str]:
        for reason, count in self.maker.admission.refused.most_common():
            yield f"{count} {reason} ({self.maker.admission.first[reason]})"

    def _counts(self) -> Counts:
        configs = dict.fromkeys(r.config for r in self.tables.records() if r.config)
        refused = self.maker.admission.refused
        return {
            "traces": self.maker.traces,
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


_UNKNOWN = Origin(None, None, None)
