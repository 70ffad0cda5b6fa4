"""The fixed questions over the embedded Python corpus, with what a good report must say."""

from __future__ import annotations

from importlib import resources

from pydantic import BaseModel, ConfigDict

from oresearch_graph.judging.key_points import KeyPoint


class Question(BaseModel):
    """A question with its key points; none of them: the corpus holds no answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
