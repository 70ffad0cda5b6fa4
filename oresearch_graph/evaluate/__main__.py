"""`python -m oresearch_graph.evaluate`: the extractive policy on the fixed questions, against
quoting the top search hit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from oresearch_graph.evaluate.recall import (
    Answer,
    Answered,
    Score,
    load_questions,
    mean_recall,
    score_answers,
    top_hit,
)
from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.corpus.python_docs import PythonCorpus


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
    return graph, await score_answers(top_hit(corpus, corpus), questions)


def table(graph: Sequence[Score], baseline: Sequence[Score]) -> Table:
    """One row per question, the means below."""
    rows = Table(title="Key-point recall on the embedded Python corpus", show_footer=True)
    rows.add_column("question", f"mean of {sum(s.recall is not None for s in graph)}")
    rows.add_column("recall", f"{mean_recall(graph):.2f}", justify="right")
    rows.add_column("top hit", f"{mean_recall(baseline):.2f}", justify="right")
    for name in ("words", "top hit's", "precision"):
        rows.add_column(name, justify="right")
    for graph_score, other in zip(graph, baseline, strict=True):
        precision = "-" if graph_score.precision is None else f"{graph_score.precision:.2f}"
        words = str(graph_score.words), str(other.words)
        rows.add_row(
            graph_score.question.question, _recall(graph_score), _recall(other), *words, precision
        )
    return rows


def _recall(score: Score) -> str:
    if score.recall is None:
        return "no evidence" if score.correct else "made up"
    return f"{score.recall:.2f}"


def main() -> int:
    """Exit status 1 unless the baseline is beaten and each question rightly answered or refused."""
    graph, baseline = asyncio.run(evaluate())
    console = Console()
    console.print(table(graph, baseline))
    return int(mean_recall(graph) <= mean_recall(baseline) or not all(s.correct for s in graph))


if __name__ == "__main__":
    sys.exit(main())
