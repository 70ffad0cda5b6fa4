"""The reward of one rollout, from its Trace: `0.6·quality + 0.2·tool_use + 0.2·format`, or with
form and tool calls behind quality (`reward.gate`).

Whose a failure is decides what becomes of the rollout (`fate`):

    what went wrong                                          named        fault           fate
    text that breaks the protocol, a bad plan                grammar      policy          scored
    text cut by the token limit                              cut          policy          scored
    the policy's own calls or tokens used up                 budget       policy          scored
    a subtask dropped or not begun: plan, calls, tokens      not_covered  policy          scored
    no evidence found, an empty answer                       no_evidence  policy          scored
    no report, no calls, a call that makes no sense          (steps)      policy          scored
    a page that is gone, empty, blocked or slow              (step)       web             scored
    engine or model server failed                            model_error  infrastructure  dropped
    a continuation, a branch or the run out of time          timeout,     infrastructure  dropped
                                                             budget,
                                                             not_covered
    search or reader service failed or was silent            tool_error   infrastructure  dropped
    a defect of ours, a tool that raised                     internal     infrastructure  dropped
    the judges failed                                        JudgeError   infrastructure  dropped
    a plan edited, a subtask left out from outside           plan_rejected person         dropped

One such failure in one branch is enough: what the other branches wrote was written beside a hole
that the policy did not make. `plan_fallback` has the fault of what made the plan fail.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.evidence.copying import is_padded, verbatim_share
from oresearch_graph.judging.ground_truth import Judged, QualityJudge
from oresearch_graph.rows.ground_truth import GroundTruth
from oresearch_graph.text.language import detect_language, names_language, surely_another
from oresearch_graph.text.scripts import has_cjk
from oresearch_graph.text.words import all_words, sentence_spans, terms, token_count
from oresearch_graph.trace import Failure, Step, Trace, Violation, violations
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.call_counts import calls_per_subtask, distinct_calls, fruitful_calls
from rl.rollouts.judges import AuditVerdict, JudgeAudit
from rl.settings import RewardSettings

Fate = Literal["scored", "dropped"]

_HALF: Final = 0.5
_FREE: Final = 100
"""Sentences that any report may have."""
_PER_POINT: Final = 12
"""Sentences for each key point that it may have in their place."""
_WORDS: Final = 40
"""Words, or twice as many characters of Chinese, that count as a sentence where one is longer."""
_LINE: Final = 40
"""Characters of a line whose language can be told."""
_TOKENS: Final = 2
"""Tokens of a word, at most."""


@dataclass(frozen=True)
class RewardParts:
    """The reward with all that goes into it or is logged beside it. None: there is no such thing
    in this rollout, which is not the same as 0."""

    total: float
    """The reward."""
    quality: float
    tool_use: float
    format: float
    citation_accuracy: float | None
    """None: the report cites nothing, or there is no report."""
    citation_coverage: float | None
    report_characters: int | None
    """None: there is no report."""
    report_words: int | None
    """Content words; pairs of characters for Chinese and Japanese."""
    tool_calls: tuple[int, ...]
    """Calls of each listed subtask that brought a source unseen before, in order."""
    violations: Mapping[str, int]
    """How often each code of `oresearch_graph.violations` came up, and `few_subtasks`."""
    caps: Mapping[str, float]
    """Why and how far quality counts less than it was judged; see `quality_caps`."""
    judged: Judged | None
    """None: there was no report to judge."""
    audit: AuditVerdict | None = None
    """None: the report was not audited."""

    def as_floats(self) -> dict[str, float | None]:
        """For logging: the same keys for every rollout.

        verl's validation leaves None out of its means. There is no key `reward`: `_validate`
        (verl/trainer/ppo/v1/trainer_base.py) fills that one itself and would count it twice.
        """
        judged, audited = self.judged, self.audit.quality if self.audit else None
        gap = judged.quality - audited if judged and audited is not None else None
        return {
            "total": self.total,
            "quality": self.quality,
            "tool_use": self.tool_use,
            "format": self.format,
            "citation_accuracy": self.citation_accuracy,
            "citation_coverage": self.citation_coverage,
            "report_characters": _float(self.report_characters),
            "report_words": _float(self.report_words),
            "tool_calls": float(sum(self.tool_calls)),
            "tool_calls_per_subtask": (
                sum(self.tool_calls) / len(self.tool_calls) if self.tool_calls else None
            ),
            "subtasks": float(len(self.tool_calls)),
            "violations": float(sum(self.violations.values())),
            "quality_judged": judged.quality if judged else None,
            "quality_capped": float(judged is not None and self.quality < judged.quality),
            "judge_seconds": judged.seconds if judged else None,
            "judge_cached": float(judged.cached) if judged else None,
            "audit_quality": audited,
            "audit_gap": gap,
            "audit_failed": float(audited is None) if self.audit else None,
        }


class RewardJudge:
    """Scores rollouts. One per worker: the judge's limits and its cache belong to it."""

    def __init__(
        self, settings: RewardSettings, judge: QualityJudge, audit: JudgeAudit | None = None
    ) -> None:
        self.settings, self._judge, self._audit = settings, judge, audit

    async def score(self, trace: Trace, row: Mapping[str, Any]) -> RewardParts:
        """The reward of a rollout whose fate is to be scored; `row` is its row of verl's data.

        Raises JudgeError when the rollout has to be dropped for want of a judge,
        ConfigurationError when the row has nothing to judge by, ValueError when the fate is
        another, or no policy wrote it.
        """
        if culprit := spoiled_by(trace):
            raise ValueError(f"this rollout is to be dropped, not scored: {culprit.message}")
        if trace.extractive:
            raise ValueError("excerpts are nobody's writing: an extractive trace is never scored")
        if trace.changed_by:
            raise ValueError("middleware changed the trace: it is not what the policy wrote")
        truth = ground_truth(row, trace.question)
        judged = await self._quality(trace, truth)
        faults = violations(trace)
        caps: dict[str, float] = {}
        if judged:
            caps = await asyncio.to_thread(quality_caps, trace, truth, faults, self.settings)
        quality = min((judged.quality if judged else 0.0), *caps.values(), 1.0)
        codes = Counter[str](fault.code for fault in faults)
        if len(trace.subtasks) < self.settings.fewest_subtasks:
            codes["few_subtasks"] += 1
        use, form = tool_use(trace, self.settings), float(not codes)
        report = _report(trace)
        citations = trace.citations if report is not None else None
        return RewardParts(
            total=total_of(quality, use, form, self.settings),
            quality=quality,
            tool_use=use,
            format=form,
            citation_accuracy=citations.accuracy if citations else None,
            citation_coverage=citations.coverage if citations else None,
            report_characters=None if report is None else len(report),
            report_words=None if report is None else len(terms(report)),
            tool_calls=calls_per_subtask(trace, fruitful_calls),
            violations=codes,
            caps=caps,
            judged=judged,
            audit=await self._audited(trace, truth),
        )

    async def _quality(self, trace: Trace, truth: GroundTruth) -> Judged | None:
        """None, which is worth 0, when the policy wrote no report: no judge is asked."""
        report = _report(trace)
        if report is None:
            return None
        return await self._judge.judge(trace.question, report, truth, citations=trace.citations)

    async def _audited(self, trace: Trace, truth: GroundTruth) -> AuditVerdict | None:
        report = _report(trace)
        if report is None or self._audit is None:
            return None
        return await self._audit.verdict(trace.question, report, truth, trace.citations)


