"""The page of a trace: all of it is there, and nothing in it acts, whatever the trace holds."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from oresearch_graph.command.cli import app
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.trace import Failure, Source, Span, Trace, Usage, write_traces
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.view.markup import escaped, joined, outside_link, tag, web_address
from oresearch_graph.view.overview import Line, Panel
from oresearch_graph.view.page import traces_page
from oresearch_graph.view.report import Alignment
from oresearch_graph.view.steps import Remark
from oresearch_graph.view.trace_view import trace_section
from tests.helpers.hostile import HOSTILE, hostile_trace
from tests.helpers.traces import GOOD, SOURCES, good_trace, trace_of


class Page(HTMLParser):
    """What a browser would find on a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br", "hr", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def of_class(self, word: str) -> list[dict[str, str | None]]:
        return [a for _, a in self.tags if word in (a.get("class") or "").split()]


def checked(**fields) -> Trace:
    trace = good_trace(**fields)
    assert trace.answer
    return trace.model_copy(
        update={"citations": verify_report(parse_answer(trace.answer.text), trace.sources or ())}
    )


def test_a_page_shows_the_whole_trace():
    trace = checked(
        spans=(Span(name="model", branch=1, start=1.0, seconds=2.0),),
        usage=(Usage(role="planner", model="some-model", calls=3, prompt_tokens=1234, cost=0.5),),
        failures=(Failure(name="tool_error", fault="web", message="gone away", branch=2),),
    )
    page = Page(traces_page([trace]))
    assert page.open == []
    for told in ("What are tides?", "gone away", "some-model", "1,234", "0.5000",
                 "How large they get", "Look for the range.", "Tides are the Moon's"):  # fmt: skip
        assert told in page.text
    assert len(page.named("rect")) == 1
    assert "Subtask 1: from 0.000 s to 2.000 s" in str(page.named("svg")[0]["aria-label"])
    assert all("open" not in details for details in page.named("details"))
    assert len(page.of_class("policy")) > 10
    assert page.of_class("world")


def test_a_page_opens_with_the_report_its_cost_and_what_is_missing():
    failures = (
        Failure(name="not_covered", fault="person", message="was stopped", branch=2),
        Failure(name="repaired", fault="policy", message="was mended"),
    )
    usage = (Usage(role="planner", model="some-model", calls=3, cost=0.5),)
    text = Page(traces_page([checked(failures=failures, usage=usage)])).text
    places = [text.index(part) for part in (
        "3 model calls, 0 tool calls, $0.5000", "What is missing", "was stopped",
        "Tides are the Moon's", "Sources", "Findings (", "was mended", "Plan", "Time line", "Steps",
    )]  # fmt: skip
    assert places == sorted(places)


def test_a_list_that_no_citation_uses_is_shown():
    text = GOOD.replace("[1]", "").replace("[2]", "").replace("- Tides", "- Unused")
    assert "Unused" in Page(traces_page([trace_of(text)])).text


def test_a_citation_leads_to_the_passage_and_tells_its_status():
    page = Page(traces_page([checked()]))
    moon, metres = page.of_class("cite")
    assert moon["aria-label"] == "Source 1, quoted"
    assert metres["data-claim"] == "t1-claim-2"
    marks = [mark for mark in page.named("mark") if mark.get("data-claims") == "t1-claim-2"]
    assert len(marks) == 1
    jumps = {link["href"] for link in page.of_class("jump")}
    assert f"#{marks[0]['id']}" in jumps
    cards = {card["id"] for card in page.of_class("card")}
    assert cards == {"t1-claim-1", "t1-claim-2"}


def test_claims_are_told_apart_by_what_is_known_of_them():
    text = GOOD.replace("They reach 16 metres [2].", "They reach 99 metres [2]. It is so [7].")
    page = Page(traces_page([trace_of(text)]))
    status = [cite["class"] for cite in page.of_class("cite")]
    assert status == ["cite quoted", "cite contradicted", "cite dangling"]
    assert "Leads to no source: [7]" in page.text
    assert "99" in page.text.split("Not found in the cited sources:")[1][:20]
    assert [claim["class"] for claim in page.of_class("claim")][-1] == "claim dangling"


