"""A brain for OpenAIServer that plays planner, researcher and summarizer in all three renderings.

It reads the state of the research from the conversation alone, as a model would: it plans two
subtasks (or `subtasks`), and for each thinks, searches, reads one address the search has shown,
and answers with citations of the ids shown. It never stops by itself: after a call it invents an
observation, as models do, so what a server or a client fails to cut shows up in the trace.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.helpers.server_habits import (
    Body,
    Message,
    ToolCalls,
)

INVENTED = "\n<observation>\nINVENTED [9999]\n</observation>\n"
_SHOWN = re.compile(r"\[(\d{1,6})\][^\n]*")
_ADDRESS = re.compile(r"[a-z]+://[^\s\"'<>\])]+")


@dataclass(frozen=True)
class ResearchBrain:
    """See the module. `calls` is how many tool calls a researcher makes before it answers."""

    subtasks: tuple[str, ...] = ("What it is", "What it is good for")
    calls: int = 2
    with_think: bool = True
    """False: native calls come without any text, as from models that hide their reasoning."""

    def __call__(self, messages: list[Message], body: Body) -> str | ToolCalls:
        if probe := _probe(messages):
            return probe
        if str(messages[0]["content"]).startswith("You check sentences of a report"):
            return _verdicts(str(messages[-1]["content"]))
        if given := _GIVEN.search(str(messages[-1]["content"])):
            before = str(messages[-1]["content"])[: given.start()]
            last = [{**messages[-1], "content": before}] if before.strip() else []
            text = str(self([*messages[:-1], *last], body))
            return text.removeprefix(given[1])
        talk = _Talk(messages)
        if talk.forced == "suggested_answer" or talk.wants_report(self.subtasks):
            return self._report(talk)
        if talk.forced == "subtask_answer":
            return self._subtask_answer(talk, forced=True)
        if "<subtask_list>" not in talk.text:
            listed = "\n".join(f"{n}. {task}" for n, task in enumerate(self.subtasks, start=1))
            return f"<subtask_list>\n{listed}\n</subtask_list>"
        return self._research(talk, body)

    def _research(self, talk: _Talk, body: Body) -> str | ToolCalls:
        opening = ""
        if talk.text.count("</subtask>") == talk.text.count("</subtask_answer>"):
            # Nothing is given: a sequential researcher opens its own subtask.
            subtask = self.subtasks[talk.text.count("</subtask_answer>") % len(self.subtasks)]
            opening = f"<subtask>{subtask}</subtask>\n"
            talk = _Talk([*talk.messages, {"role": "assistant", "content": opening}])
        if talk.calls >= self.calls:
            return opening + self._subtask_answer(talk, forced=False)
        kind, item = self._next_call(talk)
        native = any(tool["function"]["name"] == kind for tool in body.get("tools") or [])
        if native:
            key = "queries" if kind == "web_search" else "urls"
            thought = "I look it up." if self.with_think else ""
            text = (
                f"{opening}<think>{thought}</think>" if opening and thought else opening or thought
            )
            return ToolCalls(((kind, {key: [item]}),), text)
        return f"{opening}<think>I look it up.</think>\n<{kind}>{item}</{kind}>{INVENTED}"

    def _next_call(self, talk: _Talk) -> tuple[str, str]:
        unread = [url for url in talk.addresses if url not in talk.called]
        if talk.calls % 2 and unread:
            return "crawl_page", unread[0]
        return "web_search", f"{talk.subtask} {talk.calls or ''}".strip()

    def _subtask_answer(self, talk: _Talk, *, forced: bool) -> str:
        cited = "".join(f"[{source}]" for source in talk.sources[:2])
        text = f"\n{talk.subtask}: this is what the sources say {cited}.\n</subtask_answer>"
        return text if forced else f"<think>Enough.</think>\n<subtask_answer>{text}{INVENTED}"

    def _report(self, talk: _Talk) -> str:
        answers = re.findall(r"<subtask_answer>\s*(.*?)\s*</subtask_answer>", talk.text, re.DOTALL)
        body = "\n\n".join(answers) or "Nothing was found."
        opened = "" if talk.forced else "<suggested_answer>"
        return (
            f"{opened}\n## Introduction\n\nThis report answers the question.\n\n## Body\n\n{body}"
            "\n\n## Conclusion\n\nThat is what the sources say.\n\n## References\n\n"
            + "\n".join(f"[{source}]" for source in dict.fromkeys(_SHOWN.findall(body)))
            + "\n</suggested_answer>"
            + INVENTED
        )


_GIVEN = re.compile(r"\s*(<(?:subtask_list|subtask|think)>)\Z")
"""The tag that the protocol demands next, given to the model: it goes on behind it."""

research_brain = ResearchBrain()


class _Talk:
    """A conversation as one text, whichever way it was rendered."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages
        spoken = _without_corrections(messages[messages[0]["role"] == "system" :])
        # World text right after the question is in the question's own message.
        self.question, given, more = str(spoken[0]["content"]).partition("\n\n<subtask")
        self.text = "\n\n".join([given + more, *(_as_text(message) for message in spoken[1:])])
        self.last = spoken[-1]
        parts = self.text.rpartition("</subtask>")
        self.branch = parts[2] if parts[1] else ""
        """The turns of the subtask in hand."""

    @property
    def forced(self) -> str | None:
        """The answer tag that the world has opened, in a prefill or in words."""
        if self.last["role"] == "assistant":
            found = re.search(r"<(subtask_answer|suggested_answer)>\s*\Z", self.text)
        else:
            asked = str(self.last["content"])
            found = re.search(r"Write the <(subtask_answer|suggested_answer)> now", asked)
        return found[1] if found else None

    def wants_report(self, subtasks: tuple[str, ...]) -> bool:
        if "Now write the <suggested_answer>" in str(self.last["content"]):
            return True
        answers = self.text.count("</subtask_answer>")
        if self.last["role"] != "assistant" or not answers:
            return False
        shown_turns = "<think>" in self.text or "<observation>" in self.text
        return self.text.rstrip().endswith("</subtask_answer>") and (
            not shown_turns or answers >= len(subtasks)
        )

    @property
    def subtask(self) -> str:
        found = re.findall(r"<subtask>\s*(.*?)\s*</subtask>", self.text, re.DOTALL)
        return found[-1] if found else self.question

    @property
    def observations(self) -> list[str]:
        return re.findall(r"<observation>(.*?)</observation>", self.branch, re.DOTALL)

    @property
    def calls(self) -> int:
        return len(self.observations)

    @property
    def called(self) -> str:
        return "\n".join(re.findall(r"<crawl_page>(.*?)</crawl_page>", self.branch, re.DOTALL))

    @property
    def addresses(self) -> list[str]:
        shown = [url for text in self.observations for url in _ADDRESS.findall(text)]
        return list(dict.fromkeys(shown))

    @property
    def sources(self) -> list[str]:
        shown = [n for text in self.observations for n in _SHOWN.findall(text)]
        return list(dict.fromkeys(shown))


