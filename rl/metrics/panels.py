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
MOST_LINES: Final = 6
"""Of one panel: more cannot be told apart."""
_OURS: Final = "oresearch"
_HELD_OUT: Final = "val-(core|aux)"
_FROM_ZERO: Final = (0.0, 0.0)
_SHARE: Final = (0.0, 1.0)


class PanelMetric(NamedTuple):
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


class PlotPanel(NamedTuple):
    """One small plot over the training steps."""

    title: str
    unit: str
    metrics: tuple[PanelMetric, ...]
    range: tuple[float, float] | None = None
    """What the axis shows at least; None: just the values."""
    log: bool = False


class PlotLine(NamedTuple):
    """One metric as it is drawn."""

    label: str
    series: Series
    look: Look


class FilledPanel(NamedTuple):
    """A panel with the lines that a run has for it; there is at least one."""

    panel: PlotPanel
    lines: tuple[PlotLine, ...]


class PlotContent(NamedTuple):
    """All that is drawn of a run."""

    panels: tuple[FilledPanel, ...]
    missing: tuple[str, ...]
    """Metrics that the panels would show and the run did not log."""
    crowded: tuple[str, ...]
    """Metrics left out because their panel was full."""


GRPO: Final[tuple[PlotPanel, ...]] = (
    PlotPanel(
        "Reward, training rollouts",
        "mean",
        (
            PanelMetric(f"{_OURS}/reward/total/mean", "total"),
            PanelMetric(f"{_OURS}/reward/quality/mean", "quality"),
            PanelMetric(f"{_OURS}/reward/tool_use/mean", "tool use"),
            PanelMetric(f"{_OURS}/reward/format/mean", "format"),
        ),
        range=(-1.0, 1.0),
    ),
    PlotPanel(
        "Quality, held-out questions",
        "mean",
        (PanelMetric(f"{_HELD_OUT}/<source>/quality/mean@N", "{}"),),
        range=_SHARE,
    ),
    PlotPanel(
        "Judge against its audit",
        "quality",
        (
            PanelMetric(f"{_OURS}/audit/quality", "by the audit", expected=False),
            PanelMetric(f"{_OURS}/audit/gap", "judge less audit", expected=False),
            PanelMetric(f"{_OURS}/audit/distance", "distance", "dashed", expected=False),
        ),
        range=(0.0, 1.0),
    ),
    PlotPanel(
        "Citation accuracy",
        "share",
        (
            PanelMetric(f"{_OURS}/citations/accuracy", "accuracy"),
            PanelMetric(f"{_OURS}/citations/coverage", "coverage"),
            PanelMetric(
                f"{_HELD_OUT}/oresearch/citation_accuracy/mean@N", "accuracy, held out", "dashed"
            ),
        ),
        range=_SHARE,
    ),
    PlotPanel(
        "Prompts by what their group teaches",
        "prompts",
        (
            PanelMetric(f"{_OURS}/groups/trained", "trained on"),
            PanelMetric(f"{_OURS}/groups/left_out/no_signal", "no difference in quality"),
            PanelMetric(f"{_OURS}/groups/left_out/too_few", "too few rollouts"),
        ),
        range=_FROM_ZERO,
    ),
    PlotPanel(
        "Tool calls of a rollout",
        "calls",
        (
            PanelMetric(f"{_OURS}/tools/calls/mean", "mean"),
            PanelMetric(f"{_OURS}/tools/calls/max", "most", "dashed"),
        ),
        range=_FROM_ZERO,
    ),
    PlotPanel(
        "Length of the report",
        "words",
        (PanelMetric(f"{_OURS}/report/words", "mean"),),
        range=_FROM_ZERO,
    ),
    PlotPanel(
        "Length of a training row",
        "tokens",
        (
            PanelMetric("prompt_length/mean", "prompt, mean"),
            PanelMetric("response_length/mean", "response, mean"),
            PanelMetric("response_length/max", "longest", "dashed"),
        ),
        range=_FROM_ZERO,
    ),
    PlotPanel(
        "Rollouts dropped, and failures",
        "per step",
        (
            PanelMetric(f"{_OURS}/rollouts/dropped", "dropped"),
            PanelMetric(f"{_OURS}/failures/<class>", "{}", "marks", expected=False),
        ),
        range=_FROM_ZERO,
    ),
    PlotPanel(
        "Cut text and broken prefixes",
        "per rollout",
        (
            PanelMetric(f"{_OURS}/truncations", "cut at a token limit"),
            PanelMetric(f"{_OURS}/prefix_breaks", "prefix breaks"),
        ),
        range=_FROM_ZERO,
    ),
    PlotPanel(
        "Who sampled the trained tokens",
        "share",
        (PanelMetric(f"{_OURS}/tokens/share/<role>", "{}"),),
        range=_SHARE,
    ),
    PlotPanel(
        "Time",
        "seconds",
        (
            PanelMetric(f"{_OURS}/rollout_seconds/mean", "rollout, mean"),
            PanelMetric(f"{_OURS}/rollout_seconds/max", "rollout, slowest", "dashed"),
            PanelMetric("timing_s/step", "whole step"),
            PanelMetric(f"{_OURS}/judge_seconds/p99", "judge, 99 %"),
        ),
        range=_FROM_ZERO,
    ),
    PlotPanel(
        "Engine against actor",
        "nats, logarithmic",
        (
            PanelMetric(f"{_OURS}/mismatch/max_log_prob_difference", "largest |Δ log p|"),
            PanelMetric(f"{_OURS}/mismatch/mean_log_prob_difference", "mean |Δ log p|"),
            PanelMetric(f"{_OURS}/mismatch/kl", "KL"),
        ),
        log=True,
    ),
)

