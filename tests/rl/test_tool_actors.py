"""The limiter and the index as Ray actors: one of each for all workers, replaced when it dies."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from oresearch_graph.errors import ToolError
from oresearch_graph.tools.reading.pool import READERS
from rl.settings import RLSettings, ToolSettings
from rl.tools.documents import IndexClient, open_documents
from rl.tools.job_actors import shared_index
from rl.tools.tool_limiter import ToolLimiter, tool_limiter
from rl.tools.training_tools import training_tools
from tests.helpers.hostile_pages import self_drawing_form

REPOSITORY = str(Path(__file__).parents[2])


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a FutureWarning
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=100_000_000,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": REPOSITORY, "ORESEARCH_HOME": home}},
        )
        yield
        ray.shutdown()


class Log:
    """Counts what all workers do at one time."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0

    def begin(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def end(self) -> None:
        self.now -= 1
        self.done += 1

    def counts(self) -> tuple[int, int]:
        return self.most, self.done


class Worker:
    """Calls tools as an agent loop worker does."""

    def __init__(self, limit: int, lease: float = 5.0) -> None:
        self.limiter = tool_limiter(limit, lease=lease, longest_wait=20.0)

    async def call(self, log: Any, calls: int) -> None:
        async def one() -> None:
            async with self.limiter.turn():
                await log.begin.remote()
                await asyncio.sleep(0.005)
                await log.end.remote()

        await asyncio.gather(*(one() for _ in range(calls)))

    async def hold(self) -> None:
        """Take a turn and never give it back."""
        self.held = [*getattr(self, "held", []), self.limiter.turn()]
        await self.held[-1].__aenter__()

    async def search(self, folder: str) -> str:
        tools = ToolSettings(source="service", path=Path(folder))
        settings = RLSettings(tools=tools)
        await asyncio.to_thread(open_documents, settings)
        own = training_tools(settings)
        [hits] = await own.search.search(["moon and tides"], 1)
        return f"{hits.hits[0].title} {shared_index(folder)}"


def started(kind: type, *arguments: object) -> Any:
    return ray.remote(kind).options(num_cpus=0).remote(*arguments)


def test_workers_share_one_number_and_get_back_what_a_dead_one_held():
    log = started(Log)
    dying, staying = started(Worker, 3, 1.0), started(Worker, 3)
    ray.get(staying.call.remote(log, 1), timeout=60)  # it makes the actor, and lives on
    ray.get([worker.call.remote(log, 40) for worker in (dying, staying)], timeout=60)
    assert ray.get(log.counts.remote()) == (3, 81)

    ray.get([dying.hold.remote() for _ in range(3)], timeout=60)
    ray.kill(dying)
    ray.get(staying.call.remote(log, 2), timeout=60)
    assert ray.get(log.counts.remote())[1] == 83


def wait_until_dead(actor: Any) -> None:
    """Ray ends what a killed actor owns a moment later."""
    for _ in range(600):
        try:
            ray.get(actor.__ray_ready__.remote(), timeout=60)
        except ray.exceptions.RayActorError:
            return
        time.sleep(0.1)
    pytest.fail("the actor outlives its owner")


def test_the_limiter_is_made_anew_when_its_maker_dies():
    log = started(Log)
    maker = started(Worker, 2)
    ray.get(maker.call.remote(log, 1), timeout=60)
    actor = ray.get_actor("oresearch-tool-limiter-2")
    other = started(Worker, 2)
    ray.get(other.call.remote(log, 1), timeout=60)
    ray.kill(maker)
    wait_until_dead(actor)
    ray.get(other.call.remote(log, 10), timeout=60)
    assert ray.get(log.counts.remote())[1] == 12
    assert ray.get_actor("oresearch-tool-limiter-2") != actor


async def test_a_thousand_calls_that_wait_do_not_block_each_other():
    own: ToolLimiter = tool_limiter(16, lease=5.0, longest_wait=60.0)

    async def one() -> None:
        async with own.turn():
            await asyncio.sleep(0)

    await asyncio.wait_for(asyncio.gather(*(one() for _ in range(1_000))), 60)


def test_workers_find_one_index_started_by_whoever_comes_first(tmp_path: Path):
    (tmp_path / "tides.md").write_text("# Tides\n\nThe moon raises tides in the sea.")
    workers = [started(Worker, 8) for _ in range(2)]
    found = ray.get([worker.search.remote(str(tmp_path)) for worker in workers], timeout=90)
    assert found[0] == found[1]
    assert found[0].startswith("Tides http://")
    client = IndexClient(found[0].split()[1])
    assert client.check().made == 1, "two workers, one search of the index"


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(ToolError, match="does not exist: correct it") as raised:
        shared_index(str(tmp_path / "none"))
    assert "\n" not in str(raised.value)


class PageReader:
    """Reads pages as an agent loop worker does: in an actor, on its event loop."""

    async def read(self, body: bytes, media_type: str) -> tuple[str, str | None, int]:
        page = await READERS.read(body, media_type)
        return page.text, page.fault, len(READERS.process_ids())


def test_an_actor_reads_pages_in_worker_processes_of_its_own():
    actor = ray.remote(PageReader).remote()
    html = ray.get(actor.read.remote(b"<p>Tides rise twice a day.</p>", "text/html"), timeout=60)
    assert html == ("Tides rise twice a day.", None, 1)
    text, fault, _ = ray.get(actor.read.remote(self_drawing_form(), "application/pdf"), timeout=120)
    assert text == ""
    assert fault is not None
    assert "takes more than" in fault
    assert ray.get(actor.read.remote(b"Still here.", "text/plain"), timeout=60)[0] == "Still here."
    ray.kill(actor)
