"""The rules in the order in which they are told, and what all of them say of a trace."""

from __future__ import annotations

from typing import Final, get_args

from datagen.filter import observation_rules, run_rules, text_rules
from datagen.filter.case import Case, Check
from datagen.records import Filtered, Finding, seed_of
from datagen.run.tokens import token_counter
from datagen.settings.filter import FilterSettings, RuleName
from oresearch_graph.trace import Trace

RULES: Final[dict[RuleName, Check]] = {
    "violation": run_rules.violation,
    "outcome": run_rules.outcome,
    "infrastructure": run_rules.infrastructure,
    "repaired": run_rules.repaired,
    "changed": run_rules.changed,
    "extractive": run_rules.extractive,
    "extended_prompt": run_rules.extended_prompt,
    "constrained": run_rules.constrained,
    "few_subtasks": run_rules.few_subtasks,
    "call_bounds": run_rules.call_bounds,
    "unanswered_subtask": run_rules.unanswered_subtask,
    "repeated_call": run_rules.repeated_call,
    "short_path": run_rules.short_path,
    "token_limit": run_rules.token_limit,
    "unverifiable_citations": text_rules.unverifiable_citations,
    "uncited_report": text_rules.uncited_report,
    "citation_accuracy": text_rules.citation_accuracy,
    "citation_coverage": text_rules.citation_coverage,
    "report_language": run_rules.report_language,
    "report_length": run_rules.report_length,
    "repeated_text": text_rules.repeated_text,
    "refusal": text_rules.refusal,
    "tag_leak": text_rules.tag_leak,
    "error_page": observation_rules.error_page,
    "empty_observations": observation_rules.empty_observations,
}


class Rules:
    """The rules that are on, with their bounds. Raises ConfigurationError for a bad tokenizer."""

    def __init__(self, settings: FilterSettings) -> None:
        self.settings = settings
        self._count = token_counter(settings.tokenizer, "filter.tokenizer")
        self._checks = [RULES[name] for name in get_args(RuleName) if name not in settings.off]

    def findings(self, trace: Trace) -> tuple[Finding, ...]:
        """Everything that is against the trace; empty: it passes."""
        case = Case(trace, self.settings, self._count)
        return tuple(finding for check in self._checks for finding in check(case))

    def filtered(self, trace: Trace) -> Filtered:
        """The trace's line in `filtered.jsonl`."""
        return Filtered(id=trace.id, seed=seed_of(trace.id), findings=self.findings(trace))
