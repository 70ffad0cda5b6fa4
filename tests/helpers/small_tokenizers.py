"""Real tokenizers, small enough to be made in a test: byte-level BPE with the ChatML template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.helpers.traces import GOOD

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@cache
def protocol_tokenizer() -> PreTrainedTokenizerFast:
    """Splits words as GPT-2 does."""
    return _trained(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True), [GOOD])


@cache
def thinking_tokenizer() -> PreTrainedTokenizerFast:
    """Has the tokens of its own that Qwen3's has."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    marks = [
        f"<{slash}{tag}>" for tag in ("think", "tool_call", "tool_response") for slash in ("", "/")
    ]
    return _trained(split, [GOOD], ("<|endoftext|>", *marks))


@cache
def greedy_tokenizer() -> PreTrainedTokenizerFast:
    """Merges across anything, above all from a close tag over the blank line into the next tag."""
    whole = pre_tokenizers.Split(Regex(r"[^\r]+"), behavior="isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    border = "</web_search>\n\n<observation>[1001]</observation>\n\n<think>"
    return _trained(pre_tokenizers.Sequence([whole, bytes_only]), [GOOD, *[border] * 40])


def _trained(
    split: pre_tokenizers.PreTokenizer, texts: Sequence[str], marks: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        show_progress=False,
        special_tokens=["<|im_start|>", "<|im_end|>", *marks],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    made.chat_template = CHATML
    return made
