"""The seeds of the example: real questions that the embedded Python corpus answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.questions.files import load_benchmarks, load_seeds
from datagen.records import Seed
from datagen.seeds.stage import SeedGate
from datagen.settings.seeds import SeedSettings
from oresearch_graph.judging.exact_facts import key_point_recall

FILE = Path(__file__).parents[2] / "examples" / "seeds.jsonl"
SETTINGS = SeedSettings(files=(str(FILE),), strict=True)


@pytest.fixture(scope="module")
def seeds() -> list[Seed]:
    gate = SeedGate(SETTINGS, load_benchmarks(SETTINGS))
    for loaded in load_seeds(SETTINGS):
        assert isinstance(loaded, tuple)
        place, seed = loaded
        gate.admit(seed, place)
    assert not gate.dropped
    return list(gate.seeds.values())


def test_there_are_enough_of_them_and_in_several_domains(seeds: list[Seed]):
    assert len(seeds) >= 52
    assert len({seed.id for seed in seeds}) == len(seeds)
    assert len({seed.domain for seed in seeds}) >= 6
    for seed in seeds:
        assert (seed.language, seed.license) == ("en", "Apache-2.0")
        assert 2 <= len(seed.key_points) <= 4
        assert all(point.needs and point.source for point in seed.key_points)


def test_every_key_point_stands_in_its_page(seeds: list[Seed], python_texts: dict[str, str]):
    for seed in seeds:
        for point in seed.key_points:
            assert point.source is not None
            assert key_point_recall(python_texts[point.source], [point]) == 1.0, (
                seed.id,
                point.text,
            )


def test_every_key_point_is_met_by_its_own_text_and_not_by_another_seeds(seeds: list[Seed]):
    for seed, other in zip(seeds, [*seeds[1:], seeds[0]], strict=True):
        own = "\n\n".join(point.text for point in seed.key_points)
        assert key_point_recall(own, seed.key_points) == 1.0, seed.id
        assert key_point_recall(own, other.key_points) < 0.5, (seed.id, other.id)
