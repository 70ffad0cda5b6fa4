"""How far the check of citations agrees with people.

    python -m tests.agreement [FILE.jsonl …]

WiCE's claims, and those of the files named (`claim`, `text`, `label` a line; `system` and `report`
for ranks). A warning is *missing* or *contradicted*; it is right where people say that the claim is
supported in part or not. Thresholds were chosen on one half of WiCE; the other judges. Intervals
are 95 %, by 1,000 resamplings.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import isfinite, nan
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from oresearch_graph.evidence.citations import in_words
from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.evidence.source_index import SourceIndex
from oresearch_graph.evidence.support import Support, support
from oresearch_graph.trace.record import STATUSES, Source
from tests.agreement.drawn import drawn
from tests.agreement.labelled import WICE, Labelled, half, labelled
from tests.agreement.mutations import MUTATIONS, mutated_rows

_BY_WORDS: Final = tuple(s for s in STATUSES if s not in {"supported", "unsupported"})
"""Statuses that no model tells."""
_RESAMPLINGS: Final = 1_000
_SEED: Final = 13


class Checked(NamedTuple):
    """A claim of people's, and ours of it."""

    row: Labelled
    support: Support

    @property
    def warned(self) -> bool:
        return self.support.status in {"missing", "contradicted"}

    @property
    def holds(self) -> bool:
        return self.support.status in {"quoted", "found"}


Figure = Callable[[Sequence[Checked]], float]


def checked(rows: Sequence[Labelled]) -> list[Checked]:
    return [Checked(row, support(checkable_parts(row.claim), [index_of(row)])) for row in rows]


def index_of(row: Labelled) -> SourceIndex:
    url = "https://source.example"
    return SourceIndex(Source.of(id=1, url=url, title=row.title[:300], text=row.text))


def share(rows: Sequence[Checked], which: Callable[[Checked], bool]) -> float:
    return sum(map(which, rows)) / len(rows) if rows else nan


def warned_of_bad(rows: Sequence[Checked]) -> float:
    return share([row for row in rows if not row.row.supported], lambda row: row.warned)


def warned_of_good(rows: Sequence[Checked]) -> float:
    return share([row for row in rows if row.row.supported], lambda row: row.warned)


def ratio(rows: Sequence[Checked]) -> float:
    good = warned_of_good(rows)
    return warned_of_bad(rows) / good if good else float("inf")


def balanced_accuracy(rows: Sequence[Checked]) -> float:
    return (warned_of_bad(rows) + 1 - warned_of_good(rows)) / 2


def kappa(rows: Sequence[Checked]) -> float:
    agreed = share(rows, lambda row: row.warned != row.row.supported)
    bad, warned = share(rows, lambda r: not r.row.supported), share(rows, lambda r: r.warned)
    chance = bad * warned + (1 - bad) * (1 - warned)
    return (agreed - chance) / (1 - chance) if chance < 1 else nan


def precision_of(status: str) -> Figure:
    def figure(rows: Sequence[Checked]) -> float:
        told = [row for row in rows if row.support.status == status]
        return share(told, lambda row: not row.row.supported)

    return figure


FIGURES: Final[dict[str, Figure]] = {
    "warned, not or partly supported": warned_of_bad,
    "warned, supported": warned_of_good,
    "ratio of both": ratio,
    "balanced accuracy": balanced_accuracy,
    "kappa": kappa,
    "precision of missing": precision_of("missing"),
    "precision of contradicted": precision_of("contradicted"),
}


