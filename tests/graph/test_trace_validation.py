"""Frozen records, and what is said of a text that is none."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from oresearch_graph.trace.validation import FrozenModel, first_fault


class Inner(FrozenModel):
    number: float


class Outer(FrozenModel):
    name: str
    inner: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": 1}', "name: Input should be a valid string"),
        ('{"name": "a", "inner": [{"number": "hunter2"}]}',
         "inner.0.number: Input should be a valid number, unable to parse string as a number"),
        ('{"name": "a", "more": 1}', "more: Extra inputs are not permitted"),
        ("[]", "Input should be an object"),
    ],
)  # fmt: skip
def test_the_first_fault_has_place_and_message_and_nothing_that_was_read(text, message):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate_json(text)
    assert first_fault(caught.value) == message


def test_a_frozen_model_does_not_change_and_has_no_nan():
    inner = Inner(number=1)
    with pytest.raises(ValidationError):
        inner.number = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Inner(number=float("nan"))
