"""From the options of `oresearch run` to ResearchSettings. Every fault is one line with the fix."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.redaction import brief
from oresearch_graph.settings import ResearchSettings, resolve_settings, setting_fault


def settings_of(options: dict[str, Any], assignments: Sequence[str]) -> ResearchSettings:
    """Options and `--set name=value` pairs over the environment's settings over defaults.

    None is an option not given. Raises ConfigurationError.
    """
    values = {name: value for name, value in options.items() if value is not None}
    try:
        explicit = ResearchSettings.model_validate(values | _assigned(assignments))
    except ValidationError as error:
        raise ConfigurationError(f"{setting_fault(error)}; see oresearch run --help") from None
    return resolve_settings(explicit)


def _assigned(pairs: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            excerpt = brief(repr(pair), 60)
            raise ConfigurationError(f"--set {excerpt} is no setting: write --set name=value")
        if name not in ResearchSettings.model_fields:
            near = get_close_matches(name, ResearchSettings.model_fields, n=1, cutoff=0.7)
            fix = f"did you mean {near[0]}?" if near else "one of " + ", ".join(_names())
            raise ConfigurationError(f"there is no setting {name!r}: {fix}")
        values[name] = _value(name, value)
    return values


def _names() -> list[str]:
    return list(ResearchSettings.model_fields)


def _value(name: str, text: str) -> Any:  # noqa: ANN401 - of the setting's type
    """JSON where it reads as JSON, else the text; `800` stays text where a text is wanted."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    annotation = ResearchSettings.model_fields[name].annotation
    if (
        str in (annotation, *get_args(annotation))
        and value is not None
        and not isinstance(value, str)
    ):
        return text
    if annotation == tuple[str, ...] and isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return value
