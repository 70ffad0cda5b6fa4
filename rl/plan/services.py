"""What one training step asks of the judge, of its audit and of the tools, at most, and the money.

Tokens are a worst case as well: reports as long as they may be, each request of a judge answered at
the first try. Of a live service's queries and pages the most that calls may carry are counted, with
all their tries. What runs on machines of one's own has no price unless one is set.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.prices import cost, known_price
from oresearch_graph.policies.chat.probe import is_official
from oresearch_graph.tools.crawl_page import MAX_URLS
from oresearch_graph.tools.web_search import MAX_QUERIES
from rl.check.lengths import QUESTION, most_calls_possible
from rl.check.problem import Launch
from rl.check.surroundings import most_rollouts
from rl.rows.truths import TruthSizes, truth_sizes
from rl.settings import RewardJudgeSettings

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

MOST_ASKED: Final = max(MAX_QUERIES, MAX_URLS)
"""Queries or pages of one call."""
_FRAME: Final = 1_500
"""Tokens of a judge's instructions, and of what it is told of citations."""
_ENTRY: Final = 80
"""Tokens of a verdict on one criterion, its quote and reason included."""


class JudgePlan(NamedTuple):
    """Requests to one judge."""

    name: str
    """The model's; empty: no model is asked, or none is named yet."""
    requests: int
    tokens: int
    cost: float | None
    """US dollars; None where the price is not known."""


class ServicePlan(NamedTuple):
    """One step, at most."""

    judge: JudgePlan
    audit: JudgePlan
    tool_calls: int
    tools: str
    """Where documents come from."""
    tool_requests: int
    """Queries and pages asked of a live service, each billed: as many as a call may carry, and each
    tried as often as may be; 0 for documents of the run's own."""
    tool_cost: float | None
    """US dollars; None where a query has a price and it is not known."""

    @property
    def cost(self) -> float | None:
        """US dollars of the whole step; None where a part is not known."""
        parts = (self.judge.cost, self.audit.cost, self.tool_cost)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def service_plan(launch: Launch) -> ServicePlan:
    """Count them for a checked configuration."""
    settings, limits = launch.settings, launch.research.limits
    rollouts, sizes = most_rollouts(launch), truth_sizes(launch.files("data.train_files"))
    report = settings.report_tokens
    calls = rollouts * limits.subtasks * most_calls_possible(limits)
    price = settings.tools.price
    live = settings.tools.source == "live"
    audited = math.ceil(rollouts * settings.audit.share)
    asked = calls * MOST_ASKED * settings.tools.tries if live else 0
    return ServicePlan(
        judge=_judge_plan(settings.judge, rollouts, sizes, report),
        audit=_judge_plan(settings.audit.judge, audited, sizes, report),
        tool_calls=calls,
        tools=settings.tools.source,
        tool_requests=asked,
        tool_cost=0.0 if not live else None if price is None else asked * price,
    )


def _judge_plan(
    judge: RewardJudgeSettings, reports: int, sizes: TruthSizes, report: int
) -> JudgePlan:
    if judge.kind != "model" or not reports:
        return JudgePlan("", 0, 0, 0.0)
    requests = reports * judge.votes * sizes.orders
    # The reference is among the truth's tokens.
    prompt, answer = _FRAME + QUESTION + report + sizes.tokens, _ENTRY * sizes.criteria
    dollars = cost(_price(judge), requests * prompt, 0, requests * answer)
    return JudgePlan(judge.model or "", requests, requests * (prompt + answer), dollars)


def _price(judge: RewardJudgeSettings) -> Price | ModelPrice | None:
    """As set, else by the provider's list where it is the provider that is asked."""
    if judge.price is not None or not judge.model:
        return judge.price
    if is_official(judge.base_url):
        return known_price(judge.model)
    address = str(judge.base_url)
    return known_price(judge.model, at=address) if address.startswith("https://") else None


def service_lines(plan: ServicePlan) -> list[tuple[str, str]]:
    """The plan in words."""
    source = "a live service" if plan.tools == "live" else "documents of the run's own"
    most = f": {plan.tool_requests:,} queries and pages" if plan.tool_requests else ""
    lines = [
        ("judge requests", _judge_line(plan.judge)),
        ("tool calls", f"{plan.tool_calls:,} to {source}{most}"),
        ("money", _money(plan)),
    ]
    if plan.audit.requests:
        lines.insert(1, ("audit requests", _judge_line(plan.audit)))
    return lines


def _judge_line(judge: JudgePlan) -> str:
    if not judge.requests:
        return "none: what is stated is looked up"
    return f"{judge.requests:,} to {judge.name or 'a model'}, {judge.tokens:,} tokens"


def _money(plan: ServicePlan) -> str:
    if plan.cost is not None:
        return f"${plan.cost:,.2f}" if plan.cost else "none for judge and tools"
    unknown = {
        "oresearch.judge.price": plan.judge.cost,
        "oresearch.audit.judge.price": plan.audit.cost,
        "oresearch.tools.price": plan.tool_cost,
    }
    names = " and ".join(name for name, dollars in unknown.items() if dollars is None)
    known = sum(dollars or 0.0 for dollars in unknown.values())
    return f"{f'${known:,.2f} and ' if known else ''}what is not known: set {names}"
