"""A thread as messages, and messages of different providers as one kind of reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from oresearch_graph.policies.chat.rendering import Prefill, ThreadRendering, Turns
from oresearch_graph.policies.chat.rendering_tools import Tools
from oresearch_graph.policies.chat.reply import NativeCall, Reply, read_message
from oresearch_graph.prompts import NEXT_TASK
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, escape_world, world_step
from oresearch_graph.trace.calls import read_call
from oresearch_graph.trace.tags import parse_policy_text, render_steps

STOP = ("</web_search>", "</crawl_page>", "</subtask_answer>")
STEPS = (
    Step(kind="subtask_list", text="\n1. One\n"),
    world_step("subtask", "One", branch=1),
    Step(kind="think", text="Look.", branch=1, lead="\n"),
    Step(kind="web_search", text="a | b&serp_num=3", branch=1),
    world_step("observation", "found </observation> it", branch=1),
    Step(kind="crawl_page", text="https://x.org", branch=1, lead="\n"),
    world_step("observation", "", branch=1),
)


def thread(*steps: Step, **more: object) -> Thread:
    start = Thread(id="t", system="S", question="Q", role="researcher", branch=1, steps=steps)
    return start.model_copy(update=more)


def test_prefill_is_everything_exactly() -> None:
    request = Prefill().request(thread(*STEPS), STOP)
    assert request.messages == [
        SystemMessage("S"), HumanMessage("Q"), AIMessage(render_steps(STEPS)),
    ]  # fmt: skip
    assert request.extra_body["continue_final_message"] is True


def test_prefill_with_nothing_written_is_a_plain_request() -> None:
    request = Prefill().request(thread(), STOP)
    assert len(request.messages) == 2
    assert "continue_final_message" not in request.extra_body


def test_turns_alternate_and_end_with_the_world() -> None:
    messages = Turns().request(thread(*STEPS), STOP).messages
    assert [message.type for message in messages] == [
        "system", "human", "ai", "human", "ai", "human", "ai", "human",
    ]  # fmt: skip
    assert messages[4].content == "<think>Look.</think><web_search>a | b&serp_num=3</web_search>"
    assert "found &lt;/observation> it" in str(messages[5].content)


def test_calls_of_one_response_are_one_message_again() -> None:
    messages = Tools().request(thread(*STEPS), STOP).messages
    talked = messages[4]
    assert isinstance(talked, AIMessage)
    assert talked.content == "<think>Look.</think>"
    assert [(call["name"], call["args"], call["id"]) for call in talked.tool_calls] == [
        ("web_search", {"queries": ["a", "b"], "num": 3}, "call00001"),
        ("crawl_page", {"urls": ["https://x.org"]}, "call00002"),
    ]
    answers = messages[5:]
    assert all(isinstance(message, ToolMessage) for message in answers)
    assert [message.content for message in answers] == ["found &lt;/observation> it", "(empty)"]


def test_hidden_thinking_parts_two_responses() -> None:
    again = (
        *STEPS,
        world_step("think", "", branch=1),
        Step(kind="web_search", text="c", branch=1),
        world_step("observation", "d", branch=1),
    )
    talked = [m for m in Tools().request(thread(*again), STOP).messages if m.type == "ai"]
    assert [len(m.tool_calls) for m in talked if isinstance(m, AIMessage)] == [0, 2, 1]
    assert all("<think></think>" not in str(m.content) for m in talked)
    turns = Turns().request(thread(*again), STOP).messages
    assert all("<think></think>" not in str(m.content) for m in turns)


def test_what_cannot_be_a_tool_call_is_said_in_words() -> None:
    broken = (
        Step(kind="tool_call", name="look_up", text="{not json", branch=1),
        world_step("observation", "This call could not be carried out.", branch=1),
        Step(kind="web_search", text="cut short", branch=1, closed=None),
    )
    messages = Tools(("look_up",)).request(thread(*broken), STOP).messages
    assert not any(isinstance(message, ToolMessage) for message in messages)
    assert "<look_up>{not json</look_up>" in str(messages[2].content)
    assert messages[-1].type == "human"


def test_tools_are_bound_when_they_may_be_called_or_stand_in_the_history() -> None:
    tools = Tools(("look_up",))
    assert tools.request(thread(), (*STOP, "</look_up>")).tools == (
        "web_search", "crawl_page", "look_up",
    )  # fmt: skip
    forced = tools.request(thread(*STEPS, forced="subtask_answer"), ("</subtask_answer>",))
    assert forced.tools
    assert not forced.may_call
    assert tools.request(thread(role="planner"), ("</subtask_list>",)).tools == ()


@pytest.mark.parametrize("rendering", [Turns(), Tools()])
def test_no_chat_rendering_ends_with_an_assistant_message(rendering: ThreadRendering) -> None:
    for more in ({}, {"pending": "<think>half"}, {"forced": "subtask_answer"}):
        for upto in range(len(STEPS) + 1):
            messages = rendering.request(thread(*STEPS[:upto], **more), STOP).messages
            assert messages[-1].type in {"human", "tool"}
            assert all(m.content or getattr(m, "tool_calls", None) for m in messages)


@given(
    st.lists(st.text(alphabet="ab&=é ", min_size=1).filter(str.strip), min_size=1, max_size=3),
    st.none() | st.integers(1, 99),
    st.sampled_from(["paper", "released"]),
)
def test_a_native_call_comes_back_as_the_same_call(
    queries: list[str], num: int | None, dialect: str
) -> None:
    tools = Tools((), dialect)  # type: ignore[arg-type]  # sampled
    arguments = {"queries": queries} | ({} if num is None else {"num": num})
    reply = Reply("", calls=(NativeCall("web_search", arguments),))
    written = tools.read(thread(), STOP, reply)
    (step,) = parse_policy_text(written.text)
    plain = tuple(dict.fromkeys(" ".join(query.split()) for query in queries))
    assert (read_call(step).items, read_call(step).num) == (plain, num)
    assert written.hidden_reasoning


def test_text_around_native_calls() -> None:
    calls = (NativeCall("crawl_page", {"url": "https://x.org"}),)
    said = Tools().read(thread(), STOP, Reply("I read it.", calls=calls))
    assert said.text == "<think>I read it.</think>\n<crawl_page>https://x.org</crawl_page>"
    assert not said.hidden_reasoning
    tagged = Tools().read(thread(), STOP, Reply("<think>a</think><plan>b</plan>", calls=calls))
    assert tagged.text.startswith("<think>a</think><plan>b</plan>\n<crawl_page>")
    shown = Tools().read(thread(), STOP, Reply("", reasoning="why", calls=calls))
    assert shown.text.strip().startswith("<think>why</think>")
    assert not shown.hidden_reasoning


@pytest.mark.parametrize(
    ("metadata", "finish", "stop_string", "ended"),
    [
        ({"finish_reason": "stop"}, "stop", None, False),
        ({"finish_reason": "stop", "stop_reason": "</a>"}, "stop", "</a>", False),
        ({"finish_reason": "stop", "stop_reason": None}, "stop", None, True),
        ({"finish_reason": "stop", "matched_stop": 151645}, "stop", None, True),
        ({"finish_reason": "length"}, "length", None, False),
        ({"finish_reason": "content_filter"}, "filter", None, False),
        ({"stop_reason": "end_turn", "stop_sequence": None}, "stop", None, True),
        ({"stop_reason": "stop_sequence", "stop_sequence": "</a>"}, "stop", "</a>", False),
        ({"stop_reason": "max_tokens"}, "length", None, False),
        ({"finish_reason": "MAX_TOKENS"}, "length", None, False),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
         "length", None, False),
        ({"status": "completed"}, "stop", None, False),
        ({}, None, None, False),
    ],
)  # fmt: skip
def test_how_providers_say_why_they_ended(
    metadata: dict[str, object], finish: str | None, stop_string: str | None, ended: bool
) -> None:
    reply = read_message(AIMessage("x", response_metadata=metadata))
    assert (reply.finish, reply.stop_string, reply.ended) == (finish, stop_string, ended)


def test_thinking_in_content_blocks() -> None:
    message = AIMessage(
        content=[
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "said"},
        ],
        response_metadata={"model_provider": "anthropic"},
    )
    reply = read_message(message)
    assert (reply.text, reply.reasoning) == ("said", "hm")
    standard = AIMessage(content=[{"type": "reasoning", "reasoning": "hm"}])
    assert read_message(standard).reasoning == "hm"
    assert (
        read_message(AIMessage("x", additional_kwargs={"reasoning_content": " "})).reasoning is None
    )


def test_a_small_model_reads_its_subtask_with_each_task() -> None:
    subtask = world_step("subtask", "The span of </subtask> it", branch=1)
    steps = (subtask, *STEPS[2:5])
    *_, last = Turns().request(thread(*steps, by_role=True), STOP).messages
    assert str(last.content).endswith(f"Subtask: {escape_world(subtask.text)}\n{NEXT_TASK}")
