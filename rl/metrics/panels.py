"""The panels of a run's plot: which metrics each shows, and which of them a run has.

Pure: names in, values out; `rl.plot` draws. A metric that a run did not log is left out of its
panel and named, never taken for 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from rl.metrics.series import Series

Kind = Literal["grpo", "sft"]
Look = Literal["line", "dashed", "control", "marks"]


class Shown(NamedTuple):
    """A metric of a panel. `<word>` in its name stands for one word; each match is a line, whose
    label has that word in place of `{}`."""

    name: str
    label: str
    look: Look = "line"
    expected: bool = True
    """It is named when it is missing. False: there is nothing to log where nothing happened."""

    @property
    def alone(self) -> bool:
        """The panel's title and unit say all where this is its only line."""
        return self.label in {"mean", "norm", "rate", "all"}


class Panel(NamedTuple):
    """One small plot over the training steps."""

    title: str
    unit: str
    shown: tuple[Shown, ...]
    range: tuple[float, float] | None = None
    """What the axis shows at least; None: just the values."""
    log: bool = False


class Line(NamedTuple):
    """One metric as it is drawn."""

    label: str
    series: Series
    look: Look


class Filled(NamedTuple):
    """A panel with the lines that a run has for it; there is at least one."""

    panel: Panel
    lines: tuple[Line, ...]


class Chosen(NamedTuple):
    """All that is drawn of a run."""

    panels: tuple[Filled, ...]
    missing: tuple[str, ...]
    """Metrics that the panels would show and the run did not log."""
    crowded: tuple[str, ...]
    """Metrics left out because their panel was full."""


MOST_LINES: Final = 6
"""Of one panel: more cannot be told apart."""

_OURS: Final = "oresearch"
_HELD_OUT: Final = "val-(core|aux)"
_FROM_ZERO: Final = (0.0, 0.0)
_SHARE: Final = (0.0, 1.0)

GRPO: Final[tuple[Panel, ...]] = (
    Panel(
        "Reward, training rollouts",
        "mean",
        (
            Shown(f"{_OURS}/reward/total/mean", "total"),
            Shown(f"{_OURS}/reward/quality/mean", "quality"),
            Shown(f"{_OURS}/reward/tool_use/mean", "tool use"),
            Shown(f"{_OURS}/reward/format/mean", "format"),
        ),
        range=(-1.0, 1.0),
    ),
    Panel(
        "Quality, held-out questions",
        "mean",
        (Shown(f"{_HELD_OUT}/<source>/quality/mean@N", "{}"),),
        range=_SHARE,
    ),
    Panel(
        "Citation accuracy",
        "share",
        (
            Shown(f"{_OURS}/citations/precision", "precision"),
            Shown(f"{_OURS}/citations/coverage", "coverage"),
            Shown(
                f"{_HELD_OUT}/oresearch/citation_precision/mean@N", "precision, held out", "dashed"
            ),
        ),
        range=_SHARE,
    ),
    Panel(
        "Prompts by what their group teaches",
        "prompts",
        (
            Shown(f"{_OURS}/groups/trained", "trained on"),
            Shown(f"{_OURS}/groups/left_out/no_signal", "no difference in quality"),
            Shown(f"{_OURS}/groups/left_out/too_few", "too few rollouts"),
        ),
        range=_FROM_ZERO,
    ),
    Panel(
        "Tool calls of a rollout",
        "calls",
        (
            Shown(f"{_OURS}/tools/calls/mean", "mean"),
            Shown(f"{_OURS}/tools/calls/max", "most", "dashed"),
        ),
        range=_FROM_ZERO,
    ),
    Panel(
        "Length of the report",
        "words",
        (Shown(f"{_OURS}/report/words", "mean"),),
        range=_FROM_ZERO,
    ),
    Panel(
        "Length of a training row",
        "tokens",
        (
            Shown("prompt_length/mean", "prompt, mean"),
            Shown("response_length/mean", "response, mean"),
            Shown("response_length/max", "longest", "dashed"),
        ),
        range=_FROM_ZERO,
    ),
    Panel(
        "Rollouts dropped, and failures",
        "per step",
        (
            Shown(f"{_OURS}/rollouts/dropped", "dropped"),
            Shown(f"{_OURS}/failures/<class>", "{}", "marks", expected=False),
        ),
        range=_FROM_ZERO,
    ),
    Panel(
        "Cut text and broken prefixes",
        "per rollout",
        (
            Shown(f"{_OURS}/truncations", "cut at a token limit"),
            Shown(f"{_OURS}/prefix_breaks", "prefix breaks"),
        ),
        range=_FROM_ZERO,
    ),
    Panel(
        "Who sampled the trained tokens",
        "share",
        (Shown(f"{_OURS}/tokens/share/<role>", "{}"),),
        range=_SHARE,
    ),
    Panel(
        "Time",
        "seconds",
        (
            Shown(f"{_OURS}/rollout_seconds/mean", "rollout, mean"),
            Shown(f"{_OURS}/rollout_seconds/max", "rollout, slowest", "dashed"),
            Shown("timing_s/step", "whole step"),
            Shown(f"{_OURS}/judge_seconds/p99", "judge, 99 %"),
        ),
        range=_FROM_ZERO,
    ),
    Panel(
        "Engine against actor",
        "nats, logarithmic",
        (
            Shown(f"{_OURS}/mismatch/max_log_prob_difference", "largest |Δ log p|"),
            Shown(f"{_OURS}/mismatch/kl", "KL"),
        ),
        log=True,
    ),
)

