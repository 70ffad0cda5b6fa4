"""What a client of the served graph may set: its own questions' settings, within the server's.

Whoever reaches the server writes a run's context. So whatever reads files, sends keys or opens
addresses is the server's alone, set in its environment; limits go down only, and models are
named from a list.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, Final

from pydantic import GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.limits import Effort, Limits
from oresearch_graph.redaction import redacted
from oresearch_graph.settings import CLIENTS, ResearchSettings, setting_fault, unknown

_MODELS: Final = ("model", "planner_model", "researcher_models", "summarizer_model")
_LIMITS: Final = tuple(name for name in CLIENTS if name.startswith("max_"))
_LANGGRAPHS: Final = (
    "thread_id", "run_id", "graph_id", "assistant_id", "user_id", "cron_id",
    "checkpoint_id", "checkpoint_ns", "checkpoint_map",
)  # fmt: skip
_UNSHOWN: Final = ("parameters", "prompts")
"""Free text of the server's: a header with a key may stand in it."""


def client_settings(server: ResearchSettings, models: Sequence[str]) -> type[ResearchSettings]:
    """The context schema of a graph with these settings, whose clients may name these models too.

    LangGraph makes it of every context, so what is refused here never reaches a node.
    """
    allowed = [*dict.fromkeys((*_model_names(server), *models))]

    class ClientSettings(ResearchSettings):
        """What a run of the served graph is asked to do."""

        def __init__(self, /, **context: Any) -> None:  # noqa: ANN401 - as JSON has it
            values = {
                name: value
                for name, value in context.items()
                # Forms send empty ones for what was left alone.
                if value is not None and value != "" and not _is_langgraphs(name)
            }
            if refusal := _refusal(values):
                raise ConfigurationError(refusal)
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise ConfigurationError(setting_fault(error)) from None
            fault = _model_fault(self, allowed) or _limit_fault(self, server)
            if fault is not None:
                raise ConfigurationError(fault)

        @classmethod
        def __get_pydantic_json_schema__(
            cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
        ) -> JsonSchemaValue:
            schema = handler.resolve_ref_schema(handler(core_schema))
            return _form(schema, server, allowed)

        @classmethod
        def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
            schema = super().model_json_schema(*args, **options)
            return schema | {"properties": _Properties(schema["properties"])}

    return ClientSettings


def _is_langgraphs(name: str) -> bool:
    """True for a key that LangGraph's clients and server have in `configurable`, of which the
    server makes the context of a run that has none."""
    return name in _LANGGRAPHS or name.startswith("__")


def _refusal(context: dict[str, Any]) -> str | None:
    """What is wrong with the names in a context."""
    wrong = next((name for name in context if name not in CLIENTS), None)
    if wrong is None:
        return None
    if wrong in ResearchSettings.model_fields:
        why = f"{wrong} is the server's to set (ORESEARCH_{wrong.upper()}), not a run's"
    else:
        why = unknown(wrong)
    return f"{why}: a run's context may hold {', '.join(CLIENTS)}"


def _model_names(settings: ResearchSettings) -> list[str]:
    """The models that settings name."""
    single = (settings.model, settings.planner_model, settings.summarizer_model)
    return [name for name in (*single, *settings.researcher_models) if name]


def _model_fault(client: ResearchSettings, allowed: Sequence[str]) -> str | None:
    wrong = next((name for name in _model_names(client) if name not in allowed), None)
    if wrong is None:
        return None
    names = f"one of {', '.join(allowed)}" if allowed else "none is"
    return (
        f"the model {reprlib.repr(wrong)} is not allowed here: {names} "
        "(the server names more in ORESEARCH_ALLOWED_MODELS)"
    )


def _limit_fault(client: ResearchSettings, server: ResearchSettings) -> str | None:
    effort = client.effort if "effort" in client.model_fields_set else server.effort
    for name in _LIMITS:
        value, most = getattr(client, name), _most(server, effort, name)
        if value is not None and most is not None and value > most:
            return (
                f"{name} cannot be {value:g} here: the server allows {most:g} at most "
                f"with effort {effort}"
            )
    return None


def _most(server: ResearchSettings, effort: Effort, name: str) -> float | None:
    """The most that a limit may be; None where the server sets no bound."""
    figure = name.removeprefix("max_")
    if figure in Limits._fields:
        limits = server.model_copy(update={"effort": effort}).limits
        return float(getattr(limits, figure))
    limit: float | None = getattr(server, name)
    return limit


class _Properties(dict[str, Any]):
    """A schema's properties. LangGraph's server drops what they lack from a context and tells
    nobody: here it drops nothing, so that a wrong name is refused."""

    def __contains__(self, name: object) -> bool:
        return True


def _form(
    schema: dict[str, Any], server: ResearchSettings, allowed: Sequence[str]
) -> dict[str, Any]:
    """The schema that Studio draws its form from: the client's settings with the server's values
    as defaults. What the server keeps is shown in words, and as `x-server-settings`."""
    defaults = server.model_dump(mode="json")
    properties = {
        name: schema["properties"][name] | {"default": defaults[name]} for name in CLIENTS
    }
    for name in _MODELS:
        of_one = properties[name].get("items", properties[name])
        of_one |= {"enum": allowed} if allowed else {}
        properties[name]["description"] += " Of those that the server allows."
    for name in _LIMITS:
        properties[name]["description"] += " Not above the server's."
    server_settings = {
        name: redacted(value) if isinstance(value, str) else value
        for name, value in defaults.items()
        if name not in CLIENTS and name not in _UNSHOWN
    }
    summary = "; ".join(
        f"{name}: {value}" for name, value in server_settings.items() if value is not None
    )
    return {
        **{name: value for name, value in schema.items() if name != "$defs"},
        "title": "Settings",
        "description": f"Of one run. The server's own, which no run can set: {summary}.",
        "properties": properties,
        "x-server-settings": server_settings,
    }
