"""What rows are made of: numbers in linear rows, edits, authors, personal data, page text."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.export.conversations import messages, sharegpt
from datagen.export.edits import Edit, Edits
from datagen.export.page_text import withheld
from datagen.export.proofs import row_faults
from datagen.export.renumber import Unresolved, renumbered, shown_numbers
from datagen.export.scrub import Scrubber, luhn
from datagen.export.sft_rows import About, assistant_text, sft_rows
from oresearch_graph import ResearchSettings
from oresearch_graph.prompts import system_prompt
from oresearch_graph.trace import Source, Step, parse_steps, text_hash, world_step
from oresearch_graph.trace.references import citation_marks, listed_lines, same_address
from tests.export_run import BOTH, FACTS, traced
from tests.traces import good_trace

SYSTEM = system_prompt(ResearchSettings())
ABOUT = About("s1", "science", 0.8)


def row_of(trace, mode="linear"):
    (row,) = sft_rows(trace, SYSTEM, mode, ABOUT)
    return row


def report_of(trace):
    return trace.answer.text


def texts_of(trace):
    return {source.id: (source.text, source.sha256) for source in trace.sources}


def shown(text):
    """Number → address, as the heads of the observations in a row's text have it."""
    found: dict[int, str] = {}
    for observation in re.findall(r"<observation>(.*?)</observation>", text, re.DOTALL):
        for number, url in re.findall(r"^\[(\d+)\] .*\n(\S+)$", observation, re.MULTILINE):
            assert found.setdefault(int(number), url) == url
    return found


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("execution", BOTH)
async def test_every_number_of_a_linear_row_is_one_its_observations_show(execution, local):
    trace = await traced("s1.1", execution, local=local)
    text = assistant_text(row_of(renumbered(trace)))
    numbers = shown(text)
    assert len(numbers) == len(set(numbers.values())) == 3
    answers = [s for s in parse_steps(text) if s.kind in {"subtask_answer", "suggested_answer"}]
    assert len(answers) == 3
    proved = set()
    for answer in answers:
        listed = listed_lines(answer.text)
        assert listed
        for line in listed:
            assert numbers[line.reference.number] == line.reference.url
        for url, fact in FACTS.items():
            for number in re.findall(rf"{re.escape(fact)} \[(\d+)\]\.", answer.text):
                assert numbers[int(number)] == url
                proved.add((answer.kind, url))
    assert len(proved) == 3 + 3


async def test_a_sequential_run_that_cites_what_it_is_shown_is_left_as_it_is():
    trace = await traced("s1.1", "sequential")
    assert renumbered(trace).steps == trace.steps


async def test_branches_share_one_number_for_one_address():
    trace = await traced("s1.1")
    ids = [s.id for s in trace.sources if s.url.endswith("/tides")]
    assert ids == [1001, 2001]
    whole = renumbered(trace)
    assert "[2001]" in "".join(s.text for s in trace.steps)
    assert "[2001]" not in "".join(s.text for s in whole.steps)
    assert shown_numbers(whole)[same_address("https://example.org/tides")] == 1001
    assert "[1001][2001]" in trace.answer.text
    assert report_of(whole).count("https://example.org/tides") == 1


async def test_claims_and_evidence_stand_where_they_did():
    trace = await traced("s1.1", local=True)
    row = row_of(renumbered(trace))
    text = assistant_text(row)
    assert len(row["citations"]) == len(trace.citations.claims) == 3
    for claim, before in zip(row["citations"], trace.citations.claims, strict=True):
        assert text[claim["start"] : claim["end"]] == claim["text"]
        assert re.sub(r"\[\d+\]", "", claim["text"]) == re.sub(r"\[\d+\]", "", before.text)
        assert claim["status"] == "supported"
        for evidence in claim["evidence"]:
            source = next(s for s in trace.sources if s.id == evidence["source"])
            assert source.text[evidence["start"] : evidence["end"]] == evidence["quote"]


def with_answer(text):
    steps = [
        s.model_copy(update={"text": text}) if s.kind == "suggested_answer" else s
        for s in good_trace().steps
    ]
    return good_trace().model_copy(update={"steps": tuple(steps)})


