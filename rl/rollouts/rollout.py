"""One rollout: the research graph, unchanged, with the policy under training in it.

The graph is compiled once per process. What belongs to one rollout — its policy, its tools — is
found by the task that runs it, through a context variable, so many rollouts share the graph.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hits, Page
from oresearch_graph.trace import Trace
from rl.rollouts.ledger_policy import LedgerPolicy
from rl.rollouts.token_ledger import Row
from rl.settings import RLSettings
from rl.tools.training_tools import TrainingTools

_log = logging.getLogger("oresearch.rl")

RECURSION_LIMIT = 10_000
"""Steps of LangGraph in one rollout; the research settings' own limits end it long before."""


@dataclass(frozen=True)
class _Parts:
    policy: LedgerPolicy
    tools: TrainingTools


_parts: ContextVar[_Parts] = ContextVar("rollout")


class _RolloutPolicy:
    """The policy of whichever rollout runs."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        return await _parts.get().policy.continue_thread(thread, stop, on_text=on_text)


class _RolloutDocuments:
    """Search and reading of whichever rollout runs."""

    name = "training"

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return await _parts.get().tools.search.search(queries, k)

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        return await _parts.get().tools.reader.read(urls, focus)


@dataclass(frozen=True)
class Rollout:
    """What one run of the graph left behind."""

    trace: Trace | None
    """None when the graph itself gave none: `crash` says why."""
    policy: LedgerPolicy
    tools: TrainingTools
    seconds: float
    crash: str | None = None
    """`deadline`, or the name of an error that no branch's boundary caught."""

    @property
    def rows(self) -> list[Row]:
        """Planner, researchers by branch, summarizer last; rows without a sampled id left out."""
        return self.policy.ledger.training_rows()

    @property
    def failures(self) -> dict[str, int]:
        """Failures by class: whose fault, and which. Pages that failed are the web's."""
        found = Counter(
            f"{failure.fault}.{failure.name}"
            for failure in (self.trace.failures if self.trace else ())
        )
        counts = self.tools.counts
        found["web.page"] += counts.page_faults
        found["web.page_timeout"] += counts.page_timeouts
        if self.crash is not None:
            found[f"infrastructure.{self.crash}"] += 1
        return {name: number for name, number in sorted(found.items()) if number}


class RolloutGraph:
    """The compiled graph for one RLSettings. `model` is the name in the Trace."""

    def __init__(self, settings: RLSettings, model: str = "policy") -> None:
        self.settings, documents = settings, _RolloutDocuments()
        self._graph = create_research_graph(
            _RolloutPolicy(model),
            search=documents,
            reader=documents,
            settings=settings.research_settings,
        )

    async def run(self, question: str, policy: LedgerPolicy, tools: TrainingTools) -> Rollout:
        """Run the graph to its end or the rollout's deadline.

        Never raises for what went wrong inside; a ConfigurationError, which every other rollout
        would meet too, passes through.
        """
        began, crash, trace = time.monotonic(), None, None
        token = _parts.set(_Parts(policy, tools))
        try:
            async with asyncio.timeout(self.settings.seconds.rollout) as limit:
                done = await self._graph.ainvoke(
                    {"question": question}, {"recursion_limit": RECURSION_LIMIT}
                )
            trace = done["trace"]
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a rollout: it is dropped, named
            if isinstance(error, TimeoutError) and limit.expired():
                crash = "deadline"
            else:
                _log.exception("the graph failed on %r", question[:200])
                crash = type(error).__name__
        finally:
            _parts.reset(token)
        return Rollout(trace, policy, tools, time.monotonic() - began, crash)
