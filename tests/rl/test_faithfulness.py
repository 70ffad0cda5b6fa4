"""Faithfulness: the ledger's ids against those that SFT makes of the same text."""

from __future__ import annotations

import pytest

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.prompts import system_prompt
from oresearch_graph.rows.sft import trace_rows
from rl.rollouts.faithfulness import (
    compare,
    decoded_policy_text,
    reencoded,
    retokenized,
    same_tokenization,
)
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.token_ledger import TokenRow
from rl.rows.sft_dataset import encode_row
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script
from tests.helpers.small_tokenizers import greedy_tokenizer, protocol_tokenizer

CALL, SHOWN, THINK = "</web_search>", "\n\n<observation>[1001]</observation>", "\n\n<think>"


def ledger_row(tokens, *parts):
    """A row of (sampled, ids) parts, as the ledger policy fills it."""
    row = TokenRow("t", tokens.opening("s", "q"), "researcher", 1)
    for sampled, ids in parts:
        if sampled:
            row.sample(ids, [-1.0] * len(ids), tokens.decode(ids), "researcher", "stop", 1)
        else:
            row.show(ids, tokens.decode(ids))
    return row


async def rollout_rows(tokens, execution):
    """Ledger rows of a real run whose engine samples each piece as the tokenizer would."""
    graph = create_research_graph(
        ScriptedPolicy(research_script(turns=2)),
        search=Documents(PAGES),
        settings=ResearchSettings(execution=execution, corrections=0),
    )
    trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    found = trace_rows(trace, system_prompt(ResearchSettings()), "threads")
    rows = [
        ledger_row(tokens, *((p.author == "policy", tokens.encode(p.text)) for p in row.pieces))
        for row in found
    ]
    return found, rows


@pytest.mark.parametrize("tokenizer", [protocol_tokenizer, greedy_tokenizer])
@pytest.mark.parametrize("execution", ["parallel", "sequential"])
async def test_pieces_encoded_by_themselves_are_the_rows_ids(execution, tokenizer):
    tokens = ThreadTokens(tokenizer())
    texts, rows = await rollout_rows(tokens, execution)
    for text, row in zip(texts, rows, strict=True):
        assert decoded_policy_text(row, tokens) == text.policy_text
        assert same_tokenization(row, tokens)
        assert reencoded(row, tokens) == row.response_ids
        encoded = encode_row(text, tokens)
        opening = len(tokens.opening(text.system, text.question))
        assert encoded.ids[opening:].tolist() == row.response_ids
        assert encoded.mask[opening:].tolist() == list(row.mask)


async def test_the_whole_text_at_once_gives_other_ids_where_tokens_cross_the_border():
    tokens = ThreadTokens(greedy_tokenizer())
    _, rows = await rollout_rows(tokens, "sequential")
    found = compare(rows, tokens)
    assert (found.share, found.share_sampled) == (1.0, 1.0)
    assert found.share_retokenized == 0.0
    (row,) = rows
    assert tokens.decode(retokenized(row, tokens)) == tokens.decode(row.response_ids)


def test_a_split_that_the_tokenizer_would_not_make_is_seen_and_counted():
    tokens = ThreadTokens(protocol_tokenizer())
    letters = [token for letter in "<think>" for token in tokens.encode(letter)]
    assert letters != tokens.encode("<think>")
    odd = ledger_row(tokens, (True, letters), (False, tokens.encode(SHOWN)))
    even = ledger_row(tokens, (True, tokens.encode("<think>")), (False, tokens.encode(SHOWN)))
    assert not same_tokenization(odd, tokens)
    assert reencoded(odd, tokens) == even.response_ids
    assert decoded_policy_text(odd, tokens) == decoded_policy_text(even, tokens) == "<think>"
    found = compare([odd, even], tokens)
    assert (found.rows, found.same, found.share) == (2, 1, 0.5)
    assert found.sampled_same == len(tokens.encode("<think>"))
    assert found.sampled == found.sampled_same + len(letters)


def test_two_continuations_in_a_row_are_one_text_to_sft():
    tokens = ThreadTokens(greedy_tokenizer())
    row = ledger_row(tokens, (True, tokens.encode(CALL)), (True, tokens.encode(SHOWN)))
    assert not same_tokenization(row, tokens)
    assert decoded_policy_text(row, tokens) == CALL + SHOWN
    between = ledger_row(tokens, (True, tokens.encode(CALL)), (False, tokens.encode(SHOWN)),
                         (True, tokens.encode(THINK)))  # fmt: skip
    assert same_tokenization(between, tokens)
    assert decoded_policy_text(between, tokens) == CALL + THINK


def test_without_rows_shares_are_unknown():
    found = compare([], ThreadTokens(protocol_tokenizer()))
    assert (found.share, found.share_retokenized, found.share_sampled) == (None, None, None)
