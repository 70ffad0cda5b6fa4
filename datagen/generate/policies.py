"""The policies of a run's teachers, each made once, and metered for a candidate: what a call spent
is told, and the candidate stops at its checkpoint when the service behind the policy fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Final

import httpx

from datagen.generate.plan import teacher_named, variants, writing_settings
from datagen.records import Recipe
from datagen.settings import DatagenSettings
from datagen.settings.generate import Teacher
from oresearch_graph.errors import ConfigurationError, PolicyError
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.prices import cost
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.policies.models import Policies, chat_policies
from oresearch_graph.policies.policy import Continuation, Policy
from oresearch_graph.policies.serving import ServedPolicy, Serving
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Usage

PolicyFactory = Callable[[Teacher, ResearchSettings], Policies]
"""Makes the policies of a teacher at one temperature."""
Charge = Callable[[Usage], None]

_HOPELESS: Final = frozenset((401, 402, 403, 404))
"""HTTP statuses that the next candidate would meet too: key, credit, permission, name."""


def teacher_policies(teacher: Teacher, settings: ResearchSettings) -> Policies:
    """The policies that a teacher's settings name."""
    if teacher.extractive:
        return Policies.single(ExtractivePolicy())
    return chat_policies(settings, parameters=settings.parameters)


class TeacherPolicies:
    """The policies of all teachers, made once for each teacher, temperature and time-out."""

    def __init__(self, settings: DatagenSettings, factory: PolicyFactory | None = None) -> None:
        self._settings, self._factory = settings, factory or teacher_policies
        self._by_recipe: dict[tuple[str, float | None, float], Policies] = {}
        self._places: dict[str, asyncio.Semaphore] = {}

    def policies(self, recipe: Recipe, serving: Serving | None = None) -> Policies:
        """Raises ConfigurationError for a model that cannot be had, or has no price where one is
        needed."""
        settings = writing_settings(self._settings, recipe, serving)
        key = (recipe.teacher, settings.temperature, settings.model_timeout)
        if key not in self._by_recipe:
            teacher = teacher_named(self._settings.generate, recipe.teacher)
            policies = self._factory(teacher, settings)
            self._require_prices(policies)
            self._by_recipe[key] = policies
        return self._by_recipe[key]

    async def serving(self, recipe: Recipe) -> Serving:
        """What the slowest of the teacher's servers can do."""
        return await self.policies(recipe).serving()

    def place(self, recipe: Recipe, serving: Serving) -> AbstractAsyncContextManager[None]:
        """Holds a candidate back while as many are made as the teacher's server can work on, unless
        the run says how many."""
        slots = serving.slots or (1 if serving.slow and not serving.batches else None)
        if slots is None or "concurrency" in self._settings.generate.model_fields_set:
            return nullcontext()
        branches = writing_settings(self._settings, recipe, serving).limits.subtasks
        place = self._places.get(recipe.teacher)
        if place is None:
            place = self._places[recipe.teacher] = asyncio.Semaphore(max(1, slots // branches))
        return place

    def make_all(self) -> None:
        """Make them all, so that a key that is missing is told of before anything is spent."""
        for variant in variants(self._settings.generate):
            self.policies(Recipe(teacher=variant.teacher, temperature=variant.temperature))

    def price(self, model: str) -> Price | None:
        """The settings' price of a model."""
        price = self._settings.generate.prices.get(model)
        return None if price is None else price.price

    def _require_prices(self, policies: Policies) -> None:
        if self._settings.generate.max_cost is None:
            return
        for policy in (policies.planner, *policies.researchers, policies.summarizer):
            if isinstance(policy, ChatPolicy) and not (policy.price or self.price(policy.name)):
                raise ConfigurationError(
                    f"generate.max_cost: the price of {policy.name} is not known: set "
                    f"generate.prices, as {{{policy.name}: {{prompt: 1.0, completion: 4.0}}}}"
                )

    async def aclose(self) -> None:
        """Close the connections that the policies opened."""
        for policies in self._by_recipe.values():
            await policies.aclose()


class TeacherFault(ConfigurationError):
    """A teacher's service failed in the middle of a candidate.

    As a ConfigurationError it passes the graph's boundary: the run stops where it stands, and is
    resumed from its checkpoint, instead of ending as a trace that lacks a branch.
    """

    def __init__(self, error: PolicyError) -> None:
        super().__init__(str(error))
        self.hits_all = _hits_all(error)
        """No other candidate of this teacher would fare better."""


def _hits_all(error: PolicyError) -> bool:
    cause = error.__cause__
    status = getattr(cause, "status_code", None)
    if status is not None:
        return status in _HOPELESS or getattr(cause, "code", None) == "insufficient_quota"
    name = type(cause).__name__
    if "Timeout" in name:
        return False
    return isinstance(cause, httpx.ConnectError | ConnectionError) or "Connection" in name


class MeteredPolicy:
    """See the module. `price` is the settings' own, which beats what the policy knows."""

    def __init__(self, policy: Policy, price: Price | None, charge: Charge) -> None:
        self._policy, self._price, self._charge = policy, price, charge

    @property
    def name(self) -> str:
        return self._policy.name

    async def serving(self) -> Serving:
        if isinstance(self._policy, ServedPolicy):
            return await self._policy.serving()
        return Serving()

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        try:
            continuation = await self._policy.continue_thread(thread, stop, on_text=on_text)
        except PolicyError as error:
            raise TeacherFault(error) from error
        usage = continuation.usage
        if self._price is not None:
            counts = usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens
            usage = usage.model_copy(update={"cost": cost(self._price, *counts)})
        self._charge(usage)
        return continuation.model_copy(update={"usage": usage})


def metered(
    policies: Policies, price: Callable[[str], Price | None], charge: Charge, draw: int
) -> Policies:
    """The same policies for one candidate, whose calls are charged to it."""

    def wrapped(policy: Policy) -> Policy:
        return MeteredPolicy(policy, price(policy.name), charge)

    return replace(
        policies,
        planner=wrapped(policies.planner),
        researchers=tuple(wrapped(policy) for policy in policies.researchers),
        summarizer=wrapped(policies.summarizer),
        seed=draw,
    )
