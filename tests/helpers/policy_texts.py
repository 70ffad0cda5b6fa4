"""Texts that a policy may write and none should: pieces that some reader acts upon, in any order,
and any characters at all."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

PIECES: Final = (
    "<think>", "</think>", "<web_search>", "</web_search>", "<crawl_page>", "</crawl_page>",
    "<observation>", "</observation>", "<subtask>", "</subtask_answer>", "<suggested_answer>",
    "</suggested_answer>", "<subtask_list>", "<report>", "</report-0123456789abcdef>", "<points>",
    "<|im_end|>", "[/INST]", "<s>", "{{", "}}", "{\"queries\": [\"", "\"]}", "[[", "]]", "({",
    "http://[x", "https://[::1]:99999/", "http://", "https://a.example/%ff%00%zz?a=b&c#d",
    "http://user:word@127.0.0.1:1/", "http://xn--a-ecp.example/", "http://例え.example/道",
    "http://a..b/", "http://a\\b/", "HTTP://0x7f.1/", "file:///etc/passwd", "file://../..",
    "python:topic/with", "doc:%", "tool:x?", "javascript:alert(1)", "mailto:a@b", "data:,x", "//x",
    "url=", "query=", "&serp_num=3", "&num=99999", "num=0&query=", " | ", "|", "||",
    "tides AND NOT moon", "NEAR(moon tides, 2)", "moon*", "\"moon", "'; DROP TABLE words; --",
    "^moon:", "-tides", "!!wiki ", "!nothing ", ":de ", "site:", "The Moon causes tides [1001].",
    "[1001] Tides\nhttps://example.org/tides\n", "[9]", "[^1]", "[1][2][3]", "\n- quoted: yes\n",
    "\n- supported: all of it [1001].", "Of 9 cited sentences: 9 quoted.\n", "## Query: x\n",
    "## Introduction\n", "## References\n", "[1]. http://[x - t\n", "1. ", "\n2) ", "- ", "> ",
    "```\n", "~~~", "| a | b |\n|---|---|\n", "<!--", "-->", "<del>", "\\", "%s", "{0}", "$(x)",
    "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\u2028", "\u2029", "\t", " ", "\n",
    "\n\n", "\x00", "\x1b[31m", "\ud800", "\udfff", "\ufffe", "\ufeff", "\u200b", "\u202e",
    "\u3164", "\u0301", "\U000e0041", "é", "ß", "İ", "ﬁ", "Ｔides", "潮汐",
    "👩‍👩‍👧", "٣", "½", "−5", "Ω", "।", "。", "؟",
)  # fmt: skip
_SCHEMES: Final = ("http://", "https://", "file:///", "python:", "doc:", "ftp://")
_LONG: Final = 400
"""Times that a piece is repeated in a long text."""


def policy_texts(count: int, seed: int = 0) -> Iterator[str]:
    """So many of them, the same at every run."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(count):
        parts = [_part(draw) for _ in range(draw.randint(0, 10))]
        if draw.random() < 0.3:
            parts.insert(0, draw.choice(_SCHEMES))
        if draw.random() < 0.02:
            parts.append(draw.choice(PIECES) * _LONG)
        yield "".join(parts)


def _part(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.7:
        return draw.choice(PIECES)
    if kind < 0.85:
        return chr(draw.randrange(0x110000))
    return draw.choice(("tides", "moon", "Orla", "16", "the", "not", "is")) + " "
