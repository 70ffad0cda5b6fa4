"""Settings of the seeds stage."""

from __future__ import annotations

from pydantic import Field

from oresearch_graph.trace.validation import FrozenModel


class SeedColumns(FrozenModel):
    """Which column of a seed file holds what. None: the usual names are tried."""

    question: str | None = None
    """Else question, prompt, query, instruction, title."""
    id: str | None = None
    """Else id, question_id, qid; without any a seed's id is the hash of its question."""
    language: str | None = None
    """Else language, lang."""
    domain: str | None = None
    """Else domain, topic, category."""
    key_points: str | None = None
    """Else key_points: a list of facts, or of objects with text, needs, weight and source."""
    license: str | None = None
    """Else license, licence."""


class SeedSettings(FrozenModel):
    """Where questions come from and which are left out."""

    files: tuple[str, ...] = ()
    """JSONL, CSV or Parquet files, or `datasets` folders and names."""
    columns: SeedColumns = Field(default_factory=SeedColumns)
    split: str = "train"
    """Of data sets that have several splits."""
    license: str | None = None
    """Of the files' questions, where no column says."""
    strict: bool = False
    """A broken line fails the stage; else it is left out, with its place."""
    benchmarks: tuple[str, ...] = ()
    """Files of questions that must not be trained on; every line of them must be sound."""
    benchmark_column: str | None = None
    """The column of their questions. None: the usual names, as for seed files."""
    likeness: float = Field(default=0.9, ge=0.5, le=1)
    """Share of equal characters from which two questions are near-duplicates; figures and names
    must agree besides."""
    longest: int = Field(default=8000, ge=100)
    """Characters of a question; more is a document."""
    open_ended: bool = True
    """Leave out yes/no questions and look-ups of one fact."""
    limit: int | None = Field(default=None, ge=1)
    """Seeds to keep, balanced over languages and domains; None keeps all."""
    seed: int = 0
    """Decides which seeds of a full quota stay."""
    model: str | None = None
    """Labels domains and writes questions: `openai:…`, or any name with `base_url`."""
    base_url: str | None = None
    """Of an OpenAI-compatible server."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds for one answer of the model. None: 120, more where the server is slow."""
    concurrency: int = Field(default=8, ge=1)
    """Questions to the model at one time."""
    label_domains: bool = True
    """With a model: label the seeds whose file names no domain."""
    domains: tuple[str, ...] = (
        "Science", "Technology", "Software", "Health", "Economy and finance", "Industry",
        "Law and politics", "Society", "Education", "History", "Culture and arts", "Environment",
        "Travel and sport", "Everyday life",
    )  # fmt: skip
    """The labels that a model chooses from."""
    write: dict[str, int] = Field(default_factory=dict)
    """Wanted seeds by domain: a model writes what the files lack."""
    write_language: str = "en"
    """ISO 639-1 code of written questions."""
    write_rounds: int = Field(default=4, ge=1)
    """Times the model is asked for more questions of one domain, when too few of its questions
    are sound."""