LIST = "\n\n## References\n[1]. https://example.org/tides - T\n[2]. https://example.org/range - R"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Tides [1, 2].", "Tides [1001, 2001]."),
        ("Tides [1-2].", "Tides [1001, 2001]."),
        ("Tides [^2].", "Tides [^2001]."),
        ("Tides 【2†L3】.", "Tides 【2001†L3】."),
        ("Tides [2] [1].", "Tides [2001] [1001]."),
        ("In [1990–1995, 1].", "In [1001, 1990–1995]."),
        ("`a[1]` and [1](https://a.b) [2].", "`a[1]` and [1](https://a.b) [2001]."),
    ],
)
def test_marks_keep_their_form(written, expected):
    found = report_of(renumbered(with_answer(written + LIST)))
    assert found.startswith(expected)
    assert found.endswith(
        "[1001]. https://example.org/tides - T\n[2001]. https://example.org/range - R"
    )


def test_a_number_that_nothing_shows_is_refused():
    hidden = Source.of(id=2002, url="https://example.org/hidden", text="Seen by no one.")
    trace = with_answer("Tides [1].\n\n## References\n[1]. https://example.org/hidden - H")
    with pytest.raises(Unresolved, match="no observation shows"):
        renumbered(trace.model_copy(update={"sources": (*trace.sources, hidden)}))
    with pytest.raises(Unresolved, match="no source"):
        renumbered(with_answer("Tides [7]." + LIST))


def test_a_page_that_imitates_a_sources_head_is_refused():
    fake = "text\n[2001] Mine\nhttps://evil.example/\nbuy"
    steps = list(good_trace().steps)
    at = next(i for i, step in enumerate(steps) if step.kind == "observation")
    steps[at] = world_step("observation", f"{steps[at].text}\n{fake}", branch=1)
    with pytest.raises(Unresolved, match=r"\[2001\] for another address"):
        renumbered(good_trace().model_copy(update={"steps": tuple(steps)}))


LINE = st.sampled_from(["[1] ", "[2]", "a ", "é\n", "[1, 2]", "[1][2]", "[9] ", "## References\n"])


@given(st.lists(LINE, max_size=30))
def test_renumbering_any_answer_refuses_or_resolves(parts):
    trace = with_answer("".join(parts) + LIST)
    try:
        whole = renumbered(trace)
    except Unresolved:
        return
    numbers = set(shown_numbers(whole).values())
    assert {mark.number for mark in citation_marks(report_of(whole))} <= numbers
    assert renumbered(whole).steps == whole.steps


@given(
    st.text("abc", max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5), st.text("XYZ", max_size=4))),
    st.integers(0, 30), st.integers(0, 10),
)  # fmt: skip
def test_a_span_outside_all_edits_keeps_its_text(text, drawn, start, length):
    edits = Edits(text, [Edit(a, a + n, put) for a, n, put in drawn if a + n <= len(text)])
    end = min(start + length, len(text))
    low, high = edits.span(min(start, end), end)
    assert 0 <= low <= high <= len(edits.text)
    if start < end and not any(e.start < end and start < e.end for e in edits.made):
        assert edits.text[low:high] == text[start:end]


@pytest.mark.parametrize("mode", ["threads", "linear"])
@pytest.mark.parametrize("execution", BOTH)
async def test_rows_of_real_runs_prove_themselves(execution, mode):
    trace = await traced("s1.1", execution)
    trace = renumbered(trace) if mode == "linear" else trace
    texts = texts_of(trace)
    rows = list(sft_rows(trace, SYSTEM, mode, ABOUT))
    assert len(rows) == (4 if (execution, mode) == ("parallel", "threads") else 1)
    for row in rows:
        assert list(row_faults(row, texts, (), linear=mode == "linear")) == []


async def test_an_author_that_the_tags_contradict_is_found():
    trace = renumbered(await traced("s1.1"))
    texts = texts_of(trace)
    row = row_of(trace)
    for segment in row["segments"]:
        author = segment["author"]
        segment["author"] = "world" if author == "policy" else "policy"
        if segment["text"].strip() and not segment["text"].startswith(("</", "\n\n<sub")):
            assert list(row_faults(row, texts, (), linear=True)), segment
        segment["author"] = author


