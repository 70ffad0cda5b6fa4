"""docs/settings.md and docs/events.md, from the code: `python -m tests.reference` writes them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel

from oresearch_graph.graph import events
from oresearch_graph.graph.event_stream import Finished
from oresearch_graph.limits import EFFORTS, Bounds
from oresearch_graph.settings import ResearchSettings

DOCS: Final = Path(__file__).parent.parent / "docs"
_MADE: Final = "<!-- Made by `python -m tests.reference`; change the code, not this page. -->\n\n"


def settings() -> str:
    """Every setting with its type, default and meaning, and what each effort stands for."""
    lines = [
        "# Settings\n",
        _MADE
        + "One list for all doors: `ResearchSettings(name=…)`, a run's `context`, `oresearch run "
        "--set name=value`, the environment (`ORESEARCH_NAME`), Studio's form. Explicit values "
        "beat the environment, which beats defaults.\n",
        "| setting | values | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in ResearchSettings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        lines.append(
            f"| `{name}` | {_values(field.annotation)} | {_shown(default)} | {field.description} |"
        )
    names = next(iter(EFFORTS.values()))._fields
    lines += [
        "\n## Efforts\n",
        "| | " + " | ".join(EFFORTS) + " |",
        "|---" * (len(EFFORTS) + 1) + "|",
    ]
    lines += [
        f"| {name.replace('_', ' ')} | "
        + " | ".join(f"{getattr(limits, name):,}" for limits in EFFORTS.values())
        + " |"
        for name in names
        if name != "bounds"
    ]
    lines += [
        f"| tokens of one continuation: {part} | "
        + " | ".join(f"{getattr(limits.bounds, part):,}" for limits in EFFORTS.values())
        + " |"
        for part in Bounds._fields
    ]
    return "\n".join(lines) + "\n"


def event_contract() -> str:
    """Every event with its fields."""
    kinds = [*get_args(get_args(events.Event)[0]), Finished]
    parts = [
        "# Events\n",
        _MADE
        + 'What `stream_mode="custom"` yields, as plain dicts; with `subgraphs=True` those of '
        "researchers too. `type` tells the event; fields are only ever added. `event_from(value)` "
        "makes a typed object of one; `stream_events(graph, question)` yields them so.\n",
    ]
    for kind in kinds:
        (name,) = get_args(kind.model_fields["type"].annotation)
        parts += [f"## `{name}`\n", f"{inspect.getdoc(kind)}\n", "| field | values | meaning |"]
        parts.append("|---|---|---|")
        described = {name: value.description or "" for name, value in kind.model_fields.items()}
        meanings = described | _attribute_docstrings(kind)
        parts += [
            f"| `{field}` | {_values(value.annotation)} | {meanings[field]} |"
            for field, value in kind.model_fields.items()
            if field != "type"
        ]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _values(annotation: Any) -> str:
    return " or ".join(_kinds(annotation)).replace("|", "\\|")


def _kinds(annotation: Any) -> Iterator[str]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from (f"`{each}`" for each in arguments)
    elif origin in (tuple, list):
        yield f"list of {_values(arguments[0])}"
    elif origin is dict:
        yield f"{_values(arguments[1])} by {_values(arguments[0])}"
    elif arguments:
        for each in arguments:
            yield from _kinds(each)
    elif annotation is not type(None):
        yield {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(
            annotation, getattr(annotation, "__name__", str(annotation))
        )
    else:
        yield "empty"


def _shown(default: object) -> str:
    return "" if default in (None, (), {}) else f"`{default}`"


def _attribute_docstrings(kind: type[BaseModel]) -> dict[str, str]:
    (declared,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(declared, ast.ClassDef)
    meanings = {}
    for field, text in zip(declared.body, declared.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                value=ast.Constant(value=str(s))
            ):
                meanings[name] = " ".join(s.split())
    return meanings


PAGES: Final = {"settings.md": settings, "events.md": event_contract}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (DOCS / file).write_text(page(), "utf-8")
