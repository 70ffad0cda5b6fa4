"""Faithfulness: does supervised fine-tuning see the ids that a rollout sampled?

The ledger holds ids as sampled; SFT encodes text. Both agree where encoding each author's text by
itself gives the sampled ids again. A policy may sample another split of the same text, and two
continuations in a row are one text to SFT: `compare` says how often. Its negative control encodes
the whole response at once, which is what this design avoids.

Not covered: tokenizers whose decoder does not give back a piece on its own, such as those that
strip a leading space.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from oresearch_graph.trace.plain_text import storable
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.token_ledger import TokenRow


class MaskRun(NamedTuple):
    """Consecutive ids of one author."""

    sampled: bool
    ids: list[int]


def mask_runs(row: TokenRow) -> list[MaskRun]:
    """The response by author, in order."""
    pairs = zip(row.mask, row.response_ids, strict=True)
    return [
        MaskRun(bool(mask), [token for _, token in group])
        for mask, group in groupby(pairs, key=lambda pair: pair[0])
    ]


def decoded_policy_text(row: TokenRow, tokens: ThreadTokens) -> str:
    """The text of the sampled ids: must be what the policy's steps of the thread hold."""
    text = "".join(tokens.decode(run.ids) for run in mask_runs(row) if run.sampled)
    return storable(text)


def reencoded(row: TokenRow, tokens: ThreadTokens) -> list[int]:
    """The response as SFT has it: each author's text encoded by itself."""
    return [token for run in mask_runs(row) for token in tokens.encode(tokens.decode(run.ids))]


def same_tokenization(row: TokenRow, tokens: ThreadTokens) -> bool:
    """True when SFT trains this row on the very ids that were sampled and shown."""
    return all(tokens.encode(tokens.decode(run.ids)) == run.ids for run in mask_runs(row))


def retokenized(row: TokenRow, tokens: ThreadTokens) -> list[int]:
    """Negative control: the response's whole text encoded at once, over authors' borders."""
    return tokens.encode(tokens.decode(row.response_ids))


@dataclass(frozen=True)
class Faithfulness:
    """How often encoding gives the ledger's ids back. Shares are None without rows."""

    rows: int
    same: int
    """Rows whose ids SFT's tokenization gives back."""
    same_retokenized: int
    """Rows whose ids the negative control gives back."""
    sampled: int
    """Sampled ids in all rows."""
    sampled_same: int
    """Sampled ids in runs that are given back."""

    @property
    def share(self) -> float | None:
        return self.same / self.rows if self.rows else None

    @property
    def share_retokenized(self) -> float | None:
        return self.same_retokenized / self.rows if self.rows else None

    @property
    def share_sampled(self) -> float | None:
        return self.sampled_same / self.sampled if self.sampled else None


def compare(rows: Iterable[TokenRow], tokens: ThreadTokens) -> Faithfulness:
    """Count over the rows of rollouts."""
    rows = list(rows)
    sampled = [run for row in rows for run in mask_runs(row) if run.sampled]
    return Faithfulness(
        rows=len(rows),
        same=sum(same_tokenization(row, tokens) for row in rows),
        same_retokenized=sum(retokenized(row, tokens) == row.response_ids for row in rows),
        sampled=sum(len(run.ids) for run in sampled),
        sampled_same=sum(
            len(run.ids) for run in sampled if tokens.encode(tokens.decode(run.ids)) == run.ids
        ),
    )
