"""The review stage: what people said of the sample becomes the result that gates the export: rates
with their intervals, agreement of reviewers with each other and with the judge, a threshold for the
judge.

Cohen's kappa: Educational and Psychological Measurement 20 (1960). Youden's J: Cancer 3 (1950). Not
covered: the uncertainty of the weighted rate and of the thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from datagen.records import Decision
from datagen.review.population import Group
from datagen.review.sample import (
    Decisions,
    Sample,
    SampleItem,
    Stratum,
    current_sample,
    decisions_on,
    read_decisions,
    verdict,
)
from datagen.run.folder import Counts, Work
from datagen.run.record_files import RecordWriter, write_document
from datagen.run.review_result import Cut, JudgeAgreement, Kappa, Rate, ReviewResult
from datagen.run.stamps import inputs_of
from datagen.settings import ReviewSettings


def review_result(
    sample: Sample, decisions: Decisions, settings: ReviewSettings, inputs: dict[str, str]
) -> ReviewResult:
    """All that the decisions on the sample say."""
    verdicts = {item.item: verdict(decisions.get(item.item, {}).values()) for item in sample.items}
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
        reviewers=_reviewers(traces, decisions, settings),
        kappas=kappas(decisions, [item.item for item in sample.items]),
        judge=judge_agreement(points),
        precise=precise_cut(points, settings.wanted_precision),
        youden=youden_cut(points),
        queue=sum(item.item in decisions for item in sample.queue),
        refused=tuple(
            item.item
            for item in (*sample.items, *sample.queue)
            if verdict(decisions.get(item.item, {}).values()) is False
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
    of_group = (verdicts[item.item] for item in _of_group(sample, group))
    return rate(name, of_group, settings, size)


def _stratum(
    stratum: Stratum, sample: Sample, verdicts: dict[str, bool | None], settings: ReviewSettings
) -> Rate:
    of_stratum = (
        verdicts[item.item]
        for item in sample.items
        if (item.group, item.stratum) == (stratum.group, stratum.name)
    )
    return rate(f"{stratum.group}: {stratum.name}", of_stratum, settings, stratum.population)


def _weighted(rates: Iterable[Rate]) -> float | None:
    rated = [(each.rate, each.population or 0) for each in rates if each.rate is not None]
    whole = sum(size for _, size in rated)
    return sum(share * size for share, size in rated) / whole if whole else None


def _reviewers(
    traces: Sequence[SampleItem], decisions: Decisions, settings: ReviewSettings
) -> tuple[Rate, ...]:
    by_item = [decisions.get(item.item, {}) for item in traces]
    names = sorted({name for each in by_item for name in each})
    return tuple(
        rate(name, (each[name].accept for each in by_item if name in each), settings)
        for name in names
    )  # fmt: skip


def _judged(sample: Sample, verdicts: dict[str, bool | None]) -> list[PairedVerdict]:
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
            points.append(PairedVerdict(item.quality, item.group == "accepted", people, weight))
    return points


class PairedVerdict(NamedTuple):
    """A sampled trace that both the judge and people spoke on."""

    quality: float
    judge: bool
    people: bool
    weight: float = 1.0
    """How many traces of the population it stands for."""


def cohen_kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Agreement beyond chance, -1 to 1; None without pairs, or where chance explains all."""
    if not pairs:
        return None
    count = len(pairs)
    observed = sum(one == other for one, other in pairs) / count
    one = sum(one for one, _ in pairs) / count
    other = sum(other for _, other in pairs) / count
    expected = one * other + (1 - one) * (1 - other)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def kappas(decisions: Decisions, items: Sequence[str]) -> tuple[Kappa, ...]:
    """Every two reviewers over the items that both decided on."""
    reviewers = sorted({name for item in items for name in decisions.get(item, {})})
    return tuple(
        kappa
        for one, other in combinations(reviewers, 2)
        if (kappa := _kappa(decisions, items, one, other)) is not None
    )


