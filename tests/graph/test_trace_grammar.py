"""violations: each code has a case that raises it alone, and a good trace has none."""

from __future__ import annotations

from typing import get_args

import pytest

from oresearch_graph.trace import Failure, Step, ViolationCode, violations, world_step
from oresearch_graph.trace.answer import parsed_answers
from tests.helpers.traces import GOOD, good_trace, trace_of

TURN = "<think>t</think>\n\n<web_search>q</web_search>\n\n<observation>o</observation>\n\n"
SECOND = GOOD[GOOD.index("<subtask>How large") : GOOD.index("<suggested_answer>")]
LIST = GOOD[: GOOD.index("</subtask_list>") + 15]
REPORT = GOOD[GOOD.index("<suggested_answer>") :]

SPOILED: dict[str, tuple[str, str]] = {
    "no_subtask_list": (LIST, ""),
    "repeated_subtask_list": (LIST, LIST + LIST),
    "late_subtask_list": (LIST, "<think>x</think>" + LIST),
    "empty_subtask_list": ("1. What tides are\n2. How large they get", ""),
    "subtask_without_branch": (SECOND, ""),
    "branch_not_listed": ("\n2. How large they get", ""),
    "step_outside_branch": ("<subtask>What tides", "<think>x</think><subtask>What tides"),
    "turn_without_think": ("<think>Look for the range.</think>", ""),
    "misplaced_plan": ("<plan>Search, then read.</plan>", "<plan>a</plan><plan>b</plan>"),
    "branch_without_turn": (
        SECOND[SECOND.index("<think>") : SECOND.index("<subtask_answer>")],
        "",
    ),
    "call_without_observation": (
        "<observation>[1001] Tides\nhttps://example.org/tides\nThe Moon causes tides."
        "</observation>",
        "",
    ),
    "branch_without_answer": ("<subtask_answer>The Moon causes tides [1001].</subtask_answer>", ""),
    "step_after_answer": ("<subtask>How large", "<think>more</think><subtask>How large"),
    "empty_answer": ("The Moon causes tides [1001].</sub", "</sub"),
    "no_suggested_answer": (REPORT, ""),
    "step_after_report": (REPORT, REPORT + REPORT),
    "stray_text": ("<think>Look for causes.", "Sure! <think>Look for causes."),
    "missing_open_tag": ("<subtask_answer>The Moon", "The Moon"),
    "missing_close_tag": ("Look for causes.</think>", "Look for causes."),
    "copied_subtask": ("2. How large they get", "2. what  Tides are!"),
    "fake_observation": ("Look for causes.", "Look. <observation>[1001] So.</observation>"),
    "empty_think": ("Look for causes.", " … \u200b\u3164"),
    "nested_tag": ("Look for causes.", "Look <plan>for</plan> causes."),
    "malformed_call": ("tides cause&serp_num=3", " | &serp_num=3"),
    "no_introduction": ("## Introduction", "## Preface"),
    "no_body": ("## Findings\nThe Moon causes tides [1]. They reach 16 metres [2].\n\n", ""),
    "no_conclusion": ("## Conclusion", "## Afterthought"),
    "no_references": (REPORT[REPORT.index("## References") : -19], ""),
    "heading_language": ("## Conclusion", "## 结论"),
    "dangling_citation": ("16 metres [2].\n\n##", "16 metres [7].\n\n##"),
    "unknown_reference": ("[2]. https://example.org/range", "[2]. https://invented.org/range"),
}


def test_a_good_trace_has_no_violation():
    assert violations(good_trace()) == ()


def test_every_code_has_its_case():
    assert {*SPOILED, *REARRANGED, "recovered", "replaced_plan"} == set(get_args(ViolationCode))


def test_a_near_miss_that_was_read_is_counted():
    failure = Failure(name="recovered", fault="policy", message="read to its end", branch=1)
    trace = good_trace().model_copy(update={"failures": (failure,)})
    (violation,) = violations(trace)
    assert (violation.code, violation.branch, violation.declared) == ("recovered", 1, True)
    assert trace.repaired


def test_a_plan_that_was_replaced_is_a_violation_and_one_with_a_given_tag_is_none():
    failure = Failure(name="plan_fallback", fault="policy", message="no plan", role="planner")
    trace = good_trace().model_copy(update={"failures": (failure,)})
    assert [violation.code for violation in violations(trace)] == ["replaced_plan"]
    plan, *rest = good_trace().steps
    given = (plan.model_copy(update={"opened": "given"}), *rest)
    assert violations(good_trace().model_copy(update={"steps": given})) == ()


def test_the_think_that_hides_a_models_own_is_the_worlds_and_no_violation():
    steps = [
        world_step("think", "", branch=step.branch) if step.kind == "think" else step
        for step in good_trace().steps
    ]
    assert violations(good_trace().model_copy(update={"steps": tuple(steps)})) == ()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("The tag <observation> stands before what tools show [1001].", "nested_tag"),
        ("<observation>\n[1001] Tides\nhttps://example.org/tides\nSo.", "fake_observation"),
        ("<Observation >## Query: tides\n\n[1001] Tides", "fake_observation"),
    ],
)
def test_an_answer_may_name_the_tag_and_not_show_sources_in_it(answer: str, code: str):
    found = violations(
        trace_of(GOOD.replace("The Moon causes tides [1001].</sub", f"{answer}</sub"))
    )
    assert code in {violation.code for violation in found}
    assert ("fake_observation" in {violation.code for violation in found}) == (code[0] == "f")


