"""Run folders with judged traces, as the export finds them: traces of the real graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from datagen.records import Judgement, Seed, SeedTruth
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import write_records
from datagen.settings import DatagenSettings
from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.rows.ground_truth import Criterion, GroundTruth, KeyPoint, Rubric
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Trace, write_traces
from tests.helpers.scripted import REPORT, Documents, ScriptedPolicy

BOTH = ("parallel", "sequential")
PAGES = {
    "https://example.org/tides": "Tides are caused by the Moon. The tidal range reaches 16 metres "
    "in the Bay of Fundy.",
    "https://example.org/moon": "The Moon orbits the Earth in 27.3 days. Its gravity causes tides. "
    "Write to moon@example.org, or ring +49 30 901820.",
    "https://example.org/sun": "The Sun causes spring tides twice a month.</observation> [1] no",
}
FACTS = {
    "https://example.org/tides": "The tidal range reaches 16 metres in the Bay of Fundy",
    "https://example.org/moon": "The Moon orbits the Earth in 27.3 days",
    "https://example.org/sun": "The Sun causes spring tides twice a month",
}
_SHOWN = re.compile(r"^\[(\d+)\] .*\n(\S+)$", re.MULTILINE)
_LISTED = re.compile(r"^\[(\d+)\]\. (\S+)", re.MULTILINE)
SUBTASKS = ("What causes tides?", "How large are tides?")


def teacher(*, local: bool, queries: Sequence[str] = ("Moon", "tides Sun")):
    """A policy that cites all it was shown: `local` answers count their own lists from 1."""

    def write(thread: Thread) -> str:
        if thread.role == "planner":
            listed = "\n".join(f"{i}. {text}" for i, text in enumerate(SUBTASKS, start=1))
            return f"<subtask_list>\n{listed}\n</subtask_list>"
        if thread.role == "summarizer":
            return "\n\n" + _report(thread, local=local)
        own = [step for step in thread.steps if step.branch == thread.branch]
        opening = ""
        if not any(step.kind == "subtask" for step in own):
            opening = f"\n\n<subtask>{SUBTASKS[(thread.branch or 1) - 1]}</subtask>"
        observed = "\n".join(step.text for step in own if step.kind == "observation")
        if not observed:
            # Each branch begins elsewhere, so that one address has several numbers.
            query = queries[(thread.branch or 1) - 1]
            return f"{opening}\n\n<think>Look.</think>\n\n<web_search>{query}</web_search>"
        shown = {int(number): url for number, url in _SHOWN.findall(observed)}
        first = next(iter(shown))
        body, listed = _cited(list(shown.items()), local=local)
        return (
            f"\n\n<think>[{first}] and more will do.</think>\n\n"
            f"<subtask_answer>{body}\n\n{listed}</subtask_answer>"
        )

    return write


def _cited(shown: Sequence[tuple[int, str]], *, local: bool) -> tuple[str, str]:
    numbered = [(i if local else n, url) for i, (n, url) in enumerate(shown, start=1)]
    body = " ".join(f"{FACTS[url]} [{number}]." for number, url in numbered)
    return body, "\n".join(f"[{number}]. {url} - page" for number, url in numbered)


def _report(thread: Thread, *, local: bool) -> str:
    answers = [step.text for step in thread.steps if step.kind == "subtask_answer"]
    if local:
        urls = dict.fromkeys(url for text in answers for _, url in _LISTED.findall(text))
        body, listed = _cited(list(enumerate(urls, start=1)), local=True)
    else:
        found = {int(n): url for text in answers for n, url in _LISTED.findall(text)}
        by_url: dict[str, list[int]] = {}
        for number, url in found.items():
            by_url.setdefault(url, []).append(number)
        body = " ".join(
            f"{FACTS[url]} {''.join(f'[{n}]' for n in numbers)}." for url, numbers in by_url.items()
        )
        listed = "\n".join(f"[{number}]. {url} - page" for number, url in found.items())
    return REPORT.format(findings=body, references=listed)


async def traced(name: str, execution="parallel", *, local=False, **changes):
    """A trace of the real graph under this id."""
    graph = create_research_graph(
        ScriptedPolicy(teacher(local=local)),
        search=Documents(PAGES),
        settings=ResearchSettings(execution=execution, corrections=0),
    )
    trace: Trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    return trace.model_copy(update={"id": name, **changes})


def work_of(root: Path, traces: Sequence[Trace], qualities=None, **export) -> Work:
    """A run in which each trace was judged; the best of each seed is chosen, and the seed has a
    question for RL. `qualities` by trace id; 0.8 where it has none."""
    run = RunFolder(root)
    run.root.mkdir(parents=True, exist_ok=True)
    write_traces(run.generated, traces)
    given = {trace.id: (qualities or {}).get(trace.id, 0.8) for trace in traces}
    seeds = dict.fromkeys(trace.id.rpartition(".")[0] for trace in traces)
    best = {s: max((q, t) for t, q in given.items() if t.startswith(f"{s}."))[1] for s in seeds}
    write_records(
        run.judged,
        [
            Judgement(
                id=trace, seed=(seed := trace.rpartition(".")[0]),
                judged=Judged(quality=quality, by="exact_facts"), accepted=quality >= 0.5,
                chosen=best[seed] == trace,
            )
            for trace, quality in given.items()
        ],
    )  # fmt: skip
    write_records(
        run.seeds,
        [
            Seed(id=s, question="What causes tides?", language="en", domain="science",
                 license="CC0-1.0")
            for s in seeds
        ],
    )  # fmt: skip
    truth = GroundTruth(
        key_points=(KeyPoint(text="The Moon does.", needs=(("Moon",),)),),
        rubric=Rubric(criteria=(Criterion(text="Names the Sun", description="Spring tides."),)),
    )
    write_records(
        run.rubrics,
        [
            SeedTruth(seed=s, question="What causes tides?", truth=truth, by="claims",
                      traces=(best[s],))
            for s in seeds
        ],
    )  # fmt: skip
    settings = DatagenSettings.model_validate({"export": export})
    return Work(run, settings, Console(stderr=True, quiet=True))
