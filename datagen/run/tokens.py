"""How tokens are counted: by an estimate, or by the tokenizer that will train."""

from __future__ import annotations

from collections.abc import Callable

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.text.words import token_count


def token_counter(tokenizer: str | None, setting: str) -> Callable[[str], int]:
    """Counts a text's tokens with a `tokenizer.json`; None: estimates them.

    `setting` is the name under which it was asked for. Raises ConfigurationError for a tokenizer
    that cannot be had.
    """
    if tokenizer is None:
        return token_count
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigurationError(
            f"{setting} needs the package tokenizers: pip install tokenizers, or leave the setting "
            "out for an estimate"
        ) from error
    try:
        loaded = Tokenizer.from_file(tokenizer)
    except Exception as error:  # the library raises nothing narrower
        raise ConfigurationError(
            f"{setting} {tokenizer}: no tokenizer.json: {str(error)[:200]}"
        ) from error
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)
