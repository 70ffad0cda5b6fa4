"""Answers that no continuation brought to an end, under the grammar and without it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from oresearch_graph import ResearchSettings
from oresearch_graph.graph.budget import Budget
from oresearch_graph.graph.clock import Clock
from oresearch_graph.graph.writer import Continued, Writer
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.threads import Next, Thread
from oresearch_graph.trace import Usage

SPANS = "The bridge has a span of 412 m [1001]."
LOOP = " 412 m, 412 m, 412 m, 412 m, 412 m, 412 m, 412"
THREAD = Thread(
    id="t", system="S", question="How long is it?", role="researcher", branch=1, constrained=True,
    next=Next(tag="think", calls=("web_search",), may_answer=True),
)  # fmt: skip


class Endless:
    """Writes the same for ever."""

    name = "endless"

    def __init__(self, text: str, stop: str = "length") -> None:
        self.text, self.stop = text, stop
        self.pending: list[str] = []

    async def continue_thread(
        self, thread: Thread, stop: Sequence[str], **_: object
    ) -> Continuation:
        self.pending.append(thread.pending)
        text = self.text.removeprefix(thread.pending) or " and"
        usage = Usage(role="researcher", branch=1, model=self.name, calls=1)
        return Continuation.model_validate({"text": text, "stop": self.stop, "usage": usage})


async def written(text: str, thread: Thread = THREAD) -> tuple[Continued, Endless]:
    policy, settings = Endless(text), ResearchSettings(continuations=1, corrections=0)
    clock = Clock()
    writer = Writer(policy, Budget(settings, clock), settings, clock)
    continued = await writer.write(thread, ["</subtask_answer>"], lambda _: [], seconds=5.0)
    return continued, policy


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (f"{SPANS}{LOOP}", SPANS),
        (f"{SPANS} It was built of stone from", SPANS),
        (f"{SPANS} {SPANS} {SPANS}", SPANS),
        (LOOP, ""),
    ],
)
async def test_a_constrained_answer_keeps_its_whole_sentences_and_is_ended(answer: str, kept: str):
    continued, policy = await written(f"It tells.</think>\n<subtask_answer>{answer}")
    assert len(policy.pending) == 2
    last = continued.steps[-1]
    assert (last.kind, last.text, last.closed) == ("subtask_answer", kept, "world")
    assert [failure.name for failure in continued.failures] == ["cut"]


async def test_a_forced_answer_too():
    continued, _ = await written(
        f"{SPANS}{LOOP}", THREAD.model_copy(update={"forced": "subtask_answer"})
    )
    assert (continued.steps[-1].text, continued.steps[-1].closed) == (SPANS, "world")


async def test_a_free_answer_stays_as_it_was_cut():
    free = THREAD.model_copy(update={"constrained": False, "forced": "subtask_answer"})
    continued, _ = await written(f"{SPANS} It was built", free)
    assert continued.steps[-1].text.startswith(f"{SPANS} It was built")
    assert continued.steps[-1].closed is None
    assert [failure.name for failure in continued.failures] == ["cut"]
