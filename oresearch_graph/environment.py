"""Settings in layers: explicit values beat environment variables (`ORESEARCH_<NAME>`), which beat
defaults."""

from __future__ import annotations

import os
import re
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.redaction import brief
from oresearch_graph.settings import ResearchSettings, setting_fault, unknown

PREFIX: Final = "ORESEARCH_"
_NO_SETTING: Final = re.compile(
    r"home|allowed_models|allowed_origins|run_id|(?:service_(?:host|port)|port)(?:_.*)?"
)
"""Variables with that prefix that are read elsewhere; the last are Kubernetes' own, of a service of
that name."""


class _Environment(ResearchSettings, BaseSettings):
    """The settings that `ORESEARCH_*` variables hold; lists and dicts are written as JSON."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )


def resolve_settings(*layers: ResearchSettings | None) -> ResearchSettings:
    """Defaults, then the environment, then each layer's explicitly set values in turn.

    Raises ConfigurationError for a value that cannot be, and for a variable that sets nothing.
    """
    values: dict[str, Any] = {}
    for variable in os.environ:
        name = variable.lower().removeprefix(PREFIX.lower())
        known = name in ResearchSettings.model_fields or _NO_SETTING.fullmatch(name)
        if variable.upper().startswith(PREFIX) and not known:
            raise ConfigurationError(f"in the environment: {unknown(name, PREFIX)}")
    try:
        for layer in (_Environment(), *layers):
            if layer is not None:
                values |= layer.explicit
        return ResearchSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(setting_fault(error)) from None
    except SettingsError as error:
        raise ConfigurationError(f"{brief(error)}: write it as JSON") from None
