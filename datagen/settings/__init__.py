"""Every setting of a pipeline, a section for each stage; `datagen.yaml` in the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from datagen.settings.export import ExportSettings
from datagen.settings.filter import FilterSettings
from datagen.settings.generate import GenerateSettings
from datagen.settings.judge import JudgeSettings
from datagen.settings.review import ReviewSettings
from datagen.settings.rubrics import RubricSettings
from datagen.settings.seeds import SeedSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace.validation import FrozenModel, first_fault

__all__ = [
    "DatagenSettings",
    "ExportSettings",
    "FilterSettings",
    "GenerateSettings",
    "JudgeSettings",
    "ReviewSettings",
    "RubricSettings",
    "SeedSettings",
    "read_settings",
    "settings_text",
]


class DatagenSettings(FrozenModel):
    """A pipeline's settings."""

    research: ResearchSettings = Field(default_factory=ResearchSettings)
    """The graph's settings, the same for every candidate; recipes set the rest. They are also what
    the training prompt is made of, so prompt additions have no place here."""
    seeds: SeedSettings = Field(default_factory=SeedSettings)
    generate: GenerateSettings = Field(default_factory=GenerateSettings)
    filter: FilterSettings = Field(default_factory=FilterSettings)
    judge: JudgeSettings = Field(default_factory=JudgeSettings)
    review: ReviewSettings = Field(default_factory=ReviewSettings)
    rubrics: RubricSettings = Field(default_factory=RubricSettings)
    export: ExportSettings = Field(default_factory=ExportSettings)

    @property
    def training(self) -> ResearchSettings:
        """The graph's settings under the training prompt, in which all rows are told."""
        return self.research.model_copy(update={"prompt_style": "training"})


def read_settings(path: Path, changes: tuple[str, ...] = ()) -> DatagenSettings:
    """The settings of a YAML file, `section.name=value` changes on top; no file: the defaults.

    Raises ConfigurationError, naming the setting.
    """
    try:
        raw = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML: {_flat(error)}") from error
    if not isinstance(raw or {}, dict):
        raise ConfigurationError(f"{path}: settings are sections of names and values")
    values: dict[str, Any] = raw or {}
    for change in changes:
        _apply(values, change)
    try:
        return DatagenSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {first_fault(error, 'settings')}") from error


def settings_text(settings: DatagenSettings) -> str:
    """The YAML of what was set: a default that was set explicitly holds where others are fitted."""
    changed = settings.model_dump(mode="json", exclude_unset=True)
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)


def _apply(values: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    *sections, last = name.split(".")
    if not equals or not sections:
        raise ConfigurationError(f"--set {change!r}: write section.name=value")
    inner: Any = values
    for section in sections:
        if inner.get(section) is None:
            inner[section] = {}
        inner = inner[section]
        if not isinstance(inner, dict):
            raise ConfigurationError(f"--set {change!r}: {section} is no section")
    try:
        inner[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--set {change!r}: {_flat(error)}") from error


def _flat(error: Exception) -> str:
    return " ".join(str(error).split())
