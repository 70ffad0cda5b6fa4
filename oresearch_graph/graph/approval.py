"""A person between plan and research: what they are shown, and what their answer means.

Anything that is not clearly an answer is asked for again: nothing is approved by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from langgraph.types import interrupt
from pydantic import ValidationError

from oresearch_graph.graph.plan_decision import (
    ACTION,
    PlanDecision,
    decision_fault,
    read_decision,
)
from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.graph.state import subtask_list
from oresearch_graph.text.words import terms


def decide(question: str, subtasks: Sequence[str], run_context: RunContext) -> PlanDecision:
    """A person's decision on the plan; an answer that is none is asked for again, with its `fault`.

    LangGraph keeps every answer it was given: one that raised would raise on each resume.
    """
    request = proposal = _proposal(question, subtasks, run_context)
    most = run_context.limits.subtasks
    while True:
        answer = interrupt(request, response_schema=request["answer_with"])
        try:
            decision = read_decision(answer)
        except ValidationError as error:
            request = proposal | {"fault": decision_fault(error)}
            continue
        if len(decision.subtasks) <= most:
            return decision
        fault = f"{len(decision.subtasks)} subtasks are more than the limit of {most}: name fewer"
        request = proposal | {"fault": fault}


def overlaps(subtasks: Sequence[str]) -> list[dict[str, Any]]:
    """Pairs of subtasks by the share of terms they have in common, most alike first."""
    words = [set(terms(subtask)) for subtask in subtasks]
    pairs = [
        {
            "subtasks": [one + 1, two + 1],
            "overlap": round(
                len(words[one] & words[two]) / max(1, len(words[one] | words[two])), 2
            ),
        }
        for one, two in combinations(range(len(subtasks)), 2)
    ]
    return sorted(pairs, key=lambda pair: -pair["overlap"])


def _proposal(question: str, subtasks: Sequence[str], run_context: RunContext) -> dict[str, Any]:
    """What a person decides on: the plan, how much its parts overlap, what it may cost at most.

    `action_requests` and `review_configs` are LangChain's `HITLRequest`; `action_request`, `config`
    and `description` LangGraph's `HumanInterrupt`, from which agent-chat-ui draws its buttons.
    """
    limits = run_context.limits
    description = f"Research these {len(subtasks)} subtasks of: {question}"
    return {
        "type": "oresearch.plan_approval",
        "question": question,
        "subtasks": list(subtasks),
        "overlaps": overlaps(subtasks),
        "at_most": {
            "model_calls": min(limits.model_calls, limits.steps * len(subtasks) + 1),
            "tool_calls": limits.tool_calls * len(subtasks),
            "tokens": limits.tokens,
            "seconds": limits.seconds,
            "cost": run_context.settings.max_cost,
        },
        "answer_with": PlanDecision.model_json_schema(),
        "action_requests": [
            {
                "name": ACTION,
                "args": {"subtasks": list(subtasks)},
                "description": description,
            }
        ],
        "review_configs": [
            {"action_name": ACTION, "allowed_decisions": ["approve", "edit", "reject"]}
        ],
        "action_request": {
            "action": ACTION,
            "args": {"subtasks": subtask_list(subtasks).text.strip()},
        },
        "config": {
            "allow_accept": True,
            "allow_edit": True,
            "allow_ignore": True,
            "allow_respond": False,
        },
        "description": description,
    }