def total_of(quality: float, use: float, form: float, settings: RewardSettings) -> float:
    """The reward of its three parts."""
    paid = min(1.0, quality / settings.gate_opens) if settings.gate == "quality" else 1.0
    earned = settings.tool_use * max(0.0, use) + settings.format * form
    return settings.quality * quality + paid * earned + settings.tool_use * min(0.0, use)


def fate(trace: Trace) -> Fate:
    """Whether a rollout is scored, with whatever the policy did wrong, or dropped."""
    return "dropped" if spoiled_by(trace) else "scored"


def spoiled_by(trace: Trace) -> Failure | None:
    """The first failure that is neither the policy's nor the web's."""
    return next((f for f in trace.failures if f.fault not in {"policy", "web"}), None)


def tool_use(trace: Trace, settings: RewardSettings) -> float:
    """The tool term: −1 to 1; averaged over subtasks, or of the whole trajectory. Calls count that
    brought a source unseen before. Without a plan of the policy's own it is 0 at most."""
    parts: list[Sequence[Step]] = [trace.steps]
    if settings.scope == "subtask":
        branches = trace.branches
        numbers = range(1, len(trace.subtasks) + 1) or branches
        parts = [branches.get(number, ()) for number in numbers]
    worths = [_calls_worth(steps, settings) for steps in parts]
    worth = sum(worths) / len(worths) if worths else 0.0
    return worth if _has_plan(trace) else min(0.0, worth)


