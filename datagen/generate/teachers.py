"""Teachers: who writes candidates, and what the graph is set to for them."""

from __future__ import annotations

import json
from typing import Final

from datagen.records import Recipe
from datagen.settings import DatagenSettings, GenerateSettings
from datagen.settings.generate import Teacher
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import text_hash

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


def teachers_of(settings: GenerateSettings) -> tuple[Teacher, ...]:
    """The teachers named, or the extractive policy. Raises ConfigurationError for a mixture."""
    named = settings.teachers or (Teacher(name=EXTRACTIVE),)
    without = [teacher.name for teacher in named if teacher.extractive]
    if without and len(without) < len(named) and not settings.allow_extractive:
        raise ConfigurationError(
            f"generate.teachers: {without[0]} has no model, and extractive traces do not mix with "
            "a model's: give it one, or set generate.allow_extractive=true"
        )
    return named


def check_teachers(settings: DatagenSettings) -> None:
    """Raises ConfigurationError for settings that would make something else than they seem to."""
    teachers_of(settings.generate)
    research = settings.research
    if research.model or research.planner_model or research.researcher_models:
        raise ConfigurationError("research.model: who writes candidates is named in "
                                 "generate.teachers, as [{name: ..., model: ...}]")  # fmt: skip
    if research.extended:
        raise ConfigurationError(
            "research: length, tone, outline, language and prompts go beyond the prompt that is "
            "trained: remove them"
        )


def writing_settings(settings: DatagenSettings, recipe: Recipe) -> ResearchSettings:
    """The graph's settings for one recipe, every one explicit: no variable of a machine's
    environment makes its candidates others."""
    teacher = teacher_named(settings.generate, recipe.teacher)
    asked = settings.generate.ask_for_reasoning and not teacher.extractive
    chosen = {
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
        "prompts": dict.fromkeys(("planner", "researcher", "summarizer"), REASONING)
        if asked
        else {},
    }
    return ResearchSettings.model_validate({**settings.research.model_dump(), **chosen})


def recipes_mark(settings: DatagenSettings) -> str:
    """Sixteen hexadecimal digits over all that decides what a candidate's text is asked of whom.

    A candidate is not resumed with another mark than it began with.
    """
    parts = {"teachers", "temperatures", "executions", "ask_for_reasoning"}
    told = [
        settings.research.model_dump(mode="json"),
        settings.generate.model_dump(mode="json", include=parts),
    ]
    return text_hash(json.dumps(told, sort_keys=True))[:16]


def teacher_named(settings: GenerateSettings, name: str) -> Teacher:
    """The teacher of a recipe."""
    return next(teacher for teacher in teachers_of(settings) if teacher.name == name)
