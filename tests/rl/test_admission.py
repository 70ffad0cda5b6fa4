"""Rollouts are begun as the engine has room for them, and what timed out leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import ray
from omegaconf import OmegaConf

import tests.helpers.verl_quietly  # noqa: F401
from oresearch_graph.errors import PolicyTimeout
from oresearch_graph.judging.ground_truth import ExactFactsJudge
from oresearch_graph.threads import Next, Thread
from rl.cpu.platform import ENVIRONMENT
from rl.launch.composition import compose_config
from rl.learning.trainer import rotated
from rl.plan.admission import admit
from rl.plan.step import launch_plan
from rl.rollouts.engine_client import ResearchLLMClient
from rl.rollouts.ledger_policy import LedgerPolicy
from rl.rollouts.log import RolloutLog
from rl.rollouts.reward import RewardJudge
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.worker import RolloutWorker
from rl.settings import RewardSettings, RLSettings
from rl.tiny.base_model import make_model
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
LONG: dict[str, Any] = {"ignore_eos": True, "logprobs": True}
CLOCK = 8.0
"""Seconds of a call to vLLM; on a busy machine four are running after four."""


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


class SlowJudge(ExactFactsJudge):
    """Takes longer than all rollouts together."""

    def __init__(self) -> None:
        self.at_once = self.most = 0

    async def judge(self, *asked: Any, **options: Any) -> Any:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(1.0)
        self.at_once -= 1
        return await super().judge(*asked, **options)


async def test_a_rollout_that_is_judged_holds_no_place(tokens: ThreadTokens):
    judge, documents, log = SlowJudge(), Documents(PAGES), RolloutLog()
    worker = RolloutWorker(
        RLSettings(rollouts_at_once=1), tokens, log, judge=RewardJudge(RewardSettings(), judge),
        documents=(documents, documents), policy=ScriptedLedgerPolicy,
    )  # fmt: skip
    asked = {**row(), "raw_prompt": [{"role": "user", "content": "What causes tides?"}]}
    rows = [{**asked, "uid": str(n), "session_id": 0} for n in range(6)]
    engine = ScriptedEngine(tokens)
    calls = [asyncio.ensure_future(worker.rollout(each, engine, SAMPLING)) for each in rows]
    await asyncio.sleep(0)
    assert len(log.waiting()) <= 1, "one that waits for a place has not begun"
    last = asyncio.ensure_future(worker.rollout(rows[0] | {"uid": "7"}, engine, SAMPLING))
    await asyncio.sleep(0)
    last.cancel()
    await asyncio.gather(*calls)
    assert judge.most > 2
    assert len(log.drain()) == 6, "of one that never began nothing is told"


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


class VllmActor:
    """verl's own inference server, which can be imported on its platform only."""

    def __init__(self, config: Any) -> None:
        from verl.workers.rollout.replica import RolloutMode
        from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer

        self.server = vLLMHttpServer(
            config=config.rollout, model_config=config.model, rollout_mode=RolloutMode.STANDALONE,
            workers=[], replica_rank=0, node_rank=0, gpus_per_node=1, nnodes=1,
            cuda_visible_devices="",
        )  # fmt: skip

    async def launch(self) -> str:
        """The address of its metrics."""
        await self.server.launch_server()
        host, port = self.server.get_server_address()
        return f"http://{host}:{port}/metrics"

    async def generate(self, **asked: Any) -> Any:
        return await self.server.generate(**asked)


class Inference(NamedTuple):
    """vLLM on CPU behind verl's server, and its clients."""

    ours: LedgerPolicy
    """Whose calls are of 4,000 tokens, half a minute at least, and end by their clock."""
    stock: Any
    """verl's own client."""
    metrics: str

    async def running(self) -> int:
        """The calls that it computes, by its own count."""
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(self.metrics)).text
        (line,) = [line for line in text.splitlines() if line.startswith("vllm:num_requests_runn")]
        return int(float(line.rpartition(" ")[2]))

    async def run(self, calls: int, seconds: float) -> bool:
        """True once so many calls run there, within that time."""
        ends = asyncio.get_running_loop().time() + seconds
        while await self.running() != calls:
            if asyncio.get_running_loop().time() > ends:
                return False
            await asyncio.sleep(0.05)
        return True