def _has_plan(trace: Trace) -> bool:
    """Subtasks are listed, and the policy listed them."""
    replaced = any(failure.name == "plan_fallback" for failure in trace.failures)
    return bool(trace.subtasks) and not replaced


def read_truth(row: Mapping[str, Any]) -> GroundTruth:
    """What a row of verl's data judges a report by. Raises ConfigurationError: what the row has
    instead, and the fix."""
    text = (row.get("reward_model") or {}).get("ground_truth")
    if not text or not isinstance(text, str):
        raise ConfigurationError(
            "no reward_model.ground_truth; make the rows again with python -m rl.rl_rows"
        )
    truth = GroundTruth.from_json(text)
    if not truth.judgeable:
        raise ConfigurationError(
            "neither key points nor a rubric: nothing could judge a report on it; add some, or "
            "leave the question out"
        )
    return truth


def ground_truth(row: Mapping[str, Any], question: str) -> GroundTruth:
    """The same, with the question in the error. Raises ConfigurationError."""
    try:
        return read_truth(row)
    except ConfigurationError as error:
        raise ConfigurationError(f"the question {question[:80]!r} has {error}") from error


def quality_caps(
    trace: Trace, truth: GroundTruth, faults: Sequence[Violation], settings: RewardSettings
) -> dict[str, float]:
    """The most that the quality of the trace's report counts, by reason: a judge reads the report,
    not the pages that it was copied from, and sees no research behind it. Nothing where it counts
    as it was judged."""
    assert trace.answer is not None, "without a report there is no quality"  # noqa: S101
    report, sources = parse_answer(trace.answer.text), trace.sources or ()
    caps: dict[str, float] = {}
    if any(fault.code == "fake_observation" for fault in faults):
        caps["fake_observation"] = 0.0
    if _answers_in_another_language(trace, report.body):
        caps["other_language"] = 0.0
    if verbatim_share(report, sources) > settings.most_verbatim:
        caps["verbatim"] = _HALF
    if trace.citations is not None and is_padded(report, trace.citations, sources):
        caps["padded_citations"] = _HALF
    allowed = max(_FREE, _PER_POINT * len(truth.key_points))
    if truth.key_points and (size := _size(report)) > allowed:
        caps["long"] = allowed / size
    return caps


def _answers_in_another_language(trace: Trace, body: str) -> bool:
    """True where most of the report is surely not in the trace's language, nor in one that the
    question may be in or names: a short question's language is a guess, and names have any."""
    if trace.language is None:
        return False
    lines = [line for line in body.splitlines() if len(line) >= _LINE] or [body]
    others = [line for line in lines if surely_another(line, trace.language)]
    if 2 * sum(map(len, others)) <= sum(map(len, lines)):
        return False
    answered = detect_language("\n".join(others))
    named = names_language(trace.question, answered)
    return not named and surely_another(trace.question, answered)


def _size(report: ParsedAnswer) -> int:
    """Sentences of all that was written beside the references, headings and code among them, a
    long one as several; as many as its letters would make, where those are more."""
    text = report.text
    sentences = sum(1 + _words(text[start:end]) // _WORDS for start, end in sentence_spans(text))
    return max(sentences - len(report.references), token_count(text) // (_WORDS * _TOKENS))


def _words(text: str) -> int:
    words = all_words(text)
    return len(words) // 2 if has_cjk(text) else len(words)


def _calls_worth(steps: Sequence[Step], settings: RewardSettings) -> float:
    if distinct_calls(steps) > settings.most_calls:
        return -1.0
    return 1.0 if fruitful_calls(steps) >= settings.fewest_calls else 0.0


def _report(trace: Trace) -> str | None:
    answer = trace.answer
    return answer.text if answer is not None and answer.text.strip() else None


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)
