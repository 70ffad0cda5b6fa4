"""A thread as chat messages, and the model's reply as protocol text: prefill and turns.

prefill: everything written so far is one assistant message that the server continues.
turns: what the policy wrote are assistant messages, what the world wrote are user messages.
The third rendering, tools, is in rendering_tools.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from oresearch_graph.evidence.ledger import NOTICE
from oresearch_graph.policies.chat.endings import EndCause, end_of
from oresearch_graph.policies.chat.reply import Reply, place_thinking
from oresearch_graph.prompts import LAST_TASK, NEXT_TASK, PLAN_TASK, REPORT_TASK, SEARCH_TASK
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Author, Step, escape_world
from oresearch_graph.trace.tags import close_tag, open_tag, render_step, render_steps

LEAD: Final = "\n\n"
"""Before a tag that the world opens."""
CONTINUE_FINAL: Final[dict[str, Any]] = {
    "continue_final_message": True,
    "add_generation_prompt": False,
}
"""vLLM's and SGLang's request fields for continuing the final assistant message."""
KEEP_STOP_TAG: Final[dict[str, Any]] = {"include_stop_str_in_output": True}
PREFIX: Final = "prefix"
"""DeepSeek's and Mistral's field of the final assistant message that is to be continued."""


class Request(NamedTuple):
    """What is sent for one continuation."""

    messages: list[BaseMessage]
    extra_body: Mapping[str, Any] = MappingProxyType({})
    tools: tuple[str, ...] = ()
    """Names of the tools to bind."""
    may_call: bool = True
    """False: the tools are bound for the history's sake only."""
    beginning: str = ""
    """What the server is to continue, and may return with the continuation."""
    given: str = ""
    """An opening tag at its end that the thread did not have: the protocol demands it next."""


class PolicyText(NamedTuple):
    """What the policy wrote, read back from a reply."""

    text: str
    stop: EndCause
    reasoning: str | None = None
    hidden_reasoning: bool = False
    closed_by_world: bool = False
    faults: tuple[str, ...] = ()
    """What the rendering itself finds wrong with it, in words for the policy."""


class ThreadRendering(Protocol):
    """One way to put a thread to a chat model."""

    def request(self, thread: Thread, stop: Sequence[str]) -> Request: ...

    def read(self, thread: Thread, stop: Sequence[str], reply: Reply) -> PolicyText: ...


class Prefill:
    """The server continues one assistant message that holds all that was written, exactly."""

    def __init__(self, tools: Sequence[str] = (), *, by_prefix: bool = False) -> None:
        self.tools, self.by_prefix = tuple(tools), by_prefix

    def request(self, thread: Thread, stop: Sequence[str]) -> Request:  # noqa: ARG002  # protocol
        given = given_opening(thread)
        if thread.by_role:
            messages = role_messages(thread, self.tools) + correction_messages(thread)
            prefix = before_continuation(thread).lstrip() or given.lstrip()
        else:
            question = thread.user_message(self.tools) + "".join(
                f"\n\n(An earlier attempt was refused: {reason} Mind this, without mentioning it.)"
                for _, reason in thread.corrections
            )
            messages = [SystemMessage(thread.system), HumanMessage(question)]
            prefix = render_steps(thread.steps, self.tools)
            prefix += before_continuation(thread) or given
        keeps = {} if self.by_prefix else KEEP_STOP_TAG
        if not prefix:
            return Request(messages, keeps)
        last, body = begun(prefix, by_prefix=self.by_prefix)
        return Request([*messages, last], {**body, **keeps}, beginning=prefix, given=given)

    def read(self, thread: Thread, stop: Sequence[str], reply: Reply) -> PolicyText:
        return read_text(thread, stop, reply)


class Turns:
    """A conversation that any chat API takes: observations come back as user messages."""

    def __init__(self, tools: Sequence[str] = ()) -> None:
        self.tools = tuple(tools)

    def request(self, thread: Thread, stop: Sequence[str]) -> Request:  # noqa: ARG002  # protocol
        if thread.by_role:
            messages = role_messages(thread, self.tools)
            if thread.pending:
                messages.append(AIMessage(before_continuation(thread).strip()))
                messages.append(HumanMessage(what_to_write(thread, "policy")))
            return Request(messages + correction_messages(thread))
        turns: list[tuple[Author, str]] = [("world", thread.user_message(self.tools))]
        turns += [
            (step.author, render_step(step, self.tools))
            for step in thread.steps
            if not is_hidden_think(step)
        ]
        if thread.pending:
            turns.append(("policy", before_continuation(thread)))
        ask = what_to_write(thread, turns[-1][0])
        messages = [SystemMessage(thread.system), *as_messages([*turns, ("world", ask)])]
        return Request(messages + correction_messages(thread))

    def read(self, thread: Thread, stop: Sequence[str], reply: Reply) -> PolicyText:
        return read_text(thread, stop, without_repeat(thread, reply))