def test_a_quote_that_is_not_in_its_source_is_never_lit():
    forged = checked()
    assert forged.citations
    claim = forged.citations.claims[0]
    wrong = claim.evidence[0].model_copy(update={"quote": "Whales cause tides."})
    claims = (claim.model_copy(update={"evidence": (wrong,)}), *forged.citations.claims[1:])
    citations = forged.citations.model_copy(update={"claims": claims})
    page = Page(traces_page([forged.model_copy(update={"citations": citations})]))
    assert "Whales" not in page.text
    assert "other_check" in page.text


def test_what_others_found_stands_beside_and_is_marked_in_its_step():
    remarks = [Remark("filter", "refusal", "says <no>", step=2, start=0, end=4)]
    panels = [Panel("Judge", (Line("insight & depth", "0.40", "thin"),))]
    page = Page(trace_section(good_trace(), "x", remarks=remarks, panels=panels))
    assert "says <no>" in page.text
    assert "insight & depth" in page.text
    assert any(link["href"] == "#x-step-2" for link in page.of_class("jump"))
    assert len(page.of_class("offending")) == 1


def test_several_traces_have_an_index_and_ids_of_their_own():
    page = Page(traces_page([checked(id="a"), checked(id="b", question="And the other?")]))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"t1", "t2"} <= set(ids)
    links = [a["href"] for a in page.named("a") if (a.get("href") or "").startswith("#")]
    assert {"#t1", "#t2"} <= set(links)
    assert {link[1:] for link in links if link} - set(ids) == set()


def test_only_the_page_own_script_may_run():
    source = traces_page([checked()])
    page = Page(source)
    (policy,) = [m["content"] for m in page.named("meta") if m.get("http-equiv")]
    assert policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    for kind in ("script", "style"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("stored", [True, False])
def test_a_hostile_trace_is_text(stored: bool):
    trace = hostile_trace()
    if not stored:
        trace = trace.model_copy(update={"sources": None})
    source = traces_page([trace])
    page = Page(source)
    assert page.open == []
    names = {name for name, _ in page.tags}
    assert not names & {"img", "iframe", "object", "embed", "link", "base", "form", "audio"}
    assert len(page.named("script")) == 1
    for name, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on") or key == "style"], name
        assert not {"src", "srcset", "action", "formaction", "ping", "background"} & set(attributes)
        href = attributes.get("href")
        assert href is None or (name == "a" and re.match(r"https?://|#", href))
    for text in HOSTILE:
        assert re.sub(r"[^\w ]", "", text)[:12] in re.sub(r"[^\w ]", "", page.text)
    assert not re.search("[\x00\x1b\u202a-\u202e\u2066-\u2069]", source)


def test_a_page_asks_nothing_of_the_network():
    page = Page(traces_page([checked()]))
    assert not any({"src", "srcset", "data", "poster"} & set(a) for _, a in page.tags)
    assert not [a for a in page.named("a") if a.get("target") and "noreferrer" not in str(a)]
    assert "url(" not in traces_page([checked()])


def test_a_report_cannot_hold_a_token_of_the_weaving():
    text = GOOD.replace("Tides are large.", "A ⸪o1x0123456789abcdef⸫ B `[1]` &#x2E2A;m0x&#x2E2B;.")
    page = Page(traces_page([trace_of(text)]))
    assert "⸪o1x0123456789abcdef⸫" in page.text
    assert len(page.of_class("cite")) == 2


def test_markdown_around_claims_keeps_its_shape():
    body = (
        "- **The Moon causes tides** [1].\n- *They* reach 16 metres [2].\n\n"
        "| what | how |\n|---|---|\n| The Moon | causes tides [1] |\n\n"
        "1. The Moon causes `tides` [1][2].\n\n![x](https://e.org/x.png) [go](javascript:alert(1))"
    )
    text = GOOD.replace("The Moon causes tides [1]. They reach 16 metres [2].", body)
    source = traces_page([trace_of(text)])
    page = Page(source)
    assert len(page.named("strong")) >= 1
    assert "<strong><span" in source
    assert len(page.of_class("cite")) == 5
    assert page.named("table")
    assert not page.named("img")
    assert "⸪" not in source


def test_long_texts_are_cut_and_say_so():
    text = GOOD.replace("Look for causes.", "think " * 60_000)
    long = Source.of(id=1001, url="https://example.org/tides",
                     text="x " * 200_000 + "\nThe Moon causes tides.\n" + "y " * 5000)  # fmt: skip
    page = traces_page([trace_of(text, sources=(long, SOURCES[1]))])
    assert len(page) < 400_000
    assert "more characters are in the trace file" in page
    assert "characters left out" in page
    assert "The Moon causes tides." in page.split('class="foreign passage"')[1]


def test_a_long_report_is_shown_as_plain_text():
    trace = trace_of(GOOD.replace("Tides are large.", "*a_ [b" * 40_000))
    assert '<pre class="foreign"' in traces_page([trace])


def test_a_trace_without_anything_has_a_page():
    page = Page(traces_page([Trace(question="")]))
    assert "There is no report." in page.text
    assert "There is no plan." in page.text


@pytest.mark.parametrize(
    ("answer", "report", "piece", "there"),
    [
        ("A one [3]. B two [4].", "A one [1]. B two [2].", "B two [4].", "B two [2]."),
        (
            "A [3]. B [4].",
            "A [1] (⚠ differs from source). B [2].",
            "A [3].",
            "A [1] (⚠ differs from source).",
        ),
        ("A one [9]. B two.", "A one. B two.", "A one [9].", "A one."),
        ("[3] says so.", "[1] says so.", "[3] says so.", "[1] says so."),
        ("One [3]", "One [1]\n\nnotes", "One [3]", "One [1]"),
    ],
)
def test_a_claim_is_found_in_the_delivered_report(answer, report, piece, there):
    start = answer.index(piece)
    span = Alignment(parse_answer(answer), report).span(start, start + len(piece))
    assert span is not None
    assert report[slice(*span)].strip() == there


def test_text_is_escaped_whoever_passes_it():
    assert tag("p", "<b>", tag("i", '"'), class_='a"b') == (
        '<p class="a&quot;b">&lt;b&gt;<i>&quot;</i></p>'
    )
    assert joined("a<", None, escaped("<")) == "a&lt;&lt;"
    assert escaped("a\u202eb\x1b[0m\x00") == "a\ufffdb\ufffd[0m\ufffd"


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", " java\nscript:alert(1)", "data:text/html,x", "file:///etc/passwd",
     "//example.org", "https://", "http://[::1", "https://a b", "https://h:99999/"],
)  # fmt: skip
def test_only_the_web_is_linked(url: str):
    assert web_address(url) is None
    assert "<a" not in outside_link(url, "x")


