"""A checkpoint becomes a folder that is served as it was trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM
from typer.testing import CliRunner

from oresearch_graph import ResearchSettings
from oresearch_graph.errors import ConfigurationError
from rl.checkpoints.serving import VERBATIM, serving_template
from rl.checkpoints.shards import find_checkpoint
from rl.export import app, export
from rl.rollouts.thread_tokens import ThreadTokens, mangles_thinking
from rl.rows.fingerprint import read_fingerprint, training_protocol, write_fingerprint
from tests.helpers.launches import tiny_config
from tests.helpers.small_tokenizers import CHATML, protocol_tokenizer

THINKS = (
    "{% for m in messages %}{% set c = m.content.split('</think>')[-1] if m.role == 'assistant' "
    "else m.content %}{{ '<|im_start|>' + m.role + '\n' + c + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined "
    "and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
"""As Qwen3's: strips thinking from messages, and writes an empty block where it is off."""


def model() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(tiny_config()).to(torch.bfloat16)


def checkpoint(run: Path, weights: dict[str, torch.Tensor], template: str = CHATML) -> Path:
    """A GRPO checkpoint of one rank, as verl's manager writes it."""
    folder = run / "global_step_3" / "actor"
    tokenizer = protocol_tokenizer()
    tiny_config().save_pretrained(folder / "huggingface")
    tokenizer.save_pretrained(folder / "huggingface")
    (folder / "huggingface" / "chat_template.jinja").write_text(template, encoding="utf-8")
    torch.save(weights, folder / "model_world_size_1_rank_0.pt")
    (folder / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 1}))
    torch.save({}, folder.parent / "data.pt")
    (run / "latest_checkpointed_iteration.txt").write_text("3")
    write_fingerprint(folder, training_protocol(ResearchSettings()))
    return folder


def logits(network: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.arange(12)[None]).logits


def test_the_folder_is_the_trained_model_with_its_protocol(tmp_path):
    trained = model()
    folder = checkpoint(tmp_path, trained.state_dict())
    export(folder.parent, tmp_path / "out")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)
    wanted = trained.state_dict()
    assert exported.state_dict().keys() == wanted.keys()
    assert all(torch.equal(weight, wanted[name]) for name, weight in exported.state_dict().items())
    assert read_fingerprint(tmp_path / "out") == training_protocol(ResearchSettings())
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == CHATML
    assert not (tmp_path / "out.part").exists()


def test_the_command_says_how_to_serve(tmp_path):
    checkpoint(tmp_path, model().state_dict())
    done = CliRunner().invoke(app, [str(tmp_path), str(tmp_path / "mine")])
    assert done.exit_code == 0, done.output
    assert "vllm serve mine --served-model-name mine --max-model-len 8192" in done.output
    assert "--set rendering=prefill --execution parallel --set dialect=paper" in done.output


def test_adapters_are_merged_into_their_base(tmp_path):
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(model(), config)
    folder = checkpoint(tmp_path, adapted.state_dict())
    (folder / "lora_train_meta.json").write_text(
        json.dumps({"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"})
    )
    export(tmp_path, tmp_path / "out")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)
    assert torch.allclose(logits(exported), logits(adapted), atol=0.1)
    assert not torch.allclose(logits(exported), logits(model()), atol=0.1)
    assert not (tmp_path / "out" / "lora_adapter").exists()


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        ("model_world_size_1_rank_0.pt", "model_world_size_1_rank_0.pt is missing"),
        ("fsdp_config.json", "fsdp_config.json is missing"),
        ("huggingface/config.json", "huggingface/config.json is missing"),
        ("../data.pt", "which is written last, is missing"),
    ],
)
def test_a_half_written_checkpoint_is_refused_in_one_line(tmp_path, lost, why):
    folder = checkpoint(tmp_path, {"w": torch.zeros(1)})
    (folder / lost).unlink()
    done = CliRunner().invoke(app, [str(folder), str(tmp_path / "out")])
    assert done.exit_code == 2
    assert why in done.output
    assert "take an earlier global_step_N" in done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_shard_that_was_cut_off_is_refused(tmp_path):
    folder = checkpoint(tmp_path, {"w": torch.zeros(10_000)})
    shard = folder / "model_world_size_1_rank_0.pt"
    shard.write_bytes(shard.read_bytes()[:10_000])
    with pytest.raises(ConfigurationError, match=r"rank_0\.pt is cut off"):
        find_checkpoint(tmp_path)


def test_shards_of_another_model_leave_nothing_behind(tmp_path):
    checkpoint(tmp_path, {"lm_head.weight": torch.zeros(3, 3)})
    with pytest.raises(ConfigurationError, match=r"does not hold model\.embed_tokens.weight"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out.part").exists()


def test_what_is_no_checkpoint_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no checkpoint"):
        find_checkpoint(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="is no checkpoint of verl"):
        find_checkpoint(tmp_path)


def test_nothing_is_overwritten(tmp_path):
    checkpoint(tmp_path, {"w": torch.zeros(1)})
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigurationError, match="is there already"):
        export(tmp_path, tmp_path / "out")


def test_a_template_that_rewrites_thinking_is_replaced(tmp_path):
    folder = checkpoint(tmp_path, model().state_dict(), THINKS)
    export(folder, tmp_path / "out", {"enable_thinking": True})
    served = AutoTokenizer.from_pretrained(tmp_path / "out")
    trained = AutoTokenizer.from_pretrained(folder / "huggingface")
    assert mangles_thinking(trained)
    assert not mangles_thinking(served)
    opening = ThreadTokens(trained, {"enable_thinking": True}).opening("s <think>", "q")
    assert ThreadTokens(served).opening("s <think>", "q") == opening


def test_a_server_continues_the_thread_that_the_rollout_had(tmp_path):
    """The rendering `prefill`: the last message is shown word for word, and left open."""
    tokenizer = protocol_tokenizer()
    thread = "<think>why?</think>\n\n<web_search>tides&serp_num=2</web_search>\n\n"
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": f"{thread}<observation>[1001] moon</observation>"},
    ]
    shown = tokenizer.apply_chat_template(
        messages, tokenize=False, continue_final_message=True, chat_template=VERBATIM
    )
    opening = ThreadTokens(tokenizer).opening("s", "q")
    assert shown == tokenizer.decode(opening) + messages[-1]["content"]


def test_a_template_of_another_frame_cannot_be_replaced():
    other = protocol_tokenizer().__class__(
        tokenizer_object=protocol_tokenizer().backend_tokenizer, eos_token="<|im_end|>"
    )
    other.chat_template = THINKS.replace("<|im_start|>", "[INST]")
    with pytest.raises(ConfigurationError, match="are not ChatML"):
        serving_template(other)


def test_thinking_that_was_off_in_training_is_not_served_with_an_open_block():
    other = protocol_tokenizer().__class__(
        tokenizer_object=protocol_tokenizer().backend_tokenizer, eos_token="<|im_end|>"
    )
    other.chat_template = THINKS
    with pytest.raises(ConfigurationError):
        serving_template(other, {"enable_thinking": False})
    assert serving_template(other, {"enable_thinking": True}) == VERBATIM
