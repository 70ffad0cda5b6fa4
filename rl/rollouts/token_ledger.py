"""The token ledger: every id of a rollout as it was sampled or shown, never encoded twice.

A thread of the graph is one row as long as it only grows. What the policy sampled keeps its ids
and log-probabilities (mask 1); what the world added is encoded once and appended (mask 0,
log-probability 0). Where a thread's text is not what the row holds plus something new — the prefix
broke — the row is closed, another one is opened with the whole context as its prompt, and the
break is counted. Training then sees each sampled id under the very context it was sampled in.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Final, Literal

from oresearch_graph.policies.policy import StopCause
from oresearch_graph.trace import Role

RowEnd = Literal["open", "prefix_break", "end_token", "length"]

_ENDS: Final[dict[StopCause, RowEnd]] = {"stop": "open", "length": "length", "end": "end_token"}


@dataclass
class TokenRow:
    """One training sequence: a prompt, then ids of policy and world by turns."""

    thread: str
    prompt_ids: list[int]
    role: Role
    """Who sampled first in it; a sequential thread plays every role."""
    branch: int | None = None
    response_ids: list[int] = field(default_factory=list)
    mask: bytearray = field(default_factory=bytearray)
    """1: sampled by the policy. 0: the world's."""
    log_probs: array[float] = field(default_factory=lambda: array("d"))
    """Natural logarithms as the engine gave them while sampling; 0 where the mask is 0."""
    roles: list[Role] = field(default_factory=list)
    """The role of each sampled span, in order."""
    sampled_by: dict[Role, int] = field(default_factory=dict)
    """Sampled ids per role."""
    stops: list[StopCause] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    """Training steps of the weights that sampled, one per continuation, where the engine says."""
    text: str = ""
    """What stands in the assistant's message so far, of both authors."""
    ended: RowEnd = "open"

    @property
    def ids(self) -> list[int]:
        """All ids of the row, a new list: engines take prompts apart."""
        return [*self.prompt_ids, *self.response_ids]

    @property
    def continues(self) -> bool:
        """False behind an end token or a broken prefix. A text cut by its limit has neither: what
        follows it is sampled behind it, as a server would."""
        return self.ended in ("open", "length")

    @property
    def sampled(self) -> int:
        return self.mask.count(1)

    def show(self, ids: list[int], text: str) -> None:
        """Append what the world wrote."""
        self.response_ids += ids
        self.mask += bytes(len(ids))
        self.log_probs.frombytes(bytes(len(ids) * self.log_probs.itemsize))
        self.text += text

    def sample(
        self, ids: list[int], log_probs: list[float], text: str, role: Role, stop: StopCause,
        version: int | None,
    ) -> None:  # fmt: skip
        """Append what the policy sampled. Raises ValueError where ids and log-probs do not pair."""
        if len(ids) != len(log_probs):
            raise ValueError(f"{len(ids)} ids were sampled with {len(log_probs)} log-probabilities")
        self.log_probs.extend(array("d", log_probs))  # first: it raises for what is no number
        self.response_ids += ids
        self.mask += b"\1" * len(ids)
        self.text += text
        self.roles.append(role)
        self.sampled_by[role] = self.sampled_by.get(role, 0) + len(ids)
        self.stops.append(stop)
        self.ended = _ENDS[stop]
        if version is not None:
            self.versions.append(version)


@dataclass
class TokenLedger:
    """The rows of one rollout, in the order in which they were opened."""

    rows: list[TokenRow] = field(default_factory=list)
    prefix_breaks: int = 0
    _open: dict[str, TokenRow] = field(default_factory=dict)

    def row(self, thread: str) -> TokenRow | None:
        """The open row of a thread."""
        return self._open.get(thread)

    def open(
        self, thread: str, prompt_ids: list[int], text: str, role: Role, branch: int | None
    ) -> TokenRow:
        """A new row for the thread; an open one it had is closed, as a broken prefix."""
        before = self._open.get(thread)
        if before is not None:
            self.prefix_breaks += before.continues
            before.ended = "prefix_break" if before.continues else before.ended
        row = TokenRow(thread, list(prompt_ids), role, branch, text=text)
        self.rows.append(row)
        self._open[thread] = row
        return row

    def training_rows(self) -> list[TokenRow]:
        """The rows that hold anything sampled: planner, researchers by branch, summarizer last."""
        order = {"planner": 0, "researcher": 1, "summarizer": 2}
        rows = [row for row in self.rows if row.sampled]
        return sorted(rows, key=lambda row: (order[row.role], row.branch or 0))
