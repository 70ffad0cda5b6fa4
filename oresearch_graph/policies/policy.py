"""The policy seam: who writes. One async method, implemented by chat models, by the model-free
extractive policy, and in `rl/` by the policy under training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from oresearch_graph.threads import Thread
from oresearch_graph.trace import Usage

StopCause = Literal["stop", "length", "end"]
"""`stop`: one of the stop tags was written; `length`: cut by a token limit; `end`: the policy
ended its turn without a stop tag."""


class Continuation(BaseModel):
    """What a policy wrote, exactly, up to and including the stop tag that ended it."""

    model_config = ConfigDict(frozen=True)

    text: str
    """Protocol text. The server's missing stop tag is added here and told by `closed_by_world`."""
    stop: StopCause
    usage: Usage
    reasoning: str | None = None
    """Thinking that the provider shows outside the protocol text."""
    hidden_reasoning: bool = False
    """The model thought before these calls and the provider keeps it: an empty world `think`."""
    given: str = ""
    """An opening tag, with the white space before it, that stands before the text and was given by
    the world (`Thread.next`)."""
    closed_by_world: bool = False
    """The server ate the final close tag and it was put back."""
    faults: tuple[str, ...] = ()
    """What is wrong with it that the text does not show, in words for the policy."""
    room: int | None = None
    """Tokens that the thread's context still holds behind this text, where the policy knows."""


class Policy(Protocol):
    """Continues threads."""

    @property
    def name(self) -> str:
        """The model's name as it stands in `Trace.models`."""
        ...

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        """Continue `thread` until one of the `stop` tags (`</web_search>`, …) is written.

        `on_text` is called with each piece of text as it arrives, where the policy streams.
        Raises PolicyError when the service behind the policy fails after its retries.
        """
        ...
