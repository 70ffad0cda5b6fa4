"""Settings of the export stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from oresearch_graph.trace.validation import FrozenModel

Format = Literal["parquet", "jsonl"]
PageText = Literal["full", "hash"]


class ExportSettings(FrozenModel):
    """Which rows are written, and when not."""

    title: str = "Deep-research traces"
    """Heading of the data set's card."""
    license: str | None = None
    """SPDX id of the data set; None: the card says that it is unknown."""
    formats: tuple[Format, ...] = Field(default=("parquet", "jsonl"), min_length=1)
    """Of the row files; one of them halves the space."""
    validation: float = Field(default=0.05, ge=0, lt=1)
    """Share of the seeds whose rows are held out for validation."""
    test: float = Field(default=0.0, ge=0, lt=1)
    """Share of the seeds whose rows are held out for a test; 0: benchmarks are the test."""
    split_seed: int = 0
    """Another number draws other splits."""
    allow_extractive: bool = False
    """Export the text of the model-free policy too: for demonstrations, it teaches quoting only."""
    allow_repaired: bool = False
    """Export traces in which rejected text was corrected: the correction's prompt is not shown."""
    page_text: PageText = "full"
    """`hash`: the text of pages is replaced by its hash, for sources that may not be copied."""
    scrub: bool = False
    """Replace personal data (datagen/export/scrub.py lists the kinds) by the name of its kind."""
    margin: float = Field(default=0.1, gt=0, le=1)
    """Least difference of quality in a preference pair: the judge's own spread is below it."""
    pairs: int = Field(default=2, ge=0)
    """Most preference pairs of a seed, those of the widest margin first."""
    tokenizer: str | None = None
    """A `tokenizer.json` that counts the card's tokens, with the package `tokenizers`; None:
    estimated, a token for each CJK character and for every four others."""

    @model_validator(mode="after")
    def _some_train(self) -> ExportSettings:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave no seed for training")
        return self
