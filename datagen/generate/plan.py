"""The plan: every candidate of every seed, from settings and seeds alone, and what the graph is set
to for its teacher.

A candidate's recipe depends on its own id and the settings, so that every machine plans the same
and a seed more or less changes nothing for the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final, NamedTuple, get_args

from datagen.records import Candidate, Recipe, Seed, candidate_id
from datagen.settings import DatagenSettings, GenerateSettings
from datagen.settings.generate import Teacher
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.serving import Serving, adapted
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Execution, Role, text_hash

EXTRACTIVE: Final = "extractive"
"""The teacher's name where no teacher is named; also the policy's, in `Trace.models`."""

REASONING: Final = """\
- Write your reasoning out in every <think>, in the language of the question, in two to six \
sentences of your own: what is known by now and from which source, what is missing or disagrees, \
and why the next step is the right one. It is read by people and learned from: no phrase that \
would fit any question, no call without its reason.
- After an observation, say what it shows and what it does not show before you go on.\
"""
"""What chat teachers are told beyond the training prompt. All roles are told the same, as with the
system prompt itself, so that a server's prefix cache serves them all. Such traces are marked
`protocol.extended`; exports restate their rows under the plain training prompt."""
_DRAWS: Final = 2**31
"""Draws of researchers are below this."""


def teachers_of(settings: GenerateSettings) -> tuple[Teacher, ...]:
    """The teachers named, or the extractive policy. Raises ConfigurationError for a mixture."""
    teachers = settings.teachers or (Teacher(name=EXTRACTIVE),)
    without = [teacher.name for teacher in teachers if teacher.extractive]
    if without and len(without) < len(teachers) and not settings.allow_extractive:
        raise ConfigurationError(
            f"generate.teachers: {without[0]} has no model, and extractive traces do not mix with "
            "a model's: give it one, or set generate.allow_extractive=true"
        )
    return teachers


def check_teachers(settings: DatagenSettings) -> None:
    """Raises ConfigurationError for settings that would make something else than they seem to."""
    teachers_of(settings.generate)
    research = settings.training
    if research.model or research.planner_model or research.researcher_models:
        raise ConfigurationError("research.model: who writes candidates is named in "
                                 "generate.teachers, as [{name: ..., model: ...}]")  # fmt: skip
    if research.extended:
        raise ConfigurationError(
            "research: length, tone, outline, language and prompts go beyond the prompt that is "
            "trained: remove them"
        )


def writing_settings(
    settings: DatagenSettings, recipe: Recipe, serving: Serving | None = None
) -> ResearchSettings:
    """The graph's settings for one recipe at a teacher that is served so. What neither the run nor
    the recipe sets is fitted to the server; then every one is explicit: no variable of a machine's
    environment makes its candidates others."""
    teacher = teacher_named(settings.generate, recipe.teacher)
    explicit = {
        **settings.research.model_dump(exclude_unset=True),
        "model": teacher.model,
        "base_url": teacher.base_url,
        "planner_model": teacher.planner_model,
        "researcher_models": teacher.researcher_models,
        "summarizer_model": teacher.summarizer_model,
        "parameters": teacher.parameters,
        "max_output_tokens": teacher.max_output_tokens or settings.research.max_output_tokens,
        "rendering": teacher.rendering,
        "temperature": recipe.temperature,
        "execution": recipe.execution,
        "seed": recipe.draw,
        "approve_plan": False,
        # A report that was written twice is no row: see `export.allow_repaired`.
        "verifier": settings.research.verifier
        if "verifier" in settings.research.model_fields_set
        else "off",
    }
    if recipe.temperature is None and settings.generate.candidates <= len(
        variants(settings.generate)
    ):
        del explicit["temperature"]  # where a recipe comes again, its texts have to differ
    research = adapted(ResearchSettings.model_validate(explicit), serving or Serving())
    reasons = settings.generate.ask_for_reasoning and not (teacher.extractive or research.by_role)
    prompts = dict.fromkeys(get_args(Role), REASONING) if reasons else {}
    return ResearchSettings.model_validate({**research.model_dump(), "prompts": prompts})


def recipes_mark(settings: DatagenSettings) -> str:
    """Sixteen hexadecimal digits over all that decides what a candidate's text is asked of whom.

    A candidate is not resumed with another mark than it began with.
    """
    parts = {"teachers", "temperatures", "executions", "ask_for_reasoning"}
    basis = [
        settings.research.model_dump(mode="json"),
        sorted(settings.research.model_fields_set),
        settings.generate.model_dump(mode="json", include=parts),
    ]
    return text_hash(json.dumps(basis, sort_keys=True))[:16]


def teacher_named(settings: GenerateSettings, name: str) -> Teacher:
    """The teacher of a recipe."""
    return next(teacher for teacher in teachers_of(settings) if teacher.name == name)


class Job(NamedTuple):
    """A candidate with its question: all that a machine needs to know of it."""

    candidate: Candidate
    question: str

    @property
    def id(self) -> str:
        return self.candidate.id


class Variant(NamedTuple):
    """One combination that candidates cycle over."""

    teacher: str
    temperature: float | None
    execution: Execution
    repeatable: bool
    """False where a second candidate would be the first one again."""
    pool: bool
    """The teacher has several researchers to draw from."""


def variants(settings: GenerateSettings) -> tuple[Variant, ...]:
    """Teachers × temperatures × executions, neighbours as different as can be."""
    combinations: list[Variant] = []
    for teacher in teachers_of(settings):
        configured = settings.temperatures if teacher.temperatures is None else teacher.temperatures
        temperatures = () if teacher.extractive else dict.fromkeys(configured)
        executions = dict.fromkeys(settings.executions)
        for temperature, execution in product(temperatures or (None,), executions):
            pool = len(teacher.researcher_models) > 1
            combinations.append(
                Variant(teacher.name, temperature, execution, not teacher.extractive, pool)
            )
    return tuple(combinations)


def plan(settings: GenerateSettings, seeds: Iterable[Seed]) -> Iterator[Job]:
    """The candidates of the seeds, in the order of their numbers.

    An extractive teacher writes the same each time, so its variants come once per seed.
    """
    cycle = variants(settings)
    for seed in seeds:
        if seed.origin == "imported" and not settings.imported_seeds:
            continue
        first = _number(seed.id) % len(cycle)
        for number in range(1, settings.candidates + 1):
            variant = cycle[(first + number - 1) % len(cycle)]
            if number <= len(cycle) or variant.repeatable:
                yield Job(_candidate(seed, number, variant), seed.question)


def _candidate(seed: Seed, number: int, variant: Variant) -> Candidate:
    name = candidate_id(seed.id, number)
    recipe = Recipe(
        teacher=variant.teacher,
        temperature=variant.temperature,
        execution=variant.execution,
        draw=_number(name) % _DRAWS if variant.pool else 0,
    )
    return Candidate(id=name, seed=seed.id, number=number, recipe=recipe)


def _number(text: str) -> int:
    """A number that is the same for the same text on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
