"""A sentence made wrong loses what was known of it: planted pages word for word and in other words,
and, where they are there, people's supported claims."""

from __future__ import annotations

from random import Random

import pytest

from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.evidence.source_index import SourceIndex
from oresearch_graph.evidence.support import support
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.trace import Source
from tests.agreement.__main__ import index_of
from tests.agreement.labelled import WICE, labelled
from tests.agreement.mutations import MUTATIONS
from tests.planted_world import planted_world

PARAPHRASED = (
    ("The bridge over the Orne at Vell was opened in 1911 and is 320 metres long. It was built by "
     "the engineer Isa Noor. The old ferry was closed in the same year.",
     ("At Vell, the bridge across the Orne opened in 1911.",
      "The Orne bridge at Vell is 320 metres long.",
      "Isa Noor, an engineer, built the bridge over the Orne.")),
    ("In 2021 the Lanth company sold 1.2 million bicycles, 8 percent more than in 2020. Its sales "
     "in Norway rose by 14 percent. The head office moved from Dree to Kolm in May 2022.",
     ("Lanth sold 1.2 million bicycles in 2021.",
      "The sales of Lanth in Norway increased by 14%.",
      "Lanth's head office was moved from Dree to Kolm in May 2022.")),
    ("The Quill frog lives in the northern marshes of Tarn. It was first described by Peta Zell "
     "on 3 June 1874. Adults are up to 64 mm long and are active at night.",
     ("The Quill frog was first described on 3 June 1874 by Peta Zell.",
      "Adult Quill frogs are up to 64 millimetres long.",
      "In Tarn, the Quill frog lives in the northern marshes.")),
)  # fmt: skip


def cases() -> list[tuple[str, str, SourceIndex]]:
    """Sentences, their source's text and its index."""
    found = []
    for text, sentences in PARAPHRASED:
        index = SourceIndex(Source.of(id=1, url="https://a.example", text=text))
        found += [(sentence, text, index) for sentence in sentences]
    for title, text in planted_world(11).pages.items():
        index = SourceIndex(Source.of(id=1, url="https://a.example", title=title, text=text))
        spans = [span for span in sentence_spans(text) if span[1] - span[0] > 40]
        found += [(text[start:end], text, index) for start, end in spans[1:6]]
    return found


CASES = cases()


def status(sentence: str, index: SourceIndex) -> str:
    return support(checkable_parts(sentence), [index]).status


def test_untouched_sentences_are_known():
    found = [status(sentence, index) for sentence, _, index in CASES]
    assert set(found[: len(PARAPHRASED) * 3]) == {"found"}
    assert set(found[len(PARAPHRASED) * 3 :]) == {"quoted"}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_sentence_loses_what_was_known(name: str):
    random = Random(3)  # noqa: S311
    wrong = [(MUTATIONS[name](s, text, random), s, index) for s, text, index in CASES]
    changed = [status(new, index) for new, s, index in wrong if new is not None and new != s]
    assert len(changed) >= 7
    assert "quoted" not in changed
    assert changed.count("found") <= 0.15 * len(changed)


def test_in_another_source_nothing_is_known():
    others = [*CASES[3:], *CASES[:3]]
    found = [status(s, other) for (s, _, _), (_, _, other) in zip(CASES, others, strict=True)]
    assert found.count("found") <= 0.02 * len(found)


@pytest.mark.skipif(not WICE.exists(), reason="people's labels are not on this machine")
def test_a_warning_means_something_to_people():
    rows = list(labelled(WICE))
    warned = [status(row.claim, index_of(row)) in {"missing", "contradicted"} for row in rows]
    good = [w for w, row in zip(warned, rows, strict=True) if row.supported]
    bad = [w for w, row in zip(warned, rows, strict=True) if not row.supported]
    assert sum(bad) / len(bad) >= 0.45
    assert sum(bad) / len(bad) >= 5 * sum(good) / len(good)