def _kappa(decisions: Decisions, items: Sequence[str], one: str, other: str) -> Kappa | None:
    by_item = (decisions.get(item, {}) for item in items)
    pairs = [(s[one].accept, s[other].accept) for s in by_item if one in s and other in s]
    if not pairs:
        return None
    equal = sum(a == b for a, b in pairs) / len(pairs)
    return Kappa(one=one, other=other, items=len(pairs), agreement=equal, kappa=cohen_kappa(pairs))


def judge_agreement(points: Sequence[PairedVerdict]) -> JudgeAgreement | None:
    """The four counts, unweighted; None where nobody decided."""
    if not points:
        return None
    pairs = [(point.judge, point.people) for point in points]
    return JudgeAgreement(
        both_accept=pairs.count((True, True)),
        judge_only=pairs.count((True, False)),
        people_only=pairs.count((False, True)),
        both_reject=pairs.count((False, False)),
        agreement=sum(judge == people for judge, people in pairs) / len(pairs),
        kappa=cohen_kappa(pairs),
    )


def precise_cut(points: Sequence[PairedVerdict], precision: float) -> Cut | None:
    """The lowest quality at or above which people accept the wanted share: it keeps the most."""
    return next((cut for cut, _ in _cuts(points) if cut.precision >= precision), None)


def youden_cut(points: Sequence[PairedVerdict]) -> Cut | None:
    """The lowest quality of those with the highest J; None where people all said the same."""
    if len({point.people for point in points}) < 2:
        return None
    return max(_cuts(points), key=lambda each: (each[1], -each[0].threshold))[0]


def _cuts(points: Sequence[PairedVerdict]) -> Iterator[tuple[Cut, float]]:
    """Every threshold that tells points apart, lowest first, with Youden's J."""
    good = sum(point.weight for point in points if point.people)
    bad = sum(point.weight for point in points if not point.people)
    for threshold in sorted({point.quality for point in points}):
        above = [point for point in points if point.quality >= threshold]
        right = sum(point.weight for point in above if point.people)
        wrong = sum(point.weight for point in above if not point.people)
        recall = right / good if good else None
        cut = Cut(threshold=threshold, precision=right / (right + wrong), recall=recall)
        yield cut, (recall or 0.0) - (wrong / bad if bad else 0.0)


def settle_review(work: Work) -> Counts:
    """Draw the sample where it is missing or outdated, and work out the result so far."""
    from datagen.review.stage import review_result

    inputs = inputs_of([work.run.judged, work.run.rubrics])
    sample = current_sample(work)
    path = work.run.review / "decisions.jsonl"
    if path.exists():
        RecordWriter(path, Decision).close()  # moves aside what a killed writer left of a line
    decisions = decisions_on([*sample.items, *sample.queue], read_decisions(path))
    result = review_result(sample, decisions, work.settings.review, inputs)
    write_document(work.run.review / "result.json", result)
    _tell(work, result)
    decided = result.traces.decided + result.rejected.decided + result.rubrics.decided
    return {
        "in_the_sample": len(sample.items),
        "decided": decided,
        "accepted_traces_reviewed": result.traces.decided,
        "accepted_by_reviewers": result.traces.accepted,
        "reviewers": len(result.reviewers),
    }


def _tell(work: Work, result: ReviewResult) -> None:
    for rate in (result.traces, result.rejected, result.rubrics):
        if rate.decided:
            work.say(_line(rate, result.confidence))
    for each in result.kappas:
        kappa = "unknown" if each.kappa is None else f"{each.kappa:.2f}"
        line = f"{each.one} and {each.other}: kappa {kappa} over {each.items} items"
        work.say(line)
    if result.judge is not None:
        line = f"judge and people agree on {result.judge.agreement:.0%}"
        if result.precise is not None:
            line += f"; a quality of {result.precise.threshold:g} would do for the wanted precision"
        work.say(line)


def _line(rate: Rate, confidence: float) -> str:
    return (
        f"{rate.name}: {rate.accepted} of {rate.decided} accepted, {rate.rate:.3f} "
        f"[{rate.low:.3f}, {rate.high:.3f}] at {confidence:.0%}"
    )
