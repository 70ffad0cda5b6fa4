"""A researcher's thread as create_agent's messages, and the thread that edited messages stand for.

Middleware sees one form, however the thread is rendered for its model: the question with plan and
subtask, what the policy wrote with its calls, observations as tool messages; texts as in the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import Any, Final, NamedTuple

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import ToolCall, tool_call

from oresearch_graph.graph.tool_calls import asks
from oresearch_graph.known_secrets import without_known
from oresearch_graph.policies.chat.rendering_tools import Tools, call_arguments, call_id
from oresearch_graph.policies.chat.reply import NativeCall
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, close_tag, open_tag, parse_policy_text, world_step
from oresearch_graph.trace.step import StepKind
from oresearch_graph.trace.tags import render_step

_QUESTION: Final = "question"
_PENDING: Final = "pending"


class Place(NamedTuple):
    """A message, and the steps that it is made of."""

    message: AnyMessage
    steps: tuple[int, ...]


class Portion(NamedTuple):
    """A step of a message."""

    position: int
    """Of the step whose place it has, or behind which it stands."""
    step: Step
    call: str | None = None
    """The id of the tool call that it is."""


class Conversation:
    """A thread's messages."""

    def __init__(self, thread: Thread, tools: Tools, reply: int | None = None) -> None:
        """`reply`: where the steps of the last reply begin, which are one message. Where earlier
        ones begin, the steps tell: behind an observation, with what is no call."""
        self.thread, self._tools, self._reply = thread, tools, reply
        self.places = self._places()
        if thread.pending:
            self.places.append(Place(AIMessage(thread.pending, id=_PENDING), ()))

    @property
    def messages(self) -> list[AnyMessage]:
        """Copies, for middleware may write into them."""
        return [place.message.model_copy(deep=True) for place in self.places]

    def edited(self, messages: Sequence[BaseMessage]) -> Thread:
        """The thread that these messages are. Those that are as they were stand for their steps,
        by their id or, where a hook made them anew, by what they say."""
        waiting, ids = list(self.places), [place.message.id for place in self.places]
        update: dict[str, Any] = {_QUESTION: "", _PENDING: ""}
        pieces: list[Portion] = []
        at = -1
        for message in messages:
            look: Callable[[Any], object] = attrgetter("id") if message.id in ids else snapshot
            place = next((p for p in waiting if look(p.message) == look(message)), None)
            if place is None:
                pieces += [Portion(at, step) for step in self._new(message)]
                continue
            waiting.remove(place)
            at = place.steps[-1] if place.steps else at
            if place.message.id in update:
                update[str(place.message.id)], steps = self._text(place, message)
                pieces += steps
            else:
                pieces += self._edited(place, message)
        pieces.sort(key=lambda piece: piece.position)
        update["steps"] = tuple(piece.step for piece in pieces)
        return self.thread.model_copy(update=update)

    def pieces(self, message: BaseMessage) -> list[Portion]:
        """The steps of one of the messages, which may have been changed."""
        place = next(place for place in self.places if place.message.id == message.id)
        return sorted(self._edited(place, message), key=lambda piece: piece.position)

    def message(self, steps: Sequence[Step], start: int) -> AIMessage:
        """Steps that the policy wrote there, its well-formed calls apart."""
        calls = sum(map(asks, self.thread.steps[:start]))
        texts, native = list[str](), list[ToolCall]()
        for step in steps:
            calls += asks(step)
            if _is_native(step):
                arguments = call_arguments(step) or {}
                native.append(tool_call(name=str(step.tag), args=arguments, id=call_id(calls)))
            else:
                texts.append(render_step(step, self._tools.extra))
        return AIMessage("".join(texts).strip(), tool_calls=native, id=f"{start}")

    def text_of(self, message: AIMessage) -> str:
        """The protocol text that a policy's message stands for."""
        calls = map(self._element, message.tool_calls)
        return "\n".join(filter(None, (str(message.text).rstrip(), *calls)))

    def _opening(self) -> Place:
        """The question, with the plan and the subtask that the world gives."""
        before = takewhile(_is_given, self.thread.steps[: self._reply])
        opening = [(i, step) for i, step in enumerate(before) if step.tag]
        elements = (f"{open_tag(str(s.tag))}{s.text}{close_tag(str(s.tag))}" for _, s in opening)
        text = "\n\n".join((self.thread.question, *elements))
        return Place(HumanMessage(text, id=_QUESTION), tuple(i for i, _ in opening))

    def _places(self) -> list[Place]:
        places = [self._opening()]
        turn, observed = list[int](), list[Place]()
        tags = dict(enumerate((step.tag for step in self.thread.steps if asks(step)), start=1))
        answers = 0

        def end_turn() -> None:
            if turn:
                message = self.message([self.thread.steps[i] for i in turn], turn[0])
                places.append(Place(message, tuple(turn)))
            places.extend(observed)
            turn.clear()
            observed.clear()

        for i, step in enumerate(self.thread.steps):
            earlier = self._reply is None or i < self._reply
            if step.kind == "observation":
                answers += 1
                about: Any = {"tool_call_id": call_id(answers), "name": tags.get(answers)}
                observed.append(Place(ToolMessage(step.text, id=f"{i}", **about), (i,)))
            elif i not in places[0].steps:
                if i == self._reply or (earlier and observed and not step.is_call):
                    end_turn()
                turn.append(i)
        end_turn()
        return places

    def _text(self, place: Place, message: BaseMessage) -> tuple[str, list[Portion]]:
        """A message's own text, and the steps in it: of one that has changed, what stands in no
        element is its own."""
        text, pieces = str(message.text), list[Portion]()
        if snapshot(message) == snapshot(place.message):
            text = self.thread.question if place.message.id == _QUESTION else text
            return text, [Portion(i, self.thread.steps[i]) for i in place.steps]
        for i in reversed(place.steps):
            step, inner = self.thread.steps[i], ""
            head, opened, rest = text.rpartition(f"\n\n{open_tag(str(step.tag))}")
            body, closed, after = rest.rpartition(close_tag(str(step.tag)))
            if opened and closed:
                text, inner = f"{head}{after}", body
            pieces.append(Portion(i, step.model_copy(update={"text": without_known(inner)})))
        return text, pieces

    def _edited(self, place: Place, message: BaseMessage) -> list[Portion]:
        """The steps of a message that may have been changed."""
        ids = iter([call["id"] for call in getattr(place.message, "tool_calls", ())])
        steps = [(i, self.thread.steps[i]) for i in place.steps]
        before = [Portion(i, step, next(ids) if _is_native(step) else None) for i, step in steps]
        if snapshot(message) == snapshot(place.message):
            return before
        text, calls = str(message.text), list(getattr(message, "tool_calls", ()))
        if not isinstance(message, AIMessage) or not isinstance(place.message, AIMessage):
            update = {"text": without_known(text)}
            return [Portion(i, step.model_copy(update=update)) for i, step in steps]
        pieces = [piece for piece in before if piece.call is None]
        if text != str(place.message.text):
            by_kind = {piece.step.kind: piece.step for piece in pieces}
            pieces = [Portion(place.steps[0], _like(each, by_kind)) for each in self._parsed(text)]
        for piece in before:
            call = next((call for call in calls if call["id"] == piece.call), None)
            if piece.call is None or call is None:
                continue
            calls.remove(call)
            same = (piece.step.tag, call_arguments(piece.step)) == (call["name"], call["args"])
            anew = [piece.step] if same else self._parsed(self._element(call))
            pieces += [Portion(piece.position, step, piece.call) for step in anew]
        for call in calls:
            more = self._parsed(self._element(call))
            pieces += [Portion(place.steps[-1], step, call["id"]) for step in more]
        return pieces

    def _new(self, message: BaseMessage) -> list[Step]:
        if isinstance(message, AIMessage):
            return self._parsed(self.text_of(message))
        kind: StepKind = "observation" if isinstance(message, ToolMessage) else "stray"
        return [world_step(kind, without_known(str(message.text)), branch=self.thread.branch)]

    def _element(self, call: ToolCall) -> str:
        return self._tools.element(NativeCall(call["name"], call["args"]))

    def _parsed(self, text: str) -> list[Step]:
        text = f"\n\n{without_known(text)}" if text.strip() else ""
        steps = parse_policy_text(text, self._tools.extra)
        return [step.model_copy(update={"branch": self.thread.branch}) for step in steps]


def snapshot(message: BaseMessage) -> tuple[object, ...]:
    """What counts of a message."""
    calls = [(call["name"], repr(call["args"])) for call in getattr(message, "tool_calls", ())]
    return (message.type, repr(message.content), *calls)


def _is_given(step: Step) -> bool:
    """Of the plan, or the subtask that the world gives."""
    by_world = step.kind == "subtask" and step.author == "world"
    return by_world or (step.branch is None and step.kind != "observation")


def _is_native(step: Step) -> bool:
    return asks(step) and call_arguments(step) is not None


def _like(step: Step, by_kind: Mapping[StepKind, Step]) -> Step:
    """With the tags of the step in whose place it stands: the world may have written them."""
    other = by_kind.get(step.kind, step)
    return step.model_copy(update={"opened": other.opened, "closed": other.closed})
