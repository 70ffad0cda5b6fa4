"""`python -m rl.export CHECKPOINT OUT`: a checkpoint as a Hugging Face folder, ready to be served.

verl's model merger puts the shards together on the CPU; adapters of a LoRA run are merged into
their base. The folder also gets a chat template that shows the policy what it wrote, the protocol
it was trained on, and SERVE.md with the two commands that use it. Exit status: 0, or 2 with one
line that says why not.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.trace import Protocol
from rl.checkpoints.serving import serving_notes, serving_template
from rl.checkpoints.shards import Checkpoint, find_checkpoint
from rl.rows.fingerprint import read_fingerprint, write_fingerprint

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    checkpoint: Annotated[Path, typer.Argument(help="global_step_N, or a run's folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; must not be there yet.")],
    template_arguments: Annotated[
        str, typer.Option(help="JSON: the run's data.apply_chat_template_kwargs.")
    ] = "{}",
) -> None:
    """Export a checkpoint of GRPO or SFT."""
    try:
        step = export(checkpoint, out, _arguments(template_arguments))
    except OresearchError as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    console = Console()
    console.print(f"{step.step} → {out}", markup=False, soft_wrap=True)
    console.print((out / "SERVE.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"--template-arguments is no JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise ConfigurationError('--template-arguments is a JSON object, such as {"a": true}')
    return arguments


def export(
    checkpoint: Path, out: Path, template_arguments: dict[str, Any] | None = None
) -> Checkpoint:
    """Write the folder; a whole one or none. Raises ConfigurationError."""
    source = find_checkpoint(checkpoint)
    if out.exists():
        raise ConfigurationError(f"{out} is there already; name another folder or remove it")
    protocol = read_fingerprint(source.model)
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _merge(source, part)
        _finish(part, out.name, protocol, template_arguments)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return source


def _merge(source: Checkpoint, part: Path) -> None:
    """Weights, configuration and tokenizer, in bf16."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # read when torch first looks: no GPU is touched
    from verl.model_merger.base_model_merger import ModelMergerConfig
    from verl.model_merger.fsdp_model_merger import FSDPModelMerger

    part.mkdir(parents=True)
    config = ModelMergerConfig(
        operation="merge",
        backend="fsdp",
        target_dir=str(part),
        local_dir=str(source.model),
        hf_model_config_path=str(source.model / "huggingface"),
        use_cpu_initialization=True,
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            FSDPModelMerger(config).merge_and_save()
    except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise ConfigurationError(
            f"{source.model} cannot be merged: {' '.join(str(error).split())[:300]}; take an"
            " earlier global_step_N"
        ) from error
    if (part / "lora_adapter").is_dir():
        _merge_adapters(part)
    _verify(source, part)


def _verify(source: Checkpoint, part: Path) -> None:
    """Each weight that the configuration asks for is there in its shape; verl's merger writes
    whatever the shards held."""
    import torch
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(part)
    with torch.device("meta"):
        expected = AutoModelForCausalLM.from_config(config).state_dict()
    if getattr(config, "tie_word_embeddings", False):
        expected.pop("lm_head.weight", None)
    shapes: dict[str, list[int]] = {}
    for file in part.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            shapes |= {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    wrong = [name for name, weight in expected.items() if shapes.get(name) != list(weight.shape)]
    if wrong:
        raise ConfigurationError(
            f"{source.model} does not hold {wrong[0]} in the shape that its configuration asks for"
            f" ({len(wrong)} weights are wrong); take another global_step_N"
        )


def _merge_adapters(part: Path) -> None:
    """verl leaves a LoRA run's adapters beside their base; one model is easier to serve."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapters = part / "lora_adapter"
    settings = json.loads((adapters / "adapter_config.json").read_text(encoding="utf-8"))
    if not settings.get("lora_alpha"):
        raise ConfigurationError(
            f"{part.stem}: the adapters' lora_alpha is not known, and without it they do nothing;"
            " put lora_train_meta.json beside the shards"
        )
    base = AutoModelForCausalLM.from_pretrained(part, dtype="auto")
    PeftModel.from_pretrained(base, adapters).merge_and_unload().save_pretrained(part)
    shutil.rmtree(adapters)


def _finish(
    part: Path, name: str, protocol: Protocol | None, template_arguments: dict[str, Any] | None
) -> None:
    """What a server and the next training run need beside the weights."""
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(part)
    if (template := serving_template(tokenizer, template_arguments)) is not None:
        tokenizer.chat_template = template
        tokenizer.save_pretrained(part)
    if protocol is not None:
        write_fingerprint(part, protocol)
    window = getattr(AutoConfig.from_pretrained(part), "max_position_embeddings", None)
    notes = serving_notes(name, window, protocol, replaced=template is not None)
    (part / "SERVE.md").write_text(notes, encoding="utf-8")


if __name__ == "__main__":
    app()
