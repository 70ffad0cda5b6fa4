"""`python -m datagen STAGE RUN_DIR [options]`: the pipeline, a command for each stage.

Exit status: 0 done, 1 failed, 2 asked for what cannot be.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from datagen.run.folder import RunFolder, Work, counts_line
from datagen.run.record_files import replacing
from datagen.settings import read_settings, settings_text
from oresearch_graph.errors import ConfigurationError, OresearchError, TraceFileError

if TYPE_CHECKING:
    from datagen.generate.candidate_store import Runner

app = typer.Typer(
    name="datagen",
    help="From seed questions to audited training data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Folder = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run's folder.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings to begin with; kept in RUN_DIR.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.NAME=VALUE", help="A setting; kept. May be repeated."),
]


@app.command()
def seeds(
    run_dir: Folder,
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="JSONL, CSV, Parquet; may be repeated.")
    ] = None,
    config: Config = None,
    changes: Changes = None,
) -> None:
    """Questions in, seeds out: no repeats, none of a benchmark's."""
    more = [f"seeds.files={[str(path.absolute()) for path in files]}"] if files else []
    _run("seeds", run_dir, config, [*more, *(changes or ())])


@app.command("import")
def import_(
    run_dir: Folder,
    files: Annotated[list[Path], typer.Argument(help="Trajectories or message logs.")],
    config: Config = None,
    changes: Changes = None,
) -> None:
    """Traces from elsewhere join the candidates."""
    from datagen.imports.stage import import_files

    work = _work(run_dir, config, changes)
    with work.run.locked():
        work.say(counts_line(import_files(work, files)))


@app.command()
def generate(
    run_dir: Folder,
    pilot: Annotated[
        int | None, typer.Option(help="Run so many candidates, and forecast the rest.", min=1)
    ] = None,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster to run on.")] = None,
    config: Config = None,
    changes: Changes = None,
) -> None:
    """Candidates for every seed, through the research graph. Run again to go on."""
    if pilot is not None:
        from datagen.generate.pilot import run_pilot
        from datagen.stages import accepted_candidates

        work = _work(run_dir, config, changes)
        with work.run.locked():
            run_pilot(work, pilot, accepted_candidates, _runner(ray))
        return
    _run("generate", run_dir, config, changes, runner=_runner(ray))


@app.command("filter")
def filter_(
    run_dir: Folder,
    explain: Annotated[
        str | None, typer.Option(metavar="ID", help="Show what the rules say of one candidate.")
    ] = None,
    config: Config = None,
    changes: Changes = None,
) -> None:
    """The hard filter: every rule's reasons against each candidate."""
    if explain is not None:
        from datagen.filter.explain import explain_candidate

        explain_candidate(_work(run_dir, config, changes), explain, Console())
        return
    _run("filter", run_dir, config, changes)


@app.command()
def judge(run_dir: Folder, config: Config = None, changes: Changes = None) -> None:
    """The semantic filter: scores on a rubric, thresholds, the best of each seed."""
    _run("judge", run_dir, config, changes)


@app.command()
def rubrics(run_dir: Folder, config: Config = None, changes: Changes = None) -> None:
    """Key points and rubrics from accepted traces, for RL's judge."""
    _run("rubrics", run_dir, config, changes)


@app.command()
def review(
    run_dir: Folder,
    reviewer: Annotated[str, typer.Option(help="Who is looking.")] = "reviewer",
    port: Annotated[int, typer.Option(help="0: any free one.")] = 0,
    settle: Annotated[
        bool, typer.Option("--settle", help="Serve nothing: work out the result so far.")
    ] = False,
    config: Config = None,
    changes: Changes = None,
) -> None:
    """Serve the sample to a person on loopback; Ctrl-C ends, the result is worked out then."""
    if not settle:
        from datagen.review.server import serve_review

        serve_review(_work(run_dir, config, changes), reviewer, port)
    _run("review", run_dir, config, changes)


@app.command()
def export(run_dir: Folder, config: Config = None, changes: Changes = None) -> None:
    """The data set: SFT rows, RL rows, preference pairs, card. Refused below the gate."""
    _run("export", run_dir, config, changes)


@app.command()
def verify(dataset: Annotated[Path, typer.Argument(help="A folder that export wrote.")]) -> None:
    """Re-prove every citation span and hash of a data set. Exit status 1: something is wrong."""
    from datagen.export.verify import verify_dataset

    raise typer.Exit(verify_dataset(dataset, Console()))


@app.command("all")
def all_(run_dir: Folder, config: Config = None, changes: Changes = None) -> None:
    """Every stage that is missing or stale, up to the human one and on after it."""
    from datagen.stages import run_all

    run_all(_work(run_dir, config, changes))


@app.command()
def status(run_dir: Folder) -> None:
    """The funnel, and which stages are stale."""
    from datagen.stages import print_status

    print_status(_work(run_dir, None, None), Console())


@app.command()
def funnel(
    run_dir: Folder,
    out: Annotated[Path | None, typer.Option(help="The picture; else RUN_DIR/funnel.png.")] = None,
) -> None:
    """The funnel as a picture: how many at each stage, why the others went, what one cost."""
    from datagen.funnel import draw_funnel

    work = _work(run_dir, None, None)
    work.say(str(draw_funnel(work, out or work.run.root / "funnel.png")))


def _runner(ray: str | None) -> Runner | None:
    if ray is None:
        return None
    from datagen.generate.ray_runner import runner_on_ray

    return runner_on_ray(ray)


def _run(
    name: str, run_dir: Path, config: Path | None, changes: list[str] | None, **more: object
) -> None:
    from datagen.stages import BY_NAME, outdated_before, run_stage

    work = _work(run_dir, config, changes)
    with work.run.locked():
        if outdated := outdated_before(name, work):
            work.say(f"not up to date: {', '.join(outdated)}; `all` runs them first")
        work.say(counts_line(run_stage(BY_NAME[name], work, **more)))


def _work(run_dir: Path, config: Path | None, changes: list[str] | None) -> Work:
    """The run's folder with its settings, brought up to date by what the command says."""
    run = RunFolder(run_dir)
    if config is not None and not config.is_file():
        raise ConfigurationError(f"--config {config}: there is no such file")
    settings = read_settings(config or run.settings, tuple(changes or ()))
    if config is not None or changes:
        # Behind the lock: a command that is refused changes nothing of the one that runs.
        with run.locked(), replacing(run.settings) as file:
            file.write(settings_text(settings).encode())
    return Work(run, settings)


def main() -> None:
    """The entry point: an error that a person can act on is one line and a status."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except OresearchError as error:
        sys.stderr.write(f"datagen: {' '.join(str(error).split())}\n")
        sys.exit(2 if isinstance(error, ConfigurationError | TraceFileError) else 1)


if __name__ == "__main__":
    main()
