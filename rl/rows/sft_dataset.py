"""SFT on exported traces: the dataset class for verl's `sft_trainer`.

    data:
      custom_cls: {path: pkg://rl.rows.sft_dataset, name: TraceSFTDataset}
      oresearch: ${oresearch}     # the trained graph's settings: its prompt must be the traces'
      rows: threads               # or linear; more keys: rl.rows.row_filter.RowFilterSettings

Files are Traces (JSON Lines) or SFT rows (Parquet or JSON Lines, see oresearch_graph.rows.sft). A
row is encoded as the rollout would have it: the opening, then each author's text by itself, so that
no token crosses an author's border. The loss mask is 1 on the policy's own text of that thread.
Nothing is appended after its last character: a rollout stops at the close tag, without an end
token.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import ValidationError
from rich.console import Console
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.lengths import WINDOWS, WindowReport, window_report
from oresearch_graph.rows.sft import SFTRow
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace.validation import first_fault
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rows.row_filter import RowFilter, RowFilterSettings
from rl.settings import from_config


@dataclass(frozen=True)
class EncodedRow:
    """One training sequence as ids."""

    id: str
    trace_id: str
    ids: torch.Tensor
    """int32, (tokens,)"""
    mask: torch.Tensor
    """uint8, (tokens,): 1 where the policy wrote."""

    @property
    def tokens(self) -> int:
        return int(self.ids.numel())

    @property
    def policy_tokens(self) -> int:
        return int(self.mask.sum())


def encode_row(row: SFTRow, tokens: ThreadTokens) -> EncodedRow:
    """The row as the rollout has it: opening, then piece by piece."""
    ids = tokens.opening(row.system, row.question)
    mask = [0] * len(ids)
    for piece in row.pieces:
        encode = tokens.encode if piece.author == "policy" else tokens.encode_world
        piece_ids = encode(piece.text)
        ids += piece_ids
        mask += [int(piece.author == "policy")] * len(piece_ids)
    return EncodedRow(
        row.id,
        row.trace_id,
        torch.tensor(ids, dtype=torch.int32),
        torch.tensor(mask, dtype=torch.uint8),
    )


class TraceSFTDataset(Dataset[dict[str, torch.Tensor]]):
    """Rows of exported traces; verl builds it with these very argument names."""

    def __init__(
        self,
        parquet_files: str | Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        config: DictConfig,
        processor: object = None,  # noqa: ARG002  # verl passes it; text needs none
        max_samples: int = -1,
    ) -> None:
        """Reads, encodes and measures everything; raises ConfigurationError for what cannot be
        trained on. The first `max_samples` rows are kept where it is positive."""
        self.max_length = int(config.get("max_length", 1024))
        _check(config)
        self.row_filter = RowFilter(_research(config), _filter_settings(config))
        tokens = ThreadTokens(tokenizer, config.get("apply_chat_template_kwargs") or {})
        files = [parquet_files] if isinstance(parquet_files, str) else list(parquet_files)
        encoded = [encode_row(row, tokens) for path in files for row in self.row_filter.rows(path)]
        self.report = window_report(encoded, (*WINDOWS, self.max_length))
        fitting = [row for row in encoded if row.tokens <= self.max_length]
        self.rows = fitting[:max_samples] if max_samples > 0 else fitting
        if int(os.environ.get("RANK", "0")) == 0:
            print_summary(self.row_filter, self.report, self.max_length)
        self._check_enough(files, int(config.get("train_batch_size") or 1))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """`input_ids`, `position_ids` and `loss_mask`, each int64 of shape (tokens,)."""
        row = self.rows[index]
        return {
            "input_ids": row.ids.long(),
            "position_ids": torch.arange(row.tokens),
            "loss_mask": row.mask.long(),
        }

    def _check_enough(self, files: Iterable[str], batch: int) -> None:
        """verl leaves out an incomplete batch: too few rows would train no step at all."""
        if len(self.rows) >= batch:
            return
        reasons = self.row_filter.reasons
        why = [f"{count} {reason}" for reason, count in reasons.items()]
        if self.report.rows > len(self.rows):
            why.append(f"{self.report.rows - len(self.rows)} rows over data.max_length")
        main = next(iter(reasons), None)
        first = next((f"; {r.message}" for r in self.row_filter.refused if r.reason == main), "")
        fix = "add data or lower it"
        if main == "other_fingerprint":
            fix = "set oresearch.research as it was when the traces were made, or make them anew"
        raise ConfigurationError(
            f"{', '.join(map(str, files))}: {len(self.rows)} rows are left of "
            f"{self.row_filter.count} traces or rows ({', '.join(why) or 'none refused'}{first}), "
            f"fewer than data.train_batch_size {batch}: {fix}"
        )


def print_summary(row_filter: RowFilter, report: WindowReport, max_length: int) -> None:
    """What is trained on and what is not, for the person who launches."""
    console = Console()
    console.print(report.table())
    window = next(window for window in report.windows if window.size == max_length)
    console.print(f"data.max_length {max_length:,}: {window.rows:,} rows dropped")
    if reasons := row_filter.reasons:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        refused = len(row_filter.refused)
        console.print(f"refused {refused:,} of {row_filter.count:,}: {counts}")


def _check(config: DictConfig) -> None:
    if (mode := config.get("pad_mode", "no_padding")) != "no_padding":
        raise ConfigurationError(f"data.pad_mode is {mode}: set it to no_padding")
    if (cut := config.get("truncation", "error")) != "error":
        raise ConfigurationError(
            f"data.truncation is {cut}, which would cut a row: set it to error; longer rows are "
            "left out and counted"
        )


def _research(config: DictConfig) -> ResearchSettings:
    if config.get("oresearch") is None:
        raise ConfigurationError(
            "data.oresearch is missing: write `oresearch: ${oresearch}` under data"
        )
    return from_config(config).research_settings


def _filter_settings(config: DictConfig) -> RowFilterSettings:
    keys = {name: config.get(name) for name in RowFilterSettings.model_fields if name in config}
    plain = {
        name: OmegaConf.to_container(value) if isinstance(value, ListConfig) else value
        for name, value in keys.items()
    }
    try:
        return RowFilterSettings.model_validate(plain)
    except ValidationError as error:
        name, _, message = first_fault(error).partition(": ")
        value = plain[name.partition(".")[0]]
        raise ConfigurationError(f"data.{name} cannot be {value!r}: {message}") from error
