"""What a training step reports beyond verl's own metrics, and what each number means.

Pure functions over plain values and tensors. A value that was not measured is left out of the
result, never reported as 0. `METRICS` is the one list of names; `<name>` in it stands for one word.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from oresearch_graph.rows.lengths import nearest_rank
from rl.rollouts.log import RolloutRecord

if TYPE_CHECKING:
    import torch

METRICS: Final[dict[str, str]] = {
    "oresearch/reward/total/<stat>": "The shaped reward, over every rollout of the step that has "
    "one, also of groups that were left out. <stat> is mean, min, max or std.",
    "oresearch/reward/quality/<stat>": "The judge's quality, 0 to 1.",
    "oresearch/reward/tool_use/<stat>": "−1, 0 or 1 by the number of tool calls that brought "
    "a source unseen before.",
    "oresearch/reward/format/<stat>": "1 where the trace has no violation, else 0.",
    "oresearch/citations/accuracy": "Mean share of quoted or found among the cited sentences of "
    "which anything is known.",
    "oresearch/citations/coverage": "Mean share of the report's sentences with a citation that "
    "nothing speaks against.",
    "oresearch/report/words": "Mean length of the report in words.",
    "oresearch/report/words_reward_correlation": "Pearson correlation of the report's length with "
    "the reward; near 1, length is being learned instead of content.",
    "oresearch/reward/quality_judged": "Mean quality as judged, before the caps of "
    "rl/rollouts/reward.py.",
    "oresearch/reward/quality_capped": "Share of rollouts whose quality a cap lowered: copied, "
    "padded, far too long or in another language.",
    "oresearch/violations": "Violations of the trace language per rollout.",
    "oresearch/partial": "Share of rollouts that did not end complete.",
    "oresearch/subtasks": "Subtasks that a plan lists.",
    "oresearch/tools/calls_per_subtask": "Tool calls per subtask that brought a source unseen "
    "before: what tool_use counts.",
    "oresearch/tools/calls/mean": "The same per rollout.",
    "oresearch/tools/calls/max": "Most tool calls of one rollout.",
    "oresearch/tools/by_name/<tool>": "Calls of one tool, over all rollouts of the step.",
    "oresearch/truncations": "Continuations per rollout that ended at a token limit.",
    "oresearch/turns_without_tag": "Continuations per rollout that ended the turn without a tag.",
    "oresearch/model_calls": "Continuations per rollout.",
    "oresearch/engine_retries": "Engine calls per rollout that had to be repeated.",
    "oresearch/prefix_breaks": "Rows per rollout that were opened because a thread's text was not "
    "what had been sampled; should be 0.",
    "oresearch/rows_per_rollout/mean": "Training rows per rollout.",
    "oresearch/rows_per_rollout/max": "Most training rows of one rollout.",
    "oresearch/tokens/share/<role>": "Share of the trained tokens that this role sampled.",
    "oresearch/tokens/trained": "Sampled tokens in the step's batch.",
    "oresearch/optimizer_steps": "Optimizer steps of this training step; set by prompts, not rows.",
    "oresearch/muted_steps": "Optimizer steps that were not taken because no row of theirs has an "
    "advantage: they leave weights and optimizer bit for bit as they were.",
    "oresearch/padding_rows": "Rows without any trained token, added so that workers get as many.",
    "oresearch/rollouts/kept": "Rollouts of the step that have a reward.",
    "oresearch/rollouts/dropped": "Rollouts dropped because infrastructure failed.",
    "oresearch/dropped/<class>": "Share of the step's rollouts that failures of one class dropped; "
    "above 0.1 a warning, above 0.5 the run ends.",
    "oresearch/failures/<class>": "Failures of one class, in rollouts kept or dropped.",
    "oresearch/rollout_seconds/mean": "Seconds of the graph in a rollout that has a reward, "
    "judging left out.",
    "oresearch/rollout_seconds/max": "The same of the slowest rollout that has a reward.",
    "oresearch/judge_cached": "Share of reports whose verdict was in the cache.",
    "oresearch/judge_seconds/mean": "Seconds that judging one report took, cached ones left out.",
    "oresearch/judge_seconds/p99": "99 % of the judgements took no longer.",
    "oresearch/audit/quality": "Mean quality by a second judge (`oresearch.audit`), over the "
    "reports that it judged.",
    "oresearch/audit/gap": "Mean of the judge's quality less the audit's, over the same reports; "
    "growing, the judge is being pleased, not convinced.",
    "oresearch/audit/distance": "Mean distance of the two.",
    "oresearch/audit/correlation": "Pearson correlation of the two.",
    "oresearch/audit/failed": "Share of audits that gave no verdict; no rollout is lost by it.",
    "oresearch/groups/trained": "Prompts whose rollouts are trained on.",
    "oresearch/groups/left_out/too_few": "Prompts with fewer than two rollouts to compare.",
    "oresearch/groups/left_out/no_signal": "Prompts whose rollouts do not differ in quality.",
    "oresearch/groups/refilled": "Prompts rolled out in place of those left out.",
    "oresearch/groups/without_signal": "Prompts taken without a difference in quality, because "
    "no other was left; their advantage is 0.",
    "oresearch/mismatch/kl": "KL divergence of the actor from the engine per sampled token (the k3 "
    "estimate, http://joschu.net/blog/kl-approx.html); grows when the two compute differently.",
    "oresearch/mismatch/mean_log_prob_difference": "Mean |Δ log-probability| of a sampled token "
    "between engine and actor; above oresearch.mismatch_bound in the first step, the start ends.",
    "oresearch/mismatch/max_log_prob_difference": "Largest |Δ log-probability| of a sampled token "
    "between engine and actor.",
    "oresearch/validation/kept": "Validation rollouts that have a reward.",
    "oresearch/validation/dropped": "Validation rollouts dropped because infrastructure failed.",
}
"""Every metric, with what it means."""

_PARTS: Final = ("total", "quality", "tool_use", "format")
_MEANS: Final = {
    "citations/accuracy": "citation_accuracy",
    "citations/coverage": "citation_coverage",
    "report/words": "report_words",
    "reward/quality_judged": "quality_judged",
    "reward/quality_capped": "quality_capped",
    "violations": "violations",
    "partial": "partial",
    "subtasks": "subtasks",
    "tools/calls_per_subtask": "tool_calls_per_subtask",
    "truncations": "truncations",
    "turns_without_tag": "turns_without_tag",
    "prefix_breaks": "prefix_breaks",
    "model_calls": "model_calls",
    "engine_retries": "engine_retries",
    "judge_cached": "judge_cached",
    "audit/quality": "audit_quality",
    "audit/gap": "audit_gap",
    "audit/failed": "audit_failed",
}
"""Metrics that are a mean over rollouts, and the score each is taken from."""


def described(name: str) -> str | None:
    """The meaning of a metric by the name under which it was logged."""
    for pattern, meaning in METRICS.items():
        if re.fullmatch(re.sub(r"<\w+>", r"[^/]+", pattern), name):
            return meaning
    return None


def step_metrics(
    scores: Sequence[Mapping[str, float | None]],
    sampled_by: Iterable[Mapping[str, int]],
    records: Sequence[RolloutRecord],
) -> dict[str, float]:
    """The metrics of one training step.

    `scores`: the `reward_extra_info` of every rollout. `sampled_by`: sampled tokens by role, of
    every row that is trained on. `records`: the rollout log of the step.
    """
    return {
        **_rewards(scores),
        **_texts(scores),
        **_work(scores),
        **_audit(scores),
        **token_shares(sampled_by),
        **_fates(records),
    }


def validation_metrics(records: Sequence[RolloutRecord]) -> dict[str, float]:
    """How many validation rollouts came through; their scores are in verl's `val-*` metrics."""
    fates = Counter(record.fate for record in records)
    return {
        "oresearch/validation/kept": float(fates["kept"]),
        "oresearch/validation/dropped": float(fates["dropped"]),
    }


