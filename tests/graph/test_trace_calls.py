"""Tool calls as text, in the paper's dialect and the released models'."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.trace import Dialect, Step, read_call, write_call


def search(text: str):
    return read_call(Step(kind="web_search", text=text))


def crawl(text: str):
    return read_call(Step(kind="crawl_page", text=text))


@pytest.mark.parametrize(
    ("text", "queries", "num"),
    [
        ("query=AT&T revenue | R&D&num=5", ("AT&T revenue", "R&D"), 5),
        ("a | b&serp_num=10", ("a", "b"), 10),
        ("\n  tides\n", ("tides",), None),
        ("x=1&num=2 in C | y", ("x=1&num=2 in C", "y"), None),
        ("query=中国 中产|养老&num=10", ("中国 中产", "养老"), 10),
        ("num=4&query=a", ("a",), 4),
        ("a || a | ", ("a",), None),
    ],
)
def test_a_search_is_read_as_meant(text, queries, num):
    call = search(text)
    assert (call.items, call.num, call.fault) == (queries, num, None)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("https://example.org", ("https://example.org",)),
        ("url=https://a.org/x | https://b.org", ("https://a.org/x", "https://b.org")),
        ("https://a.org/?q=1&num=3", ("https://a.org/?q=1&num=3",)),
        ("url=https://a.org|url=https://b.org", ("https://a.org", "https://b.org")),
        ("https://a.org/x|y\nhttps://b.org", ("https://a.org/x|y", "https://b.org")),
        ("python:topic/with | file:///a/b.md", ("python:topic/with", "file:///a/b.md")),
    ],
)
def test_a_crawl_reaches_every_address(text, addresses):
    call = crawl(text)
    assert (call.items, call.fault) == (addresses, None)


@pytest.mark.parametrize("text", ["", "  ", "query=&num=5", "a&num=0"])
def test_a_search_without_a_query_is_malformed(text):
    assert search(text).fault


@pytest.mark.parametrize("text", ["", "url=", "the second result", "A | B"])
def test_a_crawl_without_an_address_is_malformed(text):
    assert crawl(text).fault


def test_an_extra_tools_arguments_are_a_json_object():
    def call(text: str):
        return read_call(Step(kind="tool_call", name="look_up", text=text))

    assert call('{"word": "tide"}').arguments == {"word": "tide"}
    assert call("").arguments == {}
    assert call("[1]").fault
    assert call("{oops").fault


WORD = st.text(st.characters(blacklist_characters="|", blacklist_categories=["C", "Z"]), min_size=1)


@given(
    st.lists(WORD, min_size=1, max_size=4, unique=True),
    st.none() | st.integers(1, 99),
    st.sampled_from(["paper", "released"]),
)
def test_what_is_written_is_read_back(queries: list[str], num: int | None, dialect: Dialect):
    text = write_call("web_search", queries, num, dialect)
    call = search(text)
    ambiguous = any("num=" in query or query.startswith("query=") for query in queries)
    assert ambiguous or (list(call.items), call.num) == (queries, num)


def test_addresses_written_in_either_dialect_are_read_back():
    urls = ["https://a.org/?q=1&num=3", "python:topic/with"]
    for dialect in ("paper", "released"):
        assert list(crawl(write_call("crawl_page", urls, None, dialect)).items) == urls
