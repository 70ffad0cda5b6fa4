"""A researcher's thread as create_agent's messages, and the thread that edited messages stand for.

Middleware sees one form, however the thread is rendered for its model: the question, what the
policy wrote with its calls, and observations as tool messages. Texts are as they are in the steps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call

from oresearch_graph.graph.middleware.layers import looked_at
from oresearch_graph.graph.tool_calls import asks
from oresearch_graph.policies.chat.rendering_tools import Tools, call_arguments
from oresearch_graph.policies.chat.reply import NativeCall
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, parse_policy_text, world_step
from oresearch_graph.trace.step import StepKind
from oresearch_graph.trace.tags import render_step

_QUESTION: Final = "question"
_PENDING: Final = "pending"


class Place(NamedTuple):
    """A message, and the steps that it is made of."""

    message: AnyMessage
    steps: tuple[int, ...]


class Conversation:
    """A thread's messages."""

    def __init__(self, thread: Thread, tools: Tools, start: int, begins: Collection[int]) -> None:
        """`start`: where the branch's own steps begin; `begins`: where the policy was asked for
        more. What it wrote to one request is one message."""
        self.thread, self._tools, self._start, self._begins = thread, tools, start, begins
        question = HumanMessage(thread.question, id=_QUESTION)
        self.places = [Place(question, ()), *self._places()]
        if thread.pending:
            self.places.append(Place(AIMessage(thread.pending, id=_PENDING), ()))

    @property
    def system(self) -> SystemMessage:
        return SystemMessage(self.thread.system)

    @property
    def messages(self) -> list[AnyMessage]:
        """Copies, for middleware may write into them."""
        return [place.message.model_copy(deep=True) for place in self.places]

    def edited(
        self, messages: Sequence[BaseMessage], system: SystemMessage | None = None
    ) -> Thread:
        """The thread that these messages are. Those that are as they were stand for their steps."""
        by_id = {place.message.id: place for place in self.places}
        update: dict[str, Any] = {"question": "", "pending": ""}
        steps: dict[int, list[Step]] = {}
        at = -1
        for message in messages:
            place = by_id.pop(message.id, None)
            if place is None:
                steps.setdefault(at, []).extend(self._new(message))
            elif not place.steps:
                update[str(message.id)] = str(message.text)
            else:
                for position, step in self._edited(place, message):
                    steps.setdefault(position, []).append(step)
                at = place.steps[-1]
        update["steps"] = tuple(step for position in sorted(steps) for step in steps[position])
        update |= {} if system is None else {"system": str(system.text)}
        return self.thread.model_copy(update=update)

    def steps(self, message: BaseMessage) -> list[Step]:
        """The steps of one of the messages, which may have been changed."""
        place = next(place for place in self.places if place.message.id == message.id)
        return [step for _, step in sorted(self._edited(place, message), key=lambda pair: pair[0])]

    def reply(self, steps: Sequence[Step]) -> AIMessage:
        """What the policy wrote next."""
        calls = sum(map(asks, self.thread.steps))
        return self._said(steps, calls, "reply")

    def text_of(self, message: AIMessage) -> str:
        """The protocol text that a policy's message stands for."""
        calls = [
            self._tools.element(NativeCall(call["name"], call["args"]))
            for call in message.tool_calls
        ]
        return "\n".join(filter(None, (str(message.text).rstrip(), *calls)))

    def _places(self) -> list[Place]:
        places: list[Place] = []
        turn: list[int] = []
        observed: list[Place] = []
        calls = answers = 0

        def end_turn() -> None:
            nonlocal turn, observed, calls
            if turn:
                of_turn = [self.thread.steps[i] for i in turn]
                message = self._said(of_turn, calls, f"{turn[0]}")
                calls += sum(map(asks, of_turn))
                places.append(Place(message, tuple(turn)))
            places.extend(observed)
            turn, observed = [], []

        for i, step in enumerate(self.thread.steps):
            begins = i in self._begins or (i < self._start and bool(observed))
            if step.kind == "observation":
                answers += 1
                content = ToolMessage(step.text, tool_call_id=call_id(answers), id=f"{i}")
                observed.append(Place(content, (i,)))
            elif step.author == "world" and step.text.strip():
                end_turn()
                places.append(Place(HumanMessage(step.text, id=f"{i}"), (i,)))
            else:
                if begins:
                    end_turn()
                turn.append(i)
        end_turn()
        names = {
            call["id"]: call["name"]
            for place in places if isinstance(place.message, AIMessage)
            for call in place.message.tool_calls
        }  # fmt: skip
        for place in places:
            if isinstance(place.message, ToolMessage):
                place.message.name = names.get(place.message.tool_call_id)
        return places

    def _said(self, steps: Sequence[Step], calls: int, name: str) -> AIMessage:
        """Steps of the policy, its well-formed calls apart."""
        texts, native = list[str](), []
        for step in steps:
            calls += asks(step)
            arguments = call_arguments(step) if asks(step) else None
            if arguments is None:
                texts.append(render_step(step, self._tools.extra))
            else:
                native.append(tool_call(name=str(step.tag), args=arguments, id=call_id(calls)))
        return AIMessage("".join(texts).strip(), tool_calls=native, id=name)

    def _edited(self, place: Place, message: BaseMessage) -> list[tuple[int, Step]]:
        """The steps of a message that may have been changed, with their positions."""
        before = [(i, self.thread.steps[i]) for i in place.steps]
        if looked_at(message) == looked_at(place.message):
            return before
        if not isinstance(message, AIMessage) or not isinstance(place.message, AIMessage):
            return [(i, step.model_copy(update={"text": str(message.text)})) for i, step in before]
        steps: list[tuple[int, Step]] = []
        calls = {call["id"]: call for call in message.tool_calls}
        ids = iter([call["id"] for call in place.message.tool_calls])
        first = place.steps[0]
        if str(message.text) == str(place.message.text):
            texts = [p for p in before if not _is_native(p[1])]
        else:
            by_kind = {step.kind: step for _, step in before if not _is_native(step)}
            texts = [(first, _like(s, by_kind)) for s in self._parsed(str(message.text))]
        for i, step in before:
            if _is_native(step) and (call := calls.pop(next(ids), None)) is not None:
                text = self._tools.element(NativeCall(call["name"], call["args"]))
                anew = self._parsed(text)
                same = call_arguments(step) == call["args"] and step.tag == call["name"]
                steps += [(i, step)] if same else [(i, each) for each in anew]
        more = [self._tools.element(NativeCall(c["name"], c["args"])) for c in calls.values()]
        steps += [(place.steps[-1], step) for text in more for step in self._parsed(text)]
        return texts + steps

    def _new(self, message: BaseMessage) -> list[Step]:
        if isinstance(message, AIMessage):
            return self._parsed(self.text_of(message))
        kind: StepKind = "observation" if isinstance(message, ToolMessage) else "stray"
        return [world_step(kind, str(message.text), branch=self.thread.branch)]

    def _parsed(self, text: str) -> list[Step]:
        steps = parse_policy_text(f"\n\n{text}", self._tools.extra)
        return [step.model_copy(update={"branch": self.thread.branch}) for step in steps]


def _is_native(step: Step) -> bool:
    return asks(step) and call_arguments(step) is not None


def _like(step: Step, by_kind: Mapping[StepKind, Step]) -> Step:
    """With the tags of the step in whose place it stands: the world may have written them."""
    if (other := by_kind.get(step.kind)) is None:
        return step
    return step.model_copy(update={"opened": other.opened, "closed": other.closed})


def call_id(nth: int) -> str:
    """Of a thread's nth call, from 1: nine letters and digits, the only form Mistral takes."""
    return f"call{nth:05d}"