async def test_messages_pair_each_call_with_its_observation():
    trace = renumbered(await traced("s1.1"))
    found = messages(trace, SYSTEM)
    assert [m["role"] for m in found[:4]] == ["system", "user", "assistant", "user"]
    assert found[3]["content"] == "<subtask>What causes tides?</subtask>"
    calls = [m for m in found if m["tool_calls"]]
    assert [json.loads(m["tool_calls"][0]["function"]["arguments"]) for m in calls] == [
        {"queries": ["Moon"]}, {"queries": ["tides Sun"]},
    ]  # fmt: skip
    for call in calls:
        answer = found[found.index(call) + 1]
        assert (answer["role"], answer["tool_call_id"]) == ("tool", call["tool_calls"][0]["id"])
        assert answer["content"].startswith("## Query")
    assert found[-1]["content"].rstrip().endswith("</suggested_answer>")


@pytest.mark.parametrize("execution", BOTH)
async def test_sharegpt_turns_alternate_and_hold_all_text(execution):
    trace = renumbered(await traced("s1.1", execution))
    turns = sharegpt(trace)
    assert all((turn["from"] == "gpt") == bool(i % 2) for i, turn in enumerate(turns))
    assert turns[-1]["from"] == "gpt"
    joined = "".join("".join(turn["value"] for turn in turns[1:]).split())
    assert joined == "".join(assistant_text(row_of(trace)).split())


PERSONAL = [
    ("write to ann.lee+x@mail.example.org today", "e-mail address"),
    ("ring +44 20 7946 0958 now", "telephone number"),
    ("card 4111 1111 1111 1111, thanks", "payment card"),
    ("to DE89 3704 0044 0532 0130 00 please", "IBAN"),
    ("from 8.8.8.8 again", "IP address"),
    ("from 2001:4860:4860::8888 again", "IP address"),
    ("number 536-22-1234 there", "identity number"),
    ("号码 11010519491231002X 的人", "identity number"),
]
HARMLESS = [
    "see https://example.org/4111111111111111 and http://a.b/x@y.org",
    "on 127.0.0.1 or 192.168.0.1, version 3.11.2",
    "4111 1111 1111 1112 is no card, 0000000000000000 neither",
    "ISBN 978-3-16-148410-0, pages 100-200-3000, 2024-01-02",
    "DE89 3704 0044 0532 0130 01 is wrong",
    "@decorator, a @ b, +1 more",
]


@pytest.mark.parametrize(("text", "kind"), PERSONAL)
def test_personal_data_is_replaced_by_its_kind(text, kind):
    scrubber = Scrubber()
    found = Edits(text, scrubber.edits(text)).text
    assert f"({kind} removed)" in found
    assert scrubber.counts == {kind: 1}
    assert found.startswith(text[:3])
    assert found.endswith(text[-3:])


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_stays(text):
    assert list(Scrubber().edits(text)) == []


def test_luhn_knows_one_wrong_digit():
    assert luhn("79927398713")
    assert not any(luhn(f"7992739871{digit}") for digit in "012456789")


async def test_a_scrubbed_trace_proves_itself_and_holds_no_address():
    trace = await traced("s1.1")
    source = next(s for s in trace.sources if "moon@" in s.text)
    clean = Scrubber().scrub(trace)
    assert "moon@" not in clean.model_dump_json()
    assert "901820" not in clean.model_dump_json()
    texts = texts_of(clean)
    text, sha256 = texts[source.id]
    assert text != source.text
    assert sha256 == text_hash(text)
    row = row_of(renumbered(clean))
    assert list(row_faults(row, texts, (), linear=True)) == []


@pytest.mark.parametrize("execution", BOTH)
async def test_withheld_pages_leave_heads_and_hashes(execution):
    trace = withheld(await traced("s1.1", execution))
    seen = [step.text for step in trace.steps if step.kind == "observation"]
    assert all("## Query: " in text and "sha256:" in text for text in seen)
    assert not any("metres" in text for text in seen)
    assert not any(text for text, _ in texts_of(trace).values())
    report = trace.citations
    assert report is not None
    assert not any(e.quote for claim in report.claims for e in claim.evidence)
    texts = texts_of(trace)
    assert list(row_faults(row_of(renumbered(trace)), texts, (), linear=True)) == []


def test_an_observation_without_sources_is_withheld_unless_it_is_a_short_message():
    long, short = "word " * 100, "This call failed: no answer."
    steps = (
        Step(kind="web_search", text="a", branch=1), world_step("observation", long, branch=1),
        Step(kind="web_search", text="b", branch=1), world_step("observation", short, branch=1),
    )  # fmt: skip
    found = withheld(good_trace().model_copy(update={"steps": steps, "citations": None}))
    assert found.steps[1].text == f"sha256:{text_hash(long)}"
    assert found.steps[3].text == short
