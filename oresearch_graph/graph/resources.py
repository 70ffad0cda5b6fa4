"""What the nodes of one run share in one process: policies, tools, budget, protocol.

State is checkpointed and these are not, so nodes ask the pool for them by run. A run resumed in
another process gets new ones, with the budget taken over from its state.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from langchain_core.tools import BaseTool

from oresearch_graph.graph.budget import Budget
from oresearch_graph.graph.state import Run
from oresearch_graph.graph.writer import Writer
from oresearch_graph.policies.models import Policies
from oresearch_graph.policies.policy import Policy
from oresearch_graph.prompts import system_prompt
from oresearch_graph.settings import ResearchSettings, settings_from
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.trace import Protocol, Role

_RUNS: Final = 1_000
"""Runs remembered at one time; an abandoned run is forgotten when so many others went on."""


@dataclass
class Resources:
    """The working things of one run."""

    settings: ResearchSettings
    policies: Policies
    search: SearchBackend
    reader: PageReader
    tools: dict[str, BaseTool]
    """The embedder's extra tools by name."""
    budget: Budget
    protocol: Protocol
    began: float
    owned: bool = False
    """The policies were made for this run, and end with it."""

    def policy(self, role: Role, branch: int | None = None) -> Policy:
        return self.policies.of(role, branch)

    def writer(self, role: Role, branch: int | None = None) -> Writer:
        return Writer(
            self.policy(role, branch),
            self.budget,
            self.settings,
            began=self.began,
            tools=tuple(self.tools),
        )

    def system(self, role: Role) -> str:
        return system_prompt(self.settings, described(list(self.tools.values())), role)


def described(tools: Sequence[BaseTool]) -> list[tuple[str, str]]:
    """The tools as (name, what it does with which arguments), for the system prompt."""
    return [(tool.name, f"{' '.join(tool.description.split())} {tool.args}") for tool in tools]


Build = Callable[[ResearchSettings, float], Resources]
"""Makes the resources of a run with these settings that began at this time. May block."""


class ResourcePool:
    """The resources of the runs in this process, made when first asked for."""

    def __init__(self, base: ResearchSettings, build: Build) -> None:
        self.base, self._build = base, build
        self._kept: OrderedDict[str, Resources] = OrderedDict()

    def settings(self, context: object) -> ResearchSettings:
        """The graph's settings with what a run's context sets explicitly."""
        own = settings_from(context)
        if own is None or not own.model_fields_set:
            return self.base
        explicit = {name: getattr(own, name) for name in own.model_fields_set}
        return self.base.model_copy(update=explicit)

    async def of(self, run: Run, context: object) -> Resources:
        """The resources of a run; made anew when its settings were changed on the way."""
        settings = self.settings(context)
        # A state may be edited: a run that begins later would have time without end.
        began = min(run.started + run.waited, time.time())
        kept = self._kept.get(run.id)
        if kept is None or kept.settings != settings:
            kept = await asyncio.to_thread(self._build, settings, began)
            if run.id in self._kept and self._kept[run.id].settings == settings:
                kept = self._kept[run.id]
            self._kept[run.id] = kept
        kept.began = kept.budget.started = began
        self._kept.move_to_end(run.id)
        while len(self._kept) > _RUNS:
            self._kept.popitem(last=False)
        return kept

    async def release(self, run: Run) -> None:
        """The run is over: forget it, and close what was opened for it."""
        kept = self._kept.pop(run.id, None)
        if kept is not None and kept.owned:
            await kept.policies.aclose()
