"""What observations of other projects show of which address."""

from __future__ import annotations

import json
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from datagen.imports.trace import shown_sources
from oresearch_graph.trace import Source, Step, world_step


def searched(text: str, branch: int | None = None) -> tuple[Source, ...]:
    call = Step(kind="web_search", text="q", branch=branch)
    return shown_sources([call, world_step("observation", text, branch=branch)])


def read(addresses: str, text: str, *more: Step) -> tuple[Source, ...]:
    call = Step(kind="crawl_page", text=addresses)
    return shown_sources([call, world_step("observation", text), *more])


def shown(sources: tuple[Source, ...]) -> list[tuple[str, str, str]]:
    return [(source.url, source.title, source.text) for source in sources]


def test_a_numbered_list_with_links():
    text = (
        "## Query: 'tides'\nFound 2 results:\n\n1. [Tides](https://a.org/t)\nDate published: x\n\n"
        "The Moon, see https://b.org/x too.\n\n2. [Sun | Moon](https://a.org/t/s)\n\nSpring tides."
        "\n\n## Query: 'moon'\n\n1. [Moon](https://c.org)\n\nIt orbits."
    )
    assert shown(searched(text, branch=2)) == [
        ("https://a.org/t", "Tides", "Date published: x\n\nThe Moon, see https://b.org/x too."),
        ("https://a.org/t/s", "Sun | Moon", "Spring tides."),
        ("https://c.org", "Moon", "It orbits."),
        ("https://b.org/x", "", "The Moon, see https://b.org/x too."),
    ]
    assert [source.id for source in searched(text, branch=2)] == [2001, 2002, 2003, 2004]


def test_labelled_lines():
    text = (
        "Title: Tides\nURL: https://a.org/t\nContent: The Moon.\n\n"
        "Title: Sun\nURL: https://a.org/s\nContent: Spring tides."
    )
    assert shown(searched(text)) == [
        ("https://a.org/t", "Tides", "Content: The Moon."),
        ("https://a.org/s", "Sun", "Content: Spring tides."),
    ]


def test_json_in_several_shapes():
    results = [
        {"title": "T", "link": "https://a.org/t", "snippet": "Moon.", "date": "2024-05-01x"},
        {"url": "https://b.org", "content": "Sun.", "raw_content": "All of the Sun."},
    ]
    for whole in (results, {"results": results}, {"data": [{"organic": results}]}):
        first, second = searched(json.dumps(whole))
        assert (first.title, first.text, first.published) == ("T", "Moon.", "2024-05-01")
        assert second.text == "All of the Sun.\nSun."


def test_a_page_is_read_unless_it_is_an_error():
    (page,) = read("https://a.org/t", "Tides are caused by the Moon.")
    assert (page.text, page.read) == ("Tides are caused by the Moon.", True)
    (missing,) = read("https://a.org/t", "Error: 404 not found")
    assert not missing.read


def test_several_pages_begin_at_their_addresses():
    text = "https://a.org/t/more\nMore.\n\nhttps://a.org/t\nTides."
    assert shown(read("https://a.org/t | https://a.org/t/more | https://a.org/none", text)) == [
        ("https://a.org/t", "", "Tides."),
        ("https://a.org/t/more", "", "More."),
        ("https://a.org/none", "", ""),
    ]


def test_a_link_inside_a_page_is_a_source_when_the_policy_speaks_of_it():
    text = "Tides. See https://b.org/x and https://c.org/y"
    answer = Step(kind="suggested_answer", text="Tides [1].\n\n[1] https://b.org/x - X")
    assert [s.url for s in read("https://a.org", text)] == ["https://a.org"]
    assert [s.url for s in read("https://a.org", text, answer)] == [
        "https://a.org", "https://b.org/x",
    ]  # fmt: skip


def test_this_projects_own_observations_keep_their_numbers():
    text = "[3007] Tides\nhttps://a.org/t\nThe Moon.\n\n[3009] Sun\nhttps://a.org/s\nSpring tides."
    assert [(s.id, s.url, s.text) for s in searched(text, branch=3)] == [
        (3007, "https://a.org/t", "The Moon."), (3009, "https://a.org/s", "Spring tides."),
    ]  # fmt: skip


pieces = st.sampled_from(
    ["1. ", "[2] ", "https://a.org", "https://a.org/b?c=(d)", "\n", "URL: ", "Title: ", "text ",
     "{", '[{"url": "https://x.org", "text": "\\ud800"}]',
     '{"url": "https://x.org"}', "[1001] T\nhttps://a.org\n", "。"]
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["web_search", "crawl_page"]), st.lists(pieces))))
def test_any_observations_give_a_ledger(told: list[tuple[str, list[str]]]):
    steps: list[Step] = []
    for kind, parts in told:
        steps.append(Step.model_validate({"kind": kind, "text": "https://a.org | https://q.org"}))
        steps.append(world_step("observation", "".join(parts)))
    sources = shown_sources(steps)
    assert len({source.id for source in sources}) == len(sources)
    for source in sources:
        source.model_dump_json()
    every = "\n".join(step.text for step in steps)
    for source in sources:
        assert unquote(source.url) in every
        assert all(line in every for line in source.text.replace("[…]", "").splitlines())
