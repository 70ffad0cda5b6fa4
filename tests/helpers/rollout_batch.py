"""A batch of rollouts in verl's own agent loop worker, over a queue that is a dictionary: the
engine, the documents and the judge are doubles that fail as a fault plan says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf, open_dict
from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ

import rl.rollouts.agent_loop
from oresearch_graph.errors import JudgeError
from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from rl.learning.trainer import MODE, ResearchTrainer
from rl.rollouts.log import RolloutLog
from rl.rollouts.reward import RewardJudge
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.worker import RolloutWorker
from rl.settings import from_config
from tests.helpers.fault_plan import HUNG, FaultPlan
from tests.helpers.faulty_tools import FaultyTools
from tests.helpers.queue_double import QueueDouble
from tests.helpers.rl_engine import Sampled, ScriptedLedgerPolicy, log_prob
from tests.helpers.scripted import Documents

TRUTH = GroundTruth(
    key_points=(KeyPoint(text="The Moon causes tides.", needs=(("Moon",), ("tides",))),)
)
GARBAGE = "ids of a request that was aborted"

_rollout: ContextVar[str] = ContextVar("drilled rollout")
"""`prompt/session` of the rollout that asks."""


class PlannedEngine:
    """Samples what the plan's script writes; fails where the plan says so, by raising or, as
    verl's server does when it is restarted, by an aborted request with a few ids."""

    def __init__(self, plan: FaultPlan, tokens: ThreadTokens) -> None:
        self.plan, self.tokens = plan, tokens
        self.threads: dict[str, Any] = {}
        self.sampled: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        """What it gave, by thread and the very prompt."""
        self.of_rollout: dict[str, int] = {}
        """Ids that each rollout was given."""
        self.faults: dict[str, int] = {}
        self._asked: dict[tuple[str, str, int | None], list[int]] = {}

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]
    ) -> Sampled:
        name, thread = _rollout.get(), self.threads[request_id]
        tries = self._asked.setdefault((name, thread.role, thread.branch), [])
        if not tries or tries[-1] == 0:
            tries.append(1)  # another continuation
        else:
            tries[-1] += 1
        place, attempt = len(tries) - 1, tries[-1]
        fault = self.plan.engine_fault(name, thread.role, thread.branch, place)
        if fault == "always" or (fault == "once" and attempt == 1):
            return self._failed(name, prompt_ids)
        tries[-1] = 0
        ids = self.tokens.encode(self.plan.write(name, thread))
        self.sampled[request_id, tuple(prompt_ids)] = ids
        self.of_rollout[name] = self.of_rollout.get(name, 0) + len(ids)
        return Sampled(list(ids), [log_prob(token) for token in ids])

    def _failed(self, name: str, prompt_ids: list[int]) -> Sampled:
        self.faults[name] = self.faults.get(name, 0) + 1
        if len(prompt_ids) % 2:
            raise RuntimeError("the engine's replica is gone")
        ids = self.tokens.encode(GARBAGE)
        return Sampled(ids, [log_prob(token) for token in ids], stop_reason="aborted")


class PlannedJudge:
    """Gives each session of a prompt another quality; fails where the plan says so."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan, self.asked = plan, list[str]()

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *, citations: Any = None
    ) -> Judged:
        name = _rollout.get()
        self.asked.append(name)
        await asyncio.sleep(0)
        if self.plan.judge_fails(name):
            raise JudgeError("no judge gave an opinion: look at its server")
        return Judged(quality=planned_quality(name), by="planned", seconds=0.0)


def planned_quality(name: str) -> float:
    return (1 + int(name.split("/")[1])) / 8


class _Worker(AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__):  # type: ignore[misc, unused-ignore]
    """verl's worker without Ray, and without a model of its own."""

    def __init__(self, config: DictConfig, engine: PlannedEngine) -> None:
        self.config, self.llm_client = config, engine
        self.tokenizer, self.processor = engine.tokens.tokenizer, None
        self.hf_model_type = self.dataset_cls = self.reward_loop_worker_handles = None
        self.tools: list[object] = []
        self.distillation_enabled = False

    async def _run_agent_loop(self, *arguments: Any, **row: Any) -> Any:
        _rollout.set(f"{row['uid']}/{row['session_id']}")  # each session is a task of its own
        return await super()._run_agent_loop(*arguments, **row)


