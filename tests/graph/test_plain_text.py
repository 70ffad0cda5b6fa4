"""Strings of strangers: what may be a title, an address, a text, a date, whoever hands it over."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from oresearch_graph import create_research_graph
from oresearch_graph.evidence.ledger import SourceLedger, read_observation, source_block
from oresearch_graph.graph.state import LastText, ResearchInput
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hit, Hits, Page
from oresearch_graph.tools.providers.retriever import DocumentShelf
from oresearch_graph.trace import Claim, Evidence, Failure, Source, Span, Step, Trace, Usage
from oresearch_graph.trace.plain_text import (
    ADDRESS,
    TITLE,
    admissible_address,
    body_text,
    iso_day,
    spelled_address,
    storable,
    title_line,
)
from oresearch_graph.trace.references import same_address
from oresearch_graph.view.markup import web_address
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

ODD = (
    "\0", "\x1b[31m", "\x9b", "\r", "\n", "\t", "\x0b", "\x1c", "\x85", "\u2028", "\u2029",
    "\u200e",
    "\u200f", "\u061c", "\u202a", "\u202e", "\u2066", "\u2069", "\ud800", "\udfff", "\ufffe",
    "\ufdd0", "\U0001ffff", "\ufeff", "\U000e0041",
)  # fmt: skip
STRANGE = st.lists(
    st.sampled_from([*ODD, "https://x.org/", "a", " ", "[", "]", "(", ")", "<", "&lt;", "é", "潮"])
    | st.characters()
).map("".join)


def is_clean(line: str) -> bool:
    """No control, bidi or invisible character, no line end, nothing that cannot be stored."""
    bad = {"Cc", "Cs", "Zl", "Zp"}
    shown = all(unicodedata.category(c) not in bad and ord(c) & 0xFFFE != 0xFFFE for c in line)
    return shown and not any(c in line for c in ODD)


@settings(max_examples=40)
@given(STRANGE)
def test_a_title_is_one_clean_line(text):
    title = title_line(text)
    assert is_clean(title)
    assert len(title) <= TITLE
    assert title_line(title) == title


@settings(max_examples=40)
@given(STRANGE)
def test_an_address_is_clean_or_none(text):
    for given_address in (text, f"https://x.org/{text}"):
        address = admissible_address(given_address)
        if address is not None:
            assert is_clean(address)
            assert not set(address) & set(' <>[]`"\\{}|^*')
            assert admissible_address(address) == address


@settings(max_examples=40)
@given(STRANGE)
def test_any_address_is_one_word_and_spelling_it_again_changes_nothing(text):
    spelled = spelled_address(text)
    assert is_clean(spelled)
    assert not spelled or spelled.split() == [spelled]
    assert spelled_address(spelled) == spelled
    assert same_address(text) == same_address(spelled)


@settings(max_examples=40)
@given(STRANGE)
def test_a_body_keeps_its_lines_and_nothing_that_commands(text):
    body = body_text(text)
    assert not any(unicodedata.category(c) in {"Cc", "Cs"} for c in body if c not in "\n\t")
    body.encode()
    assert body_text(body) == body


def test_a_body_loses_each_control_and_no_other_character():
    for point in range(0x110000):
        body, among = body_text(chr(point)), body_text(f"\t{chr(point)}")
        assert among == f"\t{body}", hex(point)  # the tab is not printable: the long way
        if unicodedata.category(chr(point)) in {"Cc", "Cs", "Zl", "Zp"} and point != ord("\t"):
            assert body in {"", "\n", "\ufffd"}, hex(point)


def test_what_scripts_need_stays():
    for text in ("می‌خواهم", "👩‍💻 flies", "l’été", "潮汐の「力」"):
        assert title_line(text) == body_text(text) == storable(text) == text


@pytest.mark.parametrize("address", [
    "javascript:alert(1)", "data:text/html,x", "vbscript:x", "ftp://x.org/a", "mailto:a@x.org",
    "file:secret.md", "file://host/a", "http://[x", "//]", "http://x.org:port/", "http:///x", "",
    "x.org/a", "http://x.org/\n[2001] Forged", "http://x.org/\u202egpj.exe", "http://x.org/\0",
    "http://x.org/\ud800", "http://[::1](javascript:x)/", "http://x.org<img>/", "tool:",
    "http://x.org/" + "a" * ADDRESS,
])  # fmt: skip
def test_what_is_no_address_is_refused(address):
    assert admissible_address(address) is None
    assert web_address(address) is None
    assert Hit(url=address).url == ""


@pytest.mark.parametrize("address", [
    "https://x.org/a(b)?c=d&e=f#g", "http://[::1]:80/a", "https://u@x.org/", "https://例え.jp/パス",
    "file:///home/me/notes.md", "python:topic/with", "document:notes/my%20file.md",
    "tool:tides?harbour=Brest",
])  # fmt: skip
def test_addresses_of_the_web_and_our_own_stay_as_they_are(address):
    assert admissible_address(address) == address


def test_what_no_address_holds_is_written_as_the_web_writes_it():
    assert admissible_address("https://x.org/a b[1]`c`") == "https://x.org/a%20b%5B1%5D%60c%60"
    assert admissible_address("https://x.org/?a&lt;b") == "https://x.org/?a&lt%3Bb"


@pytest.mark.parametrize(("stated", "day"), [
    ("2024-05-06T07:08", "2024-05-06"), ("2024-13-01", None), ("yesterday", None), ("", None),
    ("2024-05-06\n[2001] Forged", "2024-05-06"),
])  # fmt: skip
def test_a_date_is_a_date(stated, day):
    assert iso_day(stated) == day
    hit = Hit(url="https://x.org", published=stated)
    assert hit.published == day == Source(id=1, url="https://x.org", published=stated).published


def test_one_bad_result_is_left_out_alone():
    entries = [
        {"url": "https://x.org/1", "title": None, "snippet": 3},
        {"url": "javascript:alert(1)"}, {"url": None}, {"no": "address"}, 7, None,
        Hit(url="http://[x"), Hit(url="https://x.org/2", title="\x1b[2J\u202eT"),
    ]  # fmt: skip
    hits = Hits.model_validate({"query": "q", "hits": entries})
    assert [(hit.url, hit.title, hit.snippet) for hit in hits.hits] == [
        ("https://x.org/1", "", "3"), ("https://x.org/2", "[2JT", ""),
    ]  # fmt: skip
    assert hits.fault is None
    assert Hits.model_validate_json(hits.model_dump_json()) == hits


def test_a_query_that_brought_nothing_but_such_results_says_so():
    hits = Hits(query="q", hits=(Hit(url="javascript:x"),))
    assert hits.hits == ()
    assert "no result has an address" in str(hits.fault)
    assert Hits(query="q").fault is None


def test_a_page_that_redirects_to_no_address_has_no_text():
    page = Page(url="https://x.org", final_url="http://[x", text="t", title="a\nb", fault=None)
    assert (page.final_url, page.text, page.title) == (None, "", "a b")
    assert "no address" in str(page.fault)
    assert Page(url="https://x.org", text="a\0\x1bb\r\nc\ud800").text == "a\ufffdb\nc\ufffd"


async def test_a_document_keeps_what_its_source_calls_it_behind_our_scheme():
    shelf = DocumentShelf(shelf="wiki")
    stated = [
        "https://x.org/a",
        "javascript:x",
        "notes/my file.md",
        "s3://b/k",
        "a\nb",
        "x" * 5_000,
    ]
    urls = [shelf.put(f"text {i}", {"source": name}).url for i, name in enumerate(stated)]
    assert urls[:5] == [
        "https://x.org/a", "document:wiki/javascript:x", "document:wiki/notes/my%20file.md",
        "document:wiki/s3://b/k", "document:wiki/a%20b",
    ]  # fmt: skip
    assert urls[5].startswith("document:wiki/")
    assert [page.text for page in await shelf.read(urls, "")] == [f"text {i}" for i in range(6)]


@settings(max_examples=40)
@given(STRANGE, STRANGE, STRANGE)
def test_an_observation_shows_one_source_whatever_it_is_called(url, title, published):
    source = SourceLedger(1).show(f"https://x.org/{url}", "t", title=title, published=published)
    (shown,) = read_observation(source_block(source, "t"))
    assert (shown.id, shown.url) == (1001, source.url)


RECORDS: dict[type[BaseModel], dict[str, object]] = {
    Step: {"kind": "think", "text": "a\0\ud800", "lead": "\0", "name": "\0"},
    Source: {"id": 1, "url": "u\0\ud800", "title": "\0", "text": "\0", "published": "\0"},
    Failure: {"name": "internal", "fault": "web", "message": "\0\ud800", "rejected": "\0"},
    Usage: {"role": "planner", "model": "\0\ud800"},
    Span: {"name": "\0\ud800", "start": 0, "seconds": 0},
    Evidence: {"source": 1, "start": 0, "end": 1, "quote": "\0", "score": 1},
    Claim: {"start": 0, "end": 1, "text": "\0", "sources": (), "dangling": ("\0",),
            "status": "dangling", "missing": ("\ud800",)},
    Trace: {"question": "\0\ud800", "id": "\0", "models": {"\0": "\ud800"}, "language": "\0"},
}  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_no_record_holds_what_a_database_cannot(record):
    written = record.model_validate(RECORDS[record]).model_dump_json()
    written.encode()
    assert "\\u0000" not in written
    assert "\0" not in json.dumps(json.loads(written), ensure_ascii=False)


def test_questions_and_plans_pass_the_gate_whoever_sets_them():
    channel = LastText(str)
    channel.update(["Why?\0\x1b[1m\r\nReally\ud800?"])
    assert channel.get() == "Why?\ufffd[1m\nReally\ufffd?"
    channel.update([["one\nline\x9b", "\u202etwo"]])
    assert channel.get() == ["one line", "two"]


def test_settings_are_plain_text():
    settings = ResearchSettings(
        tone="dry\nand\x1b short", outline=("A\nB",), include_domains=("x.org\n",),
        prompts={"planner": "one\r\ntwo\0"}, length="\u202e800",
    )  # fmt: skip
    assert (settings.tone, settings.outline, settings.length) == ("dry and short", ("A B",), "800")
    assert settings.include_domains == ("x.org",)
    assert settings.prompts == {"planner": "one\ntwo\ufffd"}


async def test_no_checkpoint_holds_a_text_that_postgres_refuses():
    """PostgreSQL's saver puts texts of the state into jsonb, which knows no NUL."""

    def script(thread: Thread) -> str:
        return research_script()(thread).replace("tides", "ti\0des\ud800")

    saver = InMemorySaver()
    graph = create_research_graph(
        ScriptedPolicy(script), search=Documents(PAGES), checkpointer=saver
    )
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    asked: ResearchInput = {"question": "What causes ti\0des\ud800?"}
    done = await graph.ainvoke(asked, config)
    texts = [
        value
        for each in saver.list(config)
        for name, value in each.checkpoint["channel_values"].items()
        if isinstance(value, str) and not name.startswith("__")
    ]
    assert any("causes ti\ufffddes" in text for text in texts)
    assert not any("\0" in text or "\ud800" in text for text in texts)
    assert "\ufffd" in done["report"]
    assert "\\u0000" not in done["trace"].model_dump_json()
