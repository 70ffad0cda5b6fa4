"""RowMaker: every row that one trace gives, or a pair of them, written as it comes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator

from datagen.export.admission import Admission, Refused
from datagen.export.candidates import Pair, Split
from datagen.export.conversations import TOOLS, messages, sharegpt
from datagen.export.files import Tables
from datagen.export.prepared import PreparedTrace, Unresolved
from datagen.export.proofs import row_faults
from datagen.export.sft_rows import About, about_row, assistant_text, sft_rows, source_row
from datagen.run.tokens import token_counter
from datagen.settings import DatagenSettings
from oresearch_graph.rows.files import Row
from oresearch_graph.rows.lengths import LengthSummary
from oresearch_graph.rows.sft import SFTRow, UnclearThreads, trace_rows
from oresearch_graph.trace import Trace


class RowMaker:
    """Writes the rows of traces and counts what it met."""

    def __init__(self, settings: DatagenSettings, tables: Tables) -> None:
        self.tables = tables
        self.admission = Admission(settings)
        self.system = self.admission.system
        self._tokens = token_counter(settings.export.tokenizer, "export.tokenizer")
        # Numbers only: a row in memory would be a million times as long.
        self._lengths = {name: array("Q") for name in ("sft-threads", "sft-linear")}
        self.traces = 0
        self.left_out: Counter[str] = Counter()
        """Traces that one configuration lacks, as `configuration: reason`."""
        self.unproved: dict[str, str] = {}
        """The first row of each configuration that could not be proved, with the reason."""
        self.models: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.hosts: Counter[str] = Counter()
        self.extractive = 0

    def add(self, trace: Trace, about: About, split: Split) -> PreparedTrace | None:
        """Write a trace's rows; the trace in one piece, where it can be told so."""
        try:
            prepared = self.admission.prepare(trace)
        except Refused as fault:
            self.admission.refuse(trace.id, fault)
            return None
        whole, linear = self._whole(prepared, about)
        threads = self._thread_rows(prepared, about)
        if not threads and not linear:
            self.admission.refuse(trace.id, Refused("nothing_to_train", "no row can be made of it"))
            return None
        self._write_sft("sft-threads", threads, split)
        self._write_sft("sft-linear", linear, split)
        if whole is not None:
            self._write_conversations(whole.trace, about, split)
        self.tables.write("sources", split, source_row(prepared.trace, about.seed))
        self._note(trace)
        return whole

    def add_pair(
        self, pair: Pair, chosen: PreparedTrace, rejected: Trace, *, seed: str, split: Split
    ) -> None:
        """Write a preference pair; `chosen` is what `add` gave back."""
        try:
            other = self.admission.prepare(rejected).whole
        except Refused as fault:
            self.left_out[f"preference: {fault.reason}"] += 1
            return
        except Unresolved:
            self.left_out["preference: not_shown"] += 1
            return
        for row in pair_rows(seed, pair, chosen.trace, other.trace, self.system):
            self.tables.write("preference", split, row)

    def lengths(self) -> dict[str, LengthSummary]:
        """Tokens of the rows of each SFT configuration, prompts included."""
        return {name: LengthSummary.of(lengths) for name, lengths in self._lengths.items()}

    def _whole(
        self, prepared: PreparedTrace, about: About
    ) -> tuple[PreparedTrace | None, list[Row]]:
        """The trace in one piece, with its linear row; None without one."""
        try:
            whole = prepared.whole
        except Unresolved:
            self.left_out["sft-linear: not_shown"] += 1
            return None, []
        rows = self._proved("sft-linear", whole, sft_rows(whole, self.system, "linear", about))
        return (whole if rows else None), rows

    def _thread_rows(self, prepared: PreparedTrace, about: About) -> list[Row]:
        try:
            rows = list(sft_rows(prepared, self.system, "threads", about))
        except UnclearThreads:
            self.left_out["sft-threads: unclear_threads"] += 1
            return []
        return self._proved("sft-threads", prepared, rows)

    def _proved(self, config: str, prepared: PreparedTrace, rows: Iterable[Row]) -> list[Row]:
        """The rows if `verify` will find nothing in them, else none."""
        rows, texts, tools = list(rows), prepared.texts, prepared.trace.protocol.tools
        for row in rows:
            fault = next(row_faults(row, texts, tools, linear=config == "sft-linear"), None)
            if fault is not None:
                self.left_out[f"{config}: unproved"] += 1
                self.unproved.setdefault(config, f"{row['id']}: {fault}")
                return []
        return rows

    def _write_sft(self, config: str, rows: Iterable[Row], split: Split) -> None:
        for row in rows:
            texts = (row["system"], row["question"], assistant_text(row))
            self._lengths[config].append(sum(map(self._tokens, texts)))
            self.tables.write(config, split, row)

    def _write_conversations(self, trace: Trace, about: About, split: Split) -> None:
        common = {"id": trace.id, **about_row(trace, about)}
        openai = {**common, "messages": messages(trace, self.system), "tools": TOOLS}
        self.tables.write("messages", split, openai)
        turns = {**common, "system": self.system, "conversations": sharegpt(trace)}
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


def pair_rows(seed: str, pair: Pair, chosen: Trace, rejected: Trace, system: str) -> Iterator[Row]:
    """The rows of a pair; both traces are whole.

    `run` pairs are whole trajectories after the question; `plan` pairs are the planner's threads
    alone, where both candidates were run in parallel (there the two threads have the same prompt;
    those of researchers and summarizers have not, since plans and findings differ).
    """
    one, other = _pair_threads(chosen, system), _pair_threads(rejected, system)
    for thread in filter(other.__contains__, one):
        good, bad = one[thread], other[thread]
        if good.segments != bad.segments and (thread != "run" or good.policy_text):
            yield {
                "id": f"{pair.chosen}-{pair.rejected}-{thread}",
                "seed": seed,
                "thread": thread,
                "execution": chosen.execution,
                "chosen_id": pair.chosen,
                "rejected_id": pair.rejected,
                "chosen_quality": pair.chosen_quality,
                "rejected_quality": pair.rejected_quality,
                "margin": pair.margin,
                "prompt": [
                    {"role": "system", "content": system},
                    {"role": "user", "content": chosen.question},
                ],
                "chosen": [{"role": "assistant", "content": good.text.strip()}],
                "rejected": [{"role": "assistant", "content": bad.text.strip()}],
                "chosen_segments": [s.model_dump(mode="json") for s in good.segments],
                "rejected_segments": [s.model_dump(mode="json") for s in bad.segments],
            }


def _pair_threads(trace: Trace, system: str) -> dict[str, SFTRow]:
    rows = {row.thread: row for row in trace_rows(trace, system, "linear")}
    if trace.execution == "parallel":
        try:
            threads = trace_rows(trace, system, "threads")
        except UnclearThreads:
            return rows
        rows |= {row.thread: row for row in threads if row.thread == "plan"}
    return dict(sorted(rows.items(), reverse=True))
