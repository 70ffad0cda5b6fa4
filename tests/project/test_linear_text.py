"""Reading strangers' text takes time in proportion to its length, whatever it says.

Two nets. Every regular expression of the packages is found in their source and fed with texts made
of its own repetitions; every function that reads strangers' text is fed with families of hostile
ones. Growth is bounded in CPU time. A new pattern is in the first net by itself.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.imports import trace as imported_trace
from datagen.seeds import model
from oresearch_graph.evidence import claim_parts
from oresearch_graph.policies.extractive import plan as extractive_plan
from oresearch_graph.text.language import detect_language
from tests.helpers.growth import first_fault, spent
from tests.helpers.linear_page_readers import PAGE_READERS
from tests.helpers.linear_patterns import (
    COMPILING,
    SAMPLES,
    Module,
    Used,
    attacks,
    called,
    modules,
    patterns,
    written,
)
from tests.helpers.linear_policy_readers import POLICY_READERS
from tests.helpers.linear_texts import families

READERS: Final = PAGE_READERS | POLICY_READERS
OWN_TEXT: Final = {
    "oresearch_graph.tools.corpus.python_docs": "docstrings of this interpreter",
    "rl.tiny.base_model": "the demonstration's own prompts",
    "rl.tiny.world": "the demonstration's own pages",
    "rl.metrics.panels": "names of metrics, from our source",
    "rl.metrics.table": "names of metrics, from our source",
    "rl.learning.step_metrics": "names of metrics, from our source",
}
"""Modules whose patterns see no stranger's text, and what they see."""
BOUNDED: Final = {
    "oresearch_graph.policies.extractive.plan:_COMPARISONS": 500,
    "oresearch_graph.text.language:_REQUEST": 200,
}
"""Patterns that see so many characters at most, by a check before them."""
MADE_FROM_NAMES: Final = {
    "oresearch_graph.trace.tags:tag_pattern": "trace.parse",
    "oresearch_graph.trace.escaping:_markup": "trace.escape",
    "oresearch_graph.trace.escaping:_tokens": "trace.escape_tokens",
    "oresearch_graph.policies.chat.endings:_scan": "policies.endings",
    "oresearch_graph.policies.chat.rendering_tools:__init__": "policies.tools",
    "oresearch_graph.view.report:__init__": "view.trace",
    "oresearch_graph.text.language:_by_script": "evidence.language",
    "oresearch_graph.text.language:_names": "planner.language",
}
"""Patterns that a running function makes, and the reader of the second net that uses them."""
LENGTH: Final = 1_000
"""Characters of the shorter text."""
SHARES: Final = 48
"""Readers that share all families between them in the quick run."""
SEEN: Final = [m for m in modules() if m.name not in OWN_TEXT]


MENDED: Final = {
    r"`+([^`\n]+)`+": claim_parts._CODE,
    r"\s+(?:works?|happens?|mean|means|used)$": extractive_plan._LAST_VERB,
    r"^\W+|\W+$": model._LABEL_EDGES,
    r"\s*(?:\d{1,3}[.)、]|[-*+•]|[\[【]\d{1,4}[\]】]|#{1,4}\s)": imported_trace._RESULT,
}
"""What patterns were before they took whole runs, and what they are."""


def used(module: Module) -> list[Used]:
    return [each for each in patterns(module) if each.name not in BOUNDED]


@pytest.fixture(scope="module", autouse=True)
def _language_model() -> None:
    """Loaded before anything is timed."""
    detect_language("What makes the tides of the sea rise and fall twice on every day?")


@pytest.mark.parametrize("module", SEEN, ids=lambda module: module.name)
def test_a_pattern_is_linear_on_what_its_own_repetitions_take(module):
    assert _first_faults(module, " a1.", LENGTH) == {}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_is_linear_on_hostile_texts(name):
    share = islice(families().values(), list(READERS).index(name) % SHARES, None, SHARES)
    assert first_fault(READERS[name], share, LENGTH) is None


@pytest.mark.hostile
@pytest.mark.parametrize("module", SEEN, ids=lambda module: module.name)
def test_a_pattern_is_linear_on_runs_of_any_character(module):
    assert _first_faults(module, SAMPLES, 2 * LENGTH) == {}


@pytest.mark.hostile
@pytest.mark.parametrize("name", READERS)
def test_a_reader_is_linear_on_long_hostile_texts(name):
    share = islice(families().values(), list(READERS).index(name) % 6, None, 6)
    assert first_fault(READERS[name], share, 8 * LENGTH) is None


@pytest.mark.parametrize("name", BOUNDED)
def test_a_bounded_pattern_is_quick_within_its_bound(name):
    module = next(m for m in SEEN if m.name == name.partition(":")[0])
    for each in (each for each in patterns(module) if each.name == name):
        for family in attacks(each.pattern, " a1."):
            assert spent(each.read, family.text(BOUNDED[name])) < 0.1, (each, family)


def test_every_pattern_is_in_one_of_the_nets():
    """One that a running function makes of names needs a reader that uses it."""
    loose = {
        f"{module.name}:{function}"
        for module in SEEN
        for function, call in module.calls()
        if function and called(call) in COMPILING and written(call, module) is None
    }
    assert loose == set(MADE_FROM_NAMES)
    assert set(MADE_FROM_NAMES.values()) <= set(READERS)
    assert {module.name for module in modules()} >= set(OWN_TEXT)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"a A1\n\t.!?`[]【】,-)'。）中\x00", "[1]", " [1, 2]", "1.", " works"])
    ),
    st.sampled_from(list(MENDED)),
)
def test_a_mended_pattern_finds_what_it_found(pieces, before):
    text = "".join(pieces)
    old = [match.span() for match in re.finditer(before, text)]
    assert [match.span() for match in MENDED[before].finditer(text)] == old


def _first_faults(module: Module, samples: str, length: int) -> dict[tuple[str, str], str]:
    found = {
        (each.name, each.use): first_fault(each.read, attacks(each.pattern, samples), length)
        for each in used(module)
    }
    return {name: fault for name, fault in found.items() if fault is not None}
