"""Preference pairs: two candidates of one seed that the judge holds clearly apart.

`run` pairs are whole trajectories after the question; `plan` pairs are the planner's threads alone,
where both candidates were run in parallel (there the two threads have the same prompt; those of
researchers and summarizers have not, since plans and findings differ).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from datagen.export.columns import Row
from datagen.export.verdicts import Verdict
from datagen.settings import ExportSettings
from oresearch_graph.rows.sft import SFTRow, UnclearThreads, trace_rows
from oresearch_graph.trace import Trace


class Pair(NamedTuple):
    """Ids of two candidates with their qualities."""

    chosen: str
    rejected: str
    chosen_quality: float
    rejected_quality: float

    @property
    def margin(self) -> float:
        """Rounded, so that a file's reader can work it out again."""
        return round(self.chosen_quality - self.rejected_quality, 6)


def pairs_of(judged: Sequence[Verdict], settings: ExportSettings) -> list[Pair]:
    """The pairs of one seed, widest margin first."""
    scored = [(j, j.quality) for j in judged if j.quality is not None]
    found = [
        Pair(best.id, other.id, high, low)
        for best, high in scored
        for other, low in scored
        if best.chosen and not other.chosen and high - low >= settings.margin
    ]
    found.sort(key=lambda pair: (-pair.margin, pair.chosen, pair.rejected))
    return found[: settings.pairs]


def pair_rows(seed: str, pair: Pair, chosen: Trace, rejected: Trace, system: str) -> Iterator[Row]:
    """The rows of a pair; both traces are admitted and renumbered."""
    one, other = _texts(chosen, system), _texts(rejected, system)
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
                "chosen": _said(good),
                "rejected": _said(bad),
                "chosen_segments": _segments(good),
                "rejected_segments": _segments(bad),
            }


def _texts(trace: Trace, system: str) -> dict[str, SFTRow]:
    found = {row.thread: row for row in trace_rows(trace, system, "linear")}
    if trace.execution == "parallel":
        try:
            threads = trace_rows(trace, system, "threads")
        except UnclearThreads:
            return found
        found |= {row.thread: row for row in threads if row.thread == "plan"}
    return dict(sorted(found.items(), reverse=True))


def _said(row: SFTRow) -> list[Row]:
    text = "".join(segment.text for segment in row.segments)
    return [{"role": "assistant", "content": text.strip()}]


def _segments(row: SFTRow) -> list[Row]:
    return [segment.model_dump(mode="json") for segment in row.segments]
