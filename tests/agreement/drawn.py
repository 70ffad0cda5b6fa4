"""Three hundred sentences that their sources bear out, drawn by a seed: people's supported claims,
sentences in other words, and of invented pages, at most a third word for word."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from oresearch_graph.text.sentences import sentence_spans
from tests.agreement.labelled import WICE, Labelled, labelled
from tests.planted_world import planted_world

COUNT: Final = 300
_VERBATIM: Final = COUNT // 3
PARAPHRASED: Final = (
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


def paraphrased() -> list[Labelled]:
    return [_good(sentence, text) for text, sentences in PARAPHRASED for sentence in sentences]


def planted(seed: int) -> list[Labelled]:
    """Sentences of an invented world's pages, word for word."""
    return [
        _good(text[start:end], text, title)
        for title, text in planted_world(seed).pages.items()
        for start, end in [s for s in sentence_spans(text) if s[1] - s[0] > 40][1:6]
    ]


def shortened(seed: int) -> Iterator[Labelled]:
    """Its facts without the words that frame them on their pages."""
    world = planted_world(seed)
    for question in world.questions:
        for fact in question.facts:
            for page in fact.pages[:1]:
                sentence = f"{fact.text[0].upper()}{fact.text[1:]}."
                if sentence not in world.pages[page]:
                    yield _good(sentence, world.pages[page], page)


def drawn(seed: int) -> list[Labelled]:
    """All of it; fewer where people's labels are not on this machine."""
    random = Random(seed)  # noqa: S311 (nothing secret)
    verbatim = [row for world in (seed, seed + 1) for row in planted(world)]
    claims = [row for row in labelled(WICE) if row.supported] if WICE.exists() else []
    others = [*claims, *paraphrased()]
    worlds = (row for world in range(seed, seed + 6) for row in shortened(world))
    others += [next(worlds) for _ in range(COUNT - _VERBATIM - len(others))] if claims else worlds
    return [*random.sample(verbatim, _VERBATIM), *others[: COUNT - _VERBATIM]]


def _good(claim: str, text: str, title: str = "") -> Labelled:
    return Labelled(claim, title, text, "supported", supported=True)
