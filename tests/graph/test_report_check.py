"""Anybody's report against its sources, from Python and from the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from oresearch_graph import check_report
from oresearch_graph.errors import CitationsNotUnderstood, ConfigurationError
from oresearch_graph.trace import Source, write_traces
from tests.graph.test_cli import one_line, oresearch
from tests.helpers.loopback_site import running_site
from tests.helpers.traces import good_trace

TIDES = {
    "url": "https://a.example/tides",
    "title": "Tides",
    "text": "Tides rise twice a day. In the Bay of Fundy the range is 16 metres.",
}
MOON = {
    "url": "https://b.example/moon",
    "title": "The Moon",
    "text": "The moon pulls the water. It was first measured in 1869 by Isa Noor.",
}
REPORT = """# Tides

Tides rise twice a day [1](https://a.example/tides). In the Bay of Fundy they reach 18 metres
([Tides](https://a.example/tides)). Isa Noor measured the moon's pull first in 1869
[[2]](https://b.example/moon). Nobody knows more [3](https://c.example/nothing).
"""


def statuses(report: str, *sources: object) -> list[str]:
    return [claim.status for claim in check_report(report, sources)]  # type: ignore[arg-type]


def test_what_is_known_of_each_claim():
    checked = check_report(REPORT, [TIDES, MOON])
    assert [claim.status for claim in checked] == [
        "quoted", "contradicted", "found", "not_checkable",
    ]  # fmt: skip
    first, second, third, fourth = checked
    assert (first.sentence, first.marks) == (
        "Tides rise twice a day.", ("[1](https://a.example/tides)",),
    )  # fmt: skip
    assert second.missing == ("18 metres",)
    assert second.quote is not None
    assert "16 metres" in second.quote
    assert third.sources == (MOON["url"],)
    assert (fourth.sources, fourth.quote) == (("https://c.example/nothing",), None)
    assert REPORT[first.start : first.end] == "Tides rise twice a day [1](https://a.example/tides)."
    assert len(checked) == 4
    assert checked.accuracy == pytest.approx(2 / 3)
    assert checked.counts == {"quoted": 1, "found": 1, "contradicted": 1, "not_checkable": 1}


def test_a_number_without_a_list_is_the_place_of_a_source():
    assert statuses("The moon pulls the water [2].", TIDES, MOON) == ["quoted"]


def test_a_number_leads_through_the_reports_own_list():
    report = f"The moon pulls the water [7].\n\n## Sources\n\n7. {MOON['url']}\n"
    assert statuses(report, TIDES, MOON) == ["quoted"]
    assert statuses(report) == ["not_checkable"]


@pytest.mark.parametrize(
    "entries",
    [
        "1. The Moon\n2. Tides",
        "[1] I. Noor: “The Moon”. Journal of Water, 1869.\n[2] A. Fundy. Tides. 1901.",
        "1. The Moon | B Example\n2. Tides | A Example",
        "1. 《The Moon》，1869\n2. 《Tides》，1901",
    ],
)
def test_a_list_without_addresses_leads_by_its_titles(entries: str):
    report = (
        f"The moon pulls the water [1]. Tides rise twice a day [2].\n\n## Sources\n\n{entries}\n"
    )
    assert statuses(report, TIDES, MOON) == ["quoted", "quoted"]


@pytest.mark.parametrize(
    "entries",
    [
        "1. Waves\n2. Winds",
        "1. Tides (1901)\n2. Journal of Water",
        "1. Journal of Water\n2. Journal of Water",
        "1. Tides. Journal of Water\n2. Winds",
    ],
)
def test_numbers_are_places_where_not_every_entry_names_a_source_of_its_own(entries: str):
    report = f"The moon pulls the water [2].\n\n## Sources\n\n{entries}\n"
    journal = {"url": "https://c.example", "title": "Journal of Water", "text": "Water is old."}
    assert statuses(report, TIDES, MOON, journal) == ["quoted"]


def test_a_list_without_addresses_is_looked_up_once():
    entry = "a. " * 30_000
    report = f"{'The moon pulls the water [1]. ' * 400}\n\n## Sources\n\n1. {entry}\n"
    start = time.process_time()
    assert len(check_report(report, [MOON])) == 400
    assert time.process_time() - start < 5


def test_an_address_with_a_campaign_or_a_place_in_the_page_is_the_same():
    url = "http://www.b.example/moon/?utm_source=chatgpt.com#:~:text=the%20moon"
    assert statuses(f"The moon pulls the water ([b]({url})).", MOON) == ["quoted"]


def test_a_report_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match="the report is NoneType, not text"):
        check_report(None, [TIDES])  # type: ignore[arg-type]


def test_the_fall_of_a_year_is_a_season():
    source = {**TIDES, "text": "The bridge was built in the fall of 1911. Prices rose in 1911."}
    assert statuses("It was built in the fall of 1911 [1].", source) == ["found"]
    for figure in ("12 percent", "5%", "1500 units"):
        told = f"Acme reported a rise of {figure} in sales in 2008."
        fell = f"{told.replace('rise', 'fall')[:-1]} [1]."
        assert statuses(fell, {**TIDES, "text": told}) == ["contradicted"]


def test_records_are_sources_too():
    source = Source.of(id=1001, url=MOON["url"], text=MOON["text"])
    assert statuses("The moon pulls the water [1].", source) == ["quoted"]


@pytest.mark.parametrize(
    ("report", "cause"),
    [
        ("", "empty"),
        ("Tides rise. The moon pulls.", "no citation was read in 2 sentences:"),
        ("Tides rise.\n\n## Sources\n\n- https://a.example/tides\n", "beside a list of 1 sources"),
        ("Tides rise [7]. They fall [8].", r"such as \[7\], \[8\]"),
    ],
)
def test_what_is_not_understood_is_said(report: str, cause: str):
    with pytest.raises(CitationsNotUnderstood, match=cause):
        check_report(report, [TIDES])


@pytest.mark.parametrize("source", [{"text": "x"}, {"url": "https://a.example", "text": 3}])
def test_a_source_that_is_none_is_refused(source: dict[str, object]):
    with pytest.raises(ConfigurationError, match="source 1"):
        check_report("Tides rise [1].", [source])


def written(folder: Path, report: str, *sources: dict[str, str]) -> tuple[str, ...]:
    (folder / "r.md").write_text(report)
    (folder / "s.jsonl").write_text("".join(f"{json.dumps(source)}\n" for source in sources))
    return ("verify", "r.md", "--sources", "s.jsonl")


def test_verify_prints_the_claims_and_tells_by_its_status(tmp_path: Path):
    done = oresearch(*written(tmp_path, REPORT, TIDES, MOON), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "2. contradicted: In the Bay of Fundy they reach 18 metres" in done.stdout
    assert "missing: 18 metres" in done.stdout
    assert "citation accuracy 0.67" in done.stdout
    right = REPORT.replace("18 metres", "16 metres")
    assert oresearch(*written(tmp_path, right, TIDES, MOON), cwd=tmp_path).returncode == 0


def test_verify_as_json(tmp_path: Path):
    done = oresearch(*written(tmp_path, REPORT, TIDES, MOON), "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert [claim["status"] for claim in told["claims"]][:2] == ["quoted", "contradicted"]
    assert told["accuracy"] == pytest.approx(2 / 3)


def test_what_verify_does_not_understand_is_one_line_and_2(tmp_path: Path):
    done = oresearch(*written(tmp_path, "Tides rise. The moon pulls.", TIDES), cwd=tmp_path)
    assert "no citation was read" in one_line(done)
    assert done.returncode == 2


@pytest.mark.parametrize("line", ["[1]", "nothing", '{"title": "x"}'])
def test_a_file_of_sources_that_is_none_is_one_line_and_2(tmp_path: Path, line: str):
    arguments = written(tmp_path, REPORT)
    (tmp_path / "s.jsonl").write_text(line)
    done = oresearch(*arguments, cwd=tmp_path)
    one_line(done)
    assert done.returncode == 2


def test_verify_takes_the_sources_of_a_trace(tmp_path: Path):
    trace = good_trace()
    assert trace.sources
    write_traces(tmp_path / "t.jsonl", [trace])
    (tmp_path / "r.md").write_text(f"Something else [1]({trace.sources[0].url}).")
    done = oresearch("verify", "r.md", "--sources", "t.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert trace.sources[0].url in done.stdout


def test_verify_reads_the_cited_pages(tmp_path: Path):
    with running_site() as site:
        page = site.add("/tides", f"<html><body><p>{TIDES['text']}</p></body></html>")
        other, more = site.add("/other", "x"), "https://never.invalid/page"
        report = f"Tides rise twice a day [1]({page}). The range is 16 metres [2]({more}).\n"
        (tmp_path / "r.md").write_text(f"{report}It is so [3]({other}).")
        private = {"ORESEARCH_ALLOW_PRIVATE_ADDRESSES": "true"}
        done = oresearch("verify", "r.md", "--max-pages", "2", cwd=tmp_path, **private)
        assert "1. quoted: Tides rise twice a day." in done.stdout, done.stderr
        assert f"not read: {more}: " in done.stdout
        assert f"not read: {other}: beyond --max-pages 2" in done.stdout
        guarded = oresearch("verify", "r.md", "--max-pages", "1", cwd=tmp_path)
        assert "1. not checkable" in guarded.stdout, "private addresses are not read by default"
