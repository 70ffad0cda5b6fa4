"""Faculty: the policies of a run's teachers, with what their calls cost."""

from __future__ import annotations

from collections.abc import Callable

from datagen.generate.plan import variants
from datagen.generate.teachers import teacher_named, writing_settings
from datagen.records import Recipe
from datagen.settings import DatagenSettings
from datagen.settings.generate import Teacher
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.prices import Price
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.policies.models import Policies, chat_policies
from oresearch_graph.settings import ResearchSettings

PolicyFactory = Callable[[Teacher, ResearchSettings], Policies]
"""Makes the policies of a teacher at one temperature."""


def teacher_policies(teacher: Teacher, settings: ResearchSettings) -> Policies:
    """The policies that a teacher's settings name."""
    if teacher.extractive:
        return Policies.single(ExtractivePolicy())
    return chat_policies(settings, parameters=settings.parameters)


class Faculty:
    """The policies of all teachers, made once for each teacher and temperature."""

    def __init__(self, settings: DatagenSettings, factory: PolicyFactory | None = None) -> None:
        self._settings, self._factory = settings, factory or teacher_policies
        self._made: dict[tuple[str, float | None], Policies] = {}

    def policies(self, recipe: Recipe) -> Policies:
        """Raises ConfigurationError for a model that cannot be had, or has no price where one is
        needed."""
        key = (recipe.teacher, recipe.temperature)
        if key not in self._made:
            teacher = teacher_named(self._settings.generate, recipe.teacher)
            made = self._factory(teacher, writing_settings(self._settings, recipe))
            self._require_prices(made)
            self._made[key] = made
        return self._made[key]

    def assemble(self) -> None:
        """Make them all, so that a key that is missing is told of before anything is spent."""
        for variant in variants(self._settings.generate):
            self.policies(Recipe(teacher=variant.teacher, temperature=variant.temperature))

    def price(self, model: str) -> Price | None:
        """The settings' price of a model."""
        own = self._settings.generate.prices.get(model)
        return None if own is None else own.price

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
        for policies in self._made.values():
            await policies.aclose()