SFT: Final[tuple[Panel, ...]] = (
    Panel(
        "Fine-tuning loss",
        "nats per token",
        (Shown("train/loss", "training"), Shown("val/loss", "held out")),
    ),
    Panel(
        "Gradient norm", "before clipping", (Shown("train/grad_norm", "norm"),), range=_FROM_ZERO
    ),
    Panel("Learning rate", "", (Shown("train/lr", "rate"),), range=_FROM_ZERO),
    Panel("Tokens of a step", "tokens", (Shown("train/global_tokens", "all"),), range=_FROM_ZERO),
)


def kinds(series: Mapping[str, Series]) -> tuple[Kind, ...]:
    """What kind of training the metrics are of; both where a folder holds both."""
    found: list[Kind] = []
    if any(name.startswith("train/") for name in series):
        found.append("sft")
    if any(name.startswith((f"{_OURS}/", "val-core/", "val-aux/", "critic/")) for name in series):
        found.append("grpo")
    return tuple(found)


def choose(series: Mapping[str, Series]) -> Chosen:
    """The panels of a run's kind for which it has something."""
    wanted = [panel for kind in kinds(series) for panel in (SFT if kind == "sft" else GRPO)]
    filled, missing, crowded = [], [], []
    for panel in wanted:
        lines: list[Line] = []
        for shown in panel.shown:
            found = list(_lines(shown, series))
            if not found and shown.expected:
                missing.append(_readable(shown.name))
            room = MOST_LINES - len(lines)
            lines += [line for _, line in found[:room]]
            crowded += [name for name, _ in found[room:]]
        if lines:
            filled.append(Filled(panel, tuple(lines)))
    return Chosen(tuple(filled), tuple(missing), tuple(crowded))


def _lines(shown: Shown, series: Mapping[str, Series]) -> Iterator[tuple[str, Line]]:
    """The lines of a metric with their names, those with the largest sums first."""
    pattern = re.compile(re.sub(r"<\w+>", r"(?P<word>[^/]+)", shown.name).replace("@N", r"@\d+"))
    found = [(name, match) for name in series if (match := pattern.fullmatch(name))]
    found.sort(key=lambda pair: -sum(series[pair[0]].values()))
    for name, match in found:
        word = match.groupdict().get("word", "")
        look: Look = "control" if is_control(word) else shown.look
        yield name, Line(shown.label.format(word.replace("_", " ")), series[name], look)


def is_control(source: str) -> bool:
    """A validation source that no policy should be able to answer."""
    return source.startswith("shuffled") or source.endswith("_control")


def _readable(name: str) -> str:
    return name.replace(_HELD_OUT, "val-aux")


def steps_of(panels: Sequence[Filled]) -> tuple[int, int]:
    """The first and the last step that is drawn."""
    steps = [step for filled in panels for line in filled.lines for step in line.series]
    return min(steps), max(steps)
