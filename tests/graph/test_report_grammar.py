"""The grammar of a report: its findings, as they stand, whole and after a cut."""

from __future__ import annotations

import pytest

from oresearch_graph.policies.chat.constraint import constraint_fields
from oresearch_graph.threads import Next, Thread
from oresearch_graph.trace import Trace, parse_policy_text, violations
from tests.helpers.constrained_threads import (
    REPAIRED,
    REPORT,
    SPAN,
    SPANS,
    WHOLE,
    allows,
    whole,
)


def test_a_report_is_well_formed_by_construction():
    assert allows(REPORT, WHOLE)
    (step,) = parse_policy_text("<suggested_answer>" + WHOLE)
    codes = {v.code for v in violations(Trace(question="", language="en", steps=(step,)))}
    assert not codes & {"no_introduction", "no_body", "no_conclusion", "no_references"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("## The span", "## The length"),
        (" It is very long [1001].", ""),
        ("It is very long [1001].", "It is very long [1001]. It is very wide [1001]."),
        ("on 3 May 1965", "in 1965"),
        ("Introduction\n\nIt was repaired", "Introduction\n\nThe bridge was repaired"),
        (
            "Conclusion\n\nIt spans 412.5 m, as Dr. Ida Noor says. [1001]",
            "Conclusion\n\nIt was repaired on 3 May 1965 [2001].",
        ),
        ("\n[2001]\n", "\n"),
        ("## Conclusion", "## Denmark"),
    ],
)
def test_a_report_departs_from_its_findings_in_nothing(old, new):
    assert old in WHOLE
    assert not allows(REPORT, WHOLE.replace(old, new, 1))


@pytest.mark.parametrize("place", range(0, 300, 7))
def test_a_report_that_was_cut_goes_on_as_it_began(place):
    cut = f"<suggested_answer>{WHOLE[:place]}"
    assert allows(REPORT, WHOLE[place:], cut)
    assert not allows(REPORT, f"{WHOLE[place:-20]}</suggested_answer>", cut)
    other = whole(SPANS, REPAIRED)
    assert allows(REPORT, other)
    mixed = WHOLE[:place] + other[place:]
    assert allows(REPORT, other[place:], cut) == (mixed in {WHOLE, other})


def test_headings_are_in_the_language_of_the_report():
    german = WHOLE.replace("Introduction", "Einleitung").replace("Conclusion", "Fazit")
    assert allows(REPORT, german.replace("References", "Quellen"), language="de")


def test_a_report_without_findings_is_not_held_to_a_form():
    bare = Thread(
        id="t", system="", question="", role="summarizer", constrained=True,
        next=Next(tag="suggested_answer", sources=(SPAN,)),
    )  # fmt: skip
    assert constraint_fields("llama.cpp", bare) == {}


@pytest.mark.parametrize("place", range(1, len(WHOLE)))
def test_a_report_that_was_cut_anywhere_goes_on_to_its_end(place):
    assert allows(REPORT, WHOLE[place:], f"\n\n<suggested_answer>{WHOLE[:place]}")


def test_a_report_of_another_form_that_was_cut_is_closed():
    written = "<suggested_answer># The bridge\n\nIt is very long "
    assert allows(REPORT, "[1001].\n\n## References\n\n[1001]\n</suggested_answer>", written)
    assert not allows(REPORT, "[1001].<think>More.</think></suggested_answer>", written)
