"""Pages of docs/ that are the code's: `python -m tests.reference` writes them."""

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
from oresearch_graph.view import report_record

DOCS: Final = Path(__file__).parent.parent / "docs"
_MADE: Final = "<!-- Made by `python -m tests.reference`; change the code, not this page. -->\n\n"
_REPORT: Final = """\
`oresearch run --out FILE` writes the report in the format of the suffix, and may be repeated; in
Python `write_report(result, FILE)` does, of what the graph returned or of a `Trace`. Only its
owner reads the file.

- `.md`: Markdown without pictures, HTML and links but the web's.
- `.html`: one page that needs nothing from outside and runs nothing, for light and dark, with a
  style sheet for print, its language and direction. Citations lead to the references, these to
  the web. Beyond 200,000 characters a report is shown as it is written.
- `.pdf`: that page on A4 with page numbers, by WeasyPrint (`pip install '.[pdf]'`, and the
  library Pango of the system: `apt-get install libpango-1.0-0 libpangoft2-1.0-0`). Fonts are the
  system's: characters that none has are boxes, and are told (`fonts-noto-core`, `fonts-noto-cjk`,
  `fonts-noto-color-emoji` have them all). It is laid out in a process of its own in at most 300
  seconds; nothing is fetched. The first 500,000 characters and 10,000 lines are printed.
- `.json`: one object, `ReportRecord`; a run without a report has one too. `<`, `>` and `&` are
  escaped in it, so it can stand in a page. `ReportRecord.model_json_schema()` is its schema
  (`oresearch_graph.view.report_record`). Fields are only ever added.

Another suffix, or PDF without what makes it, is refused before the run. A run that is gone on
with is delivered where it was to be; one that has ended, with `--resume ID --out FILE`, in
another format.
"""


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
        parts += _fields(kind, name)
    return "\n".join(parts).rstrip() + "\n"


def report_contract() -> str:
    """Every field of a report as JSON, and what the other formats are."""
    parts = ["# A report as a file\n", _MADE + _REPORT]
    for kind in (
        report_record.ReportRecord,
        report_record.ReportClaim,
        report_record.ReportQuote,
        report_record.ReportSource,
        report_record.MissingPart,
        report_record.RunCost,
    ):
        parts += _fields(kind, kind.__name__)
    return "\n".join(parts).rstrip() + "\n"


def _fields(kind: type[BaseModel], name: str) -> list[str]:
    described = {field: value.description or "" for field, value in kind.model_fields.items()}
    meanings = described | _attribute_docstrings(kind)
    rows = [
        f"| `{field}` | {_values(value.annotation)} | {meanings[field]} |"
        for field, value in kind.model_fields.items()
        if field != "type"
    ]
    head = [f"## `{name}`\n", f"{inspect.getdoc(kind)}\n", "| field | values | meaning |"]
    return [*head, "|---|---|---|", *rows, ""]


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


PAGES: Final = {
    "settings.md": settings,
    "events.md": event_contract,
    "report.md": report_contract,
}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (DOCS / file).write_text(page(), "utf-8")
