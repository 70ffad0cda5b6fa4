"""Settings of the filter stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from oresearch_graph.trace import ViolationCode
from oresearch_graph.trace.validation import FrozenModel

RuleName = Literal[
    "violation",
    "outcome", "infrastructure", "repaired", "changed", "extractive", "extended_prompt",
    "constrained",
    "few_subtasks", "call_bounds", "unanswered_subtask", "repeated_call", "short_path",
    "token_limit",
    "unverifiable_citations", "uncited_report", "citation_accuracy", "citation_coverage",
    "report_language", "report_length",
    "repeated_text", "refusal", "tag_leak",
    "error_page", "empty_observations",
]  # fmt: skip
"""The rules by name. A finding carries its rule's name; one of `violation` carries
`violation.<code>`."""


class FilterSettings(FrozenModel):
    """What a candidate must be to pass. A figure that stands equal to its bound passes."""

    off: tuple[RuleName, ...] = ()
    """Rules that are not applied."""
    tolerated: tuple[ViolationCode, ...] = ()
    """Violations that are let pass; none, since training rewards a form without any."""
    allow_repaired: bool = False
    """Let pass traces with text that was rejected and corrected: the correction hides how the
    policy came to it."""
    allow_extractive: bool = False
    """Let pass traces of the model-free policy: it quotes and does not think."""

    allow_extended: bool = True
    """Let pass traces whose prompts said more than the training prompt: generate's teachers are
    asked for visible reasoning, and exports restate the training prompt. False for imports whose
    prompt asked for what no reader of the rows could guess."""
    allow_constrained: bool = True
    """Let pass traces whose text the model's server held to the protocol's grammar: their form is
    no merit of the teacher's."""
    min_subtasks: int = Field(default=2, ge=1)
    """Subtasks that were researched; with one there is nothing to divide."""
    min_calls: int = Field(default=2, ge=0)
    """Distinct well-formed tool calls per subtask. The prompt asks for 5 to 8 and fewer when the
    evidence suffices; under 2 the paper's reward gives nothing."""
    max_calls: int = Field(default=8, ge=0)
    """The same, at most: over 8 the paper's reward is −1."""
    answer_words: int = Field(default=5, ge=1)
    """Words, or Chinese and Japanese characters, of a subtask's answer: fewer make no sentence."""
    same_call: int = Field(default=2, ge=1)
    """Times that one branch may make the very same call. A second time is refused in the
    observation and can be learnt from; a third is a loop."""
    min_steps: int = Field(default=12, ge=1)
    """Steps of the whole trace: list and report, and for each of two subtasks its opening, two
    calls with their observations, a thought and the answer come to 16."""
    min_observations: int = Field(default=4, ge=0)
    """Observations that show something: two subtasks with two calls each."""
    max_tokens: int = Field(default=65_536, ge=1)
    """Of the question and all steps, as one text: the paper gains up to 64k and hardly beyond. The
    system prompt adds about 700."""
    tokenizer: str | None = None
    """A `tokenizer.json` to count with (needs the package tokenizers). None: an estimate, a token
    for each CJK character and for each four others."""

    min_accuracy: float = Field(default=0.8, ge=0, le=1)
    """Of the report's cited sentences of which anything is known, the share that is quoted or
    found; the others are missing a part, contradicted or dangling."""
    min_coverage: float = Field(default=0.3, ge=0, le=1)
    """Share of the body's sentences with a citation that leads to a source, and that nothing speaks
    against; introduction, transitions and conclusion carry none."""
    verify_again: bool = False
    """Check citations from the sources even where the trace brings its report; about 10 ms each."""
    report_words: tuple[int, int] = (100, 10_000)
    """Fewest and most words of the report's body: a paragraph is no report, and ten thousand leave
    no room for the research in 64k tokens."""
    report_characters: tuple[int, int] = (200, 20_000)
    """The same for Chinese and Japanese, in characters: about two to an English word."""

    same_sentence: int = Field(default=2, ge=1)
    """Times that one text, or the thoughts of one branch, may say the same sentence of 40
    characters (15 in Chinese and Japanese) or more."""
    compressed: float = Field(default=0.15, ge=0, le=1)
    """Share to which zlib must not shrink 1,000 characters of policy text. Measured: prose of
    models and documentation 0.5 and more, reference tables down to 0.16; a loop of 200 characters
    0.16, of 100 0.10, of 30 0.05. Longer loops show as repeated sentences."""
    error_pages: int = Field(default=0, ge=0)
    """Observations that may be an error page, a captcha or a cookie wall taken for a page."""
    empty_observations: float = Field(default=0.5, ge=0, le=1)
    """Share of observations that may show nothing, as the tool said itself (no results, a page
    that could not be read): the web fails, and going on from there is worth learning."""
