"""The sizes of a model, of its folder or known by name: what memory it takes, and which parallel
sizes divide its heads."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from transformers import AutoConfig, PretrainedConfig


class ModelShape(NamedTuple):
    """A decoder with grouped-query attention and a gated MLP."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    """Width of one head."""
    mlp: int
    vocabulary: int
    tied: bool = False

    @property
    def layer_parameters(self) -> int:
        attention = 2 * self.hidden * self.head * (self.heads + self.kv_heads)
        return attention + 3 * self.hidden * self.mlp + 2 * self.hidden

    @property
    def embedding_parameters(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All of them; biases are left out (0.01 %)."""
        ends = self.embedding_parameters * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + ends + self.hidden

    @property
    def kv_bytes(self) -> int:
        """Of one token in a cache of 2 bytes a number."""
        return self.layers * 2 * self.kv_heads * self.head * 2

    def lora_parameters(self, rank: int) -> int:
        """Of adapters on every linear layer."""
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        widths = (
            2 * (self.hidden + queries) + 2 * (self.hidden + keys) + 3 * (self.hidden + self.mlp)
        )
        return self.layers * rank * widths


_KNOWN: Final[dict[str, ModelShape]] = {
    "Qwen/Qwen2.5-7B-Instruct": ModelShape(28, 3584, 28, 4, 128, 18944, 152064),
    "Qwen/Qwen3-8B": ModelShape(36, 4096, 32, 8, 128, 12288, 151936),
    "Qwen/Qwen2.5-72B-Instruct": ModelShape(80, 8192, 64, 8, 128, 29568, 152064),
}
"""From the config.json of each."""


def model_shape(path: str | None) -> ModelShape | None:
    """The shape of a model's folder or of a known name; None for anything else."""
    if path in _KNOWN:
        return _KNOWN[path]
    if not path or not (Path(path) / "config.json").is_file():
        return None
    try:
        return _shape(AutoConfig.from_pretrained(path))
    except (AttributeError, ValueError):  # no decoder of this kind, or none that is known
        return None


def _shape(config: PretrainedConfig) -> ModelShape:
    heads = int(config.num_attention_heads)
    return ModelShape(
        layers=int(config.num_hidden_layers),
        hidden=int(config.hidden_size),
        heads=heads,
        kv_heads=int(getattr(config, "num_key_value_heads", heads)),
        head=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
        mlp=int(config.intermediate_size),
        vocabulary=int(config.vocab_size),
        tied=bool(getattr(config, "tie_word_embeddings", False)),
    )
