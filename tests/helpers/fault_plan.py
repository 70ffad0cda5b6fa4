"""The fault drill's plan: which calls of a batch fail, drawn from a seed before anything runs, and
what has to become of each rollout. The engine, documents and judge of the drill ask the plan; the
expected numbers are computed from it alone, by walking through a rollout as its script does.

A rollout's calls have contents of their own (its name is in every query and address), so no draw
depends on the order in which rollouts run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from oresearch_graph.threads import Thread
from tests.helpers.scripted import PAGES, citation, report_text

EngineFault = Literal["once", "always"] | None

BRANCHES = 2
HUNG = "https://example.org/hung"


@dataclass
class Expected:
    """What has to become of one rollout."""

    failures: Counter[str] = field(default_factory=Counter)
    """Of infrastructure and of the web, by class."""
    engine_faults: int = 0
    """Engine calls that fail, retries among them."""
    silent: int = 0
    """Tries of tools that never answer; the hung page is not among them."""

    pages: int = 0
    """Asked for."""
    pages_read: int = 0

    @property
    def kept(self) -> bool:
        return not any(name.startswith("infrastructure.") for name in self.failures)


@dataclass(frozen=True)
class FaultPlan:
    """Shares are of calls; the engine's is of continuations."""

    prompts: int = 16
    rollouts: int = 4
    timeouts: float = 0.0
    judge: float = 0.0
    engine: float = 0.0
    mended: float = 0.5
    """Share of the engine's faults that its next try does not have."""
    hung_prompt: str | None = None
    """The rollouts of this prompt read the hung page in their first branch."""
    raising: str | None = None
    """The branch whose search raises: `prompt/session/branch`."""
    seed: int = 0
    tries: int = 2
    """Of engine and tools alike."""

    @property
    def names(self) -> list[str]:
        """Every rollout: `prompt/session`."""
        prompts = [f"q{number:02}" for number in range(self.prompts)]
        return [f"{uid}/{session}" for uid in prompts for session in range(self.rollouts)]

    def query(self, name: str, branch: int) -> str:
        return f"tides {name}/{branch}"

    def address(self, name: str, branch: int) -> str:
        if branch == 1 and name.split("/")[0] == self.hung_prompt:
            return HUNG
        return f"https://example.org/{name}/{branch}"

    def pages(self) -> dict[str, str]:
        """Every page that a rollout may read, behind those that a search finds."""
        own = {
            self.address(name, branch): f"Of {name}/{branch}: nothing."
            for name in self.names
            for branch in range(1, BRANCHES + 1)
        }
        return {**PAGES, **own}

    def engine_fault(self, name: str, role: str, branch: int | None, place: int) -> EngineFault:
        """What is wrong with the engine when this role continues for the `place`th time."""
        draw = self._draw(f"engine {name} {role} {branch} {place}")
        if draw >= self.engine:
            return None
        return "once" if draw < self.engine * self.mended else "always"

    def judge_fails(self, name: str) -> bool:
        return self._draw(f"judge {name}") < self.judge

    def silent(self, content: str, asked: int) -> bool:
        """As `tests.helpers.faulty_tools` says: by seed, content, and how often it was asked."""
        draw = Random(f"{self.seed} {asked} {content}").random()  # noqa: S311
        return draw < self.timeouts

    def expected(self, name: str) -> Expected:
        """A walk through the rollout."""
        found = Expected()
        planned = self._continued(found, name, "planner", None, 0)
        found.failures["infrastructure.plan_fallback"] += not planned
        walks = [self._branch(found, name, i) for i in range(1, BRANCHES + 1 if planned else 2)]
        answered, sources = any(walk[0] for walk in walks), any(walk[1] for walk in walks)
        if answered and sources:
            self._continued(found, name, "summarizer", None, 0)
        found.failures["web.unread"] = int(found.pages > 0 == found.pages_read)
        found.failures += Counter()  # zeros go
        if found.kept and self.judge_fails(name):
            found.failures["infrastructure.judge_error"] = 1
        return found

    def _branch(self, found: Expected, name: str, branch: int) -> tuple[bool, bool]:
        """Whether the branch is answered, and whether it has a source."""
        sources = False
        for place, call in enumerate([self._search, self._crawl]):
            if not self._continued(found, name, "researcher", branch, place):
                return False, sources
            sources |= call(found, name, branch)
        return self._continued(found, name, "researcher", branch, 2), sources

    def _continued(
        self, found: Expected, name: str, role: str, branch: int | None, place: int
    ) -> bool:
        fault = self.engine_fault(name, role, branch, place)
        found.engine_faults += {None: 0, "once": 1, "always": self.tries}[fault]
        found.failures["infrastructure.model_error"] += fault == "always"
        return fault != "always"

    def _search(self, found: Expected, name: str, branch: int) -> bool:
        if self.raising == f"{name}/{branch}":
            found.failures["infrastructure.internal"] += 1
            return False
        query = self.query(name, branch)
        for asked in range(1, self.tries + 1):
            if not self.silent(query, asked):
                return True
            found.silent += 1
        found.failures["infrastructure.tool_error"] += 1
        return False

    def _crawl(self, found: Expected, name: str, branch: int) -> bool:
        """A page that hangs is the web's, and not asked for again."""
        address = self.address(name, branch)
        hangs = address != HUNG and self.silent(address, 1)
        found.silent += hangs
        found.failures["web.page_timeout"] += hangs or address == HUNG
        read = not hangs and address != HUNG
        found.pages += 1
        found.pages_read += read
        return read

    def _draw(self, what: str) -> float:
        return Random(f"{self.seed} {what}").random()  # noqa: S311

    def write(self, name: str, thread: Thread) -> str:
        """What the policy of this rollout samples next: searches, reads one page, answers."""
        if thread.role == "planner":
            listed = "\n".join(f"{i}. Part {i} of it" for i in range(1, BRANCHES + 1))
            return f"<subtask_list>\n{listed}\n</subtask_list>"
        if thread.role == "summarizer":
            return "\n\n" + report_text(thread)
        branch = thread.branch or 1
        own = [step for step in thread.steps if step.branch == branch]
        observed = [step.text for step in own if step.kind == "observation"]
        opened = any(step.kind == "subtask" for step in own)
        opening = "" if opened else f"\n\n<subtask>Part {branch} of it</subtask>"
        turn = [
            f"<web_search>{self.query(name, branch)}</web_search>",
            f"<crawl_page>{self.address(name, branch)}</crawl_page>",
            f"<subtask_answer>The Moon causes tides {citation(observed)}.</subtask_answer>",
        ][len(observed)]
        return f"{opening}\n\n<think>Turn {len(observed) + 1} of {name}.</think>\n\n{turn}"