@pytest.fixture
async def inference(tmp_path: Path, tokens: ThreadTokens) -> AsyncIterator[Inference]:
    from verl.workers.rollout.llm_server import LLMServerClient

    for part in (tokens.tokenizer, make_model(tokens.tokenizer)):
        part.save_pretrained(tmp_path)
    rollout = "actor_rollout_ref.rollout"
    config = compose_config("cpu_tiny", [f"actor_rollout_ref.model.path={tmp_path}",
                                         f"{rollout}.disable_log_stats=false"])  # fmt: skip
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, address="local",
        _node_ip_address="127.0.0.1", runtime_env={"env_vars": ENVIRONMENT},
    )  # fmt: skip
    try:
        server = ray.remote(max_concurrency=100)(VllmActor).remote(config.actor_rollout_ref)
        metrics = await server.launch.remote()
        balancer = ray.remote(Balancer).remote(server)
        ours, stock = (
            client(config, load_balancer_handle=balancer)
            for client in (ResearchLLMClient, LLMServerClient)
        )
        sampling = replace(
            SAMPLING, parameters=LONG, window=4_096, turn_tokens=4_000, seconds=CLOCK, tries=1
        )
        policy = LedgerPolicy(ours, tokens, sampling)
        yield Inference(policy, stock, metrics)
    finally:
        ray.shutdown()


@pytest.mark.training
async def test_vllm_aborts_a_call_that_timed_out(inference: Inference):
    asked: dict[str, Any] = {"prompt_ids": [5], "sampling_params": {**LONG, "max_tokens": 2}}
    assert len((await inference.ours.engine.generate("t", **asked)).token_ids) == 2
    threads = [
        Thread(id=str(n), system="You research.", question="Why?", role="researcher", branch=n,
               next=Next(tag="think"), bound=200)
        for n in range(4)
    ]  # fmt: skip
    calls = [asyncio.create_task(inference.ours.continue_thread(each, ())) for each in threads]
    assert await inference.run(4, seconds=CLOCK)
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [PolicyTimeout] * 4
    assert await inference.run(0, seconds=2.0)

    asked = {"prompt_ids": [5], "sampling_params": {**LONG, "max_tokens": 4_000}}
    call = asyncio.create_task(inference.stock.generate("t", **asked))
    assert await inference.run(1, seconds=CLOCK)
    call.cancel()
    assert not await inference.run(0, seconds=2.0), "verl's own client leaves it running"


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


@pytest.mark.parametrize(
    ("name", "rounds"),
    [
        ("qwen2.5-7b_8gpu", 8), ("qwen3-8b_8gpu", 22), ("qwen2.5-72b_multinode", 32),
        ("qwen2.5-7b_sequential_8gpu", 4), ("qwen2.5-72b_sequential_multinode", 11),
    ],
)  # fmt: skip
def test_what_is_begun_at_one_time_fills_the_caches(name: str, rounds: int):
    config = compose_config(name)
    plan = launch_plan(config)
    assert plan.memory is not None
    workers = config.actor_rollout_ref.rollout.agent.num_workers
    threads = 1 if len(plan.threads) == 1 else plan.rows // plan.rollouts - 2
    half_grown = max(budget.prompt + budget.response // 2 for budget in plan.threads)
    each, held = workers * threads * half_grown, plan.replicas * plan.memory.cache_tokens
    assert plan.rollouts_at_once == 1 or plan.rollouts_at_once * each <= held
    assert (plan.rollouts_at_once + 1) * each > held
    assert plan.rounds == rounds


def test_a_number_that_a_run_names_holds():
    config = OmegaConf.create({"oresearch": {"rollouts_at_once": 3}})
    admit(config, 9)
    assert config.oresearch.rollouts_at_once == 3
    config = OmegaConf.create({})
    admit(config, 9)
    assert config.oresearch.rollouts_at_once == 9


def test_nobody_is_told_to_hurry_in_training():
    assert RLSettings().research_settings.soft_limit == 1.0
