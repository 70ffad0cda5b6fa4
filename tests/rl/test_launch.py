"""The commands: what they start, what they refuse before anything starts, what they plan."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from typer.testing import CliRunner

from oresearch_graph import create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.rl import RLQuestion, RubricLine, write_rl_rows
from rl import grpo, sft
from rl.check.lengths import OBSERVATION_FRAME, thread_budgets
from rl.check.model_shape import ModelShape, model_shape
from rl.launch.composition import compose_config
from rl.plan.gpu_files import plans_table
from rl.plan.memory import SUPPOSED_GPU, HostMemory, _machine_bytes, host_notices
from rl.plan.rehearsal import Rehearsal, rows_table
from rl.plan.step import launch_plan, plan_table
from rl.rollouts.ledger_policy import Sampling
from rl.rows.truths import truth_sizes
from rl.settings import RLSettings, from_config
from tests.helpers.launches import cpu_launch, questions, tiny_config, tiny_model
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script
from tests.reference import DOCS

RUNNER = CliRunner()


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A model and questions as overrides; the platform's variables are undone afterwards."""
    monkeypatch.setattr("rl.grpo.prepare_environment", lambda _: {"FROM": "platform"})
    monkeypatch.setattr("rl.sft.prepare_environment", lambda _: {})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return [
        f"actor_rollout_ref.model.path={tiny_model(tmp_path / 'model')}",
        f"data.train_files={questions(tmp_path / 'train.parquet')}",
        f"trainer.default_local_dir={tmp_path / 'run'}",
    ]


def test_a_refused_run_starts_nothing(files, monkeypatch):
    monkeypatch.setattr("rl.grpo._train", lambda _: pytest.fail("it was started"))
    done = RUNNER.invoke(grpo.app, ["cpu_tiny", *files, "algorithm.adv_estimator=grpo"])
    assert done.exit_code == 2
    assert "refused algorithm.adv_estimator: grpo takes" in done.output
    assert "fix: algorithm.adv_estimator=rollout_grpo" in done.output
    assert done.output.endswith("nothing was started\n")
    assert not ray.is_initialized()


def test_a_run_is_started_with_the_environment_for_every_worker(files, monkeypatch):
    started: list[DictConfig] = []
    monkeypatch.setattr("rl.grpo._train", started.append)
    done = RUNNER.invoke(grpo.app, ["cpu_tiny", *files])
    assert done.exit_code == 0, done.output
    ray_init = started[0].ray_kwargs.ray_init
    assert ray_init.runtime_env.env_vars.FROM == "platform"
    assert ray_init.num_gpus == 1
    assert ray_init.address == "local", "another run's cluster on this machine is left alone"


def test_on_a_cluster_that_runs_the_clusters_own_sizes_hold(files, monkeypatch):
    started: list[DictConfig] = []
    monkeypatch.setattr("rl.grpo._train", started.append)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    done = RUNNER.invoke(grpo.app, ["cpu_tiny", *files])
    assert done.exit_code == 0, done.output
    assert "num_gpus" not in started[0].ray_kwargs.ray_init


