"""`oresearch run`: one question through the graph, with progress; a run is kept, gone on with and
asked further. Every fault is one line with the fix."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, StateSnapshot
from pydantic import ValidationError
from rich.console import Console

from oresearch_graph.command.approval import ask_about_plan, require_terminal
from oresearch_graph.command.configuration import given_settings, layered, settings_of
from oresearch_graph.command.indexing import prepare_corpus
from oresearch_graph.command.kept_runs import KeptRun, KeptRuns
from oresearch_graph.command.models import introduction, policies_for, with_model
from oresearch_graph.command.outcome import (
    STATUS,
    as_json,
    print_next,
    print_report,
    print_summary,
    stopped_trace,
)
from oresearch_graph.command.places import (
    Places,
    deliver,
    holds,
    leave,
    places_for,
    require_writable,
    save,
)
from oresearch_graph.command.progress import Progress, progress_on
from oresearch_graph.command.terminal import lines
from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.graph.build import ResearchGraph, create_research_graph
from oresearch_graph.graph.events import event_from
from oresearch_graph.graph.sqlite_saver import sqlite_saver
from oresearch_graph.policies.models import Policies
from oresearch_graph.redaction import brief
from oresearch_graph.settings import ResearchSettings, setting_fault
from oresearch_graph.tools.daemon_threads import DaemonThreads
from oresearch_graph.trace import Outcome, Trace
from oresearch_graph.trace.plain_text import body_text

_THREAD: Final[RunnableConfig] = {"configurable": {"thread_id": "run"}}


@dataclass(frozen=True)
class Research:
    """What one `oresearch run` was asked for."""

    question: str
    options: Mapping[str, Any]
    """Settings that were given, by name; None: not given."""
    assignments: Sequence[str] = ()
    out: Sequence[Path] = ()
    trace: Path | None = None
    resume: str | None = None
    """The run to go on with."""
    ask: str | None = None
    """The run to which the question is a further one."""
    keep: bool = True
    as_json: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class _Job:
    """A run on its way."""

    request: Research
    question: str
    settings: ResearchSettings
    places: Places
    run: KeptRun | None
    console: Console


def research(request: Research) -> int:
    """Run it and return the exit status. Raises OresearchError with one clear line."""
    console = Console(stderr=True)
    before = _before(request)
    question = request.question.strip()
    if before is not None and request.resume:
        question = before.record.questions[-1]
    if not question:
        raise ConfigurationError('the question is empty: oresearch run "your question"')
    settings = _settings(request, before)
    if settings.approve_plan:
        require_terminal(console)
    places = _places(request, before, question)
    try:
        require_writable(places)
        with signals_as_interrupts() as received, asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(DaemonThreads())
            try:
                settings, why = (
                    runner.run(with_model(settings)) if before is None else (settings, "")
                )
                job = _Job(request, question, settings, places, before, console)
                return _prepared(runner, job, why)
            except KeyboardInterrupt:
                return 128 + received.number
    finally:
        leave(places)


def _before(request: Research) -> KeptRun | None:
    """The run that is gone on with, or asked further."""
    name = request.resume or request.ask
    if request.resume and request.ask:
        raise ConfigurationError("--resume and --ask are two things: go on with a run, or ask on")
    if request.resume and request.question.strip():
        raise ConfigurationError(
            f"--resume goes on with the run's own question: ask another with --ask {request.resume}"
        )
    if name and not request.keep:
        raise ConfigurationError("--no-keep goes with a new run alone: leave it out")
    return KeptRuns().find(name) if name else None


def _settings(request: Research, before: KeptRun | None) -> ResearchSettings:
    """As configured; of a run that was begun, its own, with what is given now. Keys are read
    again."""
    if before is None:
        return settings_of(request.options, request.assignments)
    configured = settings_of({})
    lacking = [n for n in before.record.withheld if n not in configured.model_fields_set]
    again = given_settings(request.options, request.assignments)
    if lacking := [name for name in lacking if name not in again.model_fields_set]:
        raise ConfigurationError(
            f"the run {before.id} was begun with {', '.join(lacking)} that hold a key, which is "
            "not kept: set it again"
        )
    withheld = {name: getattr(configured, name) for name in before.record.withheld}
    try:
        begun = ResearchSettings.model_validate(before.record.settings)
    except ValidationError as error:
        raise ConfigurationError(f"the run {before.id}: {setting_fault(error)}") from None
    return layered(begun.model_copy(update=withheld), again)


def _places(request: Research, before: KeptRun | None, question: str) -> Places:
    """A run that is gone on with is delivered where it was to be."""
    if before is not None and request.resume and before.record.reports and before.record.trace:
        reports = tuple(request.out) or tuple(map(Path, before.record.reports))
        return Places(reports, request.trace or Path(before.record.trace))
    return places_for(question, request.out, request.trace)


def _kept(job: _Job) -> KeptRun | None:
    """The new run's folder. A home that cannot be written costs no answer."""
    if not job.request.keep:
        return None
    try:
        return KeptRuns().new(job.question, **_fields(job.settings, job.places))
    except ConfigurationError as error:
        job.console.print(lines(f"oresearch: {error}"), soft_wrap=True)
        return None


