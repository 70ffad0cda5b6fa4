"""World text made harmless to a model, reversibly: no protocol tag in it can open or close an
element, no token of a chat template can end a turn. Policy text is never escaped.

The first character of what would be read as markup is written as an entity; what looks like such
an entity already gets one more `amp;`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from oresearch_graph.trace.step import KINDS

PROTOCOL_TAGS: Final[tuple[str, ...]] = tuple(k for k in KINDS if k not in {"stray", "tool_call"})

_CHAT_TAGS: Final = "|".join((
    "s", "bos", "eos", "pad", "unk", "mask", "cls", "sep", "sop", "eop", "eod", "sys", "image",
    "start_of_turn", "end_of_turn", "start_of_image", "end_of_image", "endoftext", "end_of_text",
    "tool_call", "tool_response", "tools", "function_call", "fim_prefix", "fim_middle",
    "fim_suffix", r"extra_id_\d{1,4}", r"unused_?\d{1,5}", r"reserved_\w{1,32}",
    r"seed:[\w:]{1,32}",
))  # fmt: skip
"""Between `<` and `>`: Llama 2, Gemma, T5, Qwen, Hermes, GLM, Seed and others."""
_CHAT_BRACKETS: Final = "|".join((
    "INST", "SYSTEM_PROMPT", "TOOL_CALLS", "TOOL_RESULTS", "TOOL_CONTENT", "AVAILABLE_TOOLS",
    "CALL_ID", "ARGS", "THINK", "PREFIX", "MIDDLE", "SUFFIX", "IMG", "gMASK", "MASK", "CLS", "SEP",
    "PAD", "UNK", "BOS", "EOS", r"UNUSED_TOKEN_\d{1,4}",
))  # fmt: skip
"""Between brackets: Mistral, Llama 2, GLM, BERT, InternLM."""
_ENTITIES: Final = {"lt": "<", "#91": "["}


@lru_cache(maxsize=64)
def _markup(tools: tuple[str, ...], *, escaped: bool) -> re.Pattern[str]:
    """Where what a parser or a model could take for a tag or a token begins.

    Nothing that is looked ahead at is itself escaped: it is found again after the escaping.
    """
    names = "|".join(re.escape(name) for name in (*PROTOCOL_TAGS, *tools))
    bare = "" if escaped else r"(?P<bare>[<\[]) |"
    # Possessive quantifiers keep long runs of `amp;` and of white space linear.
    return re.compile(
        rf"""
        (?: {bare} & (?P<depth>(?:amp;)*+) (?P<entity>lt|\#91); )
        (?:
            (?: (?<=<) | (?<=lt;) )
            (?= [\s/\\\xad\u200b-\u200f\u2060\ufeff]*+ (?i:{names}) (?!\w)
              | [|｜] [^<>|｜\[&\n]{{1,64}} [|｜] >      # ChatML, Llama 3, Harmony, DeepSeek
              | /? (?i:{_CHAT_TAGS}) > )
          |
            (?: (?<=\[) | (?<=91;) )
            (?= /? (?i:{_CHAT_BRACKETS}) \] )
        )
        """,
        re.VERBOSE,
    )


def escape_world(text: str, tools: Sequence[str] = ()) -> str:
    """World text in which nothing reads as a protocol tag or as a token of a chat template;
    `unescape_world` gives it back."""

    def shield(match: re.Match[str]) -> str:
        if match["bare"]:
            return "&lt;" if match["bare"] == "<" else "&#91;"
        return f"&amp;{match[0][1:]}"

    return _markup(tuple(tools), escaped=False).sub(shield, text)


def unescape_world(text: str, tools: Sequence[str] = ()) -> str:
    """The world text as it was before `escape_world`."""

    def bare(match: re.Match[str]) -> str:
        if match["depth"]:
            return f"&{match[0].removeprefix('&amp;')}"
        return _ENTITIES[match["entity"]]

    return _markup(tuple(tools), escaped=True).sub(bare, text)


@lru_cache(maxsize=16)
def _tokens(tokens: tuple[str, ...], *, escaped: bool) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=len, reverse=True)
    whole = "|".join(map(re.escape, longest_first))
    shielded = "|".join(f"{ord(token[0])};{re.escape(token[1:])}" for token in longest_first)
    bare = "" if escaped else f"(?P<bare>{whole})|"
    return re.compile(f"{bare}&(?P<depth>(?:amp;)*+)#(?P<rest>{shielded})")


def escape_tokens(text: str, tokens: Sequence[str]) -> str:
    """The text in which none of the tokens of a known tokenizer stands; `unescape_tokens` gives it
    back."""

    def shield(match: re.Match[str]) -> str:
        token = match["bare"]
        return f"&#{ord(token[0])};{token[1:]}" if token else f"&amp;{match[0][1:]}"

    return _tokens(tuple(tokens), escaped=False).sub(shield, text) if tokens else text


def unescape_tokens(text: str, tokens: Sequence[str]) -> str:
    """The text as it was before `escape_tokens`."""

    def bare(match: re.Match[str]) -> str:
        if match["depth"]:
            return f"&{match[0].removeprefix('&amp;')}"
        code, _, rest = match["rest"].partition(";")
        return chr(int(code)) + rest

    return _tokens(tuple(tokens), escaped=True).sub(bare, text) if tokens else text