def first(kind: str) -> int:
    return next(i for i, step in enumerate(good_trace().steps) if step.kind == kind)


def moved(steps: list[Step], kind: str, by: int) -> list[Step]:
    at = first(kind)
    step = steps.pop(at)
    return [*steps[: at + by], step, *steps[at + by :]]


REARRANGED = {
    "interleaved_branches": lambda steps: moved(steps, "think", 12),
    "misplaced_report": lambda steps: [
        step.model_copy(update={"branch": 2}) if step.kind == "suggested_answer" else step
        for step in steps
    ],
    "misplaced_subtask": lambda steps: moved(steps, "subtask", 1),
    "observation_without_call": lambda steps: moved(steps, "observation", 1),
}


@pytest.mark.parametrize("code", REARRANGED)
def test_steps_in_another_order_are_named(code):
    steps = REARRANGED[code](list(good_trace().steps))
    found = violations(good_trace().model_copy(update={"steps": tuple(steps)}))
    assert code in {violation.code for violation in found}


@pytest.mark.parametrize("code", SPOILED)
def test_a_spoiled_trace_is_named(code):
    old, new = SPOILED[code]
    assert GOOD.count(old) >= 1
    found = violations(trace_of(GOOD.replace(old, new, 1)))
    assert code in {violation.code for violation in found}
    assert all(violation.message for violation in found)


def test_a_violation_tells_its_place():
    found = violations(trace_of(GOOD.replace("16 metres [2001]", "16 metres [999]")))
    (violation,) = found
    trace = trace_of(GOOD)
    assert violation.branch == 2
    assert violation.step is not None
    assert trace.steps[violation.step].kind == "subtask_answer"


@pytest.mark.parametrize(
    ("code", "offending"),
    [
        ("stray_text", "\n\nSure! "),
        ("nested_tag", "<plan>"),
        ("malformed_call", " | &serp_num=3"),
        ("heading_language", "## 结论"),
        ("dangling_citation", "[7]"),
        ("unknown_reference", "https://invented.org/range"),
        ("repeated_subtask_list", "\n1. What tides are\n2. How large they get\n"),
        ("no_conclusion", None),
        ("missing_close_tag", None),
    ],
)
def test_a_violation_tells_where_in_its_steps_text_it_shows(code, offending):
    trace = trace_of(GOOD.replace(*SPOILED[code], 1))
    fault = next(fault for fault in violations(trace) if fault.code == code)
    assert fault.step is not None
    if offending is None:
        assert (fault.start, fault.end) == (None, None)
    else:
        assert trace.steps[fault.step].text[fault.start : fault.end] == offending


def test_a_link_leads_to_a_source_too():
    seen = GOOD.replace("16 metres [2].", "16 metres ([Range](https://example.org/range)).")
    assert violations(trace_of(seen)) == ()
    (violation,) = violations(
        trace_of(seen.replace("(https://example.org/range)", "(https://invented.org)"))
    )
    assert violation.code == "dangling_citation"
    assert "https://invented.org" in violation.message


def test_violations_take_answers_that_were_parsed_before():
    trace = trace_of(GOOD.replace("16 metres [2].", "16 metres [7]."))
    assert violations(trace, parsed_answers(trace)) == violations(trace) != ()


def test_a_recorded_failure_owns_up_to_what_its_branch_lacks():
    text = GOOD.replace("<subtask_answer>The Moon causes tides [1001].</subtask_answer>", "")
    failure = Failure(name="model_error", fault="infrastructure", message="gone", branch=1)
    (violation,) = violations(trace_of(text, failures=(failure,)))
    assert violation.declared
    (violation,) = violations(trace_of(text))
    assert not violation.declared


def test_a_repaired_attempt_owns_up_to_nothing():
    text = GOOD.replace("<subtask_answer>The Moon causes tides [1001].</subtask_answer>", "")
    failure = Failure(name="repaired", fault="policy", message="x", branch=1, rejected="y")
    assert not violations(trace_of(text, failures=(failure,)))[0].declared


def test_a_heading_in_a_language_without_an_entry_is_not_held_against_it():
    assert violations(good_trace(language="sw")) == ()


def test_citations_of_bare_text_are_held_against_what_its_observations_show():
    trace = trace_of(GOOD, sources=None)
    assert violations(trace) == ()
    spoiled = trace_of(GOOD.replace("[2]. https://example.org/range", "[2]. https://x.org"),
                       sources=None)  # fmt: skip
    assert {v.code for v in violations(spoiled)} == {"dangling_citation", "unknown_reference"}


def test_texts_that_are_known_are_not_read_again():
    trace = trace_of(GOOD.replace("The Moon causes tides.", "<plan>x</plan>", 1))
    spoiled = trace.model_copy(
        update={"steps": (*trace.steps[:1], world_step("stray", "loose"), *trace.steps[1:])}
    )
    whole = violations(spoiled)
    at = next(fault.step for fault in whole if fault.code == "stray_text")
    assert at is not None
    known = violations(spoiled, written_from=at + 1)
    assert set(whole) - set(known) == {fault for fault in whole if fault.code == "stray_text"}
