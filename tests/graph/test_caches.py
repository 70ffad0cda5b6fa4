"""Servers remember the last prompt of each of their slots: of what a thread sent before, nearly all
is to be found there by its next call."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from oresearch_graph import create_research_graph
from oresearch_graph.policies.chat.context import Slots
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Trace
from oresearch_graph.view.report_record import RunCost
from tests.graph.test_overflow import FILLED
from tests.helpers.openai_server import OpenAIServer, common_prefix
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import Documents
from tests.helpers.server_habits import Body, Habits, Message, ToolCalls
from tests.helpers.small_model import forget_probes

SUBTASKS: Final = ("The Moon and tides", "Tides, says two", "Tides, says three")
CALLS: Final = 2
_TRAINED: Final = ResearchBrain(SUBTASKS, calls=CALLS)


@dataclass
class PrefixCache:
    """What a server with so many slots finds of a prompt: the common beginning with what its slot
    holds. A prompt that names no slot takes the most similar, as llama.cpp has it."""

    slots: int
    prompts: dict[int, str] = field(default_factory=dict)

    def take(self, prompt: str, reply: str, slot: int | None) -> int:
        """Characters of the prompt that were found."""
        common = {n: common_prefix(self.prompts.get(n, ""), prompt) for n in range(self.slots)}
        slot = max(common, key=lambda n: common[n]) if slot is None else slot
        self.prompts[slot] = prompt + reply
        return common[slot]


@dataclass
class CachingServer(OpenAIServer):
    """Keeps one prompt a slot, as text, and what it found of each, by thread."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cache, self._of_cache = PrefixCache(self.slots or 1), threading.Lock()
        self.found: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        """Characters of each prompt, and how many of them were found."""

    def usage(self, body: Body, written: str) -> dict[str, Any]:
        prompt = rendered(body)
        with self._of_cache:
            cached = self.cache.take(prompt, written, body.get("id_slot"))
            self.found[tuple(sorted(set(_SUBTASK.findall(prompt))))].append((len(prompt), cached))
        usage = super().usage(body, written)
        details = {"cached_tokens": int(cached / self.characters)}
        return {
            **usage, "prompt_tokens": int(len(prompt) / self.characters),
            "prompt_tokens_details": details,
        }  # fmt: skip

    def shares(self) -> Iterator[float]:
        """Of what each thread sent in earlier calls, which part was found."""
        for thread, calls in self.found.items():
            if len(calls) > 1 and len(thread) == 1:
                before = sum(size for size, _ in calls[:-1])
                yield sum(min(f, calls[n][0]) for n, (_, f) in enumerate(calls[1:])) / before


_SUBTASK: Final = re.compile(r"<subtask>(.*?)</subtask>")


def rendered(body: Body) -> str:
    """The prompt as a chat template makes it: tools first, a continued message open."""
    messages = [
        f"<|{m['role']}|>{m.get('content') or ''}{m.get('tool_calls') or ''}"
        for m in body["messages"]
    ]
    tail = "" if body["messages"][-1]["role"] == "assistant" else "<|end|><|assistant|>"
    return f"{body.get('tools') or ''}" + "<|end|>".join(messages) + tail


def brain(messages: list[Message], body: Body) -> str | ToolCalls:
    """Plays each role under either kind of prompt."""
    system = str(messages[0]["content"])
    if not system.startswith(("You split", "You research", "You write")):
        return _TRAINED(messages, body)
    last, text = str(messages[-1]["content"]), _by_role(system, messages[1:])
    if body.get("tools") and body.get("tool_choice") != "none" and "<web_search>" in text:
        query = text.partition("<web_search>")[2].partition("</")[0]
        return ToolCalls((("web_search", {"queries": [query]}),), "I look it up.")
    if "Write the <subtask_answer>" in last or last.endswith("<subtask_answer>"):
        text = text[text.index("<subtask_answer>") :]
    given = next((tag for tag in _GIVEN if last.endswith(tag)), "")
    return text[text.index(given) :].removeprefix(given)


_GIVEN: Final = ("<subtask_list>", "<think>", "<subtask_answer>", "<suggested_answer>")


def _by_role(system: str, messages: list[Message]) -> str:
    if system.startswith("You split"):
        lines = "\n".join(f"{n}. {text}" for n, text in enumerate(SUBTASKS, start=1))
        return f"<subtask_list>\n{lines}\n</subtask_list>"
    spoken = "\n".join(str(message["content"]) for message in messages)
    shown = re.findall(r"^(?:<observation>)?\[(\d{4})\]", spoken, re.MULTILINE)
    cited = shown or re.findall(r"\[(\d{4})\]", spoken)
    if system.startswith("You write"):
        return (
            f"<suggested_answer>\n## Introduction\n\nIt is the Moon [{cited[0]}].\n\n## Body\n\n"
            f"The Moon [{cited[0]}].\n\n## Conclusion\n\nThe Moon [{cited[0]}].\n\n"
            f"## References\n\n[{cited[0]}]\n</suggested_answer>"
        )
    observed = spoken.count("## Query: ")
    if observed < CALLS and "Write the <subtask_answer>" not in spoken:
        return f"<think>I look it up.</think>\n<web_search>Moon tides {observed}</web_search>"
    return f"<think>It tells.</think>\n<subtask_answer>The Moon [{shown[0]}].</subtask_answer>"


async def research(server: OpenAIServer, **settings: Any) -> Trace:
    forget_probes()
    documents = Documents(FILLED)
    graph = create_research_graph(
        "fake", search=documents, reader=documents,
        settings=ResearchSettings(
            base_url=server.base_url, effort="quick", constraint="off", corrections=0, **settings
        ),
    )  # fmt: skip
    trace: Trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    return trace


@pytest.mark.parametrize("style", ["training", "roles"])
@pytest.mark.parametrize("rendering", ["prefill", "turns", "tools"])
@pytest.mark.parametrize("slots", [1, 2, 8])
async def test_what_a_thread_sent_before_is_found(slots: int, rendering: Any, style: Any) -> None:
    habits = Habits(on_final_assistant="echo" if rendering == "prefill" else "restart")
    with CachingServer(brain, habits, slots=slots, pace=200.0, context=32_768) as server:
        trace = await research(server, rendering=rendering, prompt_style=style)
    assert trace.outcome == "complete"
    shares = list(server.shares())
    assert len(shares) == len(SUBTASKS)
    assert min(shares) >= 0.9
    researchers = [usage for usage in trace.usage if usage.role == "researcher"]
    assert all(usage.calls >= 2 and usage.cached_tokens for usage in researchers)
    assert re.search(r"tokens \([\d,]+ cached\)", RunCost.of(trace).in_words())


def test_threads_beyond_the_slots_take_those_that_wait_longest() -> None:
    slots = Slots()
    assert [slots.take(thread, 2) for thread in "aba"] == [0, 1, 0]
    assert slots.take("c", 2) == 1
    slots.leave("a")
    assert [slots.take(thread, 2) for thread in "bc"] == [0, 1]