def _fields(settings: ResearchSettings, places: Places) -> dict[str, Any]:
    """What of a run's record a command decides."""
    storable, withheld = settings.storable
    *reports, trace = (str(path.absolute()) for path in (*places.reports, places.trace))
    if corpus := storable.get("corpus"):
        storable["corpus"] = str(Path(corpus).expanduser().absolute())
    return {"settings": storable, "withheld": withheld, "reports": tuple(reports), "trace": trace}


def _prepared(runner: asyncio.Runner, job: _Job, why: str) -> int:
    """With its policies and documents ready; both are closed at the end."""
    policies = policies_for(job.settings)
    try:
        message = runner.run(introduction(policies, why, job.settings))
        _say(job.request, job.console, message)
        prepare_corpus(job.settings, job.console, quiet=job.request.quiet)
        run = job.run or _kept(job)
        with run.locked() if run else nullcontext():
            return _run(runner, replace(job, run=run), policies)
    finally:
        runner.run(policies.aclose())


def _run(runner: asyncio.Runner, job: _Job, policies: Policies) -> int:
    run, saver = job.run, InMemorySaver() if job.run is None else sqlite_saver(job.run.checkpoints)
    stack = AsyncExitStack()
    if isinstance(saver, AbstractAsyncContextManager):
        saver = runner.run(stack.enter_async_context(saver))
    graph = create_research_graph(policies, settings=job.settings, checkpointer=saver)
    settled = run is not None and run.record.ended not in {None, "stopped"}
    if run is not None:
        questions = (*run.record.questions, *([job.question] if job.request.ask else []))
        run.update(ended=None, questions=questions, **_fields(job.settings, job.places))
    try:
        try:
            state, worked = _answer(runner, graph, job)
        except (KeyboardInterrupt, EOFError) as stop:
            _stopped(runner, graph, job, policies, "")
            raise KeyboardInterrupt from stop
        except OresearchError as error:
            _stopped(runner, graph, job, policies, str(error))
            raise
        status = _finish(job, state, worked=worked, settled=settled)
        return status if _ended(job, state["trace"].outcome, state["trace"]) else 1
    finally:
        runner.run(stack.aclose())


def _ended(job: _Job, outcome: Literal["stopped"] | Outcome, trace: Trace | None) -> bool:
    """Write down how the run ended; what cannot be written is told."""
    try:
        if job.run is not None:
            job.run.end(outcome, trace)
    except (OSError, OresearchError) as error:
        job.console.print(lines(f"oresearch: the run is not kept: {brief(error)}"), soft_wrap=True)
        return False
    return True


def _stopped(
    runner: asyncio.Runner, graph: ResearchGraph, job: _Job, policies: Policies, cause: str
) -> None:
    """Keep what was done, and say where."""
    trace = runner.run(stopped_trace(graph, _THREAD, policies.names, cause))
    messages: list[str] = []
    if trace is not None:
        messages = save(job.places.trace, trace)
        messages = messages or [f"stopped; what was done is in {job.places.trace}"]
    if job.run is not None and _ended(job, "stopped", trace):
        messages.append(f"to go on: oresearch run --resume {job.run.id}")
    if messages:
        job.console.print(lines("\n".join(messages)), soft_wrap=True)


