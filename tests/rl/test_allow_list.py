"""The allow-list: what it refuses, in one line each; that it is complete, and that each line of it
stands on a test of ours or a line of verl."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
import verl
from omegaconf import DictConfig, OmegaConf
from typer.testing import CliRunner
from verl.trainer.config import CheckpointConfig
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY
from verl.workers.config import (
    FSDPActorConfig,
    FSDPEngineConfig,
    FSDPOptimizerConfig,
    HFModelConfig,
    RolloutConfig,
)

import tests.helpers.verl_quietly  # noqa: F401
from rl import grpo
from rl.check.allow_list import ALLOWANCES, FREE, listed_paths, unlisted
from rl.check.learning_settings import BY_ROW, LOSS_MODES
from rl.check.problem import Problem
from rl.check.startup import check
from rl.launch.composition import CHECKOUT, compose_config, config_names
from rl.learning.advantage import ESTIMATOR
from rl.learning.trainer import MODE
from tests.helpers.launches import cpu_launch, questions, tiny_model

ACTOR = "actor_rollout_ref.actor"
REF = "actor_rollout_ref.ref"
ROLLOUT = "actor_rollout_ref.rollout"
MODEL = "actor_rollout_ref.model"
CORRECTION = "algorithm.rollout_correction"
VERL = Path(verl.__file__).parent


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("a worker was about to start"))


def the_refusal(config: DictConfig, dry_run: bool = False) -> Problem:
    """The one problem that refuses it, in one line with its fix."""
    (problem,) = [each for each in check(config, dry_run=dry_run) if each.refused]
    assert problem.fix
    assert "\n" not in problem.what + problem.fix
    return problem


REFUSED = [
    *((f"{ACTOR}.policy_loss.loss_mode={mode}", what) for mode, what in (
        ("gspo", "mean ratio of its row"), ("sapo", "averages within rows"),
        ("geo_mean", "means over rows"), ("kl_cov", "by rank in each micro-batch"),
        ("clip_cov", "at random"), ("bypass_mode", "own log-probabilities"),
        ("nonsense", "is no loss of verl"), ("clip-cov", "is no loss of verl"),
        ("kl-cov", "is no loss of verl"), ("grpo", "is no loss of verl"), ("null", "is no loss"),
        ("dro", "null is no positive number"),
    )),
    *((f"{ACTOR}.loss_agg_mode={mode}", what) for mode, what in (
        ("seq-mean-token-mean", "more rows weighs more"),
        ("seq-mean-token-sum-norm", "width of each padded micro-batch"),
        ("mean", "averages"),
    )),
    (f"{ACTOR}.loss_scale_factor=16", "is read by seq-mean-token-sum-norm only"),
    (f"{ACTOR}.policy_loss.dro_beta=1", "is read by loss_mode=dro only"),
    (f"{ACTOR}.policy_loss.clip_cov_ratio=0.1", "is not verl's 0.0002"),
    (f"{ACTOR}.policy_loss.ppo_kl_coef=1", "is not verl's 0.1"),
    (f"{ACTOR}.tau_pos=2", "is not verl's 1.0"),
    (f"+{ACTOR}.policy_loss.rollout_correction.rollout_is=token", "no such setting is known"),
    (f"{ACTOR}.clip_ratio=wide", "is no number"),
    (f"{ACTOR}.clip_ratio_c=1", "is not above 1"),
    (f"{ACTOR}.entropy_coeff=-1", "is no number from 0 on"),
    (f"{ACTOR}.entropy_coeff=high", "is no number from 0 on"),
    (f"{ACTOR}.kl_loss_type=full", "raises after the first rollouts"),
    (f"{ACTOR}.kl_loss_type=k4", "raises after the first rollouts"),
    (f"{ACTOR}.kl_loss_coef=null", "is no number"),
    (f"{ACTOR}.ppo_epochs=0", "is no whole number"),
    (f"{ACTOR}.ppo_epochs=1.5", "is no whole number"),
    (f"{ACTOR}.shuffle=true", "tear a prompt's rows apart"),
    (f"{ACTOR}.use_prefix_grouper=true", "does not reach the FSDP engine"),
    (f"{ACTOR}.calculate_sum_pi_squared=true", "no estimator of ours"),
    (f"+{ACTOR}.use_rollout_log_probs=true", "no such setting is known"),
    (f"{ACTOR}.grad_clip=0.5", "is read by nothing"),
    (f"{ACTOR}.optim.clip_grad=null", "is no positive number"),
    (f"{ACTOR}.qat.enable=true", "rounded weights"),
    (f"{ACTOR}.fsdp_config.qat.enable=true", "rounded weights"),
    (f"{ACTOR}.fsdp_config.model_dtype=bf16", "rounded away"),
    (f"{ACTOR}.fsdp_config.dtype=float32", "is read by nothing"),
    (f"{ACTOR}.fsdp_config.forward_only=true", "trains nothing"),
    (f"{ACTOR}.fsdp_config.mixed_precision.reduce_dtype=bf16", "in 16 bits"),
    (f"+{ACTOR}.fsdp_config.router_replay.mode=R3", "no such setting is known"),
    (f"{ACTOR}.ppo_micro_batch_size=4", "verl's older key"),
    (f"{ACTOR}.freeze_vision_tower=true", "is not verl's false"),
    *((f"{CORRECTION}.{each}", what) for each, what in (
        ("rollout_is=sequence", "product over a row"), ("rollout_is=garbage", "is no level"),
        ("rollout_rs=seq_mean_k1", "drops whole rows"), ("rollout_rs=seq_sum_k3", "drops whole"),
        ("rollout_rs=seq_max_k2", "drops whole rows"), ("rollout_rs=garbage", "is no criterion"),
        ("rollout_rs=token_k1,seq_mean_k3", "drops whole rows"),
        ("rollout_rs=token_k1", "null is not one bound"),
        ("rollout_rs_threshold=2", "is read with rollout_rs only"),
        ("rollout_is_threshold=low", "positive upper bound"),
        ("rollout_is_threshold=-1", "positive upper bound"),
        ('rollout_is_threshold="2_1"', "positive upper bound"),
        ("rollout_is_threshold=0.5_5", "unless quoted"),
        ("rollout_rs=token_k1 algorithm.rollout_correction.rollout_rs_threshold=0.5_2",
         "unless quoted"),
        ("bypass_mode=true", "never computes"), ("loss_type=reinforce", "bypass_mode only"),
    )),
    *((f"algorithm.adv_estimator={name}", "each row for a member") for name in (
        "gae", "grpo", "reinforce_plus_plus", "remax", "opo", "grpo_passk", "gpg", "gdpo",
        "optimal_token_baseline", "nonsense", "null",
    )),
    ("algorithm.use_kl_in_reward=true", "row by row"),
    ("algorithm.use_pf_ppo=true", "resamples rows"),
    ("algorithm.gamma=0.9", "is not verl's 1.0"),
    ("algorithm.kl_ctrl.type=adaptive", "is not verl's fixed"),
    ("+algorithm.gdpo_reward_keys=[format]", "no such setting is known"),
    ("algorithm.filter_groups.metric=acc", "is not verl's reward"),
    ("trainer.critic_warmup=5", "leaves the actor as it is"),
    ("critic.enable=true", "does not read"),
    ("distillation.enabled=true", "a teacher's"),
    ("trainer.v1.sampler.custom_sampler.path=mine.py", "does not load it"),
    ("trainer.v1.sampler.sync_refill_failed_groups=true", "is not read"),
    ("skip.rollout_tq.enable=true", "an earlier policy"),
    ("reward.reward_model.enable=true", "replaces the reward"),
    ("reward.custom_reward_function.path=mine.py", "computed in the rollout"),
    ("reward.reward_manager.name=dapo", "computed in the rollout"),
    ("reward.reward_manager.source=importlib", "computed in the rollout"),
    ("reward.reward_manager.module.path=mine.py", "computed in the rollout"),
    ("reward.sandbox_fusion.url=http://127.0.0.1:1", "no reward of ours"),
    ("reward_model.enable=true", "older key"),
    ("reward_model.reward_manager=dapo", "older key"),
    ("reward_model.num_workers=2", "is not verl's null"),
    ("custom_reward_function.path=mine.py", "older key"),
    ("actor_rollout_ref.hybrid_engine=false", "separate trainer"),
    (f"{ROLLOUT}.name=sglang", "stop parameters"),
    (f"{ROLLOUT}.name=trtllm", "stop parameters"),
    (f"{ROLLOUT}.name=hf", "stop parameters"),
    (f"{ROLLOUT}.mode=sync", "is no mode"),
    (f"{ROLLOUT}.nnodes=1", "separate trainer"),
    (f"{ROLLOUT}.calculate_log_probs=false", "neither the mismatch"),
    (f"{ROLLOUT}.logprobs_mode=raw_logits", "leaves the temperature out"),
    (f"{ROLLOUT}.top_p=0.95", "a cut distribution"),
    (f"{ROLLOUT}.top_k=20", "a cut distribution"),
    (f"+{ROLLOUT}.repetition_penalty=1.1", "is read by nothing"),
    (f"{ROLLOUT}.ignore_eos=true", "behind its end"),
    (f"{ROLLOUT}.over_sample_rate=0.2", "is read by nothing"),
    (f"{ROLLOUT}.do_sample=false", "is read by nothing"),
    (f"{ROLLOUT}.full_determinism=true", "the same seed"),
    (f"{ROLLOUT}.prompt_length=9999", "is not data.max_prompt_length"),
    (f"{ROLLOUT}.response_length=9999", "is not data.max_response_length"),
    (f"{ROLLOUT}.n_gpus_per_node=3", "is not verl's 1"),
    (f"{ROLLOUT}.skip_tokenizer_init=false", "is not verl's true"),
    (f"{ROLLOUT}.multi_stage_wake_up=true", "is not verl's false"),
    (f"{ROLLOUT}.limit_images=2", "no such setting is known"),
    (f"{ACTOR}.rollout_n=2", "is not verl's 4"),
    (f"{REF}.rollout_n=2", "is not verl's 4"),
    (f"{ACTOR}.use_fused_kernels=true", "overwritten by the model's"),
    (f"{ACTOR}.use_remove_padding=true", "overwritten by the model's"),
    (f"{ACTOR}.fsdp_config.strategy=fsdp", "overwritten by the actor's"),
    (f"+{ACTOR}.fsdp_config.mixed_precision.buffer_dtype=bf16", "frequencies of positions"),
    (f"+{REF}.fsdp_config.mixed_precision.buffer_dtype=bf16", "frequencies of positions"),
    (f"{REF}.fsdp_config.model_dtype=bf16 {ACTOR}.use_kl_loss=true", "rounds the reference's"),
    (f"+{ACTOR}.optim.grad_clip=5", "takes the place of clip_grad"),
    (f"{ACTOR}.optim.warmup_style=cosine", "takes the place of lr_scheduler_type"),
    (f"{ACTOR}.checkpoint.load_contents=[optimizer,extra]", "leaves out model"),
    (f"{ACTOR}.checkpoint.load_contents=[model]", "leaves out optimizer"),
    (f"{ACTOR}.checkpoint.async_save=true", "begins anew"),
    (f"+{ACTOR}.checkpoint.save_lora_only=true", "leaves the base out"),
    (f"{MODEL}.lora_adapter_path=/adapter", "is ignored with lora_rank=0"),
    (f"{MODEL}.lora_rank=8 {ACTOR}.use_kl_loss=true {MODEL}.lora_adapter_path=/adapter",
     "is not in the reference"),
    (f"{ROLLOUT}.quantization=fp8", "rounded weights"),
    (f"{ROLLOUT}.quantization_config_file=q.json", "rounded weights"),
    (f"{ROLLOUT}.mtp.enable=true", "heads that are not trained"),
    (f"{ROLLOUT}.enable_rollout_routing_replay=true", "experts"),
    (f"{ROLLOUT}.disaggregation.enabled=true", "never tried"),
    (f"{ROLLOUT}.multi_turn.enable=true", "research graph's"),
    (f"{ROLLOUT}.multi_turn.format=llama3_json", "is not verl's hermes"),
    (f"{ROLLOUT}.checkpoint_engine.backend=nccl", "separate trainer"),
    (f"{ROLLOUT}.agent.custom_async_server.path=mine.py", "engine's server"),
    (f"+{ROLLOUT}.agent.agent_loop_manager_class=mine.Manager", "no such setting is known"),
    (f"{ROLLOUT}.engine_kwargs.vllm.kv_cache_dtype=fp8", "has kv_cache_dtype"),
    (f"{ROLLOUT}.engine_kwargs.vllm.quantization=fp8", "has quantization"),
    (f"{ROLLOUT}.engine_kwargs.vllm.logprobs_mode=raw_logprobs", "has logprobs_mode"),
    (f"{ROLLOUT}.engine_kwargs.vllm.hf_overrides.sliding_window=512", "sliding_window"),
    (f"{ROLLOUT}.engine_kwargs.sglang.attention_backend=fa3", "no such setting is known"),
    (f"{MODEL}.tiled_mlp.enabled=true", "does not reach"),
    (f"{MODEL}.mtp.enable=true", "heads"),
    (f"{MODEL}.lora.rank=8", "no adapter"),
    (f"{MODEL}.use_fused_kernels=true", "without gathering it"),
    (f"{MODEL}.fused_kernel_options.impl_backend=cuda", "without a word"),
    (f"{MODEL}.hf_config_path=/elsewhere", "not by the engine"),
    (f"{MODEL}.override_config.attn_implementation=flex_attention", "needs a GPU"),
    (f"{MODEL}.override_config.attention_dropout=0.1", "no such setting is known"),
    (f"{MODEL}.external_lib=mine", "is not verl's null"),
    (f"{MODEL}.tokenizer_path=/elsewhere", "is not verl's null"),
    (f"{MODEL}.custom_chat_template=x", "is not verl's null"),
    # Near misses: verl would say that a key is unknown, or nothing.
    (f"+{ACTOR}.policy_loss.loss_mod=gspo", "policy_loss.loss_mode is"),
    (f"+{ACTOR}.los_agg_mode=token-sum", "actor.loss_agg_mode is"),
    (f"+{CORRECTION}.rollout_iss=token", "rollout_correction.rollout_is is"),
    ("+algorithm.adv_estimatr=grpo", "algorithm.adv_estimator is"),
    # What is no number at all ends in a line, too.
    (f"{ROLLOUT}.tensor_model_parallel_size=0", "less than 1"),
    (f"{ROLLOUT}.n=many", "no whole number"),
    (f"{ROLLOUT}.temperature=warm", "no number"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "what"), REFUSED)
def test_refused_in_one_line(tmp_path, override: str, what: str):
    setting = override.partition("=")[0].lstrip("+")
    problem = the_refusal(cpu_launch(tmp_path, *override.split()))
    assert what in problem.what
    assert problem.setting == setting or setting.startswith(f"{problem.setting}.") or (
        problem.setting.rpartition(".")[0] == setting.rpartition(".")[0]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "setting", "what"),
    [
        (f"+{MODEL}.override_config.attn_implementation=sdpa",
         f"{MODEL}.override_config.attn_implementation", "its own slice of the row"),
        (f"+{MODEL}.override_config.attn_implementation=eager",
         f"{MODEL}.override_config.attn_implementation", "its own slice of the row"),
        (f"+{ACTOR}.fsdp_config.mixed_precision.param_dtype=fp32",
         f"{MODEL}.override_config.attn_implementation", "16 bits only"),
        (f"{ACTOR}.ulysses_sequence_parallel_size=8", f"{ACTOR}.ulysses_sequence_parallel_size",
         "28 attention heads"),
        (f"{ACTOR}.ulysses_sequence_parallel_size=1 {ACTOR}.ppo_max_token_len_per_gpu=32768"
         f" {ACTOR}.fsdp_config.ulysses_sequence_parallel_size=4",
         f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size", "not the reference"),
        (f"{REF}.ulysses_sequence_parallel_size=1", f"{REF}.ulysses_sequence_parallel_size",
         "is not verl's 4"),
        (f"{ROLLOUT}.tensor_model_parallel_size=8", f"{ROLLOUT}.tensor_model_parallel_size",
         "28 attention heads"),
        (f"{ROLLOUT}.log_prob_max_token_len_per_gpu=4096",
         f"{ROLLOUT}.log_prob_max_token_len_per_gpu", "= 16384 cannot hold a row of 32768"),
        (f"{ACTOR}.use_kl_loss=true {REF}.log_prob_max_token_len_per_gpu=4096",
         f"{REF}.log_prob_max_token_len_per_gpu", "cannot hold a row"),
        (f"{ROLLOUT}.log_prob_use_dynamic_bsz=false", f"{ROLLOUT}.log_prob_use_dynamic_bsz",
         "every worker raises"),
        (f"+{ROLLOUT}.engine_kwargs.vllm.worker_extension_cls=mine.Extension",
         f"{ROLLOUT}.engine_kwargs.vllm", "weights never arrive"),
        (f"{ACTOR}.use_kl_loss=true +{REF}.fsdp_config.mixed_precision.param_dtype=fp32",
         f"{REF}.fsdp_config.mixed_precision.param_dtype", "in fp32 and the actor in bf16"),
        (f"+{MODEL}.override_config.attn_implementation=flex_attention",
         f"{MODEL}.override_config.attn_implementation", "was tried with packed rows"),
        (f"{ACTOR}.ulysses_sequence_parallel_size=two", f"{ACTOR}.ulysses_sequence_parallel_size",
         "'two' is no whole number"),
        (f"{ACTOR}.strategy=megatron", f"{ACTOR}.strategy", "was never tried"),
    ],
)  # fmt: skip
def test_refused_of_a_gpu_file(overrides: str, setting: str, what: str):
    config = compose_config("qwen2.5-7b_8gpu", overrides.split())
    problem = the_refusal(config, dry_run=True)
    assert problem.setting == setting
    assert what in problem.what


ALLOWED = [
    f"{ACTOR}.loss_agg_mode=seq-mean-token-sum",
    f"{ACTOR}.loss_agg_mode=token-sum",
    f"{ACTOR}.loss_agg_mode=seq-mean-token-sum-norm {ACTOR}.loss_scale_factor=4096",
    *(f"{ACTOR}.policy_loss.loss_mode={mode}" for mode in LOSS_MODES if mode != "dro"),
    f"{ACTOR}.policy_loss.loss_mode=dro {ACTOR}.policy_loss.dro_beta=0.5",
    f"{ACTOR}.use_kl_loss=true {ACTOR}.kl_loss_type=k3+ {ACTOR}.entropy_coeff=0.001",
    f"{ACTOR}.clip_ratio_high=0.28 {ACTOR}.ppo_epochs=2",
    f'{CORRECTION}.rollout_is=token {CORRECTION}.rollout_is_threshold="0.5_5"',
    f"{CORRECTION}.rollout_rs=token_k1,token_k3 {CORRECTION}.rollout_rs_threshold=0.5_2,0.1",
    f"{CORRECTION}.rollout_is=token {CORRECTION}.rollout_is_batch_normalize=true",
    "algorithm.norm_adv_by_std_in_grpo=false",
    f"{ACTOR}.optim.lr=1e-5 {ACTOR}.optim.weight_decay=0 {ACTOR}.optim.lr_scheduler_type=cosine",
    f"{MODEL}.lora_rank=8 {MODEL}.lora_alpha=16",
    f"{MODEL}.lora_rank=8 {MODEL}.lora_adapter_path=/adapter",
    f"{ACTOR}.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
    f"{REF}.fsdp_config.model_dtype=bf16",
    f"{ROLLOUT}.gpu_memory_utilization=0.4 {ROLLOUT}.max_num_seqs=8 {ROLLOUT}.seed=7",
    f"{ROLLOUT}.engine_kwargs.vllm.block_size=32",
    f"{ROLLOUT}.val_kwargs.temperature=0.6 {ROLLOUT}.val_kwargs.n=4",
    "critic.ppo_epochs=4",
]


def test_what_a_checkpoint_leaves_out_is_refused_of_both_that_read_it(tmp_path):
    config = cpu_launch(tmp_path, f"{ACTOR}.checkpoint.save_contents=[model,hf_model]")
    problems = {each.setting: each.what for each in check(config) if each.refused}
    assert list(problems) == [f"{ACTOR}.checkpoint.{name}_contents" for name in ("save", "load")]
    model = tiny_model(tmp_path / "sft")
    sft = compose_config(
        "sft_cpu_tiny", [f"model.path={model}", "checkpoint.save_contents=[model]"]
    )
    settings = {each.setting for each in check(sft, "sft", dry_run=True) if each.refused}
    assert settings == {"checkpoint.save_contents", "checkpoint.load_contents"}


@pytest.mark.parametrize("overrides", ALLOWED)
def test_a_setting_that_is_right_is_started_with(tmp_path, overrides: str):
    assert [p for p in check(cpu_launch(tmp_path, *overrides.split())) if p.refused] == []


@pytest.mark.parametrize(
    "override",
    [
        f"{ACTOR}.policy_loss.loss_mode=gspo",
        "reward.reward_model.enable=true",
        f"{ROLLOUT}.name=sglang",
    ],
)
def test_a_dry_run_ends_with_the_line(tmp_path, monkeypatch, override: str):
    monkeypatch.setattr("rl.grpo.prepare_environment", lambda _: {})
    files = [
        f"{MODEL}.path={tiny_model(tmp_path / 'model')}",
        f"data.train_files={questions(tmp_path / 'train.parquet')}",
        f"trainer.default_local_dir={tmp_path / 'run'}",
    ]
    done = CliRunner().invoke(grpo.app, ["cpu_tiny", *files, override, "--dry-run"])
    assert done.exit_code == 2
    lines = done.output.splitlines()
    (place,) = [at for at, line in enumerate(lines) if line.startswith("refused ")]
    assert lines[place].startswith(f"refused {override.partition('=')[0]}: ")
    assert lines[place + 1].startswith("  fix: ")
    assert lines[-1] == "nothing was started"


@pytest.mark.parametrize("name", config_names())
def test_every_setting_of_our_files_is_listed_or_verls_own(name: str):
    assert list(unlisted(compose_config(name), "sft" if name.startswith("sft_") else "grpo")) == []


def test_every_loss_of_verl_is_allowed_or_has_its_reason():
    assert set(POLICY_LOSS_REGISTRY) == set(LOSS_MODES) | set(BY_ROW)


def test_names_of_ours_are_those_that_are_registered():
    values = {each.setting: each.values for each in ALLOWANCES}
    assert values["algorithm.adv_estimator"] == (ESTIMATOR,)
    assert values["trainer.v1.trainer_mode"] == (MODE,)


def test_a_setting_is_listed_once():
    names = [(each.setting, each.kinds) for each in ALLOWANCES]
    assert len(set(names)) == len(names)
    assert len(set(FREE)) == len(FREE)


@pytest.mark.parametrize("allowance", ALLOWANCES, ids=lambda each: each.setting)
def test_a_line_stands_on_a_test_or_on_verl(allowance):
    assert allowance.why
    assert allowance.fix
    assert allowance.accepted()
    if allowance.source.startswith("tests/"):
        assert (CHECKOUT / allowance.source).is_file()
        return
    place, _, word = allowance.source.partition(" ")
    file, _, line = place.partition(":")
    assert word in (VERL / file).read_text("utf-8").splitlines()[int(line) - 1]


def test_no_line_is_of_a_setting_that_verl_does_not_have():
    fields = {
        MODEL: HFModelConfig, ROLLOUT: RolloutConfig, ACTOR: FSDPActorConfig,
        f"{ACTOR}.optim": FSDPOptimizerConfig, f"{ACTOR}.checkpoint": CheckpointConfig,
        f"{ACTOR}.fsdp_config": FSDPEngineConfig, f"{REF}.fsdp_config": FSDPEngineConfig,
    }  # fmt: skip
    known = {f"{section}.{name}" for section, kind in fields.items()
             for name in kind.__dataclass_fields__}  # fmt: skip
    loose = ("override_config", "mixed_precision", "engine_kwargs", "lora", "qat", "mtp")
    composed = compose_config("qwen2.5-7b_8gpu")
    for path in listed_paths("grpo"):
        parent, _, name = path.rpartition(".")
        section = OmegaConf.select(composed, parent)
        in_yaml = OmegaConf.is_dict(section) and name in section
        assert in_yaml or path in known or any(each in path for each in loose), path
