"""A report as PDF: its scripts, its limits, and nothing fetched."""

from __future__ import annotations

import logging
import resource
from importlib.util import find_spec
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF
from typing import Final

import pytest

from oresearch_graph import write_report
from oresearch_graph.command.places import deliver
from oresearch_graph.view import paper, report_file
from tests.helpers.loopback_site import running_site
from tests.helpers.report_pages import Page, needs_pango, pdf_text, words
from tests.helpers.traces import good_trace

SCRIPTS: Final = {
    "arabic": "يسبب القمر المد والجزر في البحر",
    "hebrew": "הירח גורם לגאות ולשפל בים",
    "russian": "Луна вызывает приливы",
    "greek": "Η Σελήνη προκαλεί παλίρροιες",
}


@pytest.fixture
def one_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DejaVu Sans, which comes with matplotlib, whatever the machine has."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    fonts = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "DejaVuSans.ttf").symlink_to(fonts / "DejaVuSans.ttf")
    (tmp_path / "fonts.conf").write_text(
        f"<fontconfig><dir>{tmp_path}/fonts</dir><cachedir>{tmp_path}/cache</cachedir></fontconfig>"
    )
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))


@needs_pango
@pytest.mark.usefixtures("one_font")
def test_other_scripts_and_tables_survive(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = "\n".join(f"| {name} | {text} 😀 |" for name, text in SCRIPTS.items())
    report = (
        f"## تقرير\n\n{SCRIPTS['arabic']} [1]. {SCRIPTS['arabic']}.\n\n| a | b |\n|-|-|\n{rows}\n"
    )
    trace = good_trace(language="ar")
    result = {"trace": trace, "report": report, "citations": None}
    write_report(result, tmp_path / "r.html")
    write_report(result, tmp_path / "r.pdf")
    assert caplog.records == []
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert page.elements[0] == ("html", {"lang": "ar", "dir": "rtl"})
    printed = pdf_text((tmp_path / "r.pdf").read_bytes())
    for name in ("russian", "greek"):
        assert SCRIPTS[name] in page.text
        assert SCRIPTS[name] in " ".join(printed.split())
    for name in ("arabic", "hebrew"):
        assert SCRIPTS[name] in page.text
        assert set("".join(words(SCRIPTS[name]))) <= set(printed)
    assert "😀" in printed


@needs_pango
@pytest.mark.usefixtures("one_font")
def test_characters_that_no_font_has_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    result = {"trace": good_trace(), "report": "Tides are 潮汐.", "citations": None}
    with caplog.at_level(logging.WARNING):
        write_report(result, tmp_path / "r.pdf")
    (record,) = caplog.records
    assert "2 of the PDF's characters (潮 汐)" in record.getMessage()
    assert "潮汐" in pdf_text((tmp_path / "r.pdf").read_bytes())


@needs_pango
def test_paper_fetches_nothing(tmp_path: Path):
    (tmp_path / "secret.txt").write_text("Tides of silver")
    with running_site() as site:
        page = (
            f"<img src={site.url}/x><link rel=stylesheet href={site.url}/x><style>"
            f"@import url({site.url}/x); p {{ background: url({site.url}/x) }}</style><p>Words."
            f"<link rel=attachment href=file://{tmp_path}/secret.txt><object data={site.url}/x>"
        )
        content = paper.paper(page)
        assert site.asked == []
    assert "Words." in pdf_text(content)
    assert b"EmbeddedFile" not in content


LONG: Final = {
    "word": "a" * 100_000,
    "marks": "Tides rise " + "[1]" * 6_000 + ".\n\n## References\n\n[1]. https://x.org/a - A",
    "letters over letters": "a" + "\u0301" * 100_000,
    "blanks": "```\na" + " " * 100_000 + "b\n```",
    "items": "- a\n" * 40_000,
}


def seconds() -> float:
    """CPU time of this process and of those it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))


@needs_pango
@pytest.mark.hostile
@pytest.mark.parametrize("kind", LONG)
def test_paper_takes_time_as_the_report_is_long(tmp_path: Path, kind: str):
    result = {"trace": good_trace(), "report": LONG[kind], "citations": None}
    before = seconds()
    write_report(result, tmp_path / "r.pdf")
    assert seconds() - before < 30


@needs_pango
def test_a_report_of_five_megabytes_is_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report_file, "_PRINTED", 20_000)
    report = "Tides rise *twice* a day, says [1].\n\n" * 135_000
    result = {"trace": good_trace(), "report": report, "citations": None}
    before = seconds()
    for suffix in report_file.SUFFIXES:
        write_report(result, tmp_path / f"r{suffix}")
    assert seconds() - before < 30
    text = pdf_text((tmp_path / "r.pdf").read_bytes())
    assert f"… {len(report) - 20_000:,} more characters are in the trace file." in text


@needs_pango
def test_a_layout_without_end_costs_its_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paper, "_SECONDS", 0.01)
    result = {"trace": good_trace(), "report": "Tides.", "citations": None}
    faults = deliver([tmp_path / "r.pdf", tmp_path / "r.html"], result)
    assert faults == [
        f"{tmp_path}/r.pdf: the layout as PDF takes more than 0 s: take .html and print it"
    ]
    assert (tmp_path / "r.html").exists()
