"""The command line. Commands live in `command/` and are imported when called, so that
`oresearch --help` answers without loading langgraph."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from oresearch_graph.errors import ConfigurationError, OresearchError

app = typer.Typer(
    name="oresearch",
    help="Deep research: a question in, a cited report and a training trace out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEFAULT_MODEL = "openai:gpt-5-mini"
"""Used when OPENAI_API_KEY is set and no model is named."""


@app.command()
def run(
    question: Annotated[str, typer.Argument(help="An open-ended question.")],
    model: Annotated[str | None, typer.Option(help="Such as openai:gpt-5-mini.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible server, ending in /v1.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="auto, tavily, corpus, python or searxng:URL.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="A folder of md, html, txt, rst and pdf files.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Only this domain; may be repeated.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Never this domain; may be repeated.")
    ] = None,
    effort: Annotated[str | None, typer.Option(help="quick, standard or deep.")] = None,
    execution: Annotated[str | None, typer.Option(help="parallel or sequential.")] = None,
    language: Annotated[
        str | None, typer.Option(help="Of the report: en, zh, … Default: the question's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Append the trace here.")] = None,
    approve_plan: Annotated[
        bool, typer.Option("--approve-plan", help="Ask before researching the plan.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated."),
    ] = None,
) -> None:
    """Answer a question. Exit status: 0 complete, 3 partial, 1 failed."""
    from oresearch_graph.command.research import Research, research

    named: dict[str, Any] = {
        "model": model,
        "base_url": base_url,
        "search": search,
        "corpus": str(corpus) if corpus else None,
        "include_domains": tuple(include or ()) or None,
        "exclude_domains": tuple(exclude or ()) or None,
        "effort": effort,
        "execution": execution,
        "language": language,
        "approve_plan": approve_plan or None,
    }
    named = {name: value for name, value in named.items() if value is not None}
    settings = _settings(named | _assignments(more or []))
    asked = Research(question, settings, out, trace, as_json=as_json, quiet=quiet)
    raise typer.Exit(research(asked))


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(help="A folder of documents.")],
) -> None:
    """Index a folder, or bring its index up to date."""
    from oresearch_graph.command.indexing import index_folder

    raise typer.Exit(index_folder(folder))


@app.command()
def check(
    traces: Annotated[list[Path], typer.Argument(help="Trace files; - for standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a trace.")] = False,
) -> None:
    """Print the violations of traces. Exit status: 0 none, 1 some, 2 unreadable."""
    from oresearch_graph.command.checking import check_files

    raise typer.Exit(check_files(traces, as_json=as_json))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a trace file's line."""
    from oresearch_graph.trace import trace_json_schema

    typer.echo(json.dumps(trace_json_schema(), indent=2))


@app.command()
def evaluate() -> None:
    """Measure the extractive policy on twenty questions over the embedded corpus."""
    from oresearch_graph.evaluate.__main__ import main as measure

    raise typer.Exit(measure())


def _assignments(pairs: list[str]) -> dict[str, Any]:
    """`--set name=value` pairs; a value is JSON where it reads as JSON, else text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {pair!r} is no setting: write --set name=value")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


def _settings(named: dict[str, Any]) -> Any:  # noqa: ANN401 - ResearchSettings, imported late
    """The explicit options over environment and defaults; with a key, a default model."""
    from pydantic import ValidationError

    from oresearch_graph.settings import ResearchSettings, resolve_settings, setting_fault

    try:
        settings = resolve_settings(ResearchSettings.model_validate(named))
    except ValidationError as error:
        raise ConfigurationError(setting_fault(error)) from error
    if not settings.model and os.environ.get("OPENAI_API_KEY") and not settings.base_url:
        settings = settings.model_copy(update={"model": DEFAULT_MODEL})
    return settings


def main() -> None:
    """The entry point: an error that a person can act on is one line and a status."""
    try:
        app()
    except OresearchError as error:
        sys.stderr.write(f"oresearch: {error}\n")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