def test_a_dry_run_shows_the_plan_and_starts_nothing(files, monkeypatch):
    monkeypatch.setattr("rl.grpo._train", lambda _: pytest.fail("it was started"))
    done = RUNNER.invoke(grpo.app, ["cpu_tiny", *files, "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "4 × 4 rollouts = 16" in done.output


def test_a_question_in_brackets_is_shown_as_it_is():
    question = "What does [/INST] do, and [bold]this[/bold]?"
    unused: Any = None
    rehearsal = Rehearsal(question, "[/a]/model", None, {"policy.[/x]": 1}, unused)
    rolled_out: Any = SimpleNamespace(rows=[])
    console = Console(width=200, record=True, file=io.StringIO())
    for table in (*rehearsal.tables(), rows_table(rehearsal, rolled_out)):
        console.print(table)
    shown = " ".join(console.export_text().split())
    assert shown.count(question) == 2
    assert "policy.[/x] × 1" in shown
    assert "[/a]/model" in shown


def test_a_wrong_name_is_told_in_one_line():
    for app in (grpo.app, sft.app):
        done = RUNNER.invoke(app, ["nothing"])
        assert done.exit_code == 2
        assert done.output.startswith("nothing is no configuration; name a YAML file or one of")
        assert done.output.count("\n") == 1


def test_composing_does_not_import_verl():
    """verl takes its platform from the environment as it is imported."""
    code = (
        "import sys; from rl.launch.composition import compose_config; compose_config('cpu_tiny');"
        "print([name for name in sys.modules if name.split('.')[0] == 'verl'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
async def test_the_budget_holds_the_threads_of_the_real_graph(execution):
    """Every row of a run whose continuations and observations keep their limits fits."""
    research = {"execution": execution, "max_subtasks": 2, "max_steps": 3, "max_tool_calls": 2,
                "observation_tokens": 100}  # fmt: skip
    settings = RLSettings(research=research, turn_tokens=60, report_tokens=90)
    graph = create_research_graph(
        ScriptedPolicy(research_script(turns=9)),
        search=Documents(PAGES),
        settings=settings.research_settings,
    )
    trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    (longest, *_) = sorted(thread_budgets(settings, 0), key=lambda budget: -budget.response)
    calls = [sum(s.is_call for s in trace.steps if s.branch == branch) for branch in (1, 2)]
    turns = [sum(s.kind == "think" for s in trace.steps if s.branch == branch) for branch in (1, 2)]
    assert calls == [2, 2]
    assert max(turns) <= 3
    observed = 2 * (125 + OBSERVATION_FRAME)
    branch = 3 * 60 + observed
    assert longest.response == (60 + 2 * branch + 90 if execution == "sequential" else branch)


def test_the_plan_counts_a_step_by_hand(tmp_path):
    config = cpu_launch(tmp_path, "oresearch.research.max_subtasks=2",
                        "oresearch.research.max_steps=3", "oresearch.research.max_tool_calls=2",
                        "oresearch.turn_tokens=96", "oresearch.report_tokens=192")  # fmt: skip
    plan = launch_plan(config)
    assert (plan.prompts, plan.rollouts) == (4, 16)
    assert plan.rows == 16 * 4  # planner, two researchers, summarizer
    assert plan.requests == 16 * (1 + 2 * 3 + 1)
    assert plan.sampled == 16 * (96 + 2 * 3 * 96 + 192)
    assert plan.optimizer_steps == 1
    config.oresearch.research.execution = "sequential"
    config.actor_rollout_ref.actor.ppo_mini_batch_size = 2
    assert launch_plan(config).rows == 16
    assert launch_plan(config).optimizer_steps == 2


def shown(config) -> dict[str, str]:
    """The plan as a terminal shows it, by the line's name."""
    names, values = plan_table(launch_plan(config)).columns
    return dict(zip(map(str, names.cells), map(str, values.cells), strict=True))


MODEL_JUDGE = ("oresearch.judge.kind=model", "oresearch.judge.model=gpt-5-mini")
LIMITS = ("oresearch.research.max_subtasks=2", "oresearch.research.max_steps=3",
          "oresearch.research.max_tool_calls=2", "oresearch.report_tokens=192")  # fmt: skip


def test_the_plan_counts_what_judge_and_tools_are_asked_and_the_money(tmp_path):
    lines = shown(cpu_launch(tmp_path, *LIMITS))
    assert lines["judge requests"] == "none: what is stated is looked up"
    assert lines["tool calls"] == "64 to documents of the run's own"
    assert lines["money"] == "none for judge and tools"
    config = cpu_launch(
        tmp_path, *LIMITS, *MODEL_JUDGE, "oresearch.judge.votes=3", "oresearch.groups.refill=4",
        "oresearch.judge.price=[1.0, 0.5, 10.0]", "oresearch.tools.source=live",
        "oresearch.tools.price=0.01", "oresearch.audit.share=0.25",
        "oresearch.audit.judge.kind=model", "oresearch.audit.judge.model=other",
        "oresearch.audit.judge.base_url=http://127.0.0.1:9/v1",
        "oresearch.audit.judge.price=[2.0, 2.0, 0.0]",
    )  # fmt: skip
    plan = launch_plan(config).services
    assert (plan.judge.requests, plan.audit.requests) == (32 * 3, 8)
    assert plan.tool_calls == 32 * 2 * 2
    assert plan.tool_requests == plan.tool_calls * 10 * 3, "queries of a call, and its tries"
    assert shown(config)["tool calls"] == "128 to a live service: 3,840 queries and pages"
    prompt = 1_500 + 400 + 192 + truth_sizes([str(tmp_path / "train.parquet")]).tokens
    assert plan.judge.cost == pytest.approx(96 * (prompt * 1.0 + 80 * 10.0) / 1e6)
    assert plan.audit.cost == pytest.approx(8 * prompt * 2.0 / 1e6)
    assert plan.tool_cost == pytest.approx(38.4)
    assert plan.cost == pytest.approx(sum((plan.judge.cost or 0, plan.audit.cost or 0, 38.4)))
    assert shown(config)["audit requests"].startswith("8 to other, ")
    assert shown(config)["money"] == f"${plan.cost:,.2f}"


def test_a_judge_that_weighs_nothing_is_in_the_plan(tmp_path):
    unpaid = cpu_launch(tmp_path, *MODEL_JUDGE, "oresearch.reward.quality=0")
    assert launch_plan(unpaid).services.judge.requests == 16


def test_an_engine_of_several_copies_is_one_replica():
    rollout = "actor_rollout_ref.rollout"
    one, two = (
        launch_plan(compose_config("qwen2.5-7b_8gpu", [f"{rollout}.data_parallel_size={copies}"]))
        for copies in (1, 2)
    )
    assert (one.replicas, two.replicas) == (8 // one.tensor_parallel, 4 // one.tensor_parallel)
    assert one.memory is not None
    assert two.memory is not None
    assert two.memory.cache_tokens == 2 * one.memory.cache_tokens
    assert two.rollouts_at_once == one.rollouts_at_once
    line = dict(zip(*(map(str, each.cells) for each in plan_table(two).columns), strict=True))
    assert line["parallelism"].endswith(
        f"{two.replicas} replicas × {two.tensor_parallel} tensor × 2 data"
    )


def test_what_the_plan_cannot_price_it_says_how_to(tmp_path):
    own = ("oresearch.judge.kind=model", "oresearch.judge.model=our-own",
           "oresearch.judge.base_url=http://127.0.0.1:9/v1")  # fmt: skip
    money = shown(cpu_launch(tmp_path, *own))["money"]
    assert money == "what is not known: set oresearch.judge.price"
    listed = launch_plan(cpu_launch(tmp_path, *MODEL_JUDGE)).services
    assert listed.cost is not None
    assert listed.cost > 0
    live = shown(cpu_launch(tmp_path, *MODEL_JUDGE, "oresearch.tools.source=live"))["money"]
    assert re.fullmatch(r"\$0\.\d\d and what is not known: set oresearch\.tools\.price", live)


def test_a_verdict_beside_a_reference_is_asked_for_in_both_orders(tmp_path):
    question = RLQuestion(
        id="q", question="Why?", reference="A report. " * 100,
        rubric=(RubricLine(criterion="Is right."), RubricLine(criterion="Is clear.")),
    )  # fmt: skip
    rows = [question.model_copy(update={"id": f"q{number}"}) for number in range(4)]
    write_rl_rows(tmp_path / "train.parquet", rows)
    sizes = truth_sizes([str(tmp_path / "train.parquet")])
    assert (sizes.orders, sizes.criteria) == (2, 2)
    assert sizes.tokens > 200
    plan = launch_plan(cpu_launch(tmp_path, *MODEL_JUDGE)).services
    assert plan.judge.requests == 16 * 2
    assert truth_sizes([str(tmp_path / "nowhere.parquet")]).orders == 1


@pytest.mark.parametrize(("window", "row"), [("null", 8_192), ("8192", 8_192), ("16384", 8_192)])
def test_a_row_never_outgrows_what_its_capacities_were_checked_against(tmp_path, window, row):
    config = cpu_launch(tmp_path, f"actor_rollout_ref.rollout.max_model_len={window}")
    assert Sampling.of(config, from_config(config), {}).window == row


def test_a_models_parameters_are_counted(tmp_path):
    from transformers import Qwen2ForCausalLM

    shape = model_shape(str(tiny_model(tmp_path / "model")))
    assert shape is not None
    weights = Qwen2ForCausalLM(tiny_config()).named_parameters()
    assert shape.parameters == sum(w.numel() for name, w in weights if not name.endswith("bias"))
    assert model_shape("some/unknown") is None
    known = model_shape("Qwen/Qwen2.5-72B-Instruct")
    assert known is not None
    assert round(known.parameters / 1e9, 1) == 72.7
    assert known.kv_bytes == 327_680


def test_memory_is_estimated_by_hand():
    plan = launch_plan(compose_config("qwen2.5-7b_8gpu"))
    shape: ModelShape = plan.shape  # type: ignore[assignment]
    assert plan.memory is not None
    gathered = 2 * shape.embedding_parameters * 2
    assert plan.memory.state == shape.parameters * 16 // 8 + gathered
    assert plan.memory.engine_weights == shape.parameters * 2
    lora = launch_plan(compose_config("qwen2.5-7b_lora_8gpu"))
    assert lora.memory is not None
    assert lora.memory.state < plan.memory.state / 2
    assert plan_table(plan).row_count == 18


def host(name: str, *overrides: str) -> HostMemory:
    planned = launch_plan(compose_config(name, overrides), SUPPOSED_GPU).host
    assert planned is not None
    return planned


def test_a_machines_own_memory_is_estimated_by_hand():
    shape = model_shape("Qwen/Qwen2.5-7B-Instruct")
    assert shape is not None
    whole, name = 4 * shape.parameters, "qwen2.5-7b_8gpu"
    resting = host(name)
    assert resting.loading == whole
    assert (resting.actor, resting.reference, resting.engine) == (0, 0, 0)
    config = "actor_rollout_ref.actor.fsdp_config"
    offloaded = host(name, f"{config}.param_offload=true", f"{config}.optimizer_offload=true",
                     "actor_rollout_ref.actor.use_kl_loss=true")  # fmt: skip
    assert offloaded.actor == 3 * offloaded.reference, "weights and two moments"
    # Each shard of a matrix in pinned memory is a power of two of bytes.
    assert whole < offloaded.reference < 2 * whole
    assert offloaded.running - resting.running == 4 * offloaded.reference
    assert host("qwen2.5-7b_lora_8gpu").engine == 8 * 2 * shape.parameters, "sleep of level 1"


def test_what_of_a_step_is_on_one_machine():
    one = host("qwen2.5-72b_multinode")
    more = host("qwen2.5-72b_multinode", "trainer.nnodes=8")
    plan = launch_plan(compose_config("qwen2.5-72b_multinode"))
    assert one.queue == pytest.approx(2 * more.queue, rel=1e-6), "the queue is spread"
    assert 4 * one.queue < 76 * plan.tokens
    assert one.driver == more.driver, "and the driver is one"
    assert more.actor < 0.6 * one.actor
    assert one.most == max(one.starting, one.running)
    assert one.machine is None, "a cluster's memory is not this machine's"


def test_a_machine_that_has_too_little_is_told_of(monkeypatch, tmp_path):
    monkeypatch.setattr("rl.plan.memory._machine_bytes", lambda: 2**30)
    plan = launch_plan(cpu_launch(tmp_path))
    (notice,) = host_notices(plan.host)
    assert not notice.refused
    assert "1.0 GiB of this machine" in notice.what
    assert " GiB a machine of 1.0 GiB: " in shown(cpu_launch(tmp_path))["memory, host"]
    monkeypatch.setattr("rl.plan.memory._machine_bytes", lambda: 2**50)
    assert list(host_notices(launch_plan(cpu_launch(tmp_path)).host)) == []
    monkeypatch.setattr("rl.plan.memory._machine_bytes", lambda: 1)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert list(host_notices(launch_plan(cpu_launch(tmp_path)).host)) == []
    assert list(host_notices(None)) == []


def test_a_container_has_what_it_may_have(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr("rl.plan.memory._CGROUP", limit)
    whole = _machine_bytes()
    limit.write_text("12345\n", "ascii")
    assert _machine_bytes() == 12345
    limit.write_text("max\n", "ascii")
    assert _machine_bytes() == whole


def test_the_table_of_the_gpu_files_is_what_their_plans_say():
    page = (DOCS / "training.md").read_text("utf-8")
    assert plans_table() in page, "the training environment's python -m tests.reference writes it"


@pytest.mark.parametrize("name", ["qwen2.5-7b_8gpu", "qwen3-8b_8gpu", "qwen2.5-72b_multinode"])
def test_a_gpu_file_fits_its_gpus_by_the_estimate(name):
    memory = launch_plan(compose_config(name)).memory
    assert memory is not None
    assert memory.learning < 0.9 * memory.gpu
    assert memory.rolling_out < 0.9 * memory.gpu


def test_sft_is_started_with_a_process_for_each_rank(tmp_path):
    config = compose_config("sft_cpu_tiny", ["trainer.n_gpus_per_node=2"])
    started = sft.command(config, tmp_path / "c.yaml")
    assert started[:4] == [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    assert started[-4:] == [
        "--nproc_per_node=2",
        "-m",
        "rl.launch.sft_worker",
        str(tmp_path / "c.yaml"),
    ]


def test_sft_on_several_nodes_says_where_they_meet(monkeypatch):
    config = compose_config("sft_qwen2.5-72b_multinode")
    for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="NODE_RANK, MASTER_ADDR, MASTER_PORT is not set"):
        sft.command(config, Path("c.yaml"))
    monkeypatch.setenv("NODE_RANK", "1")
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert sft.command(config, Path("c.yaml"))[3:7] == [
        "--nnodes=4", "--node_rank=1", "--master_addr=10.0.0.1", "--master_port=29500",
    ]  # fmt: skip


def test_the_ranks_read_the_configuration_that_was_checked(files, tmp_path, monkeypatch):
    started: list[list[str]] = []

    def run(command, check):
        started.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("rl.sft._admitted", lambda *_, **__: True)
    monkeypatch.setattr("rl.sft.subprocess.run", run)
    done = RUNNER.invoke(
        sft.app, ["sft_cpu_tiny", f"trainer.default_local_dir={tmp_path / 'run'}", "optim.lr=0.5"]
    )
    assert done.exit_code == 0, done.output
    assert OmegaConf.load(started[0][-1]).optim.lr == 0.5