def interval(rows: Sequence[Checked], figure: Figure) -> tuple[float, float]:
    random = Random(_SEED)  # noqa: S311
    values = [figure(random.choices(rows, k=len(rows))) for _ in range(_RESAMPLINGS)]
    values = sorted(value for value in values if value == value) or [nan]
    return values[len(values) // 40], values[-1 - len(values) // 40]


def table(name: str, rows: Sequence[Checked]) -> Iterator[str]:
    yield f"\n### {name}: {len(rows)} claims, {sum(r.row.supported for r in rows)} supported\n"
    yield "| | | 95 % |"
    yield "| --- | --- | --- |"
    for label, figure in FIGURES.items():
        low, high = interval(rows, figure)
        yield f"| {label} | {_shown(figure(rows))} | {_shown(low)}–{_shown(high)} |"
    for unit, of in (("system", lambda r: r.row.system), ("report", lambda r: r.row.report)):
        names = sorted({of(row) for row in rows} - {""})
        if len(names) > 2:
            groups = [[row for row in rows if of(row) == each] for each in names]
            people = [share(group, lambda row: row.row.supported) for group in groups]
            ours = [share(group, lambda row: row.holds) for group in groups]
            yield f"| Spearman by {unit}, {len(names)} | {spearman(people, ours):.2f} | |"
    statuses = " | ".join(_BY_WORDS).replace("_", " ")
    yield f"\n| people say | claims | {statuses} |"
    yield "| --- " * (len(_BY_WORDS) + 2) + "|"
    for label in sorted({row.row.label for row in rows}):
        counts = Counter(row.support.status for row in rows if row.row.label == label)
        cells = " | ".join(str(counts[status]) for status in _BY_WORDS)
        yield f"| {label.replace('_', ' ')} | {counts.total()} | {cells} |"


def _shown(figure: float) -> str:
    return f"{figure:.2f}" if isfinite(figure) else "–"


def curve(rows: Sequence[Checked]) -> Iterator[str]:
    """What a warning would be worth with another share of words asked for, where a part is
    missing."""
    yield "\n| a missing part counts below | warned, not or partly supported | supported | ratio |"
    yield "| --- | --- | --- | --- |"
    for known in (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01):

        def warned(row: Checked, known: float = known) -> bool:
            missing, score = row.support.missing, _score(row)
            surely = row.support.status == "contradicted" or len(missing) > 1
            return surely or (bool(missing) and score < known)

        bad = share([row for row in rows if not row.row.supported], warned)
        good = share([row for row in rows if row.row.supported], warned)
        yield f"| {known:.1f} | {bad:.2f} | {good:.2f} | {bad / good if good else 0:.1f} |"


def _score(row: Checked) -> float:
    return max((evidence.score for evidence in row.support.evidence), default=0.0)


def mutated(rows: Sequence[Labelled]) -> Iterator[str]:
    """How often each mutation of three hundred sentences loses what the sentence had."""
    untouched = checked(rows)
    held = [each.row for each in untouched if each.holds]
    statuses = Counter(each.support.status for each in untouched)
    yield f"\n### {len(rows)} drawn sentences made wrong\n"
    yield f"Untouched: {in_words({s: statuses[s] for s in _BY_WORDS if statuses[s]})}.\n"
    yield "| mutation | of all | quoted | found | of those known | still known |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in (*MUTATIONS, "other source"):
        wrong = [each.support.status for each in checked(mutated_rows(name, rows, Random(_SEED)))]  # noqa: S311
        known = checked(mutated_rows(name, held, Random(_SEED)))  # noqa: S311
        yield (
            f"| {name} | {len(wrong)} | {wrong.count('quoted')} | {wrong.count('found')} | "
            f"{len(known)} | {sum(each.holds for each in known)} |"
        )


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """The correlation of ranks; equal values share theirs."""
    a, b = _ranks(first), _ranks(second)
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    over = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    under = sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)
    return over / under**0.5 if under else nan


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    return [(order.index(v) + len(order) - order[::-1].index(v) - 1) / 2 for v in values]


def main() -> None:
    """Print the tables as Markdown."""
    lines: list[str] = []
    if WICE.exists():
        rows = list(labelled(WICE))
        for number, name in (
            (0, "WiCE dev, the half that tuned"),
            (1, "WiCE dev, the half that judges"),
        ):
            of_half = checked([row for row in rows if half(row.claim) == number])
            lines += [*table(name, of_half), *curve(of_half)]
    else:
        lines.append(f"{WICE.name} is not there: only the files named are read")
    lines += mutated(drawn(_SEED))
    for path in map(Path, sys.argv[1:]):
        lines += table(path.name, checked(list(labelled(path))))
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
