"""The generate stage on a Ray cluster of two workers, one of them lost midway."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from datagen.generate.plan import plan
from datagen.generate.ray_runner import runner_on_ray
from datagen.generate.stage import generate
from datagen.records import Lost, Seed, seed_id
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import read_records, write_records
from datagen.settings import DatagenSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Trace, read_traces, violations
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import (
    Habits,
)

REPOSITORY = str(Path(__file__).parents[2])
PAGE = "# Tides\n\nWhat it is: the Moon causes tides. What it is good for: tidal power.\n"
SEEDS = [
    Seed(id=seed_id(question), question=question)
    for question in (f"What causes tides number {number}?" for number in range(6))
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without CPUs and two workers with one each."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", REPOSITORY)
    patch.setenv("ORESEARCH_HOME", str(tmp_path_factory.mktemp("home")))
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a FutureWarning
    memory = 80_000_000
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": memory, "include_dashboard": False},
    )
    made.workers = [made.add_node(num_cpus=1, object_store_memory=memory) for _ in range(2)]
    made.wait_for_nodes()
    yield made
    if ray.is_initialized():
        ray.shutdown()
    made.shutdown()
    patch.undo()


def work_in(folder: Path, server: str, **generated: Any) -> Work:
    documents = folder / "documents"
    documents.mkdir(parents=True, exist_ok=True)
    (documents / "tides.md").write_text(PAGE)
    teacher = {"name": "t", "model": "fake", "base_url": server, "rendering": "turns"}
    told = {
        "research": {"corpus": str(documents)},
        "generate": {"teachers": [teacher], "candidates": 2, "concurrency": 4, **generated},
    }
    run = RunFolder(folder / "run")
    write_records(run.seeds, SEEDS)
    return Work(run, DatagenSettings.model_validate(told), Console(file=io.StringIO()))


def made(work: Work) -> dict[str, Trace]:
    traces = list(read_traces(work.run.generated))
    assert len({trace.id for trace in traces}) == len(traces)
    return {trace.id: trace for trace in traces}


def test_a_lost_worker_costs_no_candidate_and_doubles_none(cluster: Any, tmp_path: Path):
    with OpenAIServer(ResearchBrain(), Habits(latency=0.1)) as server:
        here = work_in(tmp_path / "here", server.base_url)
        generate(here)
        there = work_in(tmp_path / "there", server.base_url)

        def lose_one() -> None:
            while not there.run.generated.exists() or not there.run.generated.stat().st_size:
                time.sleep(0.05)
            cluster.remove_node(cluster.workers[0], allow_graceful=False)

        loss = threading.Thread(target=lose_one, daemon=True)
        loss.start()
        counts = generate(there, runner_on_ray(cluster.address))
        loss.join(10)
    assert not loss.is_alive()
    assert counts == {"planned": 12, "generated": 12, "lost": 0, "left": 0}
    expected = {job.id for job in plan(there.settings.generate, SEEDS)}
    on_ray, local = made(there), made(here)
    assert set(on_ray) == set(local) == expected
    for name, trace in on_ray.items():
        assert (trace.outcome, violations(trace)) == ("complete", ())
        assert trace.execution == local[name].execution
    assert list(read_records(there.run.lost, Lost)) == []
    assert not ray.is_initialized()


def test_what_would_hit_every_candidate_stops_the_stage(cluster: Any, tmp_path: Path):
    with OpenAIServer(ResearchBrain(), models=("another",)) as server:
        work = work_in(tmp_path, server.base_url)
        with pytest.raises(ConfigurationError, match="does not exist"):
            generate(work, runner_on_ray(cluster.address))
    assert made(work) == {}
    with pytest.raises(ConfigurationError, match="there is no cluster"):
        generate(work, runner_on_ray("127.0.0.1:1"))