def token_shares(sampled_by: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """Trained tokens and each role's share of them."""
    tokens: Counter[str] = Counter()
    for row in sampled_by:
        tokens.update(row)
    whole = tokens.total()
    shares = {f"oresearch/tokens/share/{role}": n / whole for role, n in tokens.items() if whole}
    return {"oresearch/tokens/trained": float(whole), **shares}


def mismatch(engine: torch.Tensor, actor: torch.Tensor) -> dict[str, float]:
    """How far the engine that sampled and the actor that is trained disagree on the sampled tokens:
    KL(engine ‖ actor) per token, the mean and the largest |Δ|.

    Both hold the same weights, so what differs is arithmetic: kernels, precision, or a wrong
    context. The k3 estimate: never negative, unbiased for tokens sampled by the engine. Empty where
    nothing was sampled.
    """
    if not len(engine):
        return {}
    gap = actor.double() - engine
    return {
        "oresearch/mismatch/kl": float(gap.expm1().sub_(gap).mean()),
        "oresearch/mismatch/mean_log_prob_difference": float(gap.abs().mean()),
        "oresearch/mismatch/max_log_prob_difference": float(gap.abs().max()),
    }


def pearson(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's correlation; None with fewer than two pairs or where one side does not vary."""
    if len(first) < 2:
        return None
    means = sum(first) / len(first), sum(second) / len(second)
    gaps = [(a - means[0], b - means[1]) for a, b in zip(first, second, strict=True)]
    spread = math.sqrt(sum(a * a for a, _ in gaps) * sum(b * b for _, b in gaps))
    return sum(a * b for a, b in gaps) / spread if spread > 1e-12 else None


def _rewards(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for part in _PARTS:
        if values := _values(scores, part):
            mean = _mean(values)
            spread = math.sqrt(_mean([(value - mean) ** 2 for value in values]))
            stats = {"mean": mean, "min": min(values), "max": max(values), "std": spread}
            metrics |= {f"oresearch/reward/{part}/{stat}": value for stat, value in stats.items()}
    return metrics


def _texts(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    both = [row for row in scores if _values([row], "report_words") and _values([row], "total")]
    return _present(
        {
            **{f"oresearch/{name}": _mean_of(scores, key) for name, key in _MEANS.items()},
            "oresearch/report/words_reward_correlation": pearson(
                _values(both, "report_words"), _values(both, "total")
            ),
        }
    )


def _work(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    uncached = [row for row in scores if not row.get("judge_cached")]
    seconds, judge_seconds = _values(scores, "seconds"), _values(uncached, "judge_seconds")
    return _present(
        {
            "oresearch/tools/calls/mean": _mean_of(scores, "tool_calls"),
            "oresearch/tools/calls/max": max(_values(scores, "tool_calls"), default=None),
            "oresearch/rows_per_rollout/mean": _mean_of(scores, "rows"),
            "oresearch/rows_per_rollout/max": max(_values(scores, "rows"), default=None),
            "oresearch/rollout_seconds/mean": _mean(seconds) if seconds else None,
            "oresearch/rollout_seconds/max": max(seconds, default=None),
            "oresearch/judge_seconds/mean": _mean(judge_seconds) if judge_seconds else None,
            "oresearch/judge_seconds/p99": nearest_rank(judge_seconds, 99)
            if judge_seconds
            else None,
        }
    )


def _audit(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    audits = [row for row in scores if _values([row], "audit_gap")]
    gaps = _values(audits, "audit_gap")
    return _present(
        {
            "oresearch/audit/distance": _mean([abs(gap) for gap in gaps]) if gaps else None,
            "oresearch/audit/correlation": pearson(
                _values(audits, "quality_judged"), _values(audits, "audit_quality")
            ),
        }
    )


def _fates(records: Sequence[RolloutRecord]) -> dict[str, float]:
    failures: Counter[str] = Counter()
    tools: Counter[str] = Counter()
    for record in records:
        failures.update(record.failures)
        tools.update(record.tools)
    fates = Counter(record.fate for record in records)
    return {
        "oresearch/rollouts/kept": float(fates["kept"]),
        "oresearch/rollouts/dropped": float(fates["dropped"]),
        **{f"oresearch/failures/{name}": float(count) for name, count in failures.items()},
        **{f"oresearch/tools/by_name/{name}": float(count) for name, count in tools.items()},
    }


def _values(scores: Sequence[Mapping[str, float | None]], key: str) -> list[float]:
    values = [float(value) for row in scores if (value := row.get(key)) is not None]
    return [value for value in values if not math.isnan(value)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_of(scores: Sequence[Mapping[str, float | None]], key: str) -> float | None:
    values = _values(scores, key)
    return _mean(values) if values else None


def _present(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
