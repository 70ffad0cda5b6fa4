"""One line of the allow-list: a setting of verl, what it may be, and why it may be nothing else.

The lists are in `learning_settings` and `engine_settings`. Nothing here and there imports verl:
docs/training.md is made of them where verl is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from rl.check.problem import Launch

BOTH: Final = ("grpo", "sft")
ABSENT: Final = object()
"""The value of a key that is not there."""

Test = Callable[["Launch", Any], str | None]
"""What is wrong of a value, as a sentence that goes on from it; None where nothing is. An empty
sentence stands for the line's own `why`. The value of a key that is not there is None."""


class Allowance(NamedTuple):
    """A setting and what it may be."""

    setting: str
    """Its path; `{model}` and `{engine}` stand for the model and its FSDP settings, which GRPO and
    SFT keep in different places."""
    values: tuple[object, ...]
    """Each of them is right; without a test every other is refused."""
    why: str
    """What another value does: a sentence that goes on from it."""
    fix: str
    """What to write instead; `{setting}` stands for the path."""
    source: str
    """A test of ours, or a line of verl with a word that stands on it."""
    words: str = ""
    """What the test accepts."""
    test: Test | None = None
    kinds: tuple[str, ...] = ("grpo",)
    """The kinds of training that have it."""

    def accepted(self) -> str:
        """What the setting may be, in words and code."""
        values = ", ".join(f"`{shown(value)}`" for value in self.values)
        return f"{values}; {self.words}" if values and self.words else values or self.words

    def fault(self, launch: Launch, value: object) -> str | None:
        """What is wrong of the value; None where nothing is."""
        if value is ABSENT:
            fault = self.test(launch, None) if self.test and not self.values else None
            return f"unset {fault}" if fault else None
        if value in self.values:
            return None
        fault = self.test(launch, value) if self.test else ""
        return None if fault is None else f"{shown(value)} {fault or self.why}"


def shown(value: object) -> str:
    """A value as YAML has it, in one line and short."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def by_value(reasons: Mapping[str, str], other: str) -> Test:
    """The reason against each value, and that against any other."""
    return lambda _, value: reasons.get(str(value), other)


def number(least: float, *, above: bool = False, whole: bool = False, null: bool = False) -> Test:
    """Numbers from `least` on, or above it; whole ones; null."""

    def test(_: Launch, value: object) -> str | None:
        if value is None and null:
            return None
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return ""
        return None if value > least or (value == least and not above) else ""

    return test
