"""Where thinking goes, and how text ends: the two readings every rendering shares."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.policies.chat.endings import (
    EchoGate,
    TextGate,
    end_of,
    unclosed_element,
    without_echo,
)
from oresearch_graph.policies.chat.reply import Reply, Thought, place_thinking
from oresearch_graph.threads import Thread

RESEARCHER = Thread(id="t", system="", question="", role="researcher", branch=1)
SUMMARIZER = Thread(id="t", system="", question="", role="summarizer")
STOP = ("</web_search>", "</subtask_answer>")
SEARCH = "<web_search>a</web_search>"


@pytest.mark.parametrize(
    ("text", "shown", "thought"),
    [
        (f"<think>a</think>{SEARCH}", None, Thought(f"<think>a</think>{SEARCH}", None)),
        (f"<think>a</think>{SEARCH}", "b", Thought(f"<think>a</think>{SEARCH}", "b")),
        (SEARCH, "b", Thought(f"\n<think>b</think>\n{SEARCH}", None)),
        (SEARCH, "use </think> or <plan>", Thought(f"\n<think>use think or plan</think>\n{SEARCH}",
         None)),
        (f"<think>a</think><think>b</think>{SEARCH}", None,
         Thought(f"<think>b</think>{SEARCH}", "a")),
        (f"not opened</think>{SEARCH}", None, Thought(f"<think>not opened</think>{SEARCH}", None)),
        (f"<subtask>s</subtask>{SEARCH}", "b",
         Thought(f"<subtask>s</subtask>\n<think>b</think>\n{SEARCH}", None)),
        (f"<think>a</think><subtask>s</subtask><think>b</think>{SEARCH}", None,
         Thought(f"<subtask>s</subtask><think>b</think>{SEARCH}", "a")),
        (f"<think>a</think><subtask>s</subtask>{SEARCH}", None,
         Thought(f"<subtask>s</subtask>\n<think>a</think>\n{SEARCH}", None)),
        (SEARCH, None, Thought(SEARCH, None)),
        ("<think>cut", None, Thought("<think>cut", None)),
    ],
)  # fmt: skip
def test_a_researchers_thinking_is_its_think(
    text: str, shown: str | None, thought: Thought
) -> None:
    assert place_thinking(RESEARCHER, text, shown) == thought


def test_elsewhere_thinking_stays_beside_the_text() -> None:
    report = "<suggested_answer>x</suggested_answer>"
    assert place_thinking(SUMMARIZER, f"<think>a</think>{report}", None) == Thought(report, "a")
    assert place_thinking(SUMMARIZER, report, "b") == Thought(report, "b")
    forced = RESEARCHER.model_copy(update={"forced": "subtask_answer"})
    assert place_thinking(forced, "<think>a</think>answer", None) == Thought("answer", "a")
    pending = RESEARCHER.model_copy(update={"pending": "<think>half"})
    assert place_thinking(pending, "way</think>" + SEARCH, None).text == "way</think>" + SEARCH


def test_the_tag_that_the_server_ate() -> None:
    stopped = Reply("", finish="stop")
    assert end_of("", "<web_search>a", STOP, stopped) == (
        "<web_search>a</web_search>",
        "stop",
        True,
    )
    assert end_of("<subtask_answer>", "x", STOP, stopped) == ("x</subtask_answer>", "stop", True)
    assert end_of("", "<think>a", STOP, stopped) == ("<think>a", "end", False)
    assert end_of("", "<web_search>a", STOP, Reply("", finish="length")).stop == "length"
    assert end_of("", "<web_search>a", STOP, Reply("", finish="stop", ended=True)).stop == "end"
    named = Reply("", finish="stop", stop_string="</web_search>")
    assert end_of("", "<think>a", STOP, named).text == "<think>a</web_search>"


@given(st.lists(st.sampled_from(["<think>", "</think>", "<web_search>", "</web_search>", "a b"])))
def test_an_ending_loses_nothing_before_the_stop_tag(parts: list[str]) -> None:
    text = "".join(parts)
    ending = end_of("", text, STOP, Reply(text, finish="stop"))
    opened = None
    for at, part in enumerate(parts):
        if part == "</web_search>" and opened != "<think>":
            assert ending == ("".join(parts[: at + 1]), "stop", False)
            return
        if opened is None and part in {"<think>", "<web_search>"}:
            opened = part
        elif opened is not None and part == opened.replace("<", "</"):
            opened = None
    assert ending.text.startswith(text)
    assert ending.closed_by_world == (unclosed_element(text, STOP) == "web_search")
    if text.endswith("</web_search>"):
        assert ending.stop == "think"


@pytest.mark.parametrize(
    ("text", "reply", "ending"),
    [
        ("<think>I could write <web_search>q</web_search>", Reply("", finish="stop"),
         ("<think>I could write <web_search>q</web_search>", "think", False)),
        ("<think>I could write <web_search>q", Reply("", finish="stop"),
         ("<think>I could write <web_search>q</web_search>", "think", False)),
        ("<think>I could end with ",
         Reply("", finish="stop", stop_string="</subtask_answer>"),
         ("<think>I could end with </subtask_answer>", "think", False)),
        ("<think>a <web_search>q</web_search> b</think><web_search>r</web_search> c",
         Reply("", finish="stop"),
         ("<think>a <web_search>q</web_search> b</think><web_search>r</web_search>", "stop",
          False)),
        ("<think>a <web_search>q</web_search> b</think><web_search>r",
         Reply("", finish="stop"),
         ("<think>a <web_search>q</web_search> b</think><web_search>r</web_search>", "stop",
          True)),
        ("<think>a <web_search>q", Reply("", finish="stop", ended=True),
         ("<think>a <web_search>q", "end", False)),
        ("<think>a <web_search>q", Reply("", finish="length"),
         ("<think>a <web_search>q", "length", False)),
        ("<subtask_answer>It says <think> is a tag.</subtask_answer>", Reply("", finish="stop"),
         ("<subtask_answer>It says <think> is a tag.</subtask_answer>", "stop", False)),
    ],
)  # fmt: skip
def test_a_stop_tag_inside_an_open_think_is_no_end(
    text: str, reply: Reply, ending: tuple[str, str, bool]
) -> None:
    assert end_of("", text, STOP, reply) == ending


def test_a_think_that_was_opened_before_counts() -> None:
    before = "<think>I could write <web_search>q</web_search>"
    reply = Reply("", finish="stop")
    assert end_of(before, " but <web_search>r", STOP, reply).stop == "think"
    ending = end_of(before, " but no.</think><web_search>r", STOP, reply)
    assert ending == (" but no.</think><web_search>r</web_search>", "stop", True)


@given(st.data())
def test_the_gate_says_the_same_however_the_text_is_cut_into_pieces(data: st.DataObject) -> None:
    said = data.draw(
        st.sampled_from(
            [
                "<think>a</think>\n<suggested_answer>the report</suggested_answer> and more",
                "\n<suggested_answer>the report</suggested_answer><suggested_answer>",
                "<thin ice",
                "<suggested_answer>no end",
            ]
        )
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=8)))
    edges = [0, *cuts, len(said)]
    for forced in (None, "suggested_answer"):
        thread = SUMMARIZER.model_copy(update={"forced": forced})
        heard: list[str] = []
        gate = TextGate(thread, ("</suggested_answer>",), heard.append)
        for start, end in itertools.pairwise(edges):
            gate(said[start:end])
        whole = "".join(heard)
        assert "think>" not in whole
        assert "more" not in whole
        assert ("<suggested_answer>" in whole) is (forced is None and "answer" in said)
        assert whole.strip() in said


@given(st.data())
def test_a_returned_beginning_is_dropped_however_it_is_cut(data):
    beginning = data.draw(st.text("ab<\n ", max_size=12))
    text = data.draw(st.text("ab<\n ", min_size=1, max_size=12))
    for echoes in (True, False):
        whole = beginning + text if echoes else text
        if not echoes and whole.startswith(beginning):
            continue
        heard: list[str] = []
        gate = EchoGate(beginning, heard.append)
        size = data.draw(st.integers(1, 5))
        for at in range(0, len(whole), size):
            gate(whole[at : at + size])
        if echoes or not beginning.startswith(whole):
            assert "".join(heard) == text


def test_a_beginning_is_dropped_once_and_only_where_it_was_returned():
    assert without_echo("<think>a", "<think>a b") == " b"
    assert without_echo("\n<think>a", "<think>a b") == " b"
    assert without_echo("<think>a", " b") == " b"
    assert without_echo("", "b") == "b"
