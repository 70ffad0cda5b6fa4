"""What the nodes of one run share in one process: policies, tools, budget, clock, protocol."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.budget import Budget
from oresearch_graph.graph.clock import Clock, worked
from oresearch_graph.graph.report_draft import ReportDraft
from oresearch_graph.graph.state import BranchState, ResearchState, Run, spans_of, usage_of
from oresearch_graph.graph.writer import Writer
from oresearch_graph.judging.verifier import Verifier
from oresearch_graph.limits import Limits
from oresearch_graph.policies.chat.model_objects import chat_model, model_name
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.models import Policies
from oresearch_graph.policies.policy import Policy
from oresearch_graph.policies.serving import BranchQueue, Serving, adapted
from oresearch_graph.prompts import system_prompt
from oresearch_graph.settings import CLIENTS, Part, ResearchSettings, setting_fault, unknown
from oresearch_graph.threads import Next, Thread
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.trace import Protocol, Role, Step, Usage
from oresearch_graph.trace.record import Spender

if TYPE_CHECKING:
    from oresearch_graph.graph.middleware.branch import BranchMiddleware
    from oresearch_graph.graph.middleware.stack import MiddlewareStack

_log = logging.getLogger("oresearch_graph")

_RUNS: Final = 1_000
"""Runs remembered at one time; an abandoned run is forgotten when so many others went on."""
_OTHERS: Final = 16
"""Models that middleware named."""


@dataclass
class RunContext:
    """The working things of one run."""

    settings: ResearchSettings
    policies: Policies
    search: SearchBackend
    reader: PageReader
    tools: dict[str, BaseTool]
    """The embedder's extra tools by name."""
    budget: Budget
    clock: Clock
    protocol: Protocol
    owned: bool = False
    """The policies were made for this run, and end with it."""
    middleware: MiddlewareStack | None = None
    """What an embedder put around researchers."""
    queue: BranchQueue = field(init=False)
    warned: bool = field(default=False, init=False)
    """The log has that a limit is near."""
    draft: ReportDraft | None = field(default=None, init=False)
    """What was told of the report."""
    _verifier: Verifier | None = field(default=None, init=False)
    _others: OrderedDict[tuple[int, str], tuple[BaseChatModel, ChatPolicy]] = field(
        default_factory=OrderedDict, init=False
    )
    """Policies for models that middleware names, the last that were asked. A model that is held
    keeps its id."""

    def __post_init__(self) -> None:
        self.queue = BranchQueue(self.settings.branches_at_once)

    @property
    def can_verify(self) -> bool:
        """A report is to be read against its sources, and there is a model that can."""
        chats = isinstance(self.policies.summarizer, ChatPolicy)
        return self.settings.verifies and (chats or bool(self.settings.verifier_model))

    def verifier(self, serving: Serving) -> Verifier | None:
        """The model that reads reports against their sources: the settings' own, or the
        summarizer's, which is served so; None where there is none or none is wanted. May block."""
        if self._verifier is None and self.can_verify:
            self._verifier = self._made(serving)
        return self._verifier

    def _made(self, serving: Serving) -> Verifier:
        settings, summarizer = self.settings, self.policies.summarizer
        votes, concurrency = settings.verifier_votes, settings.concurrency
        if settings.verifier_model or not isinstance(summarizer, ChatPolicy):
            name, at, server = (settings.verifier_model or "").partition("@http")
            base_url = f"http{server}" if at else settings.base_url
            return Verifier(
                name, base_url=base_url, votes=votes, concurrency=concurrency,
                price=settings.prices.get(name), allow_plain_http=settings.allow_plain_http,
            )  # fmt: skip
        return Verifier(
            summarizer.model, votes=votes, concurrency=concurrency, price=summarizer.own_price,
            serving=serving,
        )  # fmt: skip

    async def aclose(self) -> None:
        """Close what was opened for the run."""
        if self._verifier is not None:
            await self._verifier.aclose()
        if self.owned:
            await self.policies.aclose()

    def policy(self, role: Role, branch: int | None = None) -> Policy:
        return self.policies.of(role, branch)

    def writer(self, role: Role, branch: int | None = None) -> Writer:
        return Writer(
            self.policy(role, branch), self.budget, self.settings, self.clock, tuple(self.tools)
        )

    def around(self, state: BranchState) -> BranchMiddleware | None:
        """The middleware around a node of a branch, where there is some."""
        return None if self.middleware is None else self.middleware.of_branch(self, state)

    def other_policy(
        self, policy: ChatPolicy, model: BaseChatModel, arguments: Mapping[str, Any]
    ) -> ChatPolicy:
        """Another model asked in the policy's place, or the same with more arguments. Raises
        ConfigurationError for one that cannot be paid."""
        inner = chat_model(model)
        arguments = {**inner.arguments, **arguments}
        key = (id(inner.model), repr(sorted(arguments.items())))
        if key not in self._others:
            price = self.settings.prices.get(model_name(inner.model))
            other = policy.beside(inner.model, arguments, price)
            self._require_price(other.name, other.price)
            self._others[key] = inner.model, other
        self._others.move_to_end(key)
        while len(self._others) > _OTHERS:
            self._others.popitem(last=False)
        return self._others[key][1]

    def require_prices(self) -> None:
        """Raise ConfigurationError where money is limited and a model's price is not known."""
        policies = self.policies
        every = (policies.planner, *policies.researchers, policies.summarizer)
        writers = [policy for policy in every if isinstance(policy, ChatPolicy)]
        prices = {policy.name: policy.price for policy in writers}
        if self._verifier is not None:
            prices[self._verifier.name] = self._verifier.price
        for name, price in prices.items():
            self._require_price(name, price)

    def _require_price(self, name: str, price: object) -> None:
        if price is None and self.settings.max_cost is not None:
            raise ConfigurationError(
                f"max_cost is set and the price of {name} is not known: set "
                f'prices={{"{name}": [prompt, cached, reply]}} in US dollars per million '
                "tokens, or leave max_cost out"
            )

    def restore(self, state: ResearchState) -> None:
        """Go on counting where the state has it, where another process has worked on the run."""
        self._restore(usage_of(state))
        self.clock.restore(worked(spans_of(state)))

    def _restore(self, usage: Iterable[Usage]) -> None:
        by_spender: dict[tuple[Spender, int | None], list[Usage]] = {}
        for each in usage:
            by_spender.setdefault((each.role, each.branch), []).append(each)
        for (role, branch), group in by_spender.items():
            self.budget.restore(role, branch, group)

    def restore_branch(self, state: BranchState) -> None:
        """The same, as far as one branch knows."""
        self._restore(state["task"].spent)
        self.budget.restore("researcher", state["task"].branch, state.get("spent", []))
        self.clock.restore(max(state["task"].worked, worked(state.get("timings", []))))

    @property
    def constrained(self) -> bool:
        """Threads are held to the grammar, where their server takes one."""
        return self.settings.constrained and self.protocol.execution == "parallel"

    def thread(
        self, run: Run, expected: Next, *, role: Role, branch: int | None = None,
        steps: Sequence[Step] = (), forced: bool = False,
    ) -> Thread:  # fmt: skip
        """The thread of a role, to be continued by what is expected."""
        sequential = self.protocol.execution == "sequential"
        place = {"planner": "plan", "researcher": branch, "summarizer": "report"}[role]
        parts: dict[Role, Part] = {
            "planner": "planner", "researcher": "answer" if forced else "turn",
            "summarizer": "report",
        }  # fmt: skip
        return Thread(
            id=run.id if sequential else f"{run.id}-{place}",
            system=system_prompt(self.settings, described(list(self.tools.values())), role),
            question=run.question,
            role=role,
            branch=branch,
            steps=tuple(steps),
            forced=expected.tag if forced else None,
            next=expected,
            by_role=self.settings.by_role,
            constrained=self.constrained,
            bound=getattr(self.settings.limits.bounds, parts[role]),
            language=run.language,
        )


def described(tools: Sequence[BaseTool]) -> list[tuple[str, str]]:
    """The tools as (name, what it does with which arguments), for the system prompt."""
    return [(tool.name, f"{' '.join(tool.description.split())} {tool.args}") for tool in tools]


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
    if name not in CLIENTS:
        return f"{name} is set where the graph is made, or in a context of nothing but settings"
    if "model" in name and ("@http" in str(value) or "local:" in str(value)):
        return f"{name} names a server or a file, which is set where the graph is made"
    try:
        ResearchSettings.model_validate({name: value})
    except ValidationError as error:
        return setting_fault(error)
    return None


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
            if not configured:
                return context
            values = context.explicit
        else:
            values = dict(_fields(context))
            if not set(values) <= set(ResearchSettings.model_fields):
                values = self._taken(values, "a parent's context")
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
