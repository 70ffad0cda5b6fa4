"""Launches to be checked: a tiny model, its questions, and the CPU configuration over them."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedTokenizerBase, Qwen2Config

from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.rows.rl import RLQuestion, write_rl_rows
from rl.check.problem import Problem
from rl.launch.composition import compose_config
from tests.helpers.small_tokenizers import protocol_tokenizer

_COPIES = {
    "actor_rollout_ref.rollout.prompt_length": "data.max_prompt_length",
    "actor_rollout_ref.rollout.response_length": "data.max_response_length",
    "actor_rollout_ref.actor.rollout_n": "actor_rollout_ref.rollout.n",
    "actor_rollout_ref.ref.rollout_n": "actor_rollout_ref.rollout.n",
    "actor_rollout_ref.actor.use_fused_kernels": "actor_rollout_ref.model.use_fused_kernels",
    "actor_rollout_ref.actor.use_remove_padding": "actor_rollout_ref.model.use_remove_padding",
    "actor_rollout_ref.actor.fsdp_config.strategy": "actor_rollout_ref.actor.strategy",
    "actor_rollout_ref.actor.checkpoint.load_contents": ".save_contents",
}
"""Settings that are others', which composing resolves once overrides are in."""


def tiny_config(**changes: Any) -> Qwen2Config:
    """A model of two layers whose tokenizer is the tests' own."""
    sizes = {
        "vocab_size": len(protocol_tokenizer()), "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "max_position_embeddings": 8192, "tie_word_embeddings": False,
        "architectures": ["Qwen2ForCausalLM"],
    }  # fmt: skip
    return Qwen2Config(**{**sizes, **changes})


def tiny_model(folder: Path, template: str | None = None, **changes: Any) -> Path:
    """A model's folder without its weights: nothing that is checked reads them."""
    tokenizer: PreTrainedTokenizerBase = protocol_tokenizer()
    tiny_config(**changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def questions(path: Path, count: int = 4, *, key_points: bool = True) -> Path:
    """RL rows of so many questions."""
    points = (KeyPoint(text="the moon", needs=(("moon",),)),) if key_points else ()
    rubric = None if key_points else [{"criterion": "it names the moon"}]
    write_rl_rows(
        path,
        [
            RLQuestion.model_validate(
                {"id": f"q{i}", "question": "Why tides?", "key_points": points, "rubric": rubric}
            )
            for i in range(count)
        ],
    )
    return path


def cpu_launch(folder: Path, *overrides: str) -> DictConfig:
    """`cpu_tiny` over a model and questions in `folder`, made where they are missing."""
    model, rows = folder / "model", folder / "train.parquet"
    if not model.exists():
        tiny_model(model)
    if not rows.exists():
        questions(rows)
    config = deepcopy(_cpu_tiny())
    for setting, other in _COPIES.items():
        OmegaConf.update(config, setting, f"${{{other}}}")
    for override in (
        f"actor_rollout_ref.model.path={model}",
        f"data.train_files={rows}",
        f"data.val_files={rows}",
        f"trainer.default_local_dir={folder / 'run'}",
        "data.max_prompt_length=4096",
        "data.max_response_length=4096",
        "actor_rollout_ref.rollout.max_model_len=8192",
        *overrides,
    ):
        key, _, value = override.partition("=")
        given = OmegaConf.create(f"value: {value}").value
        OmegaConf.update(config, key.lstrip("+"), given, force_add=True)
    OmegaConf.resolve(config)
    return config


def only(problems: list[Problem], setting: str) -> Problem:
    """The one problem at a setting; its fix is there and in one line."""
    (found,) = [problem for problem in problems if problem.setting == setting]
    assert found.fix
    assert "\n" not in found.what + found.fix
    return found


@cache
def _cpu_tiny() -> DictConfig:
    """Composed once: it takes half a second, and what is checked is the composed file."""
    return compose_config("cpu_tiny")
