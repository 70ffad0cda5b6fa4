"""From decisions to figures: rates with their intervals, agreement, a threshold for the judge.

Not covered: the uncertainty of the weighted rate and of the thresholds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from datagen.review.agreement import Judged, judge_agreement, kappas, precise_cut, youden_cut
from datagen.review.decisions import Words, verdict
from datagen.review.population import Group
from datagen.review.sample import Sample, SampleItem, Stratum
from datagen.run.review_result import Rate, ReviewResult
from datagen.settings import ReviewSettings


def review_result(
    sample: Sample, words: Words, settings: ReviewSettings, inputs: dict[str, str]
) -> ReviewResult:
    """All that the words on the sample say."""
    verdicts = {item.item: verdict(words.get(item.item, {}).values()) for item in sample.items}
    traces = _of_group(sample, "accepted")
    strata = tuple(_stratum(each, sample, verdicts, settings) for each in sample.strata)
    points = _judged(sample, verdicts)
    return ReviewResult(
        seed=sample.seed,
        made_of=sample.made_of,
        inputs=inputs,
        confidence=settings.confidence,
        traces=_group_rate("accepted traces", sample, "accepted", verdicts, settings),
        weighted=_weighted(
            rate for rate, each in zip(strata, sample.strata, strict=True)
            if each.group == "accepted"
        ),
        strata=strata,
        rejected=_group_rate("rejected traces", sample, "rejected", verdicts, settings),
        rubrics=_group_rate("rubrics", sample, "rubric", verdicts, settings),
        reviewers=_reviewers(traces, words, settings),
        kappas=kappas(words, [item.item for item in sample.items]),
        judge=judge_agreement(points),
        precise=precise_cut(points, settings.wanted_precision),
        youden=youden_cut(points),
        queue=sum(item.item in words for item in sample.queue),
        refused=tuple(
            item.item
            for item in (*sample.items, *sample.queue)
            if verdict(words.get(item.item, {}).values()) is False
        ),
    )  # fmt: skip


def rate(
    name: str,
    verdicts: Iterable[bool | None],
    settings: ReviewSettings,
    population: int | None = None,
) -> Rate:
    """The share of acceptances among what was decided, with Wilson's interval."""
    from scipy.stats import binomtest  # a second to load

    decided = [word for word in verdicts if word is not None]
    figures = Rate(name=name, population=population, decided=len(decided), accepted=sum(decided))
    if not decided:
        return figures
    interval = binomtest(sum(decided), len(decided)).proportion_ci(
        confidence_level=settings.confidence, method="wilson"
    )
    return figures.model_copy(
        update={
            "rate": sum(decided) / len(decided),
            "low": float(interval.low),
            "high": float(interval.high),
        }
    )


def _of_group(sample: Sample, group: Group) -> list[SampleItem]:
    return [item for item in sample.items if item.group == group]


def _group_rate(
    name: str,
    sample: Sample,
    group: Group,
    verdicts: dict[str, bool | None],
    settings: ReviewSettings,
) -> Rate:
    size = sum(stratum.population for stratum in sample.strata if stratum.group == group)
    words = (verdicts[item.item] for item in _of_group(sample, group))
    return rate(name, words, settings, size)


def _stratum(
    stratum: Stratum, sample: Sample, verdicts: dict[str, bool | None], settings: ReviewSettings
) -> Rate:
    words = (
        verdicts[item.item]
        for item in sample.items
        if (item.group, item.stratum) == (stratum.group, stratum.name)
    )
    return rate(f"{stratum.group}: {stratum.name}", words, settings, stratum.population)


def _weighted(rates: Iterable[Rate]) -> float | None:
    rated = [(each.rate, each.population or 0) for each in rates if each.rate is not None]
    whole = sum(size for _, size in rated)
    return sum(share * size for share, size in rated) / whole if whole else None


def _reviewers(
    traces: Sequence[SampleItem], words: Words, settings: ReviewSettings
) -> tuple[Rate, ...]:
    by_item = [words.get(item.item, {}) for item in traces]
    names = sorted({name for each in by_item for name in each})
    return tuple(
        rate(name, (each[name].accept for each in by_item if name in each), settings)
        for name in names
    )  # fmt: skip


def _judged(sample: Sample, verdicts: dict[str, bool | None]) -> list[Judged]:
    """The decided traces, each weighted by how many of its stratum it stands for."""
    sizes = {(each.group, each.name): each.population for each in sample.strata}
    decided = Counter(
        (item.group, item.stratum) for item in sample.items if verdicts[item.item] is not None
    )
    points = []
    for item in sample.items:
        people, kind = verdicts[item.item], (item.group, item.stratum)
        if people is not None and item.quality is not None:
            weight = sizes[kind] / decided[kind]
            points.append(Judged(item.quality, item.group == "accepted", people, weight))
    return points
