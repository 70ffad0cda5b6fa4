"""A world in which truth is known: pages that each say who followed whom, a writer that errs the
more the more it has read, and a verifier that misses some of it. All by the seed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hit, Hits, Page
from tests.helpers.scripted import REPORT
from tests.helpers.server_habits import Body, Message

ERRS: Final = 0.1
ERRS_MORE: Final = 0.3
"""Share of sentences that the writer reverses, and what a hundred pages add to it."""
MISSES: Final = 0.2
"""Share of false sentences that the verifier takes for true."""
DOUBTS: Final = 0.05
"""Share of true ones that it takes for false."""
LEAVES: Final = 0.2
"""Share of objections that the writer does not heed."""
_FACT: Final = re.compile(
    r"(?P<who>\w+ \w+) followed (?P<whom>\w+ \w+) as keeper of the (?P<place>\w+) lamp"
)
_SYLLABLES: Final = "bacedifogulamenirotuvawexiyozukalimenopu"


def chance(*parts: object) -> float:
    """From 0 to 1, the same for the same parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _name(*parts: object) -> str:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return "".join(_SYLLABLES[2 * (n % 20) :][:2] for n in digest[:3]).capitalize()


class MendingWorld:
    """So many subtasks of so many calls, each of which finds a page of its own."""

    name = "mending-world"

    def __init__(self, seed: int, subtasks: int, calls: int) -> None:
        self.seed, self.subtasks, self.calls = seed, subtasks, calls
        self.facts = {
            (branch, call): self._fact(branch, call)
            for branch in range(1, subtasks + 1)
            for call in range(calls)
        }
        self._whom = {
            match["place"]: match["whom"]
            for fact in self.facts.values()
            if (match := _FACT.search(fact))
        }

    def _fact(self, *place: int) -> str:
        who, whom = (
            f"{_name(self.seed, place, n)} {_name(self.seed, place, n, 'family')}" for n in (1, 2)
        )
        return f"{who} followed {whom} as keeper of the {_name(self.seed, place)} lamp"

    def is_true(self, sentence: str) -> bool | None:
        """Whether a sentence says it as its page does; None: it says nothing of the kind."""
        match = _FACT.search(sentence)
        return None if match is None else self._whom.get(match["place"]) == match["whom"]

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return [Hits(query=query, hits=(self._hit(query),)) for query in queries]

    def _hit(self, query: str) -> Hit:
        branch, call = map(int, query.split("-"))
        text = f"{self.facts[branch, call]}. The lamp burns oil, and a boat comes on Mondays."
        return Hit(url=f"https://lamps.example/{query}", title=f"Lamp {query}", snippet=text)

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        return [Page(url=url, fault="404 Not Found") for url in urls]

    def write(self, thread: Thread) -> str:
        """What planner, researchers and summarizer write."""
        if thread.role == "planner":
            listed = "\n".join(f"{n}. Lamps of coast {n}" for n in range(1, self.subtasks + 1))
            return f"<subtask_list>\n{listed}\n</subtask_list>"
        if thread.role == "summarizer":
            return self._report(thread)
        own = [step for step in thread.steps if step.branch == thread.branch]
        seen = [step.text for step in own if step.kind == "observation"]
        if thread.forced is None and len(seen) < self.calls:
            return f"<think>Next.</think>\n<web_search>{thread.branch}-{len(seen)}</web_search>"
        ids = re.findall(r"^\[(\d+)\]", "\n".join(seen), re.MULTILINE)
        facts = [self.facts[thread.branch or 1, call] for call in range(len(ids))]
        body = " ".join(f"{fact} [{n}]." for fact, n in zip(facts, ids, strict=True))
        opening = "" if thread.forced else "<think>Enough.</think>\n<subtask_answer>"
        return f"{opening}{body}</subtask_answer>"

    def _report(self, thread: Thread) -> str:
        answers = " ".join(s.text for s in thread.steps if s.kind == "subtask_answer")
        facts = re.findall(rf"({_FACT.pattern}) \[(\d+)\]", answers)
        objections = thread.corrections[-1][1] if thread.corrections else ""
        sentences = [f"{self._written(f[0], len(facts), objections)} [{f[-1]}]." for f in facts]
        references = "\n".join(f"[{f[-1]}]" for f in facts)
        return "\n\n" + REPORT.format(findings=" ".join(sentences), references=references)

    def _written(self, fact: str, read: int, objections: str) -> str:
        errs = chance(self.seed, fact) < ERRS + ERRS_MORE * min(1.0, read / 100)
        draft = _reversed(fact) if errs else fact
        if draft in objections and chance(self.seed, fact, "heeds") >= LEAVES:
            return fact
        return draft

    def verdicts(self, messages: list[Message], body: Body) -> str:
        """What the verifier says."""
        asked = str(messages[-1]["content"]).rpartition("<claims-")[2]
        rows = []
        for number, sentence in re.findall(r"^(\d+)\. (.*)$", asked, re.MULTILINE):
            match, true = _FACT.search(sentence), self.is_true(sentence)
            assert match is not None
            doubts = chance(self.seed, sentence, "doubts") < DOUBTS
            misses = chance(self.seed, sentence, "misses") < MISSES
            if doubts if true else not misses:
                verdict = {"quote": match[0].partition(" as ")[0], "verdict": "unsupported"}
            else:
                said = match[0] if true else _reversed(match[0])
                verdict = {"quote": said, "verdict": "supported"}
            rows.append({"number": int(number), **verdict})
        return json.dumps({"sentences": rows})


def _reversed(fact: str) -> str:
    swap: Callable[[re.Match[str]], str] = lambda m: (  # noqa: E731
        f"{m['whom']} followed {m['who']} as keeper of the {m['place']} lamp"
    )
    return _FACT.sub(swap, fact)