def _answer(runner: asyncio.Runner, graph: ResearchGraph, job: _Job) -> tuple[dict[str, Any], bool]:
    """The final state, after as many questions to the person as the graph asks; and whether
    anything was left to do for it.

    The person is asked between two runs of the event loop: there Ctrl-C ends a prompt at once.
    """
    snapshot = runner.run(graph.aget_state(_THREAD))
    send: Any = {"question": job.question}
    if job.request.resume and not _is_new(job.question, snapshot):
        send = None
    worked = False
    with progress_on(job.console, quiet=job.request.quiet) as progress:
        while True:
            if send is not None or (snapshot.next and not snapshot.interrupts):
                worked = True
                runner.run(_show(graph, send, progress))
            snapshot = runner.run(graph.aget_state(_THREAD))
            if not snapshot.interrupts and send is None and "trace" not in snapshot.values:
                send = {"question": job.question}  # it was killed before anything was kept of it
                continue
            if not snapshot.interrupts:
                return snapshot.values, worked
            progress.pause()
            try:
                decision = ask_about_plan(job.console, snapshot.interrupts[0].value)
            except (KeyboardInterrupt, EOFError):
                job.console.print()  # the prompt's line has no end yet
                raise
            progress.resume()
            send = Command(resume=decision.model_dump())


def _is_new(question: str, snapshot: StateSnapshot) -> bool:
    """A question that was put, and that the run's state does not know: it was killed before."""
    if snapshot.next or "run" not in snapshot.values:
        return not snapshot.next
    asked: str = snapshot.values["run"].asked
    return asked != body_text(question).strip()


async def _show(graph: ResearchGraph, send: Any, progress: Progress) -> None:  # noqa: ANN401
    modes: list[Any] = ["custom", "updates"]
    stream = graph.astream(send, _THREAD, stream_mode=modes, subgraphs=True, durability="sync")
    async for space, mode, value in stream:
        if mode == "custom":
            event = event_from(value)
            if event is not None:
                progress.show(event)
        elif not space and "summarize" in value:
            progress.checking()


def _finish(job: _Job, state: Mapping[str, Any], *, worked: bool, settled: bool) -> int:
    """Save first, then tell; a file that could not be written does not cost the report.

    `settled`: the run had ended before, and was delivered. What is there may have been edited.
    """
    request, places, console = job.request, job.places, job.console
    trace, report = state["trace"], state["report"]
    run_id = None if job.run is None else job.run.id
    paths = places.written(report)
    if settled and not worked:
        paths = tuple(path for path in paths if path in request.out or not path.exists())
    saves = worked or not (settled or holds(places.trace, trace))
    faults = [*(save(places.trace, trace) if saves else ()), *deliver(paths, state)]
    if request.as_json:
        print(as_json(trace, report, places, run_id))  # noqa: T201 - the output asked for
    elif report is not None:
        print_report(report)
    elif request.quiet:
        reasons = " ".join(trace.why_no_report.split())
        console.print(lines(f"oresearch: there is no report: {reasons}"), soft_wrap=True)
    if not request.quiet:
        print_summary(console, trace, report, places, run_id)
        if trace.extractive:
            print_next(console, job.question)
    for fault in faults:
        console.print(lines(f"oresearch: {fault}"), soft_wrap=True)
    return 1 if faults else STATUS[trace.outcome]


def _say(request: Research, console: Console, text: str) -> None:
    if not request.quiet:
        console.print(lines(text), soft_wrap=True)


@dataclass
class _Received:
    number: int = signal.SIGINT


@contextmanager
def signals_as_interrupts() -> Iterator[_Received]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does; which one it was decides the exit status."""
    received = _Received()

    def interrupt(number: int, _frame: object) -> None:
        received.number = number
        signal.raise_signal(signal.SIGINT)

    before: dict[int, Any] = {}
    for number in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")):
        # `nohup` has SIGHUP ignored, and means it.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