class DrillQueue(QueueDouble):
    """The queue with the functions that agent loop workers call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        monkeypatch.setattr("transfer_queue.async_kv_put", self.async_kv_put)
        monkeypatch.setattr("transfer_queue.async_kv_batch_put", self.async_kv_batch_put)

    async def async_kv_put(self, key: str, partition_id: str, tag: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self.tags[partition_id][key].update(tag)

    async def async_kv_batch_put(self, **rows: Any) -> None:
        await asyncio.sleep(0)
        self.kv_batch_put(**rows)


class Drill:
    """A batch under a plan, and the trainer that takes what comes of it."""

    def __init__(
        self, plan: FaultPlan, tokens: ThreadTokens, monkeypatch: pytest.MonkeyPatch,
        execution: str = "parallel",
    ) -> None:  # fmt: skip
        self.plan, self.queue, self.log = plan, DrillQueue(monkeypatch), RolloutLog()
        self.config = _config(plan, execution)
        self.engine, self.judge = PlannedEngine(plan, tokens), PlannedJudge(plan)
        documents = Documents(plan.pages())
        self.tools = FaultyTools(
            documents, documents, timeouts=plan.timeouts, seed=plan.seed,
            hung_page=HUNG, raising=plan.raising,
        )  # fmt: skip
        settings = from_config(self.config)
        worker = RolloutWorker(
            settings, tokens, self.log, documents=(self.tools, self.tools),
            # A slow page brings nothing: what calls are worth is not drilled here.
            judge=RewardJudge(
                settings.reward.model_copy(update={"fewest_calls": 0}), self.judge
            ),
        )  # fmt: skip
        monkeypatch.setitem(rl.rollouts.agent_loop._workers, id(self.config), worker)
        monkeypatch.setattr("rl.rollouts.worker.LedgerPolicy", ScriptedLedgerPolicy)
        loop = {"_target_": "rl.rollouts.agent_loop.ResearchAgentLoop"}
        monkeypatch.setitem(_agent_loop_registry, "oresearch", loop)
        monkeypatch.setattr("rl.learning.trainer.open_rollout_log", lambda: self.log)
        self.trainer = ResearchTrainer(self.config)
        self.trainer.actor_rollout_wg = SimpleNamespace(_dispatch_info={"actor": [0]})
        self.trainer.tokenizer, self.trainer.global_steps = SimpleNamespace(eos_token_id=0), 1

    async def roll(self, seconds: float) -> None:
        """Run every rollout of the batch at once, through verl's own code. Raises TimeoutError."""
        worker = _Worker(self.config, self.engine)
        sampling = {"temperature": 1.0, "logprobs": True}
        uids = list(dict.fromkeys(name.split("/")[0] for name in self.plan.names))
        for uid in uids:
            self.queue.prompt(uid, "pending")
        async with asyncio.timeout(seconds):
            await asyncio.gather(
                *(
                    worker._run_prompt(_row(uid), dict(sampling), trajectory=_TRAJECTORY)
                    for uid in uids
                )
            )

    def rows(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is in the queue of these rollouts, by the rows' keys."""
        wanted = {name.replace("/", "_") for name in names}
        held = self.queue.fields.get("train", {})
        return {key: row for key, row in held.items() if key.rsplit("_", 1)[0] in wanted}


_TRAJECTORY = {"step": 1, "sample_index": 0, "rollout_n": 0, "validate": False}


def _row(uid: str) -> dict[str, Any]:
    return {
        "uid": uid,
        "agent_name": "oresearch",
        "global_steps": 1,
        "raw_prompt": [{"role": "user", "content": f"What causes tides, {uid}?"}],
        "reward_model": {"style": "rule", "ground_truth": TRUTH.to_json()},
        "extra_info": {"split": "train"},
    }


def _config(plan: FaultPlan, execution: str) -> DictConfig:
    oresearch = {
        "research": {"execution": execution},
        "tools": {
            "timeout": 0.03, "page_timeout": 0.03, "tries": plan.tries, "concurrency": 32,
        },
        # Far away, for a busy machine: what is hurried in the drill are the tools.
        "seconds": {"call": 100.0, "branch": 200.0, "rollout": 300.0, "step": 20.0},
    }  # fmt: skip
    overrides = [
        f"trainer.v1.trainer_mode={MODE}",
        "algorithm.adv_estimator=rollout_grpo",
        "critic.enable=false",
        f"data.train_batch_size={plan.prompts}",
        f"actor_rollout_ref.rollout.n={plan.rollouts}",
        "actor_rollout_ref.rollout.prompt_length=50000",
        "actor_rollout_ref.rollout.response_length=50000",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={max(1, plan.prompts // 2)}",
        "actor_rollout_ref.actor.use_dynamic_bsz=true",
    ]
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides)
    with open_dict(config):
        config.oresearch = OmegaConf.create(oresearch)
    return config
