"""verl's agent loop: the research graph as a rollout of one row of data.

verl makes one object per rollout; what a process shares lives in its `RolloutWorker`. In threads
mode the outputs are the rollout's rows, the summarizer's last; in sequential mode there is one.
The reward stands on the last output, whose `reward_extra_info` verl copies to the others
(verl/trainer/ppo/v1/agent_loop_tq.py). A dropped rollout is an empty list.
"""

from __future__ import annotations

from typing import Any, Final

from verl.experimental.agent_loop.agent_loop import (
    AgentLoopBase,
    AgentLoopMetrics,
    AgentLoopOutput,
)

from rl.rollouts.ledger_policy import Sampling
from rl.rollouts.log import open_rollout_log
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.token_ledger import TokenRow
from rl.rollouts.worker import RolloutWorker, ScoredRollout, spare_collector
from rl.settings import from_config

_workers: Final[dict[int, RolloutWorker]] = {}
"""The process' worker by the identity of verl's configuration; there is one in training."""


class ResearchAgentLoop(AgentLoopBase):
    """`actor_rollout_ref.rollout.agent.default_agent_loop: oresearch`."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> list[AgentLoopOutput]:  # noqa: ANN401
        """The rows of one rollout, or none when infrastructure failed it."""
        worker = self._worker()
        sampling = Sampling.of(self.config, worker.settings, sampling_params)
        scored = await worker.rollout(row, self.server_manager, sampling)
        return [] if scored is None else outputs(scored, int(row.get("global_steps", 0)))

    def _worker(self) -> RolloutWorker:
        key = id(self.config)
        if key not in _workers:
            settings = from_config(self.config)
            tokens = ThreadTokens(self.tokenizer, self.apply_chat_template_kwargs)
            model = str(self.config.actor_rollout_ref.model.path).rstrip("/").rsplit("/", 1)[-1]
            _workers[key] = RolloutWorker(settings, tokens, open_rollout_log(), model=model)
            spare_collector()
        return _workers[key]


def outputs(scored: ScoredRollout, step: int) -> list[AgentLoopOutput]:
    """The rollout's rows as verl takes them. `step` stands in for the weights' version where the
    engine does not tell it: verl's metrics need a number."""
    rows = [_output(row, scored, step) for row in scored.rows]
    counts = scored.rollout.policy.counts
    rows[-1].metrics.generate_sequences = counts.seconds
    rows[-1].metrics.compute_score = scored.info["judge_seconds"] or 0.0
    rows[-1].reward_score = scored.parts.total
    rows[-1].extra_fields["reward_extra_info"] = scored.info
    return rows


def _output(row: TokenRow, scored: ScoredRollout, step: int) -> AgentLoopOutput:
    end = row.mask.rindex(1) + 1
    trace = scored.rollout.trace
    return AgentLoopOutput(
        prompt_ids=row.prompt_ids,
        # World text behind the last sampled id teaches nothing and would only be computed.
        response_ids=row.response_ids[:end],
        response_mask=list(row.mask[:end]),
        response_logprobs=row.log_probs[:end].tolist(),
        num_turns=2 * len(row.stops),
        metrics=AgentLoopMetrics(),
        extra_fields={
            "role": row.role,
            "branch": row.branch,
            "thread": row.thread,
            "stops": list(row.stops),
            "row_end": row.ended,
            "sampled_by": dict(row.sampled_by),
            "prefix_breaks": scored.rollout.policy.ledger.prefix_breaks,
            "rows": len(scored.rows),
            "trace_id": trace.id if trace else "",
            "min_global_steps": min(row.versions, default=step),
            "max_global_steps": max(row.versions, default=step),
        },
    )
