"""The command line. Commands live in `command/` and are imported when called, so that
`oresearch --help` answers without loading langgraph."""

from __future__ import annotations

import io
import json
import sys
import traceback
from importlib.metadata import version
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
    pretty_exceptions_enable=False,
)
runs = typer.Typer(invoke_without_command=True, help="The runs that are kept: list, show, delete.")
app.add_typer(runs, name="runs")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"oresearch {version('oresearch-graph')}")
        raise typer.Exit


@app.callback()
def oresearch(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Deep research: a question in, a cited report and a training trace out."""


@app.command()
def run(
    question: Annotated[str, typer.Argument(help="An open-ended question.")] = "",
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
    out: Annotated[
        list[Path] | None,
        typer.Option(help="Write the report here: .md, .html, .pdf or .json; may be repeated."),
    ] = None,
    trace: Annotated[Path | None, typer.Option(help="Append the trace here.")] = None,
    approve_plan: Annotated[
        bool, typer.Option("--approve-plan", help="Ask before researching the plan.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on with a run that was stopped or killed.")
    ] = None,
    ask: Annotated[
        str | None, typer.Option(metavar="ID", help="Put the question to what a run has found.")
    ] = None,
    no_keep: Annotated[
        bool, typer.Option("--no-keep", help="Keep nothing to resume: oresearch runs lists it not.")
    ] = False,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated."),
    ] = None,
) -> None:
    """Answer a question. Exit status: 0 complete, 3 partial, 1 failed."""
    if sys.stderr.isatty() and not (quiet or as_json):
        _greet(question or f"the run {resume}")
    from oresearch_graph.command.research import Research, research

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
    request = Research(
        question, options, more or (), out or (), trace, resume, ask,
        keep=not no_keep, as_json=as_json, quiet=quiet,
    )  # fmt: skip
    raise typer.Exit(research(request))


def _greet(subject: str) -> None:
    """The first line, for a person who waits: what follows takes seconds to import."""
    plain = "".join(c for c in " ".join(subject.split()) if c.isprintable())
    typer.echo(f"researching: {plain}", err=True)


@runs.callback()
def list_kept(
    context: typer.Context,
    age: Annotated[
        str | None, typer.Option("--older-than", help="Only those: 12h, 30d, 8w.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a run.")] = False,
) -> None:
    """List the runs that are kept: question, state, what they have cost, when."""
    if context.invoked_subcommand is None:
        from oresearch_graph.command.run_list import list_runs

        raise typer.Exit(list_runs(age, as_json=as_json))


@runs.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show one run: what was asked, how it stands, where its files are."""
    from oresearch_graph.command.run_list import show_run

    raise typer.Exit(show_run(run_id, as_json=as_json))


@runs.command()
def delete(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID")] = None,
    age: Annotated[
        str | None, typer.Option("--older-than", help="All that are: 12h, 30d, 8w.")
    ] = None,
) -> None:
    """Delete runs with their checkpoints, the pages in them and their traces."""
    from oresearch_graph.command.run_list import delete_runs

    raise typer.Exit(delete_runs(ids or (), age))


@app.command()
def settings() -> None:
    """Print every setting: its meaning, its default, its name in the environment."""
    from oresearch_graph.command.configuration import print_settings

    raise typer.Exit(print_settings())


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
    from oresearch_graph.command.configuration import settings_of
    from oresearch_graph.command.files import VerifyingModel, verify_file

    configured = settings_of({})
    verifying = VerifyingModel(model, base_url, votes)
    raise typer.Exit(
        verify_file(
            report,
            sources,
            configured,
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
    from oresearch_graph.command.configuration import settings_of
    from oresearch_graph.command.doctor import diagnose, print_servers

    raise typer.Exit(print_servers() if servers else diagnose(base_url, model, settings_of({})))


@app.command()
def mcp() -> None:
    """Serve research as a tool to an MCP client, on standard input and output; extra mcp."""
    from oresearch_graph.command.mcp_server import serve

    raise typer.Exit(serve())


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
