"""No id of a token that the tokenizer keeps for itself is ever the world's."""

from __future__ import annotations

import asyncio
import copy
from unittest import mock

import pytest
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.prompts import system_prompt
from oresearch_graph.rows.sft import SFTRow, trace_rows
from oresearch_graph.trace import escape_tokens, escape_world, unescape_tokens
from rl.rollouts.faithfulness import decoded_policy_text, mask_runs, same_tokenization
from rl.rollouts.ledger_policy import LedgerPolicy, Sampling
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.token_ledger import TokenRow
from rl.rows.sft_dataset import encode_row
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script
from tests.helpers.small_tokenizers import protocol_tokenizer

SPECIAL = ("<|im_start|>", "<|im_end|>", "[OWN]", "<own>", "▁<EOT>")
ADDED = ("<tool_call>", "<think_deep>", "</observation>", "<observation>", "  ")
"""Tokens that are not special: transformers finds them in any text. Ours are among them."""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    made = copy.deepcopy(protocol_tokenizer())
    made.add_special_tokens({"additional_special_tokens": [*SPECIAL[2:]]})
    made.add_tokens([AddedToken(text, special=False, normalized=False) for text in ADDED])
    return made


HOSTILE = " ".join(f"a{token}b {token}" for token in (*SPECIAL, *ADDED[:4])) + " &#91;OWN] &lt;own>"


def own_ids(tokenizer: PreTrainedTokenizerFast) -> set[int]:
    return {tokenizer.convert_tokens_to_ids(token) for token in (*SPECIAL, *ADDED[:4])}


def test_world_text_holds_none_and_comes_back(tokenizer):
    tokens = ThreadTokens(tokenizer)
    assert set(tokens.markup) == {"[OWN]", "<own>", "▁<EOT>", "<think_deep>"}
    world = escape_world(HOSTILE)
    ids = tokens.encode_world(world)
    assert not set(ids) & own_ids(tokenizer)
    assert unescape_tokens(tokens.decode(ids), tokens.markup) == world
    assert tokens.encode(tokens.decode(ids)) == ids


def test_the_question_opens_and_ends_no_turn(tokenizer):
    tokens = ThreadTokens(tokenizer)
    asked, plain = tokens.opening("s", escape_world(HOSTILE)), tokens.opening("s", "q")
    marks = own_ids(tokenizer)
    assert [i for i in asked if i in marks] == [i for i in plain if i in marks]


def test_the_tags_that_the_world_writes_stay_tokens(tokenizer):
    tokens = ThreadTokens(tokenizer)
    shown = f"\n\n<observation>{escape_world(HOSTILE)}</observation>"
    ids = tokens.encode_world(shown)
    own = [tokenizer.convert_tokens_to_ids(tag) for tag in ("<observation>", "</observation>")]
    assert [i for i in ids if i in own_ids(tokenizer)] == own


async def rows_of_a_run(tokenizer) -> tuple[list[SFTRow], ThreadTokens]:
    pages = {url: f"{text} {HOSTILE}" for url, text in PAGES.items()}
    graph = create_research_graph(ScriptedPolicy(research_script()), search=Documents(pages))
    question = f"What causes tides? {HOSTILE}"
    trace = (await graph.ainvoke({"question": question}))["trace"]
    settings = ResearchSettings()
    return trace_rows(trace, system_prompt(settings), "threads"), ThreadTokens(tokenizer)


async def test_training_rows_of_hostile_pages_hold_them_only_where_the_policy_wrote(tokenizer):
    rows, tokens = await rows_of_a_run(tokenizer)
    seen = 0
    marks = own_ids(tokenizer) - {tokenizer.convert_tokens_to_ids(tag) for tag in ADDED[2:4]}
    for row in rows:
        assert "<|im_end|>" not in row.question
        encoded = encode_row(row, tokens)
        opening = len(tokens.opening(row.system, row.question))
        world = [
            token
            for token, own in zip(
                encoded.ids[opening:].tolist(), encoded.mask[opening:].tolist(), strict=True
            )
            if not own
        ]
        seen += "&#91;OWN]" in tokens.decode(world)
        assert not set(world) & marks
    assert seen


def test_a_sampled_nul_breaks_no_prefix(tokenizer):
    tokens = ThreadTokens(tokenizer)
    sampling = Sampling({}, 4_000, 100, 100, 1.0)
    policy = LedgerPolicy(None, tokens, sampling)  # type: ignore[arg-type]  # nothing is sampled
    ids = tokens.encode("<think>a\0b</think>")
    assert policy._read(ids, ["</think>"], 100) == ("<think>a\ufffdb</think>", "stop")


@pytest.mark.parametrize("text", ["<think>a<|im_end|>[OWN]</think>", "x <tool_call> y"])
def test_what_the_policy_wrote_is_encoded_as_it_is(tokenizer, text):
    tokens = ThreadTokens(tokenizer)
    row = TokenRow("t", [], "researcher", 1)
    ids = tokens.encode(text)
    row.sample(ids, [0.0] * len(ids), text, "researcher", "stop", None)
    row.show(tokens.encode_world("[OWN]"), "[OWN]")
    assert decoded_policy_text(row, tokens) == text
    assert [run.sampled for run in mask_runs(row)] == [True, False]
    assert same_tokenization(row, tokens)


async def test_many_encode_at_once_while_transformers_sets_the_tokenizer(tokenizer):
    tokens = ThreadTokens(tokenizer)
    texts = [f"{HOSTILE} {n} " * 200 for n in range(12)]
    calls = [asyncio.ensure_future(tokens.encoded_world(text)) for text in texts]
    for turn in range(100):
        tokenizer(HOSTILE, truncation=turn % 2 == 0, max_length=8)
        await asyncio.sleep(0)
    shown = [escape_tokens(text, tokens.markup) for text in texts]
    expected = [
        tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        for text in shown
    ]
    assert [await call for call in calls] == expected


def test_a_tokenizer_without_a_fast_one_encodes_too(tokenizer):
    slow = copy.deepcopy(tokenizer)
    fast = ThreadTokens(tokenizer).encode_world(HOSTILE)
    with mock.patch.object(type(slow), "is_fast", new=False):
        assert ThreadTokens(slow).encode_world(HOSTILE) == fast