SFT: Final[tuple[PlotPanel, ...]] = (
    PlotPanel(
        "Fine-tuning loss",
        "nats per token",
        (PanelMetric("train/loss", "training"), PanelMetric("val/loss", "held out")),
    ),
    PlotPanel(
        "Gradient norm",
        "before clipping",
        (PanelMetric("train/grad_norm", "norm"),),
        range=_FROM_ZERO,
    ),
    PlotPanel("Learning rate", "", (PanelMetric("train/lr", "rate"),), range=_FROM_ZERO),
    PlotPanel(
        "Tokens of a step", "tokens", (PanelMetric("train/global_tokens", "all"),), range=_FROM_ZERO
    ),
)


def kinds(series: Mapping[str, Series]) -> tuple[Kind, ...]:
    """What kind of training the metrics are of; both where a folder holds both."""
    present: list[Kind] = []
    if any(name.startswith("train/") for name in series):
        present.append("sft")
    if any(name.startswith((f"{_OURS}/", "val-core/", "val-aux/", "critic/")) for name in series):
        present.append("grpo")
    return tuple(present)


def choose(series: Mapping[str, Series]) -> PlotContent:
    """The panels of a run's kind for which it has something."""
    panels = [panel for kind in kinds(series) for panel in (SFT if kind == "sft" else GRPO)]
    filled, missing, crowded = [], [], []
    for panel in panels:
        lines: list[PlotLine] = []
        for metric in panel.metrics:
            matches = list(_lines(metric, series))
            if not matches and metric.expected:
                missing.append(_readable(metric.name))
            room = MOST_LINES - len(lines)
            lines += [line for _, line in matches[:room]]
            crowded += [name for name, _ in matches[room:]]
        if lines:
            filled.append(FilledPanel(panel, tuple(lines)))
    return PlotContent(tuple(filled), tuple(missing), tuple(crowded))


def _lines(metric: PanelMetric, series: Mapping[str, Series]) -> Iterator[tuple[str, PlotLine]]:
    """The lines of a metric with their names, those with the largest sums first."""
    pattern = re.compile(re.sub(r"<\w+>", r"(?P<word>[^/]+)", metric.name).replace("@N", r"@\d+"))
    matches = [(name, match) for name in series if (match := pattern.fullmatch(name))]
    matches.sort(key=lambda pair: -sum(series[pair[0]].values()))
    for name, match in matches:
        word = match.groupdict().get("word", "")
        look: Look = "control" if is_control(word) else metric.look
        yield name, PlotLine(metric.label.format(word.replace("_", " ")), series[name], look)


def is_control(source: str) -> bool:
    """A validation source that no policy should be able to answer."""
    return source.startswith("shuffled") or source.endswith("_control")


def _readable(name: str) -> str:
    return name.replace(_HELD_OUT, "val-aux")


def steps_of(panels: Sequence[FilledPanel]) -> tuple[int, int]:
    """The first and the last step that is drawn."""
    steps = [step for filled in panels for line in filled.lines for step in line.series]
    return min(steps), max(steps)
