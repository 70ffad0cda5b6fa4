"""The written rubric of the judge: read from YAML, faults told with their line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from datagen.records import Record
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.ground_truth import Criterion
from oresearch_graph.judging.prompt import MOST

DEFAULT: Final = Path(__file__).with_name("rubric.yaml")


class TraceCriterion(Record):
    """One thing that a candidate is scored on."""

    name: str = Field(pattern=r"^[\w-]+$")
    """What thresholds call it."""
    text: str = Field(pattern=r"\S")
    """A statement that holds of good work."""
    low: str = Field(pattern=r"\S")
    """What a score of 0 looks like."""
    high: str = Field(pattern=r"\S")
    """What the highest score looks like."""
    weight: float = Field(default=1.0, gt=0)

    @property
    def criterion(self) -> Criterion:
        return Criterion(
            text=self.text, description=f"0: {self.low} {MOST}: {self.high}", weight=self.weight
        )


class TraceRubric(Record):
    """Weighted criteria with names."""

    criteria: tuple[TraceCriterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_criterion_a_name(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two criteria are named {twice}")
        return self


def read_rubric(path: Path | None) -> TraceRubric:
    """The rubric of a file; None: the default one. Raises ConfigurationError naming the line."""
    path = path or DEFAULT
    try:
        text = path.read_text("utf-8")
        tree, value = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(f"{path}: the rubric cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError(f"{place}: the rubric is no YAML: {problem}") from error
    try:
        return TraceRubric.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"])) or "the rubric"
        place = f"{path}:{_line(tree, first['loc'])}"
        raise ConfigurationError(f"{place}: {name}: {first['msg']}; see {DEFAULT.name}") from error


def _line(tree: Any, names: tuple[int | str, ...]) -> int:  # noqa: ANN401  # PyYAML has no types
    """The line of the innermost part of the document that the names lead to, counted from 1."""
    node = tree
    for name in names:
        inner = None
        if isinstance(node, yaml.MappingNode):
            inner = next((value for key, value in node.value if key.value == name), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(name, int):
            inner = node.value[name] if name < len(node.value) else None
        if inner is None:
            break
        node = inner
    return 1 if node is None else int(node.start_mark.line) + 1
