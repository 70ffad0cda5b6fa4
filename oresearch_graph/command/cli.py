"""The command line. Commands live in `command/` and are imported when called, so that
`oresearch --help` answers without loading langgraph."""

from __future__ import annotations

import io
import json
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from oresearch_graph.errors import (
    CitationsNotUnderstood,
    ConfigurationError,
    OresearchError,
    TraceFileError,
)
from oresearch_graph.redaction import redacted

app = typer.Typer(
    name="oresearch",
    help="Deep research: a question in, a cited report and a training trace out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    question: Annotated[str, typer.Argument(help="An open-ended question.")],
    model: Annotated[
        str | None, typer.Option(help="Such as openai:gpt-5-mini or local:FILE.gguf.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible server, ending in /v1.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(help="auto, tavily[-extract], corpus, python or searxng:URL."),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="A folder of md, html, txt, rst and pdf files, or one file.")
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
    from oresearch_graph.command.research import Research, research, settings_of

    options: dict[str, Any] = {
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
    settings = settings_of(options, more or ())
    request = Research(question, settings, out, trace, as_json=as_json, quiet=quiet)
    raise typer.Exit(research(request))


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(help="A folder of documents, or one file.")],
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
    from oresearch_graph.command.files import check_files

    raise typer.Exit(check_files(traces, as_json=as_json))


@app.command()
def verify(
    report: Annotated[Path, typer.Argument(help="A report in Markdown, whoever wrote it.")],
    sources: Annotated[
        Path | None, typer.Option(help="JSON Lines with url, title and text, or a trace file.")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Read cited addresses that the file does not have.")
    ] = False,
    max_pages: Annotated[int, typer.Option(min=0, help="Addresses that are read.")] = 50,
    model: Annotated[
        str | None, typer.Option(help="A chat model that reads the cited passages as well.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Its server, ending in /v1; the server is asked for a name.")
    ] = None,
    votes: Annotated[
        int | None, typer.Option(min=1, help="Of it, on each sentence. Default: one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check a report's citations; without --sources the cited addresses are read.

    Exit status: 0 nothing speaks against a cited sentence, 1 one misses a part, is contradicted or
    unsupported, 2 the citations are not understood.
    """
    from oresearch_graph.command.files import VerifyingModel, verify_file
    from oresearch_graph.settings import resolve_settings

    settings = resolve_settings()
    verifying = VerifyingModel(model, base_url, votes)
    raise typer.Exit(
        verify_file(
            report,
            sources,
            settings,
            verifying,
            fetch=fetch,
            max_pages=max_pages,
            as_json=as_json,
        )
    )


@app.command()
def view(
    traces: Annotated[list[Path], typer.Argument(help="Trace files.")],
    out: Annotated[
        Path | None, typer.Option(help="The page; else beside the first file, as .html.")
    ] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="Only this trace; may be repeated.")
    ] = None,
) -> None:
    """Write traces as one HTML page: steps, passages, the report with its evidence."""
    from oresearch_graph.command.files import view_files

    raise typer.Exit(view_files(traces, out, ids or ()))


@app.command()
def doctor(
    base_url: Annotated[
        str | None, typer.Option(help="A model's server, ending in /v1. Default: look for one.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Its name. Default: the server is asked.")
    ] = None,
    servers: Annotated[
        bool, typer.Option("--servers", help="Print what is known of each kind of server.")
    ] = False,
) -> None:
    """Say what a model's server is and can. Exit status: 0 it answers, 1 it does not."""
    from oresearch_graph.command.doctor import diagnose, print_servers
    from oresearch_graph.settings import resolve_settings

    raise typer.Exit(print_servers() if servers else diagnose(base_url, model, resolve_settings()))


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


def main() -> None:
    """The entry point: an error that a person can act on is one line and a status.

    1: it failed; 2: it was asked for what cannot be.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a report may hold what the locale cannot write
    try:
        app()
    except OresearchError as error:
        asked_wrongly = isinstance(
            error, ConfigurationError | TraceFileError | CitationsNotUnderstood
        )
        sys.stderr.write(f"oresearch: {error}\n")
        sys.exit(2 if asked_wrongly else 1)
    except Exception:  # noqa: BLE001 - a defect: Python's own traceback would show what it holds
        from oresearch_graph.trace.plain_text import visible

        sys.stderr.write(visible(redacted(traceback.format_exc())))
        sys.exit(1)
