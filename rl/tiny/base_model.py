"""A tiny base model for rows of your own, so that SFT can be tried where there is no other model.

    python -m rl.tiny.base_model ROWS MODEL_DIR

makes a tokenizer over the rows' words and protocol, and an untrained model of a few million
parameters in Hugging Face's form. It learns the protocol's form from a few hundred rows, not facts.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.sft import SFTRow, read_rows
from rl.tiny.model import as_pretrained, make_model, make_tokenizer, save

_READ: Final = 1_000
"""Rows that the tokenizer is made from."""
WORDS: Final = 4_096


def make_base(rows: Path, folder: Path, words: int = WORDS) -> int:
    """Write the model for a file of SFT rows; how many parameters it has.

    Raises ConfigurationError for a file without rows.
    """
    read = list(islice(read_rows(rows), _READ))
    if not read:
        raise ConfigurationError(f"{rows}: holds no rows: export some first")
    tokenizer = as_pretrained(make_tokenizer(map(_text, read), read[0].system, words))
    model = make_model(tokenizer)
    save(model, tokenizer, folder)
    return int(model.num_parameters())


def _text(row: SFTRow) -> str:
    return f"{row.question}\n" + "".join(segment.text for segment in row.segments)


def main(
    rows: Annotated[Path, typer.Argument(help="A file of SFT rows: Parquet or JSON Lines.")],
    folder: Annotated[Path, typer.Argument(help="Where the model goes.")],
    words: Annotated[int, typer.Option(help="Entries of the tokenizer.", min=512)] = WORDS,
) -> None:
    """Make a tiny base model for SFT rows."""
    try:
        count = make_base(rows, folder, words)
    except ConfigurationError as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    Console().print(f"{folder}: {count / 1e6:.2f} M parameters, untrained", markup=False)


if __name__ == "__main__":
    typer.run(main)
