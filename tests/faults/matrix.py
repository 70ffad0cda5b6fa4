"""Every fault of a model's server with every fault of the tools: `make faults`.

Each pair is one run under short limits, with execution and rendering drawn by a seed, over a
loopback server that counts for itself. Whatever goes wrong, a run ends in its time, makes no more
calls and takes no more tokens than it may, and says what happened.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import Any, Final, NamedTuple

from oresearch_graph import create_research_graph
from oresearch_graph.errors import OresearchError, ToolError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.backend import Hit, Hits, Page
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Body, Brain, Fault, Habits

CALLS: Final = 10
TOKENS: Final = 16_000
SECONDS: Final = 3.0
TOOL_CALLS: Final = 3
"""Per subtask."""
_LATE: Final = 5.0
"""Seconds that a run may take beyond its time, to end in order."""
_ESTIMATE: Final = 1.25
"""Of the tokens allowed: what the estimates of calls in flight may be off."""
BRAIN: Final = ResearchBrain(("tides and the Moon", "tides and the Sun"), calls=2)

STATUSES: Final = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)
KINDS: Final = ("hang", "drop", "cut", "silence", "empty_choices", "garbage")
WHEN: Final[dict[str, Callable[[int], bool]]] = {
    "always": lambda n: True,
    "every third": lambda n: n % 3 == 0,
    "from the third on": lambda n: n >= 3,
}


@dataclass(frozen=True)
class ModelFault:
    """What is wrong with a model's server."""

    name: str
    fault: Fault | None = None
    when: Callable[[int], bool] = WHEN["always"]
    habits: Habits = field(default_factory=Habits)
    brain: Brain = BRAIN


def model_faults() -> list[ModelFault]:
    """All of them."""
    faults = [Fault("status", status) for status in STATUSES]
    faults += [Fault("status", 429, "3600"), Fault("status", 429, "0")]
    faults += [Fault(kind, seconds=20.0) for kind in KINDS]
    timed = [
        ModelFault(f"{_name(fault)}, {when}", fault, WHEN[when])
        for fault, when in product(faults, WHEN)
    ]
    habits = {
        "no usage": Habits(usage=False), "ignores its bound": Habits(ignores_bound=True),
        "refuses stop": Habits(refuses_stop=True), "ignores stop": Habits(honours_stop=False),
        "an odd end": Habits(finish="insufficient_system_resource"),
        "a filter": Habits(finish="sensitive"), "a refusal": Habits(refusal="I cannot."),
        "no tools": Habits(tool_calling=False), "slow": Habits(latency=0.7),
    }  # fmt: skip
    odd = [ModelFault(name, habits=each) for name, each in habits.items()]
    writing: dict[str, Brain] = {
        "nothing": lambda messages, body: "", "prose": lambda messages, body: "Let me think. " * 50,
        "endless": lambda messages, body: "word " * 60_000,
        "only thoughts": lambda messages, body: "<think>hm</think>" * 20,
        "from memory": _from_memory, "the whole report": _whole_report,
        "three thousand queries": _many_queries,
    }  # fmt: skip
    return timed + odd + [ModelFault(name, brain=brain) for name, brain in writing.items()]


def _name(fault: Fault) -> str:
    if fault.kind != "status":
        return fault.kind
    return f"{fault.status}{f' for {fault.retry_after} s' if fault.retry_after else ''}"


def _from_memory(messages: list[dict[str, Any]], body: Body) -> Any:
    text = str(BRAIN(messages, body))
    return (
        text
        if "<subtask_list>" in text
        else "<think>I know.</think>\n" + ("<subtask_answer>The Moon does it.</subtask_answer>")
    )


def _whole_report(messages: list[dict[str, Any]], body: Body) -> Any:
    text = str(BRAIN(messages, body))
    report = "<suggested_answer># Tides\n\nThe Moon does it.</suggested_answer>"
    return text if "<subtask_list>" in text else f"<think>All of it.</think>\n{report}"


def _many_queries(messages: list[dict[str, Any]], body: Body) -> Any:
    text = str(BRAIN(messages, body))
    queries = " | ".join(f"tides {n}" for n in range(3_000))
    return text.replace("</web_search>", f" | {queries}</web_search>")


class Tools(Documents):
    """Documents that go wrong in one way."""

    def __init__(self, fault: str) -> None:
        super().__init__(PAGES)
        self.fault = fault

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        match self.fault:
            case "search hangs":
                await asyncio.sleep(30)
            case "search raises":
                raise KeyError("a defect")
            case "search is out of order":
                raise ToolError("the search service does not answer; try again later")
            case "search finds nothing":
                return [Hits(query=query) for query in queries]
            case "one query fails":
                first = Hits(query=queries[0], fault="not this one")
                return [first, *await super().search(queries[1:], k)]
            case "hits without an address":
                return [Hits(query=query, hits=({"url": ""},)) for query in queries]
            case "three thousand hits":
                many = tuple(Hit(url=f"https://a.org/{n}", snippet="tides") for n in range(3_000))
                return [Hits(query=query, hits=many) for query in queries]
            case "hits that are shells":
                wall = "You need to enable JavaScript to run this app."
                return [
                    Hits(query=q, hits=(Hit(url="https://a.org/", snippet=wall),)) for q in queries
                ]
        return await super().search(queries, k)

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        match self.fault:
            case "pages hang":
                await asyncio.sleep(30)
            case "pages raise":
                raise RuntimeError("a defect")
            case "the reader is out of order":
                raise ToolError("the reader does not answer; try again later")
            case "pages are not there":
                return [Page(url=url, fault="404 Not Found") for url in urls]
            case "pages are shells":
                return [
                    Page(url=url, text="Just a moment...\nVerify you are human") for url in urls
                ]
            case "huge pages":
                return [Page(url=url, text="The Moon causes tides. " * 40_000) for url in urls]
            case "pages of control characters":
                return [Page(url=url, text="\0\x1b[2J\ud800 tides </observation>") for url in urls]
        return await super().read(urls, focus)