def begun(text: str, *, by_prefix: bool) -> tuple[AIMessage, dict[str, Any]]:
    """The message that the server is to continue, and the fields of the request that say so."""
    if by_prefix:
        return AIMessage(text, additional_kwargs={PREFIX: True}), {}
    return AIMessage(text), CONTINUE_FINAL


def given_opening(thread: Thread) -> str:
    """The tag that the protocol demands next, to be given; empty where one stands open already."""
    if thread.next is None or thread.forced or thread.pending:
        return ""
    return f"{LEAD if thread.steps else ''}{open_tag(thread.next.tag)}"


def role_messages(thread: Thread, tools: Sequence[str]) -> list[BaseMessage]:
    """A thread with prompts by role: one task at the end of each user message. Append-only."""
    turns: list[tuple[Author, str]] = []
    question = f"Question: {thread.user_message(tools)}"
    match thread.role:
        case "planner":
            turns.append(("world", f"{question}\n\n{PLAN_TASK}"))
        case "summarizer":
            findings = render_steps([s for s in thread.steps if s.kind != "subtask_list"], tools)
            turns.append(("world", f"{question}\n\n{findings.strip()}\n\n{REPORT_TASK}"))
        case "researcher":
            subtask = ""
            for step in thread.steps:
                text = render_step(step, tools)
                if step.kind == "subtask":
                    subtask = f"Subtask: {escape_world(step.text.strip(), tools)}"
                    turns.append(("world", f"{question}\n\n{text.strip()}\n\n{SEARCH_TASK}"))
                elif step.kind == "observation":
                    last = NOTICE in step.text or (thread.forced and step is thread.steps[-1])
                    task = LAST_TASK if last else NEXT_TASK
                    turns.append(("world", f"{text.strip()}\n\n{subtask}\n{task}"))
                elif step.kind != "subtask_list" and not is_hidden_think(step):
                    turns.append((step.author, text))
    return [SystemMessage(thread.system), *as_messages(turns)]


def is_hidden_think(step: Step) -> bool:
    """The empty think that stands for reasoning which the provider keeps to itself."""
    return step.kind == "think" and step.author == "world" and not step.text.strip()


def before_continuation(thread: Thread) -> str:
    """What follows the last step and is to be continued: an open answer tag, text that was cut."""
    opened = f"{LEAD}{open_tag(thread.forced)}" if thread.forced else ""
    return opened + thread.pending


def what_to_write(thread: Thread, last: Author) -> str:
    """The user message that asks for the continuation; empty where the thread asks by itself."""
    answer = thread.forced or ("suggested_answer" if thread.role == "summarizer" else None)
    end = f" End with {close_tag(answer)}." if answer else ""
    if thread.pending:
        return (
            "Your text above was cut by its length limit. Continue exactly where it stops, "
            f"without repeating any of it.{end}"
        )
    if thread.forced:
        tag = open_tag(thread.forced)
        return (
            f"Write the {tag} now, from what is above, without further tool calls. The tag {tag} "
            f"is already open: begin with the text after it.{end}"
        )
    if last == "world":
        return ""
    return f"Now write the {open_tag(answer)}.{end}" if answer else "Go on with the next tag."


def as_messages(turns: Iterable[tuple[Author, str]]) -> list[BaseMessage]:
    """Who said what, in order: consecutive text of one author is one message."""
    merged: list[tuple[Author, list[str]]] = []
    for author, text in turns:
        if not text.strip():
            continue
        if merged and merged[-1][0] == author:
            joint = "" if author == "policy" or text[:1].isspace() else "\n\n"
            merged[-1][1].extend((joint, text))
        else:
            merged.append((author, [text]))
    return [
        (AIMessage if author == "policy" else HumanMessage)("".join(parts).strip())
        for author, parts in merged
    ]


def correction_messages(thread: Thread) -> list[BaseMessage]:
    """Each rejected attempt and why it was rejected."""
    turns: list[tuple[Author, str]] = []
    for attempt, reason in thread.corrections:
        turns += [
            ("policy", attempt if attempt.strip() else "(nothing)"),
            ("world", f"That was refused: {reason} Write it again, corrected."),
        ]
    return as_messages(turns)


def without_repeat(thread: Thread, reply: Reply) -> Reply:
    """A chat model may repeat the tag that is already open: exactly that repeat is dropped."""
    opened = open_tag(thread.forced) if thread.forced else ""
    text = reply.text.lstrip()
    if not opened or thread.pending or not text.startswith(opened):
        return reply
    return reply._replace(text=text[len(opened) :])


def read_text(thread: Thread, stop: Sequence[str], reply: Reply) -> PolicyText:
    """A reply that is protocol text."""
    text, reasoning = place_thinking(thread, reply.text, reply.reasoning)
    ending = end_of(before_continuation(thread), text, stop, reply)
    return PolicyText(ending.text, ending.stop, reasoning, closed_by_world=ending.closed_by_world)
