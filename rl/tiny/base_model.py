"""The tiny model: a Qwen2 of a million parameters and a tokenizer made for one protocol.

    python -m rl.tiny.base_model ROWS MODEL_DIR

makes one of SFT rows of your own, over their words and protocol, untrained: so that SFT can be
tried where there is no other model. It learns the protocol's form from a few hundred rows, not
facts.

Lines of the system prompt are single tokens, so is each protocol tag, and digits stand alone:
threads become a few hundred tokens. `warm_up` teaches copying before anything else; without it a
model of this size never learns to use what an observation says (0.00 against 0.61 of the
figures right after the same fine-tuning).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import torch
import typer
from rich.console import Console
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.sft import SFTRow, read_rows
from oresearch_graph.trace import PROTOCOL_TAGS, close_tag, open_tag

_SAMPLE: Final = 1_000
"""Rows that the tokenizer is made from."""
WORDS: Final = 4_096


PAD: Final = "<|endoftext|>"
START: Final = "<|im_start|>"
END: Final = "<|im_end|>"
CONTEXT: Final = 4_096
_TEMPLATE: Final = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] }}"
    "{%- if not (loop.last and message['role'] == 'assistant' and not add_generation_prompt) %}"
    "{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""ChatML, every message word for word; a last assistant message stays open to be continued."""


def make_tokenizer(texts: Iterable[str], system: str = "", words: int = 768) -> Tokenizer:
    """A byte-level BPE of `words` entries over `texts`. Tags are words of their own, and so is what
    stands between them in a line of `system`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tags = [write(name) for name in PROTOCOL_TAGS for write in (open_tag, close_tag)]
    # Between tags, not across them: a token that ended a tag and went on would be sampled whole.
    between = re.split("|".join(map(re.escape, tags)), system)
    lines = [
        line for text in between for line in text.splitlines(keepends=True) if len(line.strip()) > 1
    ]
    tokenizer.add_tokens(
        [AddedToken(text, normalized=False) for text in dict.fromkeys([*tags, *lines])]
    )
    return tokenizer


def as_pretrained(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers, verl and vLLM load it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def make_model(
    tokenizer: PreTrainedTokenizerFast, *, layers: int = 4, width: int = 128, seed: int = 0
) -> Qwen2ForCausalLM:
    """An untrained model. Heads are 64 wide: vLLM's CPU attention knows 32, 64, 80, 96 …"""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def warm_up(
    model: Qwen2ForCausalLM,
    ids: Sequence[int],
    steps: int,
    *,
    rate: float = 2e-3,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> float:
    """Teach the model to copy: random sequences of `ids` that occur again; the last loss."""
    draw, pool = random.Random(seed), torch.tensor(sorted(ids))  # noqa: S311 - reproducible
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    value = float("nan")
    model.train()
    for step in range(1, steps + 1):
        length, gap = draw.randint(12, 48), draw.randint(0, 40)
        piece = pool[torch.randint(len(pool), (24, length))]
        noise = pool[torch.randint(len(pool), (24, gap))]
        batch = torch.cat([piece, noise, piece, piece], dim=1)
        labels = batch.clone()
        labels[:, : length + gap] = -100
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, step / 50)
        loss = model(input_ids=batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        value = loss.detach().item()
        if step % 200 == 0:
            say(f"copy warm-up: step {step} of {steps}, loss {value:.3f}")
    return value


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Model and tokenizer as a Hugging Face folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_base(rows: Path, folder: Path, words: int = WORDS) -> int:
    """Write the model for a file of SFT rows; how many parameters it has.

    Raises ConfigurationError for a file without rows.
    """
    sample = list(islice(read_rows(rows), _SAMPLE))
    if not sample:
        raise ConfigurationError(f"{rows}: holds no rows: export some first")
    tokenizer = as_pretrained(make_tokenizer(map(_text, sample), sample[0].system, words))
    model = make_model(tokenizer)
    save(model, tokenizer, folder)
    return int(model.num_parameters())


def _text(row: SFTRow) -> str:
    return f"{row.question}\n" + "".join(segment.text for segment in row.segments)


def main(
    rows: Annotated[Path, typer.Argument(help="A file of SFT rows: Parquet or JSON Lines.")],
    folder: Annotated[Path, typer.Argument(help="Where the model goes.")],
    words: Annotated[int, typer.Option(help="Entries of the tokenizer.", min=512)] = WORDS,
) -> None:
    """Make a tiny base model for SFT rows."""
    try:
        count = make_base(rows, folder, words)
    except ConfigurationError as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    Console().print(f"{folder}: {count / 1e6:.2f} M parameters, untrained", markup=False)


if __name__ == "__main__":
    typer.run(main)
