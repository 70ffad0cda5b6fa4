"""`python -m oresearch_graph.evaluate`: the extractive policy on fixed questions with what a good
report must say, against the best passages of the top search hit's page at the same length, by
key-point recall."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import resources
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.judging.exact_facts import key_point_recall
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.text.passages import best_passages
from oresearch_graph.tools.backend import PageReader, SearchBackend
from oresearch_graph.tools.corpus.python_docs import PythonCorpus
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


_STEP: Final = 50
"""Tokens by which a quotation is tried longer."""
EQUAL: Final = 0.02
"""Difference of recall below which two are as good: less than two of the 76 key points."""


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
    accuracy: float | None
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
        points = question.key_points
        recall = key_point_recall(report, points)
        missing = tuple(point.text for point in points if not key_point_recall(report, [point]))
    return Score(
        question,
        recall,
        bool(report) == question.answerable,
        len(report.split()),
        answered.citations.accuracy if answered.citations else None,
        answered.sources,
        missing,
    )


def mean_recall(scores: Sequence[Score]) -> float:
    """Mean over the answerable questions. Raises ValueError when there is none."""
    recalls = [score.recall for score in scores if score.recall is not None]
    if not recalls:
        raise ValueError("no answerable question was asked: there is no recall to report")
    return sum(recalls) / len(recalls)


def top_hit(search: SearchBackend, reader: PageReader, words: Mapping[str, int]) -> Answer:
    """The baseline: of the page behind the top search hit the most relevant passages, in as many
    `words` by question."""

    async def answer(question: str) -> Answered:
        (hits,) = await search.search([question], 1)
        if not hits.hits:
            return Answered(None)
        (page,) = await reader.read([hits.hits[0].url], question)
        return Answered(as_long_as(page.text, question, words.get(question, 0)), sources=1)

    return answer


def as_long_as(text: str, question: str, words: int) -> str:
    """The passages of a text that matter most to a question, in at most so many words: most that
    fit, for their number is known only when they are chosen."""
    best = ""
    for tokens in range(_STEP, 5 * words, _STEP):
        passages = best_passages(text, question, tokens)
        quoted = "\n\n".join(passage.text for passage in passages)
        if len(quoted.split()) > words:
            break
        best = quoted
    return best


def graph_answer(settings: ResearchSettings) -> Answer:
    """The research graph without a model."""
    graph = create_research_graph(ExtractivePolicy(), settings=settings)

    async def answer(question: str) -> Answered:
        state = await graph.ainvoke({"question": question})
        refused = any(failure.name == "no_evidence" for failure in state["trace"].failures)
        nothing = state.get("report") is None or (refused and state["trace"].answer is None)
        return Answered(None if nothing else state["report"], state.get("citations"))

    return answer


async def evaluate() -> tuple[list[Score], list[Score]]:
    """Scores of the graph and of the baseline."""
    corpus, questions = PythonCorpus(), load_questions()
    graph = await score_answers(graph_answer(ResearchSettings(search="python")), questions)
    words = {score.question.question: score.words for score in graph}
    return graph, await score_answers(top_hit(corpus, corpus, words), questions)


def table(graph: Sequence[Score], baseline: Sequence[Score]) -> Table:
    """One row per question, the means below."""
    rows = Table(title="Key-point recall on the embedded Python corpus", show_footer=True)
    rows.add_column("question", f"mean of {sum(s.recall is not None for s in graph)}")
    rows.add_column("recall", f"{mean_recall(graph):.2f}", justify="right")
    rows.add_column("its page", f"{mean_recall(baseline):.2f}", justify="right")
    for name in ("words", "its page's", "accuracy"):
        rows.add_column(name, justify="right")
    for graph_score, other in zip(graph, baseline, strict=True):
        accuracy = "-" if graph_score.accuracy is None else f"{graph_score.accuracy:.2f}"
        words = str(graph_score.words), str(other.words)
        rows.add_row(
            graph_score.question.question, _recall(graph_score), _recall(other), *words, accuracy
        )
    return rows


def _recall(score: Score) -> str:
    if score.recall is None:
        return "no evidence" if score.correct else "made up"
    return f"{score.recall:.2f}"


def main() -> int:
    """Exit status 1 where the baseline is better, or a question wrongly answered or refused."""
    graph, baseline = asyncio.run(evaluate())
    console = Console()
    console.print(table(graph, baseline))
    better = mean_recall(baseline) - mean_recall(graph) >= EQUAL
    return int(better or not all(score.correct for score in graph))


if __name__ == "__main__":
    argparse.ArgumentParser("python -m oresearch_graph.evaluate", description=__doc__).parse_args()
    sys.exit(main())
