"""What would train wrongly is refused, with the line and the fix, before any worker starts."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from oresearch_graph.settings import ResearchSettings
from rl.check.problem import Problem
from rl.check.startup import check, refused, show_problems
from rl.launch.composition import compose_config
from rl.rows.fingerprint import training_protocol, write_fingerprint
from tests.helpers.launches import cpu_launch, only, questions, tiny_model
from tests.helpers.small_tokenizers import CHATML

pytestmark = pytest.mark.usefixtures("nothing_starts")
ROLLOUT = "actor_rollout_ref.rollout"


def test_the_cpu_file_over_a_model_and_questions_is_started(tmp_path):
    problems = check(cpu_launch(tmp_path))
    assert not refused(problems), problems


@pytest.mark.parametrize(
    ("override", "setting", "what", "fix"),
    [
        ("trainer.use_v1=false", "trainer.use_v1", "a list of them", "trainer.use_v1=true"),
        (f"{ROLLOUT}.top_p=0.9", f"{ROLLOUT}.top_p", "cut distribution", "=1"),
        (f"{ROLLOUT}.top_k=50", f"{ROLLOUT}.top_k", "cut distribution", "=-1"),
        ("actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean",
         "actor_rollout_ref.actor.loss_agg_mode", "more rows weighs more", "token-mean"),
        ("actor_rollout_ref.actor.ulysses_sequence_parallel_size=2 trainer.n_gpus_per_node=2"
         " actor_rollout_ref.model.use_remove_padding=true",
         "actor_rollout_ref.actor.ulysses_sequence_parallel_size", "runs on GPUs only", "1"),
        ("algorithm.adv_estimator=grpo", "algorithm.adv_estimator", "raw reward", "rollout_grpo"),
        ("algorithm.adv_estimator=rloo", "algorithm.adv_estimator", "each row", "rollout_grpo"),
        ("trainer.v1.trainer_mode=sync", "trainer.v1.trainer_mode", "by rows", "oresearch"),
        ("algorithm.filter_groups.enable=true", "algorithm.filter_groups.enable", "form",
         "quality"),
        (f"{ROLLOUT}.n=1", f"{ROLLOUT}.n", "nothing to be compared", f"{ROLLOUT}.n=8"),
        (f"{ROLLOUT}.temperature=0", f"{ROLLOUT}.temperature", "advantage is 0", "=1.0"),
        (f"{ROLLOUT}.do_sample=false", f"{ROLLOUT}.do_sample", "read by nothing", "do_sample=true"),
        (f"{ROLLOUT}.calculate_log_probs=false", f"{ROLLOUT}.calculate_log_probs", "mismatch",
         "calculate_log_probs=true"),
        (f"{ROLLOUT}.logprobs_mode=raw_logprobs", f"{ROLLOUT}.logprobs_mode", "temperature",
         "processed_logprobs"),
        (f"{ROLLOUT}.agent.default_agent_loop=single_turn_agent",
         f"{ROLLOUT}.agent.default_agent_loop", "not the research graph", "=oresearch"),
        (f"{ROLLOUT}.agent.agent_loop_config_path=/nowhere.yaml",
         f"{ROLLOUT}.agent.agent_loop_config_path", "no file", "agent_loops.yaml"),
        ("data.max_prompt_length=300", "data.max_prompt_length", "cannot hold", "set it to"),
        ("data.max_response_length=300 oresearch.turn_tokens=96 oresearch.research.max_steps=3"
         " oresearch.research.observation_tokens=120", "data.max_response_length",
         "3 steps × 96 + 2 observations × 214", "set it to"),
        ("oresearch.research.execution=sequential data.max_response_length=1000"
         " oresearch.turn_tokens=96", "data.max_response_length", "plan 96 + 2 subtasks × (",
         "set it to"),
        (f"{ROLLOUT}.max_model_len=512", f"{ROLLOUT}.max_model_len", "= 8192", "set it to 8192"),
        (f"{ROLLOUT}.enable_chunked_prefill=false", f"{ROLLOUT}.max_num_batched_tokens",
         "4096 cannot take", "enable_chunked_prefill=true"),
        ("actor_rollout_ref.actor.use_dynamic_bsz=true"
         " actor_rollout_ref.actor.ppo_max_token_len_per_gpu=1000",
         "actor_rollout_ref.actor.ppo_max_token_len_per_gpu", "cannot hold a row", "8192"),
        (f"{ROLLOUT}.max_model_len=9000", f"{ROLLOUT}.max_model_len", "8192 positions", "lower it"),
        ("oresearch.judge.kind=model", "oresearch.judge.model", "names no model", "judge.model="),
        ("oresearch.judge.kind=model oresearch.judge.model=m"
         " oresearch.judge.base_url=http://127.0.0.1:9/v1",
         "oresearch.judge.base_url", "cannot be reached", "start the judge"),
        ("oresearch.judge.kind=model oresearch.judge.model=m oresearch.judge.base_url=localhost",
         "oresearch.judge.base_url", "not an address", "correct the address"),
        ("oresearch.judge.kind=model oresearch.judge.model=m oresearch.judge.concurrency=1",
         "oresearch.judge.concurrency",
         "each of 1 workers: their 16 requests take 1920 s by judge.timeout = 120 s, and a step has"
         " 300 s", "oresearch.judge.concurrency=8"),
        ("oresearch.judge.kind=model oresearch.judge.model=m oresearch.seconds.step=650",
         "oresearch.judge.concurrency", "a step has 50 s after its rollouts",
         "oresearch.seconds.step=720 oresearch.judge.concurrency=16"),
        ("oresearch.audit.share=0.1", "oresearch.audit", "the one that it audits", "correct"),
        ("oresearch.audit.share=0.1 oresearch.audit.judge.kind=model", "oresearch.audit",
         "names no model", "correct"),
        ("oresearch.tools.source=corpus oresearch.tools.path=/nowhere", "oresearch.tools.path",
         "/nowhere", "source=python"),
        ("oresearch.tools.source=recorded", "oresearch.tools.path", "needs the file", "python"),
        ("oresearch.tools.source=service oresearch.tools.address=http://127.0.0.1:9",
         "oresearch.tools.address", "127.0.0.1:9", "source=python"),
        ("oresearch.research.max_subtasks=1", "oresearch.reward.fewest_subtasks",
         "the form term is always 0", "oresearch.reward.fewest_subtasks=1"),
        ("oresearch.reward.quality=0 oresearch.reward.tool_use=0 oresearch.reward.format=0",
         "oresearch.reward", "every reward is 0", "quality=0.6"),
        ("oresearch.reward.fewest_calls=9", "oresearch.reward.fewest_calls", "more than", "=2"),
        ("oresearch.research.max_tool_calls=0", "oresearch.research.max_tool_calls",
         "no tool call fits", "max_tool_calls=12"),
        ("oresearch.seconds.call=9999", "oresearch.seconds.call", "longer than", "=300"),
        ("oresearch.judge.kind=vibes", "oresearch.judge.kind", "'vibes'", "correct"),
        ("oresearch.research.max_steps=0", "oresearch.research", "max_steps", "correct"),
        ("oresearch.research.tone=dry", "oresearch.research", "for serving", "serving"),
        ("trainer.device=cuda", "trainer.device", "has no GPU", "--dry-run"),
        ("actor_rollout_ref.actor.strategy=fsdp", "actor_rollout_ref.actor.strategy",
         "fsdp does not run on CPU", "fsdp2"),
        ("actor_rollout_ref.model.override_config.attn_implementation=flash_attention_2",
         "actor_rollout_ref.model.override_config.attn_implementation", "GPU", "sdpa"),
        (f"{ROLLOUT}.engine_kwargs.vllm.worker_extension_cls=null",
         f"{ROLLOUT}.engine_kwargs.vllm.worker_extension_cls", "waits for ever", "CpuWorker"),
        (f"{ROLLOUT}.enable_sleep_mode=true", f"{ROLLOUT}.enable_sleep_mode", "sleep", "false"),
        ("ray_kwargs.ray_init.num_gpus=null", "ray_kwargs.ray_init.num_gpus", "logical", "=1"),
        ("actor_rollout_ref.actor.ulysses_sequence_parallel_size=3",
         "actor_rollout_ref.actor.ulysses_sequence_parallel_size", "does not divide", "divisor"),
        ("actor_rollout_ref.model.path=null", "actor_rollout_ref.model.path", "no model", "FOLDER"),
        ("actor_rollout_ref.model.path=/nowhere", "actor_rollout_ref.model.path", "no folder",
         "correct the path"),
        ("data.train_files=/nowhere.parquet", "data.train_files", "no file", "rl.rl_rows"),
        ("data.val_files=/nowhere.parquet", "data.val_files", "no file", "rl.rl_rows"),
        ("data.train_batch_size=64", "data.train_files", "fewer than data.train_batch_size",
         "rl.rl_rows"),
    ],
)  # fmt: skip
def test_refused(tmp_path, override, setting, what, fix):
    found = only(check(cpu_launch(tmp_path, *override.split())), setting)
    assert found.refused
    assert what in found.what
    assert fix in found.fix


@pytest.mark.parametrize(
    ("override", "setting", "what"),
    [
        ("oresearch.reward.most_calls=8", "oresearch.reward.tool_use", "never felt"),
        ("oresearch.reward.quality=0", "oresearch.reward.quality", "not become better"),
        ("oresearch.audit={share: 0.1, judge: {kind: model, model: m,"
         " base_url: 'http://127.0.0.1:9/v1'}}", "oresearch.audit.judge.base_url",
         "cannot be reached"),
    ],
)  # fmt: skip
def test_told_and_not_refused(tmp_path, override, setting, what):
    problems = check(cpu_launch(tmp_path, override))
    assert what in only(problems, setting).what
    assert not refused(problems)


def test_every_mistake_of_a_file_is_told_refusals_first(tmp_path):
    problems = check(cpu_launch(tmp_path, f"{ROLLOUT}.n=1", "oresearch.reward.quality=0",
                                "trainer.use_v1=false"))  # fmt: skip
    settings = {problem.setting for problem in problems}
    assert {"trainer.use_v1", f"{ROLLOUT}.n", "oresearch.reward.quality"} <= settings
    assert [p.refused for p in problems] == sorted((p.refused for p in problems), reverse=True)


def test_live_tools_need_their_key(tmp_path, monkeypatch):
    monkeypatch.delenv("TAVILY_API_KEY", raising=False)
    problems = check(cpu_launch(tmp_path, "oresearch.tools.source=live",
                                "oresearch.research.search=tavily"))  # fmt: skip
    assert "TAVILY_API_KEY" in only(problems, "oresearch.research.search").what


def test_a_judge_that_answers_is_accepted(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        settings = ("kind=model", "model=m", f"base_url={url}")
        problems = check(cpu_launch(tmp_path, *(f"oresearch.judge.{given}" for given in settings)))
    assert not refused(problems)


@pytest.mark.parametrize(
    "fix",
    ["oresearch.judge.concurrency=8", "oresearch.seconds.step=2520", "oresearch.judge.timeout=18"],
)
def test_a_judge_that_serves_a_step_in_time_is_accepted(tmp_path, fix):
    slow = ("oresearch.judge.kind=model", "oresearch.judge.model=m",
            "oresearch.judge.concurrency=1")  # fmt: skip
    settings = {problem.setting for problem in check(cpu_launch(tmp_path, *slow, fix))}
    assert "oresearch.judge.concurrency" not in settings


def test_a_judge_that_weighs_nothing_is_asked_all_the_same(tmp_path):
    unpaid = ("oresearch.judge.kind=model", "oresearch.reward.quality=0")
    found = only(check(cpu_launch(tmp_path, *unpaid)), "oresearch.judge.model")
    assert found.refused
    slow = (*unpaid, "oresearch.judge.model=m", "oresearch.judge.concurrency=1")
    assert only(check(cpu_launch(tmp_path, *slow)), "oresearch.judge.concurrency").refused


def test_an_audit_that_cannot_judge_the_questions_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    questions(tmp_path / "train.parquet", key_points=False)
    model = ("oresearch.judge.kind=model", "oresearch.judge.model=gpt-5-mini")
    assert not refused(check(cpu_launch(tmp_path, *model)))
    config = cpu_launch(tmp_path, *model, "oresearch.audit.share=0.1")
    found = only(check(config), "data.train_files")
    assert "oresearch.audit.judge.kind=model" in found.what
    monkeypatch.delenv("OPENAI_API_KEY")
    audit = "oresearch.audit={share: 0.1, judge: {kind: model, model: m}}"
    assert only(check(cpu_launch(tmp_path, audit)), "oresearch.audit.judge.base_url").refused


def test_an_engine_of_several_copies_divides_the_gpus(tmp_path):
    sizes = ("trainer.n_gpus_per_node=4", f"{ROLLOUT}.data_parallel_size=3")
    found = only(check(cpu_launch(tmp_path, *sizes)), f"{ROLLOUT}.data_parallel_size")
    assert "an engine of 3 does not divide the run's 4 GPUs" in found.what


def test_a_judge_without_server_needs_the_providers_key(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = cpu_launch(tmp_path, "oresearch.judge.kind=model", "oresearch.judge.model=gpt-5-mini")
    assert "OPENAI_API_KEY" in only(check(config), "oresearch.judge.base_url").what
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert not refused(check(config))


def test_questions_without_key_points_have_no_judge(tmp_path):
    questions(tmp_path / "train.parquet", key_points=False)
    assert (
        "row 0: there are no key points"
        in only(check(cpu_launch(tmp_path)), "data.train_files").what
    )


def test_rows_that_are_no_questions_are_refused(tmp_path):
    rows = tmp_path / "train.parquet"
    pq.write_table(pa.table({"prompt": ["q"]}), rows)
    assert "reward_model is missing" in only(check(cpu_launch(tmp_path)), "data.train_files").what
    rows.write_text("not parquet")
    assert "not a Parquet file" in only(check(cpu_launch(tmp_path)), "data.train_files").what


def test_a_model_of_another_protocol_is_refused(tmp_path):
    model = tiny_model(tmp_path / "model")
    write_fingerprint(model, training_protocol(ResearchSettings(dialect="released")))
    found = only(check(cpu_launch(tmp_path)), "actor_rollout_ref.model.path")
    assert "dialect released against paper" in found.what
    assert found.refused


def test_the_checkpoint_that_would_be_resumed_has_the_same_protocol(tmp_path):
    step = tmp_path / "run" / "global_step_3" / "actor"
    write_fingerprint(step, training_protocol(ResearchSettings(execution="sequential")))
    (tmp_path / "run" / "latest_checkpointed_iteration.txt").write_text("3")
    found = only(check(cpu_launch(tmp_path)), "trainer.default_local_dir")
    assert "execution sequential against parallel" in found.what
    assert not refused(check(cpu_launch(tmp_path, "trainer.resume_mode=disable")))


def test_a_template_that_thinks_for_the_policy_is_refused(tmp_path):
    empty = "<think>\n\n</think>\n\n"
    thinks = CHATML.replace("assistant\n'", "assistant\n' + ('' if enable_thinking else think)")
    template = f"{{% set think = {json.dumps(empty)} %}}{thinks}"
    tiny_model(tmp_path / "model", template=template)
    found = only(check(cpu_launch(tmp_path)), "data.apply_chat_template_kwargs")
    assert "enable_thinking=true" in found.fix
    on = cpu_launch(tmp_path, "+data.apply_chat_template_kwargs.enable_thinking=true")
    assert not refused(check(on))


def test_qwen3_from_the_hub_must_have_thinking_on():
    config = compose_config(
        "qwen3-8b_8gpu", ["data.apply_chat_template_kwargs.enable_thinking=false"]
    )
    assert only(check(config, dry_run=True), "data.apply_chat_template_kwargs").refused


@pytest.mark.parametrize(
    ("override", "setting", "what"),
    [
        ("long_context.rope_parameters.factor=4.0", None, ""),
        ("actor_rollout_ref.rollout.engine_kwargs.vllm.hf_overrides={}",
         "actor_rollout_ref.rollout.engine_kwargs.vllm.hf_overrides",
         "engine stretches positions by nothing"),
        ("actor_rollout_ref.model.hf_config_path=null", "actor_rollout_ref.model.hf_config_path",
         "through a folder"),
        ("+actor_rollout_ref.model.override_config.rope_scaling={rope_type:yarn}",
         "actor_rollout_ref.model.override_config.rope_scaling", "cannot set a dictionary"),
    ],
)  # fmt: skip
def test_engine_actor_and_reference_stretch_positions_alike(override, setting, what):
    problems = check(compose_config("qwen2.5-72b_multinode", [override]), dry_run=True)
    if setting is None:
        assert not refused(problems)
    else:
        assert what in only(problems, setting).what


def test_an_engine_told_otherwise_is_refused():
    hf = "actor_rollout_ref.rollout.engine_kwargs.vllm.hf_overrides"
    config = compose_config("qwen2.5-72b_multinode")
    config.actor_rollout_ref.rollout.engine_kwargs.vllm.hf_overrides = {
        "rope_parameters": {**config.long_context.rope_parameters, "factor": 4.0}
    }
    assert "disagree about every token" in only(check(config, dry_run=True), hf).what


def test_nodes_write_into_one_folder():
    config = compose_config("qwen2.5-72b_multinode")
    config.trainer.default_local_dir = "runs/72b"
    assert "relative" in only(check(config), "trainer.default_local_dir").what


def test_a_gpu_file_beside_the_cpu_platform_is_refused(monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    found = only(check(compose_config("qwen2.5-7b_8gpu")), "trainer.device")
    assert found.refused
    assert "VERL_PLATFORM" in found.fix


def test_a_problem_is_shown_with_line_and_fix(tmp_path, capsys):
    console = Console(width=20)
    show_problems([Problem("a.b", "is [bold]wrong[/bold]", "a.b=1")], console)
    assert capsys.readouterr().out == "refused a.b: is [bold]wrong[/bold]\n  fix: a.b=1\n"


def test_a_relative_model_folder_is_found_where_the_command_runs(tmp_path, monkeypatch):
    tiny_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    config = compose_config("cpu_tiny", ["actor_rollout_ref.model.path=model"])
    assert Path(config.actor_rollout_ref.model.path) == tmp_path / "model"


def test_validation_rows_of_another_split_are_told_of(tmp_path):
    config = cpu_launch(tmp_path, "trainer.test_freq=5")
    found = only(check(config), "data.val_files")
    assert found.refused
    assert "counted as training" in found.what
    unvalidated = check(cpu_launch(tmp_path))
    assert [problem for problem in unvalidated if problem.setting == "data.val_files"] == []
