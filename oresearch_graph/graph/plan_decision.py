"""A person's answer to a proposed plan, in our own form and in those of LangChain's inboxes."""

from __future__ import annotations

import reprlib
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from oresearch_graph.trace import list_items

ACTION: Final = "research"
"""What the forms of LangChain's inboxes ask leave for."""
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


class _Accept(_Strict):
    type: Literal["accept"]
    args: object = None
    """The request again, or nothing."""

    def decision(self) -> PlanDecision:
        return PlanDecision(action="approve")


class _Ignore(_Strict):
    type: Literal["ignore"]
    args: None = None

    def decision(self) -> PlanDecision:
        return PlanDecision(action="reject")


class _InboxArguments(_Strict):
    subtasks: Annotated[str, StringConstraints(max_length=100_000)]


class _InboxAction(_Strict):
    action: Literal["research"]
    args: _InboxArguments


class _InboxEdit(_Strict):
    type: Literal["edit"]
    args: _InboxAction

    def decision(self) -> PlanDecision:
        return PlanDecision(action="edit", subtasks=list(list_items(self.args.args.subtasks)))


_RESPONSES: Final = TypeAdapter(
    Annotated[
        list[Annotated[_Accept | _InboxEdit | _Ignore, Field(discriminator="type")]],
        Field(min_length=1, max_length=1),
    ]
)
"""LangGraph's `HumanResponse` to a `HumanInterrupt`, as agent-chat-ui and Agent Inbox send it."""


def read_decision(answer: object) -> PlanDecision:
    """What an answer says, in our own form or in one of LangChain's two. Raises ValidationError."""
    if isinstance(answer, dict) and "decisions" in answer:
        (one,) = _Decisions.model_validate(answer).decisions
        return one.decision()
    if isinstance(answer, list):
        (response,) = _RESPONSES.validate_python(answer)
        return response.decision()
    return PlanDecision.model_validate(answer)


def decision_fault(error: ValidationError) -> str:
    """The first fault of an answer in one line, whatever was sent."""
    first = error.errors(include_url=False)[0]
    within = ("answer",) if not first["loc"] or isinstance(first["loc"][0], int) else ()
    name = ".".join(reprlib.repr(part).strip("'") for part in (*within, *first["loc"]))
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
            tag, types = reprlib.repr(first["ctx"]["tag"]), first["ctx"]["expected_tags"]
            return f"{name}.type cannot be {tag}: it is one of {types}"
        case _:
            return f"{name} cannot be {reprlib.repr(first['input'])}: {first['msg']}"