class TestCommand:
    def test_the_page_stands_beside_the_file(self, tmp_path: Path):
        write_traces(tmp_path / "t.jsonl", [checked(id="a"), checked(id="b")])
        done = CliRunner().invoke(app, ["view", str(tmp_path / "t.jsonl")])
        assert done.exit_code == 0
        assert done.stdout.strip() == str(tmp_path / "t.html")
        assert len(Page((tmp_path / "t.html").read_text("utf-8")).of_class("trace")) == 2

    def test_one_trace_is_chosen_by_its_id(self, tmp_path: Path):
        write_traces(tmp_path / "t.jsonl", [checked(id="a"), checked(id="b")])
        out = tmp_path / "new" / "page.html"
        done = CliRunner().invoke(
            app, ["view", str(tmp_path / "t.jsonl"), "--id", "b", "--out", str(out)]
        )
        assert done.exit_code == 0
        assert len(Page(out.read_text("utf-8")).of_class("trace")) == 1

    @pytest.mark.parametrize(
        ("more", "told"),
        [
            (["--id", "z"], "no trace has the id 'z'"),
            (["--out", "{folder}"], "cannot be written"),
            (["--out", "{folder}/t.jsonl"], "is the trace file itself"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, tmp_path: Path, more: list[str], told: str):
        write_traces(tmp_path / "t.jsonl", [checked(id="a")])
        before = (tmp_path / "t.jsonl").read_bytes()
        more = [each.format(folder=tmp_path) for each in more]
        done = CliRunner().invoke(app, ["view", str(tmp_path / "t.jsonl"), *more])
        assert told in str(done.exception)
        assert (tmp_path / "t.jsonl").read_bytes() == before
