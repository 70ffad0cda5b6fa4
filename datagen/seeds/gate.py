"""The gate: which questions become seeds. Every question passes it, whoever wrote it."""

from __future__ import annotations

from datagen.questions.benchmarks import Benchmarks
from datagen.questions.likeness import wording
from datagen.questions.near import NearIndex
from datagen.questions.open_ended import not_open_ended
from datagen.records import Dropped, Seed, seed_id
from datagen.settings.seeds import SeedSettings
from oresearch_graph.text.language import detect_language


class Gate:
    """Holds the seeds so far, in order; the first of two that are alike stays."""

    def __init__(self, settings: SeedSettings, benchmarks: Benchmarks) -> None:
        self._settings, self._benchmarks = settings, benchmarks
        self._near = NearIndex(settings.likeness)
        self._ids: dict[str, str] = {}
        self.seeds: dict[str, Seed] = {}
        self.places: dict[str, str] = {}
        self.dropped: list[Dropped] = []

    def admit(self, seed: Seed, place: str) -> bool:
        """Take a seed, or keep the reason why not."""
        words = wording(seed.question)
        if (known := self._benchmarks.find(words)) is not None:
            return self._drop(seed, place, "contaminated", f"benchmark question: {known}")
        if seed.origin != "imported":  # the trace of an imported one is there already
            if (twin := self._near.find(words)) is not None:
                return self._drop(seed, place, "duplicate", f"seed {self._ids[twin]}: {twin}")
            if self._settings.open_ended and (why := not_open_ended(seed.question)):
                return self._drop(seed, place, "not_open_ended", why)
        taken = seed.model_copy(
            update={"id": self._free_id(seed),
                    "language": seed.language or detect_language(seed.question)}
        )  # fmt: skip
        self._near.add(words)
        self._ids[seed.question] = taken.id
        self.seeds[taken.id] = taken
        self.places[taken.id] = place
        return True

    def drop(self, dropped: Dropped) -> None:
        self.dropped.append(dropped)

    def _free_id(self, seed: Seed) -> str:
        """Its own, unless another question has it: files number their rows alike."""
        return seed.id if seed.id not in self.seeds else seed_id(seed.question)

    def _drop(self, seed: Seed, place: str, reason: str, detail: str) -> bool:
        told = {"question": seed.question, "reason": reason, "detail": detail, "source": place}
        self.drop(Dropped.model_validate(told))
        return False
