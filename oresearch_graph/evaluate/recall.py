"""Fixed questions with what a good report must say, and the key-point recall of whatever answers
them: the graph, and the baseline it has to beat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Final, NamedTuple

from oresearch_graph.judging.key_points import judge_report
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.text.passages import best_passages
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.trace.record import CitationReport
from oresearch_graph.trace.validation import FrozenModel


class Question(FrozenModel):
    """A question with its key points; none of them: the corpus holds no answer."""

    id: str
    question: str
    key_points: tuple[KeyPoint, ...] = ()

    @property
    def answerable(self) -> bool:
        return bool(self.key_points)


def load_questions() -> tuple[Question, ...]:
    """The twenty questions, in the order of the file."""
    text = (resources.files("oresearch_graph.evaluate") / "questions.jsonl").read_text("utf-8")
    return tuple(Question.model_validate_json(line) for line in text.splitlines() if line)


TOP_HIT_TOKENS: Final = 400
"""What the baseline quotes of the page behind the top search hit."""


class Answered(NamedTuple):
    """A report; None when there is no evidence. `citations` where they were checked."""

    report: str | None
    citations: CitationReport | None = None
    sources: int | None = None


Answer = Callable[[str], Awaitable[Answered]]


class Score(NamedTuple):
    """How one question was answered."""

    question: Question
    recall: float | None
    """Share of the key points stated; None for the unanswerable question."""
    correct: bool
    """An answerable question was answered, an unanswerable one was refused."""
    words: int
    precision: float | None
    sources: int | None
    missing: tuple[str, ...] = ()


async def score_answers(answer: Answer, questions: Sequence[Question]) -> list[Score]:
    """Ask every question, one after the other."""
    return [_score(question, await answer(question.question)) for question in questions]


def _score(question: Question, answered: Answered) -> Score:
    report = answered.report or ""
    recall: float | None = None
    missing: tuple[str, ...] = ()
    if question.answerable:
        verdict = judge_report(report, question.key_points, None)
        recall, missing = verdict.quality, tuple(point.text for point in verdict.missing)
    return Score(
        question,
        recall,
        bool(report) == question.answerable,
        len(report.split()),
        answered.citations.precision if answered.citations else None,
        answered.sources,
        missing,
    )


def mean_recall(scores: Sequence[Score]) -> float:
    """Mean over the answerable questions. Raises ValueError when there is none."""
    recalls = [score.recall for score in scores if score.recall is not None]
    if not recalls:
        raise ValueError("no answerable question was asked: there is no recall to report")
    return sum(recalls) / len(recalls)


def top_hit(search: SearchBackend, reader: PageReader) -> Answer:
    """The baseline: quote what is most relevant of the page behind the top search hit."""

    async def answer(question: str) -> Answered:
        (hits,) = await search.search([question], 1)
        if not hits.hits:
            return Answered(None)
        (page,) = await reader.read([hits.hits[0].url], question)
        passages = best_passages(page.text, question, TOP_HIT_TOKENS)
        return Answered("\n\n".join(passage.text for passage in passages), sources=1)

    return answer
