"""What the nodes of one run share in one process: policies, tools, budget, clock, protocol."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

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
from oresearch_graph.policies.serving import BranchQueue, Serving
from oresearch_graph.prompts import system_prompt
from oresearch_graph.settings import Part, ResearchSettings
from oresearch_graph.threads import Next, Thread
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.trace import Protocol, Role, Step, Usage
from oresearch_graph.trace.record import Spender

if TYPE_CHECKING:
    from oresearch_graph.graph.middleware.branch import BranchMiddleware
    from oresearch_graph.graph.middleware.stack import MiddlewareStack

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
    limits: Limits = field(init=False)
    """The settings' limits."""
    queue: BranchQueue = field(init=False)
    warned: bool = field(default=False, init=False)
    """The log has that a limit is near."""
    draft: ReportDraft | None = field(default=None, init=False)
    """What was told of the report."""
    _systems: dict[Role, str] = field(default_factory=dict, init=False)
    """System prompts that were asked for."""
    _verifier: Verifier | None = field(default=None, init=False)
    _others: OrderedDict[tuple[int, str], tuple[BaseChatModel, ChatPolicy]] = field(
        default_factory=OrderedDict, init=False
    )
    """Policies for models that middleware names, the last that were asked. A model that is held
    keeps its id."""

    def __post_init__(self) -> None:
        self.limits = self.settings.limits
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
            system=self._system(role),
            question=run.question,
            role=role,
            branch=branch,
            steps=tuple(steps),
            forced=expected.tag if forced else None,
            next=expected,
            by_role=self.settings.by_role,
            constrained=self.constrained,
            bound=getattr(self.limits.bounds, parts[role]),
            language=run.language,
        )

    def _system(self, role: Role) -> str:
        if role not in self._systems:
            tools = described(list(self.tools.values()))
            self._systems[role] = system_prompt(self.settings, tools, role)
        return self._systems[role]


def described(tools: Sequence[BaseTool]) -> list[tuple[str, str]]:
    """The tools as (name, what it does with which arguments), for the system prompt."""
    return [(tool.name, f"{' '.join(tool.description.split())} {tool.args}") for tool in tools]
