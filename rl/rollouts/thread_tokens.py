"""A thread as token ids, the same for the rollout and for supervised fine-tuning.

A thread is a chat: the system prompt, the question, and one assistant message that holds every
step. The chat template is rendered once, up to the opening of that message; all that follows is
encoded piece by piece, a piece being all text of one author in a row. Encoding pieces one by one
is what keeps a sampled id from ever being encoded again: no piece crosses an author's border.

World text comes with protocol tags and the chat templates' tokens escaped (trace/escaping.py).
What else this tokenizer knows as a token of its own is escaped here, the same way: no id of one is
ever the world's, save in the chat template itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, Final, NamedTuple

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from oresearch_graph.trace import Author, Step, escape_tokens, escape_world, step_segments

_PROBE: Final = "<think>one</think>\n\n<plan>two</plan>"
_OPENINGS: Final = 64
"""Openings remembered: all threads of all rollouts of a question have the same one."""
_LONG: Final = 2_000
"""Characters from which on encoding, half a microsecond each, is worth the way to a thread."""
_ENCODING: Final = ThreadPoolExecutor(1, "encoding")


class Piece(NamedTuple):
    """Consecutive text of one author."""

    author: Author
    text: str


class ThreadTokens:
    """Encodes threads with one tokenizer."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self._encoder = _encoder(tokenizer)
        self._arguments = dict(chat_template_kwargs or {})
        self._openings: dict[tuple[str, str], list[int]] = {}
        self.markup = _markup(tokenizer)
        """The tokens that are escaped in world text."""

    def opening(self, system: str, question: str) -> list[int]:
        """Ids of system prompt and question, up to where the assistant's message begins. The
        question is `Thread.user_message`."""
        key = system, question
        ids = self._openings.get(key)
        if ids is None:
            ids = self._encode_opening(system, question)
            if len(self._openings) >= _OPENINGS:
                self._openings.pop(next(iter(self._openings)))
            self._openings[key] = ids
        return list(ids)

    def _encode_opening(self, system: str, question: str) -> list[int]:
        content = escape_tokens(question, self.markup)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **self._arguments
        )
        ids: list[int] = self.tokenizer.encode(str(text), add_special_tokens=False)
        return ids

    def encode_world(self, text: str) -> list[int]:
        """Ids of text that the policy of this thread did not write."""
        return self.encode(escape_tokens(text, self.markup))

    async def encoded_world(self, text: str) -> list[int]:
        """The same beside the event loop, where the text is long."""
        if self._encoder is None or len(text) < _LONG:
            return self.encode_world(text)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_ENCODING, self.encode_world, text)

    def encode(self, text: str) -> list[int]:
        """Ids of text; nothing is added at its ends. What looks like a special token in it is
        text."""
        if self._encoder is None:
            ids: list[int] = self.tokenizer.encode(
                text, add_special_tokens=False, split_special_tokens=True
            )
            return ids
        # encode_batch alone has a variant that keeps no places in the text: a third of the time.
        (encoding,) = self._encoder.encode_batch_fast([text], add_special_tokens=False)
        return encoding.ids  # a new list at each look

    def decode(self, ids: Sequence[int]) -> str:
        """The exact text of ids, special tokens among it."""
        if self._encoder is not None:
            return self._encoder.decode(list(ids), skip_special_tokens=False)
        text: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    @property
    def end_ids(self) -> frozenset[int]:
        """Ids that end an assistant's turn."""
        end = self.tokenizer.eos_token_id
        return frozenset(() if end is None else (end,))


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """What a fast tokenizer encodes with, a copy of our own: transformers sets its own anew at
    every call, which fails while another thread encodes."""
    if not tokenizer.is_fast:
        return None
    encoder: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    encoder.no_padding()
    encoder.no_truncation()
    encoder.encode_special_tokens = True
    return encoder


def pieces(steps: Iterable[Step], tools: Sequence[str] = ()) -> list[Piece]:
    """The steps' text by author, consecutive text of one author joined: the loss mask's units."""
    segments = [segment for step in steps for segment in step_segments(step, tools)]
    return [
        Piece(author, "".join(text for _, text in group))
        for author, group in groupby(segments, key=lambda segment: segment[0])
    ]


def _markup(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The tokenizer's own tokens, without blanks, which text is made of, and without those that
    `escape_world` knows: our tags may be tokens, and the world writes them too."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    tokens = added | set(tokenizer.all_special_tokens)
    return tuple(sorted(t for t in tokens if t.strip() and escape_world(t) == t))


def mangles_thinking(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True when the chat template rewrites an assistant's own `<think>` (as Qwen3's does), so that
    a server would not show the policy what it wrote. `rl.export` then writes a plain template."""
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": _PROBE}]
    return _PROBE not in str(tokenizer.apply_chat_template(messages, tokenize=False))
