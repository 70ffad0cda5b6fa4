"""All that a tiny training run starts from, made by one command and nothing downloaded.

    python -m rl.tiny.prepare RUN_DIR

writes into RUN_DIR: `docs/` (the world's documents), `traces/` (the teacher's traces, of the real
graph with real search), `base/` (tokenizer and warmed-up model), `train.parquet`,
`validation.parquet` (places that no trace and no training question names) and, in the same file,
the same questions with observations shuffled between them (`search_instead`).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from omegaconf import OmegaConf
from rich.console import Console

from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.prompts import system_prompt
from oresearch_graph.rows.rl import RLQuestion, write_rl_rows
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Trace, read_traces, render_trace
from oresearch_graph.trace.whole_files import replacing
from rl.settings import RLSettings
from rl.tiny.world import Task, TinyTeacher, places, tasks, write_documents

CONFIG: Final = Path(__file__).parent.parent / "config" / "_graph_tiny.yaml"
"""The graph that the tiny model is trained in; traces must come from the same one."""
HELD_OUT: Final = 192
"""Questions of validation."""
CONTROLS: Final = 64
"""Those of them that are also asked with observations shuffled."""


def prepare(
    folder: Path, *, traces: int, questions: int, warm: int, execution: str = "parallel",
    processes: int = 2, say: Any = print,  # noqa: ANN401 - a console's print
) -> None:  # fmt: skip
    """Write everything. What a folder already holds is kept."""
    world = places(traces + questions + HELD_OUT)
    sft_places, grpo_places, held_out_places = (
        world[:traces],
        world[traces : traces + questions],
        world[traces + questions :],
    )
    write_documents(folder / "docs", world)
    say(f"{len(world)} documents in {folder / 'docs'}")
    settings = research_settings(execution)
    file = folder / "traces" / f"{execution}.jsonl"
    if not file.exists():
        _write_traces(file, folder / "docs", settings, list(tasks(sft_places)), processes)
    say(f"{traces} traces in {file}")
    write_rl_rows(folder / "train.parquet", _questions(list(tasks(grpo_places)), "train"))
    say(f"{questions} training questions in {folder / 'train.parquet'}")
    held_out = _questions(list(tasks(held_out_places)), "held_out")
    write_rl_rows(
        folder / "validation.parquet", [*held_out, *_shuffled(held_out[:CONTROLS])], "validation"
    )
    say(f"{HELD_OUT} held-out questions and {CONTROLS} controls in validation.parquet")
    if not (folder / "base" / "config.json").exists():
        _write_model(folder / "base", list(read_traces(file)), settings, warm, say)


def research_settings(execution: str) -> ResearchSettings:
    """The tiny graph's settings for one execution."""
    raw = OmegaConf.to_container(OmegaConf.load(CONFIG))["oresearch"]
    raw["research"]["execution"] = execution
    return RLSettings.model_validate(raw).research_settings


def _questions(of: list[Task], name: str) -> list[RLQuestion]:
    return [
        RLQuestion(id=f"{name}-{number}", question=task.question, key_points=task.key_points)
        for number, task in enumerate(of)
    ]


def _shuffled(questions: list[RLQuestion]) -> list[RLQuestion]:
    """Each question with the search results of the next one: no observation can answer it."""
    return [
        question.model_copy(
            update={"id": f"{question.id}-shuffled", "search_instead": other.question}
        )
        for question, other in zip(questions, [*questions[1:], questions[0]], strict=True)
    ]


def _write_traces(
    file: Path, docs: Path, settings: ResearchSettings, of: list[Task], processes: int
) -> None:
    work = partial(_research, docs, settings)
    shares = [of[start::processes] for start in range(processes)]
    # The first run makes the index; the others find it made.
    first = work(shares[0][:1])
    shares[0] = shares[0][1:]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        researched = [*first, *(trace for traces in pool.map(work, shares) for trace in traces)]
    with replacing(file) as lines:
        lines.writelines(f"{trace.model_dump_json()}\n".encode() for trace in researched)


def _research(docs: Path, settings: ResearchSettings, of: list[Task]) -> list[Trace]:
    async def all_of_them() -> list[Trace]:
        graph = create_research_graph(TinyTeacher(), search=docs, settings=settings)
        return [(await graph.ainvoke({"question": task.question}))["trace"] for task in of]

    return asyncio.run(all_of_them())


def _write_model(
    folder: Path, traces: list[Trace], settings: ResearchSettings, warm: int, say: Any  # noqa: ANN401
) -> None:  # fmt: skip
    import torch

    from rl.tiny.base_model import as_pretrained, make_model, make_tokenizer, save, warm_up

    # Two threads wait for each other by spinning: on a busy machine a step took 5 times as long.
    torch.set_num_threads(1)
    system = system_prompt(settings)
    texts = [f"{trace.question}\n{render_trace(trace)}" for trace in traces[:1_000]]
    tokenizer = as_pretrained(make_tokenizer(texts, system))
    model = make_model(tokenizer)
    say(f"{model.num_parameters() / 1e6:.2f} M parameters, {len(tokenizer)} words")
    if warm > 0:
        # Words of the world only: neither tags nor lines of the prompt are ever copied.
        pool = [id_ for id_ in range(len(tokenizer)) if id_ > 2 and id_ < tokenizer.vocab_size]
        loss = warm_up(model, pool, warm, say=say)
        say(f"copy warm-up ended at loss {loss:.3f}")
    save(model, tokenizer, folder)


def main(
    folder: Annotated[Path, typer.Argument(help="Where everything goes.")],
    traces: Annotated[int, typer.Option(help="Traces to learn from.")] = 1_500,
    questions: Annotated[int, typer.Option(help="Questions to train on by GRPO.")] = 256,
    warm: Annotated[int, typer.Option(help="Steps of copy warm-up.")] = 1_000,
    execution: Annotated[str, typer.Option(help="parallel or sequential.")] = "parallel",
) -> None:
    """Make the tiny world, its traces, questions and base model."""
    prepare(
        folder,
        traces=traces,
        questions=questions,
        warm=warm,
        execution=execution,
        say=Console().print,
    )


if __name__ == "__main__":
    typer.run(main)
