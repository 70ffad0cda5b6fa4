"""The settings of a command: its options over `ORESEARCH_*` variables over the project's
`oresearch.toml` over the user's.

A project's file comes with a project, from whoever wrote that: it cannot say where keys are sent or
what the reader may reach.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from platformdirs import user_config_path
from pydantic import ValidationError

from oresearch_graph.command.terminal import harmless
from oresearch_graph.environment import PREFIX, resolve_settings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.keys import holds_secret
from oresearch_graph.redaction import brief
from oresearch_graph.settings import ResearchSettings, setting_fault, unknown

FILE: Final = "oresearch.toml"
_USERS_ALONE: Final = frozenset((
    "base_url", "parameters", "allow_plain_http", "allow_private_addresses", "tenant", "prices",
    "max_cost", "max_tokens", "max_model_calls",
))  # fmt: skip


def settings_of(options: Mapping[str, Any], assignments: Sequence[str] = ()) -> ResearchSettings:
    """Options and `--set name=value` pairs over all else that is configured.

    None is an option not given. Raises ConfigurationError.
    """
    return layered(*_files(), resolve_settings(), given_settings(options, assignments))


def given_settings(options: Mapping[str, Any], assignments: Sequence[str] = ()) -> ResearchSettings:
    """What a command was given, alone. Raises ConfigurationError."""
    values = {name: value for name, value in options.items() if value is not None}
    try:
        return ResearchSettings.model_validate(values | _assigned(assignments))
    except ValidationError as error:
        raise ConfigurationError(f"{setting_fault(error)}; see oresearch run --help") from None


def layered(*layers: ResearchSettings) -> ResearchSettings:
    """Each layer's explicitly set values over those of the layers before it."""
    values: dict[str, Any] = {}
    for layer in layers:
        values |= layer.explicit
    return ResearchSettings().model_copy(update=values)


def places() -> dict[Path, bool]:
    """The files that are read, those that are not there among them; True: the user's own."""
    files = {user_config_path("oresearch") / FILE: True}
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file() and _is_ours(folder / FILE):
            return files | {folder / FILE: False}
        if (folder / ".git").exists():
            break
    return files | {here / FILE: False}


def _is_ours(file: Path) -> bool:
    """Another user's file in a folder that all may write is not the project's."""
    return not hasattr(os, "getuid") or file.stat().st_uid in {0, os.getuid()}


def _files() -> list[ResearchSettings]:
    return [_read(path, users=users) for path, users in places().items() if path.is_file()]


def _read(path: Path, *, users: bool) -> ResearchSettings:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {brief(error)}; write it as TOML"
        ) from None
    for name, value in values.items():
        if name not in ResearchSettings.model_fields:
            raise ConfigurationError(f"{path}: {unknown(name)}")
        if not users and (name in _USERS_ALONE or _reaches(name, value, path.parent)):
            raise ConfigurationError(
                f"{path}: a project cannot set {name} so, which says where keys are sent, what may "
                f"be reached or spent: set it in {user_config_path('oresearch') / FILE} or as an "
                "option"
            )
    if isinstance(corpus := values.get("corpus"), str):
        values["corpus"] = str(path.parent / Path(corpus).expanduser())
    try:
        return ResearchSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {setting_fault(error)}") from None


def _reaches(name: str, value: object, project: Path) -> bool:
    """A value that would have another server asked, or read what is not the project's."""
    text = str(value)
    if name.endswith(("model", "models")):
        return "@http" in text or "local:" in text
    if name == "corpus":
        return not (project / text).resolve().is_relative_to(project.resolve())
    return name == "search" and "searxng" in text


def _assigned(pairs: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            excerpt = brief(repr(pair), 60)
            raise ConfigurationError(f"--set {excerpt} is no setting: write --set name=value")
        if name not in ResearchSettings.model_fields:
            raise ConfigurationError(unknown(name))
        values[name] = _value(name, value)
    return values


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


def print_settings() -> int:
    """Every setting, with what is configured here; a value that may hold a key is not shown."""
    configured = settings_of({})
    for name, field in ResearchSettings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        print(f"{name} ({PREFIX}{name.upper()})")  # noqa: T201 - the output asked for
        print(f"    {field.description}")  # noqa: T201
        print(f"    default: {_shown(default)}")  # noqa: T201
        if name in configured.model_fields_set:
            value = getattr(configured, name)
            shown = "holds a key" if holds_secret(value) else _shown(value)
            print(f"    here: {harmless(shown)}")  # noqa: T201
    for path in places():
        print(f"{'read' if path.is_file() else 'not there'}: {path}")  # noqa: T201
    return 0


def _shown(value: object) -> str:
    return "not set" if value is None or value in ((), {}) else str(value)
