"""Reports as Markdown: nothing in them is fetched, run or followed beyond the web."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.evidence.delivery import (
    citation_annotations,
    deliver,
    markdown_text,
    safe_markdown,
)
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer


def acting(text: str) -> list[str]:
    """Pictures, HTML and addresses beyond the web that a reader finds, however it is written."""
    reader = MarkdownIt("commonmark").enable("table")
    reader.validateLink = lambda url: True  # type: ignore[method-assign]
    found: list[str] = []

    def look(tokens: list[Token]) -> None:
        for token in tokens:
            href = str(token.attrGet("href") or "")
            beyond = ":" in href.split("/")[0] and not href.lower().startswith(("http", "#"))
            if token.type in {"image", "html_inline", "html_block"} or beyond:
                found.append(token.type)
            look(token.children or [])

    look(reader.parse(text))
    return found


HOSTILE = [
    "![x](http://evil.org/pixel)", "![x][1]\n\n[1]: http://evil.org/p", "<img src=http://evil.org>",
    "<script>alert(1)</script>", "[c](javascript:alert(1))", "[c](<javascript:alert(1)>)",
    "[c](\njavascript:x)", "[c](&#106;avascript:x)", "[c](JAVASCRIPT:x)", "<javascript:alert(1)>",
    "[c][d]\n\n[d]: javascript:x", "> [d]:\n> javascript:x\n> [c][d]", "[c](data:text/html,x)",
    "[d]: <javascript:x y>\n\n[d]", "line ` one\n`<img src=x>` two",
    "[x](https://a`b) `y` <img> `", "- a\n\n  ```\n  code\n<img>\n", "| `x | <img>` |\n|--|--|\n",
    "<!-- x -->", "<?php x ?>", "[c](jav&Tab;ascript:x)",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_page_talked_the_model_into_does_nothing(text):
    assert acting(text)
    for around in (text, f"{text}\n\n`<b>` [1]\n", text + " x" * 40_000):
        assert not acting(safe_markdown(around))


@given(
    st.lists(st.sampled_from([*HOSTILE, "`", "```\n", "\\", "!", "[", "](", "<", ">", "\n", " "]))
)
def test_no_mixture_does_anything(pieces):
    assert not acting(safe_markdown("".join(pieces)))


def test_citations_code_and_links_of_the_web_stay():
    text = (
        "Tides [1][2], see [the page](https://x.org/a) and [2]: note: this. `<div>` 1 <b\n\n"
        "```html\n<img src=x>\n```\n"
    )
    assert safe_markdown(text) == text
    disarmed = safe_markdown(f"{text}![x](http://e.org)")
    assert disarmed == f"{text}&#33;[x](http://e.org)".replace("1 <b", "1 &lt;b")
    assert parse_answer(disarmed).marks == parse_answer(text).marks


TITLES = st.text(
    st.sampled_from("ab ![]()<>`*_\\&;:#-.~|'\"潮") | st.characters(exclude_categories=("C", "Z")),
    min_size=1,
)


@settings(max_examples=30)
@given(TITLES, st.text(st.sampled_from("ab/[]()<>`*_\\&;:#-.,'\"潮（!? ")))
def test_references_are_read_back_and_are_text(title, path):
    source = Source.of(id=1001, url=f"https://x.org/{path}", title=title, text="Tides are large.")
    answer = f"Tides are large [1001].\n\n## References\n[1001]. {source.url} - T"
    parsed = parse_answer(answer)
    report = deliver(parsed, [source], verify_report(parsed, [source]), language="en").report
    assert parse_answer(report).references[1] == (1, source.url, source.title or source.url)
    assert len(parse_answer(report).references) == 1
    assert not acting(report)


def test_a_strangers_line_shows_as_it_is():
    title = "A *b* [c](javascript:x) ![d](e) <img> &lt; `f` \\"
    (paragraph,) = [t for t in MarkdownIt().parse(markdown_text(title)) if t.type == "inline"]
    assert {token.type for token in paragraph.children or []} <= {"text", "text_special"}


def test_annotations_and_controls():
    odd = Source(id=1001, url="javascript:alert(1)", text="Tides are large.")
    answer = "Tides are \x1b[31mlarge\u202e [1001]."
    parsed = parse_answer(answer)
    done = deliver(parsed, [odd], verify_report(parsed, [odd]), language="en")
    assert "Tides are [31mlarge [1]" in done.report
    assert [a.get("url") for a in citation_annotations(done)] == [None]
