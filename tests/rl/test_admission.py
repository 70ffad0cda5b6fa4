"""Rollouts are begun as the engine has room for them, and what timed out leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import ray
from omegaconf import OmegaConf

import tests.helpers.verl_quietly  # noqa: F401
from oresearch_graph.judging.ground_truth import ExactFactsJudge
from rl.launch.composition import compose_config
from rl.learning.trainer import rotated
from rl.plan.admission import admit
from rl.plan.step import launch_plan
from rl.rollouts.engine_client import ResearchLLMClient
from rl.rollouts.log import RolloutLog
from rl.rollouts.reward import RewardJudge
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.worker import RolloutWorker
from rl.settings import RewardSettings, RLSettings
from tests.helpers.rewards import row
from tests.helpers.rl_engine import (
    SAMPLING,
    Sampled,
    ScriptedEngine,
    ScriptedLedgerPolicy,
    small_tokens,
)
from tests.helpers.scripted import PAGES, Documents

PLACES = 4


@pytest.fixture(scope="module")
def tokens() -> ThreadTokens:
    return small_tokens()


class Places(ScriptedEngine):
    """Has four places; what waits for one is in the engine, as a call to vLLM is."""

    def __init__(self, tokens: ThreadTokens) -> None:
        super().__init__(tokens, seconds=0.04)
        self.places = asyncio.Semaphore(PLACES)

    async def generate(self, request_id: str, **asked: Any) -> Sampled:
        async with self.places:
            return await super().generate(request_id, **asked)


async def kept(tokens: ThreadTokens, rollouts: int, at_once: int | None, seconds: float) -> int:
    """How many of the rollouts are, with so many seconds for each."""
    limits = dict.fromkeys(("rollout", "branch", "call"), seconds)
    settings = RLSettings(rollouts_at_once=at_once, seconds=limits)
    documents = Documents(PAGES)
    worker = RolloutWorker(
        settings, tokens, RolloutLog(), judge=RewardJudge(RewardSettings(), ExactFactsJudge()),
        documents=(documents, documents), policy=ScriptedLedgerPolicy,
    )  # fmt: skip
    engine = Places(tokens)
    asked = {**row(), "raw_prompt": [{"role": "user", "content": "What causes tides?"}]}
    rows = [{**asked, "uid": str(n), "session_id": 0} for n in range(rollouts)]
    sampling = replace(SAMPLING, seconds=seconds, tries=1)
    scored = await asyncio.gather(*(worker.rollout(each, engine, sampling) for each in rows))
    return sum(each is not None for each in scored)


async def test_rollouts_that_wait_for_the_engine_do_not_run_out_of_time(tokens: ThreadTokens):
    assert await kept(tokens, 64, PLACES, seconds=15.0) == 64
    assert await kept(tokens, 64, None, seconds=1.5) < 32, "their clocks count the queue"


class EngineActor:
    """An engine's actor: calls that run there are counted until they end."""

    def __init__(self) -> None:
        self.running = 0

    async def generate(self, **asked: Any) -> Sampled:
        self.running += 1
        try:
            await asyncio.sleep(asked["sampling_params"]["seconds"])
            return Sampled([1], [-1.0])
        finally:
            self.running -= 1

    async def count(self) -> int:
        return self.running


class Balancer:
    """verl's load balancer, with one engine."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.released = engine, 0
        self.asked, self.seconds = 0, 0.0

    async def require_acquire_fields(self) -> list[str]:
        return []

    async def require_release_fields(self) -> list[str]:
        return []

    async def slow(self, seconds: float) -> None:
        self.seconds = seconds

    async def asked_for(self) -> int:
        return self.asked

    async def acquire_server(self, request_id: str) -> tuple[str, Any]:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        return "0", self.engine

    async def release_server(self, server_id: str) -> None:
        self.released += 1

    async def count(self) -> int:
        return self.released


async def reached(count: Any, number: int) -> None:
    for _ in range(400):
        if await count.remote() == number:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not {number} within 20 s")


class Service:
    """An engine and its balancer as actors, slow to start, and verl's client."""

    def __init__(self) -> None:
        self.engine = ray.remote(max_concurrency=100)(EngineActor).remote()
        self.balancer = ray.remote(max_concurrency=100)(Balancer).remote(self.engine)

    async def ask(self, seconds: float) -> Any:
        config = OmegaConf.create({"actor_rollout_ref": {"rollout": {"name": "vllm"}}})
        client = ResearchLLMClient(config, load_balancer_handle=self.balancer)
        asked = {"prompt_ids": [1, 2], "sampling_params": {"seconds": seconds}}
        return await client.generate("thread", **asked)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, address="local")
    yield Service()
    ray.shutdown()


async def test_nothing_of_a_call_that_timed_out_stays_in_the_engine(service: Service):
    ask, before = service.ask, await service.balancer.count.remote()
    assert (await ask(0.0)).token_ids == [1]
    waiting = [asyncio.create_task(ask(600.0)) for _ in range(8)]
    await reached(service.engine.count, 8)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await reached(service.engine.count, 0)
    await reached(service.balancer.count, before + 9)
    assert (await ask(0.0)).token_ids == [1], "and the engine goes on"


async def test_an_engine_that_came_too_late_is_given_back(service: Service):
    balancer = service.balancer
    asked, released = await balancer.asked_for.remote(), await balancer.count.remote()
    await balancer.slow.remote(1.0)
    waiting = [asyncio.create_task(service.ask(0.0)) for _ in range(4)]
    await reached(balancer.asked_for, asked + 4)
    for task in waiting:
        task.cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)
    await reached(balancer.count, released + 4)
    await balancer.slow.remote(0.0)


def test_prompts_that_are_added_one_by_one_go_round():
    workers, firsts = ["a", "b", "c"], []
    for prompts in (6, 1, 1, 1, 4, 1):
        firsts.append(workers[0])
        workers = rotated(workers, prompts)
    assert firsts == ["a", "a", "b", "c", "a", "b"]


@pytest.mark.parametrize("name", ["qwen2.5-7b_8gpu", "qwen3-8b_8gpu", "qwen2.5-72b_multinode"])
def test_what_is_begun_at_one_time_fits_the_caches(name: str):
    plan = launch_plan(compose_config(name))
    assert plan.memory is not None
    threads = (
        plan.rollouts_at_once * compose_config(name).actor_rollout_ref.rollout.agent.num_workers
    )
    half_grown = max(budget.prompt + budget.response // 2 for budget in plan.threads)
    assert plan.rollouts_at_once >= 1
    assert threads * 5 * half_grown <= 1.3 * plan.replicas * plan.memory.cache_tokens


def test_a_number_that_a_run_names_holds():
    config = OmegaConf.create({"oresearch": {"rollouts_at_once": 3}})
    admit(config, 9)
    assert config.oresearch.rollouts_at_once == 3
    config = OmegaConf.create({})
    admit(config, 9)
    assert config.oresearch.rollouts_at_once == 9


def test_nobody_is_told_to_hurry_in_training():
    assert RLSettings().research_settings.soft_limit == 1.0
