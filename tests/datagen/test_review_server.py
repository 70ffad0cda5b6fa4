"""The review server: who may talk to it, what it records, and that several may run at once."""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from datagen.records import Filtered, Finding
from datagen.review.sample import read_decisions
from datagen.review.server import review_app, serve_review
from datagen.review.session import ReviewSession
from datagen.run.folder import Work
from datagen.run.record_files import write_records
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import write_traces
from tests.datagen.test_review import filled
from tests.helpers.hostile import hostile_trace

HOST = "127.0.0.1:8123"
TOKEN = "the-token"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = filled(tmp_path, sample=12)
    finding = Finding(rule="refusal", message="It says <no>.", step=2, start=0, end=4)
    write_records(
        work.run.filtered, [Filtered(id=f"s{n}.1", seed=f"s{n}", findings=(finding,))
                            for n in range(12)]
    )  # fmt: skip
    return work


@pytest.fixture
def session(work: Work) -> Iterator[ReviewSession]:
    session = ReviewSession(work, "ann")
    yield session
    session.close()


@pytest.fixture
async def client(session: ReviewSession) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(review_app(session, TOKEN, HOST))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
        yield client


def place_of(session: ReviewSession, group: str) -> int:
    """The number on the page of the first item of a group."""
    return next(n for n, item in enumerate(session.items, 1) if item.group == group)


async def test_an_item_is_shown_with_what_filter_and_judge_found(client, session):
    page = (await client.get(f"/{TOKEN}/item/{place_of(session, 'accepted')}")).text
    for told in ("What are tides?", "It says &lt;no&gt;.", "refusal", "0.80", "0 accepted"):
        assert told in page
    rubric = (await client.get(f"/{TOKEN}/item/{place_of(session, 'rubric')}")).text
    assert "The Moon causes tides." in rubric
    assert "Made by claims from s" in rubric
    assert "(Moon or lunar) and (tides)" in rubric
    assert "Look for causes." in rubric  # the trace it rests on stands below


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/wrong/", {}),
        ("/the-toke/", {}),
        ("/wrong/item/1", {}),
        (f"/{TOKEN}/", {"Host": "evil.example"}),
        (f"/{TOKEN}/", {"Host": "localhost:8123"}),
        (f"/{TOKEN}/", {"Host": "127.0.0.1:9"}),
    ],
)
async def test_strangers_are_refused(client, path, headers):
    refused = await client.get(path, headers=headers)
    assert refused.status_code == 403
    assert "tides" not in refused.text


async def test_a_form_of_another_page_is_refused(client, work):
    form = {"item": "1", "verdict": "accept"}
    for origin in ("http://evil.example", "null", "https://127.0.0.1:8123"):
        refused = await client.post(f"/{TOKEN}/decide", data=form, headers={"Origin": origin})
        assert refused.status_code == 403
    assert (await client.post("/wrong/decide", data=form)).status_code == 403
    assert read_decisions(work.run.review / "decisions.jsonl") == {}


