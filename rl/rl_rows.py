"""RL rows: questions with key points or rubrics as the Parquet file that verl's trainer reads.

`python -m rl.rl_rows QUESTIONS.jsonl OUT.parquet` reads one `RLQuestion` a line. With `--criteria`
both files are DeepResearch Bench's, query.jsonl and criteria.jsonl. Columns are those of verl's
`RLHFDataset`: `prompt` (its `prompt_key`) holds the question alone; the agent loop adds the system
prompt. `ground_truth` is a GroundTruth as JSON, and what a judge reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console

from oresearch_graph.errors import ConfigurationError
from rl.rows.deep_research_bench import read_bench
from rl.rows.rl_questions import RLQuestion, read_questions

STYLE: Final = "oresearch"
"""`reward_model.style` of every row, and `data_source`, by which verl's validation metrics are
named."""
CONTROL: Final = "shuffled_observations"
"""`data_source` of a row whose searches are redirected."""

_SCHEMA: Final = pa.schema(
    {
        "data_source": pa.string(),
        "prompt": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
        "ability": pa.string(),
        "reward_model": pa.struct({"style": pa.string(), "ground_truth": pa.string()}),
        "extra_info": pa.struct(
            {
                "index": pa.int64(),
                "split": pa.string(),
                "id": pa.string(),
                "question": pa.string(),
                "language": pa.string(),
                "search_instead": pa.string(),
            }
        ),
    }
)


def rl_rows(questions: Sequence[RLQuestion], split: str) -> list[dict[str, Any]]:
    """The rows in verl's fields, in the questions' order."""
    return [
        {
            "data_source": CONTROL if question.search_instead else STYLE,
            "prompt": [{"role": "user", "content": question.question}],
            "ability": question.domain or "research",
            "reward_model": {"style": STYLE, "ground_truth": question.ground_truth.to_json()},
            "extra_info": {
                "index": index,
                "split": split,
                "id": question.id,
                "question": question.question,
                "language": question.language,
                "search_instead": question.search_instead,
            },
        }
        for index, question in enumerate(questions)
    ]


def write_rl_rows(path: Path | str, questions: Sequence[RLQuestion], split: str = "train") -> None:
    """Write the Parquet file: a whole one or none. Raises ConfigurationError."""
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rl_rows(questions, split), schema=_SCHEMA), part)
        part.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error}") from error


def main(
    questions: Annotated[Path, typer.Argument(help="JSON Lines of questions.")],
    out: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    split: Annotated[str, typer.Option(help="Written into every row.")] = "train",
    criteria: Annotated[
        Path | None,
        typer.Option(help="DeepResearch Bench's criteria.jsonl; QUESTIONS is its query.jsonl."),
    ] = None,
) -> None:
    """Write RL rows for verl from questions with key points or rubrics."""
    console = Console()
    try:
        found = read_bench(questions, criteria) if criteria else read_questions(questions)
        write_rl_rows(out, found, split)
    except ConfigurationError as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    pointed = sum(bool(question.key_points) for question in found)
    rated = sum(bool(question.rubric) for question in found)
    console.print(
        f"{out}: {len(found)} rows, {pointed} with key points, {rated} with a rubric",
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    typer.run(main)
