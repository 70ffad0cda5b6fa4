"""RowMaker: every row that one trace gives, written as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from datagen.export.admission import Admission, Refused
from datagen.export.columns import Row
from datagen.export.conversations import TOOLS, messages, sharegpt
from datagen.export.lengths import Lengths
from datagen.export.page_text import withheld
from datagen.export.pairs import Pair, pair_rows
from datagen.export.proofs import row_faults
from datagen.export.renumber import Unresolved, renumbered
from datagen.export.scrub import Scrubber
from datagen.export.sft_rows import About, about_row, sft_rows, source_row
from datagen.export.splits import Split
from datagen.export.tables import Tables
from datagen.run.tokens import token_counter
from datagen.settings import DatagenSettings
from oresearch_graph.rows.sft import UnclearThreads
from oresearch_graph.trace import Trace


class RowMaker:
    """Writes the rows of traces and keeps count of what it met."""

    def __init__(self, settings: DatagenSettings, tables: Tables) -> None:
        self.settings, self.tables = settings.export, tables
        self.admission = Admission(settings)
        self.system = self.admission.system
        self.scrubber = Scrubber()
        count = token_counter(self.settings.tokenizer, "export.tokenizer")
        self.lengths = {name: Lengths(count) for name in ("sft-threads", "sft-linear")}
        self.traces = 0
        self.left_out: Counter[str] = Counter()
        """Traces that one configuration lacks, as `configuration: reason`."""
        self.unproved: dict[str, str] = {}
        """The first row of each configuration that could not be proved, with the reason."""
        self.models: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.hosts: Counter[str] = Counter()
        self.extractive = 0

    def add(self, trace: Trace, about: About, split: Split) -> Trace | None:
        """Write a trace's rows; the trace in one piece, where it can be told so."""
        try:
            prepared = self._prepared(trace)
        except Refused as fault:
            self.admission.refuse(trace.id, fault)
            return None
        whole = self._whole(prepared, about)
        threads = self._thread_rows(prepared, about)
        if threads is None and whole is None:
            self.admission.refuse(trace.id, Refused("nothing_to_train", "no row can be made of it"))
            return None
        for row in threads or ():
            self.lengths["sft-threads"].add(row)
            self.tables.write("sft-threads", split, row)
        if whole is not None:
            self._write_whole(*whole, about, split)
        self.tables.write("sources", split, source_row(prepared, about.seed))
        self._note(trace)
        return whole[0] if whole is not None else None

    def add_pair(
        self, pair: Pair, chosen: Trace, rejected: Trace, *, seed: str, split: Split
    ) -> None:
        """Write a preference pair; `chosen` is what `add` gave back."""
        try:
            other = renumbered(self._prepared(rejected))
        except Refused as fault:
            self.left_out[f"preference: {fault.reason}"] += 1
            return
        except Unresolved:
            self.left_out["preference: not_shown"] += 1
            return
        for row in pair_rows(seed, pair, chosen, other, self.system):
            self.tables.write("preference", split, row)

    def _prepared(self, trace: Trace) -> Trace:
        """The trace as every row tells it. Raises Refused."""
        trace = self.admission.admit(trace)
        if self.settings.scrub:
            trace = self.scrubber.scrub(trace)
        return withheld(trace) if self.settings.page_text == "hash" else trace

    def _whole(self, trace: Trace, about: About) -> tuple[Trace, list[Row]] | None:
        """The trace in one piece, with its linear row."""
        try:
            whole = renumbered(trace)
        except Unresolved:
            self.left_out["sft-linear: not_shown"] += 1
            return None
        rows = self._proved("sft-linear", whole, sft_rows(whole, self.system, "linear", about))
        return (whole, rows) if rows else None

    def _thread_rows(self, trace: Trace, about: About) -> list[Row] | None:
        try:
            rows = list(sft_rows(trace, self.system, "threads", about))
        except UnclearThreads:
            self.left_out["sft-threads: unclear_threads"] += 1
            return None
        return self._proved("sft-threads", trace, rows)

    def _proved(self, config: str, trace: Trace, rows: Iterable[Row]) -> list[Row] | None:
        """The rows if there are some and `verify` will find nothing in them."""
        found = list(rows)
        texts = {s.id: (s.text, s.sha256) for s in trace.sources or ()}
        for row in found:
            tools, linear = trace.protocol.tools, config == "sft-linear"
            fault = next(row_faults(row, texts, tools, linear=linear), None)
            if fault is not None:
                self.left_out[f"{config}: unproved"] += 1
                self.unproved.setdefault(config, f"{row['id']}: {fault}")
                return None
        return found or None

    def _write_whole(self, trace: Trace, rows: list[Row], about: About, split: Split) -> None:
        system = self.system
        for row in rows:
            self.lengths["sft-linear"].add(row)
            self.tables.write("sft-linear", split, row)
        common = {"id": trace.id, **about_row(trace, about)}
        told = {**common, "messages": messages(trace, system), "tools": TOOLS}
        self.tables.write("messages", split, told)
        turns = {**common, "system": system, "conversations": sharegpt(trace)}
        self.tables.write("sharegpt", split, turns)

    def _note(self, trace: Trace) -> None:
        self.traces += 1
        self.admission.count(trace)
        self.extractive += trace.extractive
        self.models.update(set(trace.models.values()))
        self.languages[trace.language or "unknown"] += 1
        self.hosts.update({_host(source.url) for source in trace.sources or ()})


def _host(url: str) -> str:
    scheme, _, rest = url.partition(":")
    return rest.removeprefix("//").partition("/")[0] or scheme