async def test_nothing_invites_other_origins(client):
    answer = await client.get(f"/{TOKEN}/", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert "default-src 'none'" in html.unescape(answer.text)
    assert answer.headers["cache-control"] == "no-store"


async def test_words_are_recorded_and_the_last_one_counts(client, session, work):
    here = {"Origin": f"http://{HOST}"}
    form = {"item": "1", "verdict": "accept", "reason": ""}
    gone = await client.post(f"/{TOKEN}/decide", data=form, headers=here)
    assert (gone.status_code, gone.headers["location"]) == (303, f"/{TOKEN}/item/2")
    form = {"item": "1", "verdict": "reject", "reason": " too \n thin "}
    await client.post(f"/{TOKEN}/decide", data=form, headers=here)
    words = read_decisions(work.run.review / "decisions.jsonl")
    word = words[session.items[0].item]["ann"]
    assert word.content == session.items[0].content is not None
    assert (word.accept, word.reason) == (False, "too thin")
    assert word.at.endswith("+00:00")
    page = (await client.get(f"/{TOKEN}/item/1")).text
    assert "You rejected it: too thin." in page
    assert "0 accepted, 1 rejected" in page


@pytest.mark.parametrize(
    "form",
    [
        {"item": "1", "verdict": "reject", "reason": "  "},
        {"item": "0", "verdict": "accept"},
        {"item": "99999", "verdict": "accept"},
        {"item": "0000000001000000", "verdict": "accept"},
        {"item": "١", "verdict": "accept"},
        {"item": "1", "verdict": "maybe"},
        {"item": "1", "verdict": "accept", "reason": "x" * 70_000},
        {},
    ],
)
async def test_what_is_no_word_is_not_recorded(client, work, form):
    assert (await client.post(f"/{TOKEN}/decide", data=form)).status_code == 400
    assert read_decisions(work.run.review / "decisions.jsonl") == {}


async def test_after_the_last_word_the_list_is_shown(client, session):
    for number in range(1, len(session.items) + 1):
        form = {"item": str(number), "verdict": "accept"}
        gone = await client.post(f"/{TOKEN}/decide", data=form)
    assert gone.headers["location"] == f"/{TOKEN}/"
    assert "Everything has your word" in (await client.get(f"/{TOKEN}/")).text


async def test_several_reviewers_write_at_once_and_see_only_their_own(client, session, work):
    other = ReviewSession(work, "bob")
    session.decide(0, accept=True, reason="")
    other.decide(0, accept=False, reason="no")
    again = ReviewSession(work, "ann")
    again.decide(1, accept=True, reason="")
    words = read_decisions(work.run.review / "decisions.jsonl")
    assert {name: w.accept for name, w in words[session.items[0].item].items()} == {
        "ann": True,
        "bob": False,
    }
    assert session.progress() == (2, 0, len(session.items))  # what another process of hers said
    assert other.progress() == (0, 1, len(session.items))
    assert "bob" not in (await client.get(f"/{TOKEN}/item/1")).text
    other.close()
    again.close()


def test_a_new_session_goes_on_where_the_last_one_was_killed(work, session):
    session.decide(0, accept=True, reason="")
    path = work.run.review / "decisions.jsonl"
    path.write_bytes(path.read_bytes() + b'{"item":"s1.1","revi')
    again = ReviewSession(work, "ann")
    assert again.next_open(-1) == 1
    again.close()


def test_a_server_runs_while_another_process_has_the_lock(work):
    with work.run.locked():
        ReviewSession(work, "ann").close()


async def test_a_hostile_item_is_text(work, session, client):
    bad = hostile_trace().model_copy(update={"id": "s0.1"})
    work.run.generated.unlink()
    write_traces(work.run.generated, [bad])
    fresh = ReviewSession(work, "<b>ann</b>")
    transport = httpx.ASGITransport(review_app(fresh, TOKEN, HOST))
    place = next(n for n, item in enumerate(fresh.items, 1) if item.item == "s0.1")
    missing = next(n for n, item in enumerate(fresh.items, 1) if item.item == "s1.1")
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as visitor:
        page = (await visitor.get(f"/{TOKEN}/item/{place}")).text
        assert "<img" not in page
        assert page.count("<script>") == 2
        assert "<b>ann" not in page
        gone = (await visitor.get(f"/{TOKEN}/item/{missing}")).text
        assert "hold no trace or rubric s1.1" in gone
    fresh.close()


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 61])
def test_a_reviewer_has_a_name(work, name):
    with pytest.raises(ConfigurationError, match="--reviewer"):
        ReviewSession(work, name)


def test_a_port_that_cannot_be_is_one_line(work):
    with pytest.raises(ConfigurationError, match=r"--port 70000: .*choose another"):
        serve_review(work, "ann", 70_000)
