"""The questions of RL rows as a taskset of verifiers (0.4), rewarded as in our own training.

The reward reads our Trace, which `ResearchHarness` leaves in verifiers' trace, and nothing else, so
it can be computed again of a saved one (`vf-replay`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import verifiers.v1 as vf
from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.rows.rl import RLRow, read_questions, rl_rows
from oresearch_graph.trace import Trace
from oresearch_graph.trace.validation import first_fault
from rl.environment import TRACE
from rl.rollouts.judges import judge_from
from rl.rollouts.reward import RewardJudge, ground_truth
from rl.settings import RewardJudgeSettings, RewardSettings


class ResearchTaskConfig(vf.TaskConfig):
    """How a report is judged and rewarded, as in the key `oresearch` of a training
    configuration."""

    judge: RewardJudgeSettings = RewardJudgeSettings()
    reward: RewardSettings = RewardSettings()


class ResearchData(vf.TaskData):
    """One question."""

    ground_truth: str
    """As JSON, as the row has it."""


class ResearchTask(vf.Task[ResearchData, vf.State, ResearchTaskConfig]):
    """Report on one question."""

    @property
    def key(self) -> str:
        """The question's id, whatever else its row holds."""
        return str(self.data.id)

    @vf.reward(weight=1.0)
    async def total(self, trace: vf.Trace) -> float:
        """Our reward; its parts are metrics. Raises for a rollout that left no Trace, or that no
        judge could score: verifiers counts neither as 0."""
        if TRACE not in trace.info:
            raise OresearchError(
                f"the rollout was ended by {trace.stop_condition} before its report, so there is "
                "nothing to score: raise verifiers' limits above those of the harness"
            )
        research = Trace.model_validate(trace.info[TRACE])
        judge = _judge(self.config.reward, self.config.judge)
        row = {"reward_model": {"ground_truth": self.data.ground_truth}}
        parts = await judge.score(research, row)
        for name, value in parts.as_floats().items():
            if value is not None and name != "total":
                trace.record_metric(name, value)
        return parts.total


class ResearchTasksetConfig(vf.TasksetConfig):
    """Which questions."""

    rows: Path = Path("train.parquet")
    """RL rows (`python -m rl.rl_rows`), or the JSON Lines of questions that they are made of."""
    task: ResearchTaskConfig = ResearchTaskConfig()


class ResearchTaskset(vf.Taskset[ResearchTask, ResearchTasksetConfig]):
    """The questions of one file; controls, whose searches are redirected, are left out."""

    def load(self) -> Iterator[ResearchTask]:
        """Raises ConfigurationError for a file or a question that nothing could be judged by."""
        for row in _rows(self.config.rows):
            if row.extra_info.search_instead is not None:
                continue
            name, question = row.extra_info.id, row.prompt[-1].content
            truth = ground_truth(row.model_dump(), question)
            if self.config.task.judge.kind == "exact_facts" and (why := truth.not_exact):
                raise ConfigurationError(f"{self.config.rows}: question {name}: {why}")
            data = ResearchData(id=name, prompt=question, ground_truth=truth.to_json())
            yield ResearchTask(data, self.config.task)


@cache
def _judge(reward: RewardSettings, judge: RewardJudgeSettings) -> RewardJudge:
    """One per process: the judge's limits and its cache belong to it."""
    return RewardJudge(reward, judge_from(judge))


def _rows(path: Path) -> list[RLRow]:
    if path.suffix != ".parquet":
        return [RLRow.model_validate(row) for row in rl_rows(read_questions(path), "train")]
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return [RLRow.model_validate(row) for row in rows]
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(f"{path}: {error}: name a file of RL rows") from error
    except ValidationError as error:
        raise ConfigurationError(
            f"{path}: no RL rows ({first_fault(error)}): make them with python -m rl.rl_rows"
        ) from error
