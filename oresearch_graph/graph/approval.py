"""A person between plan and research: what they are shown, and what their answer means.

Anything that is not clearly an answer is asked for again: nothing is approved by default.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Any, Final, Literal

from langgraph.types import interrupt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.text.words import terms

_ACTION: Final = "research"
"""What LangChain's form of the proposal asks leave for."""
_LINE = Annotated[str, StringConstraints(max_length=2_000)]


class PlanDecision(BaseModel):
    """A person's answer to a proposed plan."""

    model_config = ConfigDict(extra="forbid", revalidate_instances="always")

    action: Literal["approve", "edit", "reject"] = Field(
        description="edit: research `subtasks` instead; reject: stop here"
    )
    subtasks: list[_LINE] = Field(default_factory=list, description="The plan to follow, for edit.")
    reason: _LINE = Field("", description="Why it was rejected; kept in the trace.")

    @model_validator(mode="after")
    def _says_one_thing(self) -> PlanDecision:
        self.reason = " ".join(self.reason.split())
        self.subtasks = [line for text in self.subtasks if (line := " ".join(text.split()))]
        if self.action == "edit" and not self.subtasks:
            raise ValueError("edit needs the subtasks to research instead")
        if self.action != "edit" and self.subtasks:
            raise ValueError(f"{self.action} takes no subtasks: edit is the action that does")
        if self.action != "reject" and self.reason:
            raise ValueError(f"{self.action} takes no reason: reject is the action that does")
        return self


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Arguments(_Strict):
    subtasks: list[_LINE]


class _EditedAction(_Strict):
    name: Literal["research"]
    args: _Arguments


class _Approve(_Strict):
    type: Literal["approve"]

    def decision(self) -> PlanDecision:
        return PlanDecision(action="approve")


class _Edit(_Strict):
    type: Literal["edit"]
    edited_action: _EditedAction

    def decision(self) -> PlanDecision:
        return PlanDecision(action="edit", subtasks=self.edited_action.args.subtasks)


class _Reject(_Strict):
    type: Literal["reject"]
    message: _LINE = ""

    def decision(self) -> PlanDecision:
        return PlanDecision(action="reject", reason=self.message)


class _Decisions(_Strict):
    """LangChain's `HITLResponse` to the one action that the proposal asks leave for."""

    decisions: list[Annotated[_Approve | _Edit | _Reject, Field(discriminator="type")]] = Field(
        min_length=1, max_length=1
    )


def decide(question: str, subtasks: Sequence[str], run_context: RunContext) -> PlanDecision:
    """A person's decision on the plan; an answer that is none is asked for again, with its `fault`.

    LangGraph keeps every answer it was given: one that raised would raise on each resume.
    """
    request = proposal = _proposal(question, subtasks, run_context)
    most = run_context.settings.limits.subtasks
    while True:
        answer = interrupt(request, response_schema=request["answer_with"])
        try:
            decision = read_decision(answer)
        except ValidationError as error:
            request = proposal | {"fault": _fault(error)}
            continue
        if len(decision.subtasks) <= most:
            return decision
        fault = f"{len(decision.subtasks)} subtasks are more than the limit of {most}: name fewer"
        request = proposal | {"fault": fault}


def read_decision(answer: object) -> PlanDecision:
    """What an answer says, in our own form or in LangChain's. Raises ValidationError."""
    if isinstance(answer, dict) and "decisions" in answer:
        (one,) = _Decisions.model_validate(answer).decisions
        return one.decision()
    return PlanDecision.model_validate(answer)


def _fault(error: ValidationError) -> str:
    """The first fault of an answer in one line, whatever was sent."""
    first = error.errors(include_url=False)[0]
    name = ".".join(reprlib.repr(part).strip("'") for part in first["loc"]) or "answer"
    match first["type"]:
        case "missing":
            return f"{name} is missing"
        case "extra_forbidden":
            return f"{name} is no field of an answer"
        case "value_error":
            return str(first["ctx"]["error"])
        case "model_type":
            return f"{name} cannot be {reprlib.repr(first['input'])}: give an object with an action"
        case "union_tag_invalid":
            tag = reprlib.repr(first["ctx"]["tag"])
            return f"{name}.type cannot be {tag}: approve, edit or reject"
        case _:
            return f"{name} cannot be {reprlib.repr(first['input'])}: {first['msg']}"


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

    `action_requests` and `review_configs` are LangChain's `HITLRequest`, from which inboxes draw.
    """
    limits = run_context.settings.limits
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
                "name": _ACTION,
                "args": {"subtasks": list(subtasks)},
                "description": f"Research these {len(subtasks)} subtasks of: {question}",
            }
        ],
        "review_configs": [
            {"action_name": _ACTION, "allowed_decisions": ["approve", "edit", "reject"]}
        ],
    }
