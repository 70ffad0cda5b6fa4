"""A small model behind a slow server with one slot: what is asked of it, and what comes of it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from oresearch_graph import create_research_graph, violations
from oresearch_graph.graph.events import TimeForecast, event_from
from oresearch_graph.limits import EFFORTS
from oresearch_graph.policies.serving import BranchQueue, Serving, adapted, forecast
from oresearch_graph.rows.sft import trace_rows
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.text.repetition import repetition, stutter
from oresearch_graph.trace import Trace, parse_trace, render_trace
from tests.helpers.gbnf import accepts
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.small_model import CAUSE, SIZE, forget_probes, one_slot, small_model

QUESTION = "What causes tides, and how large are they?"
SLOW = Serving(slots=1, pace=9.0, reading=36.0)


@pytest.fixture(autouse=True)
def _no_probe_is_remembered() -> None:
    forget_probes()


async def research(server: OpenAIServer, **settings: Any) -> tuple[Trace, list[Any]]:
    graph = create_research_graph(
        "fake", search=Documents(PAGES),
        settings=ResearchSettings(base_url=server.base_url, effort="quick", **settings),
    )  # fmt: skip
    events, trace = [], None
    parts: Any = graph.astream(
        {"question": QUESTION}, stream_mode=["custom", "values"], subgraphs=True
    )
    async for place, mode, value in parts:
        if mode == "custom":
            events.append(event_from(value))
        elif not place and "trace" in value:
            trace = value["trace"]
    assert isinstance(trace, Trace)
    return trace, events


async def test_a_slow_server_is_led_to_a_well_formed_report():
    with one_slot() as server:
        trace, events = await research(server)
    assert trace.outcome == "complete"
    assert violations(trace) == ()
    assert next(event for event in events if isinstance(event, TimeForecast)).pace == 9.0
    assert trace.protocol.constrained
    assert trace.protocol.extended
    given = [step.kind for step in trace.steps if step.opened == "given"]
    assert given.count("think") == 4
    assert {"subtask_list", "suggested_answer"} < set(given)
    written = [body for body in server.requests if body["messages"][-1]["role"] == "assistant"]
    assert all("grammar" in body for body in written[1:])
    assert {body["max_completion_tokens"] for body in written[1:]} == {120, 180, 420}


async def test_the_report_is_made_of_its_findings():
    with one_slot() as server:
        trace, _ = await research(server)
    body = next(b for b in server.requests if "You write a report" in str(b["messages"][0]))
    report = small_model(body["messages"], body)
    assert f"{CAUSE} [1001].\n\n## The size" in report
    assert accepts(body["grammar"], report)
    assert trace.answer is not None
    assert trace.answer.text.strip() == report.removesuffix("</suggested_answer>").strip()
    assert not accepts(body["grammar"], report.replace("are large", "are small", 1))


async def test_what_two_subtasks_found_alike_stands_in_the_report_once():
    def alike(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        return small_model(messages, body).replace(SIZE, CAUSE)

    with one_slot(brain=alike) as server:
        await research(server)
    body = next(b for b in server.requests if "You write a report" in str(b["messages"][0]))
    assert "## The cause of tides" in body["grammar"]
    assert "## The size of tides" not in body["grammar"]


async def test_what_two_subtasks_found_that_differs_in_a_small_word_stands_in_the_report():
    def opposed(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        return small_model(messages, body).replace(SIZE, "The moon does not cause tides").replace(
            CAUSE, "The moon does cause tides"
        )  # fmt: skip

    with one_slot(brain=opposed) as server:
        await research(server)
    body = next(b for b in server.requests if "You write a report" in str(b["messages"][0]))
    assert "does cause tides" in body["grammar"]
    assert "does not cause tides" in body["grammar"]


async def test_a_statement_that_repeats_others_in_other_words_is_said_once():
    whole = "Tides are caused by the Moon and in the Bay of Fundy they reach 16 metres"

    def alike(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        text = small_model(messages, body).replace(CAUSE, whole)
        return text.replace(SIZE, f"The size: {whole.removeprefix('Tides are ')}")

    with one_slot(brain=alike) as server:
        await research(server)
    body = next(b for b in server.requests if "You write a report" in str(b["messages"][0]))
    assert whole in body["grammar"]
    assert "The size: caused" not in body["grammar"]


async def test_what_two_statements_share_neither_introduces_nor_concludes():
    shared = "According to the yearly report of the ministry of tides and of the moon they"

    def alike(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        text = small_model(messages, body).replace(CAUSE, f"{shared} rise")
        more = r"They fall [1001]. The Moon orbits in 27.3 days [1001]."
        return text.replace(f"{SIZE} [2001].", f"{shared} fall [2001]. {more}")

    with one_slot(brain=alike) as server:
        await research(server)
    body = next(b for b in server.requests if "You write a report" in str(b["messages"][0]))
    assert body["grammar"].count("the yearly report") == 2


async def test_statements_without_a_full_stop_are_sentences_of_their_own():
    def open_ended(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        text = small_model(messages, body).replace(
            "].</subtask", "]\n- The range is wide [1001]</subtask"
        )
        return text.replace("<subtask_answer>", "<subtask_answer>- ")

    with one_slot(brain=open_ended) as server:
        await research(server)
    body = next(b for b in server.requests if "You write a report" in str(b["messages"][0]))
    assert f"{CAUSE} [1001]. The range is wide [1001]." in body["grammar"]


@pytest.mark.parametrize(
    "nothing",
    [
        "There is no information about this in what was given",
        "Nothing is mentioned",
        "The tides",
        "Are the tides of the Moon large?",
        "The Moon, file: http:/example moon",
    ],
)
async def test_a_sentence_that_says_nothing_of_its_source_is_no_finding(nothing):
    def empty(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        return small_model(messages, body).replace(SIZE, nothing)

    with one_slot(brain=empty) as server:
        await research(server)
    body = next(b for b in server.requests if "You write a report" in str(b["messages"][0]))
    assert CAUSE in body["grammar"]
    assert nothing not in body["grammar"]


async def test_a_finding_in_another_language_than_its_source_stands_in_the_report():
    german = "Der Mond ist die Ursache der Gezeiten, und sie sind sehr stark"

    def foreign(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        return small_model(messages, body).replace(SIZE, german)

    with one_slot(brain=foreign) as server:
        await research(server, language="de")
    report = next(b for b in server.requests if "## Einleitung" in b.get("grammar", ""))
    assert f"{german} [2001]." in report["grammar"]


async def test_a_report_that_says_its_findings_twice_is_no_loop():
    shared = "According to the yearly report of the ministry of tides and of the moon they"

    def alike(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        text = small_model(messages, body)
        return text.replace(CAUSE, f"{shared} rise").replace(SIZE, f"{shared} fall")

    with one_slot(brain=alike) as server:
        trace, _ = await research(server)
    assert sum(usage.calls for usage in trace.usage if usage.role == "summarizer") == 1


async def test_one_branch_ends_before_the_next_begins():
    with one_slot() as server:
        await research(server)
    subtasks = [
        found[0]
        for body in server.requests
        if (found := re.findall(r"<subtask>(.*?)</subtask>", str(body["messages"][1]["content"])))
        and "You research" in str(body["messages"][0]["content"])
    ]
    assert subtasks == ["The cause of tides"] * 2 + ["The size of tides"] * 2


async def test_what_a_thread_sent_before_is_at_the_head_of_what_it_sends():
    with one_slot() as server:
        trace, _ = await research(server)
    turns = [b["messages"] for b in server.requests if "You research" in str(b["messages"][0])]
    first, second = turns[:2]
    assert second[: len(first) - 1] == first[:-1]
    assert str(second[len(first) - 1]["content"]).startswith(str(first[-1]["content"]))
    assert all(usage.cached_tokens for usage in trace.usage if usage.role == "researcher")


async def test_a_fast_server_with_room_for_all_has_the_training_prompt():
    with one_slot(pace=200.0, slots=8) as server:
        graph = create_research_graph(
            "fake", search=Documents(PAGES),
            settings=ResearchSettings(base_url=server.base_url, effort="quick", corrections=0),
        )  # fmt: skip
        trace = (await graph.ainvoke({"question": QUESTION}))["trace"]
    assert not trace.protocol.extended
    assert not trace.protocol.constrained
    assert not any("grammar" in body for body in server.requests)


async def test_every_tag_of_a_constrained_trace_is_a_target_of_its_row():
    with one_slot() as server:
        trace, _ = await research(server)
    targets = "".join(row.policy_text for row in trace_rows(trace, "system", "threads"))
    for tag in ("subtask_list", "think", "web_search", "subtask_answer", "suggested_answer"):
        assert targets.count(f"<{tag}>") == sum(step.kind == tag for step in trace.steps)
    again = parse_trace(render_trace(trace))
    assert again.steps == trace.steps


def test_what_was_set_explicitly_holds_on_a_slow_server():
    explicit = ResearchSettings(
        effort="quick", max_seconds=60.0, max_steps=9, temperature=0.9, bounds={"report": 77},
        prompt_style="training", branches_at_once=2,
    )  # fmt: skip
    settings = adapted(explicit, SLOW)
    limits = settings.limits
    assert (limits.seconds, limits.steps, settings.temperature) == (60.0, 9, 0.9)
    assert (limits.bounds.report, settings.branches_at_once) == (77, 2)
    assert not settings.by_role
    assert not settings.constrained


@pytest.mark.parametrize("serving", [Serving(), Serving(pace=80.0), Serving(slots=8, pace=80.0)])
def test_other_servers_change_nothing(serving):
    settings = ResearchSettings(effort="quick")
    assert adapted(settings, serving) is settings


@pytest.mark.parametrize(
    ("effort", "seconds"), [("quick", 300.0), ("standard", 1_800.0), ("deep", 7_200.0)]
)
def test_a_slow_server_has_more_time(effort, seconds):
    settings = adapted(ResearchSettings(effort=effort), SLOW)
    assert settings.limits.seconds == seconds
    assert settings.limits.tokens == EFFORTS[effort].tokens
    assert adapted(settings, SLOW).limits == settings.limits


def test_a_few_slots_alone_ask_for_prompts_by_role_and_no_more_time():
    settings = adapted(ResearchSettings(effort="quick"), Serving(slots=1, pace=80.0))
    assert settings.by_role
    assert settings.branches_at_once == 1
    assert settings.limits.seconds == EFFORTS["quick"].seconds


def test_a_server_that_batches_has_more_time_and_todays_prompt():
    settings = adapted(ResearchSettings(effort="quick"), Serving(pace=30.0, batches=True))
    assert settings.limits.seconds == 300.0
    assert not settings.by_role
    assert settings.branches_at_once is None


def test_subtasks_that_were_set_are_not_fewer():
    settings = adapted(ResearchSettings(effort="quick", max_subtasks=5), Serving(pace=2.0))
    assert settings.limits.subtasks == 5


def test_the_plan_shrinks_to_what_the_time_allows():
    slow = adapted(ResearchSettings(effort="quick"), SLOW)
    slower = adapted(ResearchSettings(effort="quick"), Serving(slots=1, pace=2.0))
    assert slow.limits.subtasks == 3
    assert slower.limits.subtasks < slow.limits.subtasks
    assert (forecast(slow.limits, SLOW) or 0.0) < slow.limits.seconds
    assert forecast(slow.limits, Serving()) is None


def test_the_slowest_of_several_servers_counts():
    servers = [Serving(slots=4, pace=90.0), Serving(pace=9.0), Serving(slots=1)]
    assert Serving.least(servers) == Serving(slots=1, pace=9.0)
    able = Serving(grammar=True, batches=True)
    assert Serving.least([able, able]) == able
    assert Serving.least([able, Serving(pace=1.0)]) == Serving(pace=1.0)
    assert Serving.least([]) == Serving()


async def test_a_queue_lets_so_many_branches_in_the_lowest_first():
    queue = BranchQueue(1)
    assert await queue.enter(1, 1.0)
    assert await queue.enter(1, 1.0)
    assert not await queue.enter(2, 0.01)
    queue.leave(1)
    assert await queue.enter(2, 1.0)
    with pytest.raises(RuntimeError), queue.held(2):
        raise RuntimeError
    assert await queue.enter(3, 0.01)
    waiting = [asyncio.create_task(queue.enter(branch, 5.0)) for branch in (5, 4)]
    await asyncio.sleep(0)
    queue.leave(9)
    queue.leave(3)
    assert await waiting[1]
    assert not await queue.enter(6, 0.01)
    queue.leave(4)
    assert await waiting[0]
    queue.clear()
    assert await queue.enter(7, 0.01)
    assert await BranchQueue(None).enter(1, 0.0)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("It is long, as is known. " * 2, None),
        ("Once upon a time it was. " + "It is long, as is known. " * 5, "It is long, as"),
        ("one two three four five six seven eight nine ten eleven twelve " * 4, "one two"),
        ("So it is, as is known [1]. So it is, as is known [2].\nSo it is, as is known. [3]", "So"),
        ("- yes\n" * 5, None),
        ("", None),
    ],
)
def test_a_sentence_that_stands_three_times_is_a_loop(text, rest):
    place = repetition(text)
    if rest is None:
        assert place is None
    else:
        assert place is not None
        assert text[place:].startswith(rest)
        assert text[:place].count(rest) == 1


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("It weighs up to 109 kg [1]. 109 kg, 109 kg, 109 kg, 109 kg, 109 kg [1].", "109 kg"),
        (
            "It is long. The Quill bridge, the bridge, the bridge, Quill bridge, the bridge.",
            "The Q",
        ),
        ("It was the best of times, it was the worst of times [1].", None),
        ("The span of the bridge and the height of the tower of the bridge are known [1].", None),
        ("Yes, yes, yes, yes.", None),
    ],
)
def test_a_sentence_of_few_words_over_and_over_is_a_loop(text, rest):
    place = stutter(text)
    assert text[place:].startswith(rest) if rest else place is None


async def test_an_answer_that_stutters_is_ended_before_that():
    def stutters(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        if "<subtask_answer>" in str(messages[-1]["content"]).partition("<think>")[2]:
            return "</subtask_answer>"  # what the grammar leaves
        text = small_model(messages, body)
        return text.replace(f"{CAUSE} [1001].", f"{CAUSE} [1001]. {'The tides, ' * 9}tides [1001].")

    with one_slot(brain=stutters) as server:
        trace, _ = await research(server)
    answer = next(step.text for step in trace.steps if step.kind == "subtask_answer")
    assert CAUSE in answer
    assert "tides, The tides" not in answer


async def test_an_answer_that_says_a_sentence_twice_is_ended_before_that():
    said = "The moon causes the tides of the sea. [{0}]"

    def repeats(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        if "<subtask_answer>" in str(messages[-1]["content"]).partition("<think>")[2]:
            return "</subtask_answer>"  # what the grammar leaves
        reply = small_model(messages, body)
        sentence = said.format(*re.findall(r"\[(\d{4})\]", reply)[:1] or [0])
        return re.sub(r"(?<=<subtask_answer>).*?(?=</)", f"{sentence} " * 3, reply)

    with one_slot(brain=repeats) as server:
        trace, _ = await research(server)
    answers = [step.text for step in trace.steps if step.kind == "subtask_answer"]
    assert len(answers) == 2
    assert all(answer.count("The moon causes") == 1 for answer in answers)
    assert trace.outcome == "complete"
    assert violations(trace) == ()