TOOL_FAULTS: Final = (
    "none", "search hangs", "search raises", "search is out of order", "search finds nothing",
    "one query fails", "hits without an address", "three thousand hits", "hits that are shells",
    "pages hang", "pages raise", "the reader is out of order", "pages are not there",
    "pages are shells", "huge pages", "pages of control characters",
)  # fmt: skip


class Ended(NamedTuple):
    """What became of a pair."""

    name: str
    seconds: float
    outcome: str
    wrong: tuple[str, ...]


async def run_pair(model: ModelFault, tools: str, seed: int) -> Ended:
    """One run, and what is wrong with how it ended."""
    random = Random(f"{seed} {model.name} {tools}")  # noqa: S311 - no secret
    execution = random.choice(["parallel", "sequential"])
    rendering = random.choice(["turns", "prefill", "tools"])
    on_final = "continue" if rendering == "prefill" else "restart"
    habits = Habits(**{**model.habits.__dict__, "on_final_assistant": on_final})
    with OpenAIServer(model.brain, habits) as server:
        server.fault_for = lambda body: (
            model.fault if model.when(len(server.requests)) and model.fault else None
        )
        settings = ResearchSettings(
            base_url=server.base_url, rendering=rendering, execution=execution, effort="quick",
            max_model_calls=CALLS, max_tokens=TOKENS, max_seconds=SECONDS, model_timeout=1.0,
            max_tool_calls=TOOL_CALLS, tool_timeout=1.0,
        )  # fmt: skip
        graph = create_research_graph("fake", search=Tools(tools), settings=settings)
        began = time.monotonic()
        try:
            result: dict[str, Any] = await graph.ainvoke({"question": "What causes tides?"})
        except OresearchError as error:
            result = {"error": str(error)}
        seconds = time.monotonic() - began
        wrong = tuple(_wrong(result, server, seconds))
    name = f"{model.name} x {tools} ({execution}, {rendering})"
    outcome = result["trace"].outcome if "trace" in result else "refused"
    return Ended(name, seconds, outcome, wrong)


def _wrong(result: dict[str, Any], server: OpenAIServer, seconds: float) -> list[str]:
    wrong = []
    calls = sum("messages" in body for body in server.requests)
    tokens = server.prompt_tokens + server.completion_tokens
    if calls > CALLS:
        wrong.append(f"{calls} calls of {CALLS}")
    if seconds > SECONDS + _LATE:
        wrong.append(f"{seconds:.1f} s of {SECONDS}")
    if "error" in result:
        return wrong if "\n" not in result["error"] else [*wrong, "an error of several lines"]
    trace = result["trace"]
    named = any("ignores the bound" in failure.message for failure in trace.failures)
    if tokens > _ESTIMATE * TOKENS and not named:
        wrong.append(f"{tokens} tokens of {TOKENS}, and no word of it")
    used = Counter[int | None]()
    for usage in trace.usage:
        used[usage.branch] += usage.tool_calls
    if max(used.values(), default=0) > TOOL_CALLS:
        wrong.append(f"{max(used.values())} tool calls of {TOOL_CALLS}")
    counted = sum(usage.calls for usage in trace.usage)
    if not calls <= counted <= calls + len(BRAIN.subtasks):  # one may be cancelled as it begins
        wrong.append(f"{calls} calls at the server, {counted} counted")
    if result["failures"] != list(trace.failures):
        wrong.append("failures differ from the trace's")
    if (result["report"] is None) != (trace.outcome == "failed"):
        wrong.append(f"{trace.outcome}, and the report is {result['report']!r:.40}")
    if trace.outcome != "complete" and not trace.failures and trace.execution == "parallel":
        wrong.append("nothing is named")
    json.loads(trace.model_dump_json())
    return wrong


def pairs() -> list[tuple[ModelFault, str]]:
    """Every fault of a model with every fault of the tools."""
    return list(product(model_faults(), TOOL_FAULTS))


async def drill(chosen: Sequence[tuple[ModelFault, str]], seed: int, at_once: int) -> list[Ended]:
    """So many pairs at one time."""
    places = asyncio.Semaphore(at_once)

    async def one(model: ModelFault, tools: str) -> Ended:
        async with places:
            ended = await run_pair(model, tools, seed)
        if ended.wrong:
            print(ended, flush=True)  # noqa: T201
        return ended

    return await asyncio.gather(*(one(model, tools) for model, tools in chosen))


def main(seed: str = "1", count: str = "0") -> int:
    """All pairs, or so many of them drawn by the seed."""
    logging.getLogger("oresearch_graph").setLevel(logging.CRITICAL)
    chosen = pairs()
    if int(count):
        chosen = Random(seed).sample(chosen, int(count))  # noqa: S311 - no secret
    began = time.monotonic()
    ended = asyncio.run(drill(chosen, int(seed), 6))
    wrong = sum(bool(each.wrong) for each in ended)
    outcomes = dict(Counter(each.outcome for each in ended))
    slowest = max(ended, key=lambda each: each.seconds)
    print(  # noqa: T201
        f"{len(ended)} runs of {len(model_faults())} x {len(TOOL_FAULTS)} faults in "
        f"{time.monotonic() - began:.0f} s: {wrong} wrong; {outcomes}; the longest took "
        f"{slowest.seconds:.1f} s ({slowest.name})"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
