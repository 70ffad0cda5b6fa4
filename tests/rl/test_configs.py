"""Every configuration composes over verl's own and is accepted by verl's dataclasses."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from transformers import AutoConfig
from verl.trainer.config import RolloutCorrectionConfig
from verl.utils.model import update_model_config

from oresearch_graph.errors import ConfigurationError
from rl.check.startup import check, refused
from rl.check.upstream import validate_upstream
from rl.launch.composition import CONFIGS, compose_config, config_names, write_long_context
from rl.launch.environment import add_environment, join_cluster
from rl.rows.fingerprint import training_protocol
from rl.settings import from_config
from tests.helpers.launches import tiny_config, tiny_model

GRPO = [name for name in config_names() if not name.startswith("sft_")]
SFT = [name for name in config_names() if name.startswith("sft_")]
GPU = [name for name in config_names() if "tiny" not in name]


@pytest.mark.parametrize("name", GRPO)
def test_verl_accepts_every_grpo_file(name):
    assert validate_upstream(compose_config(name), "grpo") == []


@pytest.mark.parametrize("name", SFT)
def test_verl_accepts_every_sft_file(name):
    assert validate_upstream(compose_config(name), "sft") == []


@pytest.mark.parametrize("name", GPU)
def test_a_gpu_file_is_consistent_in_itself(name, monkeypatch):
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    problems = check(compose_config(name), "sft" if name in SFT else "grpo", dry_run=True)
    assert not refused(problems), problems
    missing = ("there is no file", "kind=model names no model", "there is no module")
    assert all(problem.what.startswith(missing) for problem in problems), problems


@pytest.mark.parametrize("name", GPU)
def test_a_gpu_file_says_that_it_was_not_run(name):
    assert "Not run on GPUs; composed and validated in CI." in (CONFIGS / f"{name}.yaml").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("name", [name for name in GRPO if name in GPU])
def test_gpu_files_correct_the_engines_mismatch(name):
    config = compose_config(name)
    correction = RolloutCorrectionConfig(**config.algorithm.rollout_correction)
    assert correction == RolloutCorrectionConfig.decoupled_token_is(threshold=2.0)
    assert config.actor_rollout_ref.rollout.calculate_log_probs


@pytest.mark.parametrize(
    ("sft", "grpo"),
    [
        ("sft_cpu_tiny", "cpu_tiny"),
        ("sft_qwen2.5-7b_8gpu", "qwen2.5-7b_8gpu"),
        ("sft_qwen3-8b_8gpu", "qwen3-8b_8gpu"),
        ("sft_qwen2.5-72b_multinode", "qwen2.5-72b_multinode"),
    ],
)
def test_sft_and_grpo_of_a_model_train_one_protocol(sft, grpo):
    first, second = (from_config(compose_config(name)).research_settings for name in (sft, grpo))
    assert training_protocol(first) == training_protocol(second)


def test_a_misspelled_key_is_found_in_every_section():
    for key in (
        "trainer.save_frequency=3", "data.train_batchsize=3", "algorithm.gama=1",
        "actor_rollout_ref.actor.use_kl=true", "actor_rollout_ref.rollout.max_len=3",
        "actor_rollout_ref.ref.offload=true", "actor_rollout_ref.model.pth=x",
        "reward.workers=1", "oresearh.judge=1", "algorithm.rollout_correction.rollout_iss=1",
    ):  # fmt: skip
        found = validate_upstream(compose_config("cpu_tiny", [f"+{key}"]), "grpo")
        assert len(found) == 1, key
        name = key.split("=")[0]
        assert name.split(".")[-1] in found[0].what or name.startswith(found[0].setting)


def test_verls_own_validation_is_asked():
    config = compose_config("cpu_tiny", ["actor_rollout_ref.actor.ppo_mini_batch_size=8"])
    (found,) = validate_upstream(config, "grpo")
    assert "train_batch_size (4) must be >= actor.ppo_mini_batch_size (8)" in found.what


def test_a_file_elsewhere_builds_on_one_of_ours(tmp_path):
    own = tmp_path / "mine.yaml"
    own.write_text("defaults: [cpu_tiny, _self_]\ntrainer: {total_training_steps: 7}\n")
    config = compose_config(str(own), ["data.train_batch_size=2"])
    assert config.trainer.total_training_steps == 7
    assert config.actor_rollout_ref.actor.ppo_mini_batch_size == 2


def test_what_does_not_compose_is_told_in_one_line(tmp_path):
    for name, overrides, expected in (
        ("nothing", [], "name a YAML file or one of cpu_tiny"),
        (str(tmp_path / "no.yaml"), [], "there is no file"),
        ("cpu_tiny", ["trainer.nodes=2"], "nodes"),
        ("cpu_tiny", ["trainer.nnodes=[1"], "trainer.nnodes"),
    ):
        with pytest.raises(ConfigurationError, match=expected) as caught:
            compose_config(name, overrides)
        assert "\n" not in str(caught.value)


def test_paths_are_absolute_because_workers_run_elsewhere():
    config = compose_config("cpu_tiny", ["data.train_files=[a.parquet,b.parquet]"])
    assert [Path(file).is_absolute() for file in config.data.train_files] == [True, True]
    assert Path(config.actor_rollout_ref.rollout.agent.agent_loop_config_path).is_file()
    assert Path(config.oresearch.traces).is_absolute()
    assert compose_config("qwen3-8b_8gpu").actor_rollout_ref.model.path == "Qwen/Qwen3-8B"


def test_every_worker_gets_the_environment():
    config = compose_config("cpu_tiny")
    add_environment(config, {"A": "1", "B": "2"})
    add_environment(config, {"A": "3"})
    variables = config.ray_kwargs.ray_init.runtime_env.env_vars
    assert dict(variables) == {"A": "1", "B": "2"}


def test_a_cluster_that_runs_is_not_told_its_size():
    config = compose_config("cpu_tiny")
    assert set(join_cluster(config)) == {"num_cpus", "num_gpus", "object_store_memory",
                                         "include_dashboard"}  # fmt: skip
    assert "num_gpus" not in config.ray_kwargs.ray_init


def test_long_context_is_one_setting_for_engine_actor_and_reference(tmp_path):
    model = tiny_model(tmp_path / "model", max_position_embeddings=32768)
    config = compose_config(
        "qwen2.5-72b_multinode",
        [f"actor_rollout_ref.model.path={model}", f"trainer.default_local_dir={tmp_path / 'run'}"],
    )
    written = AutoConfig.from_pretrained(write_long_context(config, "actor_rollout_ref.model"))
    engine = OmegaConf.to_container(config.actor_rollout_ref.rollout.engine_kwargs.vllm)
    assert written.rope_parameters == engine["hf_overrides"]["rope_parameters"]
    assert (
        written.max_position_embeddings == 65536 == config.actor_rollout_ref.rollout.max_model_len
    )
    assert Path(config.actor_rollout_ref.model.hf_config_path) == tmp_path / "run" / "model_config"


def test_upstream_still_cannot_override_a_dictionary():
    """Why `long_context` goes through a folder; when this fails, override_config will do."""
    with pytest.raises(AttributeError, match="rope_type"):
        update_model_config(tiny_config(), {"rope_parameters": {"rope_type": "yarn"}})


def test_a_key_under_a_wrong_name_is_not_repeated():
    config = OmegaConf.create({"oresearch": {"judge": {"api_key": "sk-secret-of-mine"}}})
    with pytest.raises(ConfigurationError, match=r"^oresearch\.judge\.api_key: ") as raised:
        from_config(config)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