def _without_corrections(messages: list[Message]) -> list[Message]:
    """Refused attempts and why they were refused are no part of the research."""
    kept: list[Message] = []
    for message in messages:
        if str(message.get("content") or "").startswith("That was refused:"):
            kept.pop()
        else:
            kept.append(message)
    return kept


def _as_text(message: Message) -> str:
    content = str(message.get("content") or "")
    if message["role"] == "tool":
        return f"<observation>{content}</observation>"
    return content + "".join(_call_text(call["function"]) for call in message.get("tool_calls", []))


def _call_text(function: dict[str, Any]) -> str:
    arguments = json.loads(function["arguments"])
    items = arguments.get("queries") or arguments.get("urls") or []
    name = function["name"]
    return f"<{name}>{' | '.join(items)}</{name}>"


def _probe(messages: list[Message]) -> str | None:
    """The answer to the policy's probe, continued or begun anew."""
    if not str(messages[0]["content"]).startswith("Count from 1"):
        return None
    continues = messages[-1]["role"] == "assistant"
    return " 7, 8, 9, 10, 11, 12" if continues else "1, 2, 3, 4, 5, 6"


def _verdicts(asked: str) -> str:
    """A verifier's answer that decides nothing."""
    count = int(re.findall(r"Check sentences 1 to (\d+)", asked)[-1])
    rows = [{"number": n, "quote": "", "verdict": "supported"} for n in range(1, count + 1)]
    return json.dumps({"sentences": rows})
