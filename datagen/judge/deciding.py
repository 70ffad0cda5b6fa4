"""What is accepted, and which accepted candidates of a seed are chosen: verdicts and settings in,
no judge asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from datagen.records import Judgement
from datagen.settings.judge import JudgeSettings


class Rank(NamedTuple):
    """An accepted candidate among its siblings."""

    seed: str
    id: str
    quality: float
    agreement: float | None

    @property
    def order(self) -> tuple[float, float, int, str]:
        """The best first: by quality, then by agreement, then the earlier candidate."""
        number = self.id.rpartition(".")[2]
        agreed = -1.0 if self.agreement is None else self.agreement
        return -self.quality, -agreed, int(number) if number.isdecimal() else 0, self.id


def is_accepted(judgement: Judgement, settings: JudgeSettings, criteria: Sequence[str]) -> bool:
    """Whether a verdict is above every threshold; `criteria` names its scores in order."""
    judged = judgement.judged
    if judged is None or judged.quality < settings.min_quality:
        return False
    least, agreed = settings.min_agreement, judgement.agreement
    if least is not None and agreed is not None and agreed < least:
        return False
    by_name = dict(zip(criteria, judged.scores, strict=False))
    return all(by_name[name].score >= low for name, low in settings.min_scores.items())


def choose(ranks: Iterable[Rank], keep: int) -> frozenset[str]:
    """The ids of the best `keep` of each seed."""
    by_seed: dict[str, list[Rank]] = defaultdict(list)
    for rank in ranks:
        by_seed[rank.seed].append(rank)
    return frozenset(
        rank.id
        for siblings in by_seed.values()
        for rank in sorted(siblings, key=lambda rank: rank.order)[:keep]
    )
