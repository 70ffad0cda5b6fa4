"""The run contexts of a process's runs, made of the graph's settings and what each caller sets."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

from langchain_core.runnables.config import ensure_config
from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.graph.state import Run
from oresearch_graph.limits import Limits
from oresearch_graph.policies.serving import adapted
from oresearch_graph.settings import CLIENTS, OF_PROCESS, ResearchSettings, setting_fault, unknown

_log = logging.getLogger("oresearch_graph")

_NOTHING: Final = ResearchSettings()
"""What a caller sets who sets nothing; every node asks."""
_RUNS: Final = 1_000
"""Runs remembered at one time; an abandoned run is forgotten when so many others went on."""


def _require(run: Run, present: Collection[str], settings: Collection[str]) -> None:
    for name, what in run.objects.items():
        if name not in present and name not in settings:
            raise ConfigurationError(
                f"this run was begun with {name}={what}: give {name} to create_research_graph, or "
                "another in the context"
            )
    for name in run.withheld:
        if name not in settings:
            raise ConfigurationError(
                f"this run was begun with {name} that hold a key, which no state can hold: give "
                f"{name} in the context again"
            )


def _fields(context: object) -> Mapping[str, Any]:
    """A context of another graph: a dict, or an object of its own class."""
    if context is None or isinstance(context, Mapping):
        return context or {}
    if is_dataclass(context):
        return {each.name: getattr(context, each.name) for each in fields(context)}
    return getattr(context, "__dict__", {})


@lru_cache(maxsize=256)  # every node of a run reads the same names
def _looks_like_one(name: str) -> bool:
    longest = 2 * max(map(len, CLIENTS))
    return len(name) <= longest and bool(get_close_matches(name, CLIENTS, n=1, cutoff=0.8))


def _mismatch(name: str, value: object) -> str | None:
    """Why a value is none that a client may set, where it looks so."""
    if name not in ResearchSettings.model_fields:
        return unknown(name) if _looks_like_one(name) else None
    if name in OF_PROCESS:
        return _of_process(name)
    if name not in CLIENTS:
        return f"{name} is set where the graph is made, or in a context of nothing but settings"
    if "model" in name and ("@http" in str(value) or "local:" in str(value)):
        return f"{name} names a server or a file, which is set where the graph is made"
    try:
        ResearchSettings.model_validate({name: value})
    except ValidationError as error:
        return setting_fault(error)
    return None


def _of_process(name: str) -> str:
    variable = f"ORESEARCH_{name.upper()}"
    return f"{name} is of the process: set it where the graph is made, or as {variable}"


def _adapts(before: ResearchSettings, after: ResearchSettings, run: Run) -> bool:
    return before != after and adapted(before, run.serving) == after


Build = Callable[[ResearchSettings], RunContext]
"""Makes the run_context of a run with these settings. May block."""


class RunContextPool:
    """The run_context of the runs in this process, made when first asked for."""

    def __init__(self, base: ResearchSettings, build: Build, objects: Mapping[str, str]) -> None:
        """`objects`: what the graph was made with, by argument."""
        self.base, self.objects, self._build = base, dict(objects), build
        self._kept: OrderedDict[str, RunContext] = OrderedDict()
        self._logged: set[str] = set()
        self.schema: Callable[[], type[ResearchSettings]] = lambda: ResearchSettings
        """Of a context: what a state holds of one is checked as the context was."""

    def settings(self, context: object, run: Run | None = None) -> ResearchSettings:
        """The graph's settings with what a run's context sets, now or when it began. Raises
        ConfigurationError for what the run was begun with and is not here."""
        explicit = self.explicit(context)
        begun = self._begun(run) if run is not None and (run.settings or run.withheld) else None
        values: dict[str, Any] = {}
        for layer in (begun, explicit):
            if layer is not None:
                values |= layer.explicit
        if run is not None:
            _require(run, {*self.objects, *explicit.model_fields_set}, values)
        return self.base.model_copy(update=values) if values else self.base

    def explicit(self, context: object) -> ResearchSettings:
        """What the caller of a run sets: in `configurable`, and over that in the context. One of
        nothing but our names is ours; of a parent graph's, and of `configurable`, which a server
        may have from anybody, it is taken what a client may set. Raises ConfigurationError."""
        configurable = ensure_config().get("configurable", {})
        configured = self._taken(configurable, "configurable")
        if isinstance(context, ResearchSettings):
            values = context.explicit
        else:
            values = dict(_fields(context))
            if not set(values) <= set(ResearchSettings.model_fields):
                values = self._taken(values, "a parent's context")
        if wrong := [name for name in OF_PROCESS if values.get(name) is not None]:
            raise ConfigurationError(_of_process(wrong[0]))
        if isinstance(context, ResearchSettings) and not configured:
            return context
        if not configured and not values:
            return _NOTHING
        try:
            return self.schema()(**{**configured, **values})
        except ValidationError as error:
            raise ConfigurationError(setting_fault(error)) from None

    def _taken(self, foreign: Mapping[Any, Any], where: str) -> dict[str, Any]:
        """The settings among values that are somebody else's too; what looks like one and is none
        is logged once."""
        values = dict[str, Any]()
        for name, value in foreign.items():
            if not isinstance(name, str) or name.startswith("__") or value in (None, "", (), []):
                continue
            if (fault := _mismatch(name, value)) is None:
                values |= {name: self._lowered(name, value)} if name in CLIENTS else {}
            elif name not in self._logged:
                self._logged.add(name)
                _log.warning("not taken from %s: %s", where, fault)
        return values

    def _lowered(self, name: str, value: Any) -> Any:  # noqa: ANN401 - of the setting's type
        """A limit goes down only."""
        if not name.startswith("max_"):
            return value
        figure, limits = name.removeprefix("max_"), self.base.limits
        most = getattr(limits, figure) if figure in Limits._fields else getattr(self.base, name)
        return value if most is None else min(value, most)

    def _begun(self, run: Run) -> ResearchSettings:
        """What the context set when the run began."""
        begun = self.schema()(**run.settings)
        if (kept := self._kept.get(run.id)) is None:
            return begun
        return begun.model_copy(update={n: getattr(kept.settings, n) for n in run.withheld})

    @asynccontextmanager
    async def at_work(self, run: Run, context: object) -> AsyncIterator[RunContext]:
        """The run_context of a run, whose clock goes while a node works with it."""
        run_context = await self._of(run, context)
        with run_context.clock.running():
            yield run_context
        if not run_context.warned and (tight := run_context.budget.tight()) is not None:
            run_context.warned = True
            share = f"{tight.used:,.4g} of {tight.allowed:,.4g}"
            more = {"run_id": run.id}
            _log.warning("run %s: %s budget: %s spent", run.id, tight.name, share, extra=more)

    async def _of(self, run: Run, context: object) -> RunContext:
        """Made anew when the run's settings were changed on the way."""
        settings = adapted(self.settings(context, run), run.serving)
        before = run_context = self._kept.get(run.id)
        if run_context is None or run_context.settings != settings:
            run_context = await asyncio.to_thread(self._build, settings)
            kept = self._kept.get(run.id)
            if kept is not None and kept.settings == settings:
                run_context = kept
            elif kept is not None:
                run_context.budget = kept.budget.under(settings)
                run_context.clock = kept.clock
            self._kept[run.id] = run_context
            if before is not None and before.owned and _adapts(before.settings, settings, run):
                # It was made before it was known how its models are served.
                await before.policies.aclose()
        self._kept.move_to_end(run.id)
        while len(self._kept) > _RUNS:
            self._kept.popitem(last=False)
        return run_context

    async def release(self, run: Run) -> None:
        """The run is over: forget it, and close what was opened for it."""
        run_context = self._kept.pop(run.id, None)
        if run_context is not None:
            await run_context.aclose()
