"""The training prompt holds data and checkpoints together; what goes beyond it has a fingerprint
of its own."""

from __future__ import annotations

from itertools import combinations

import pytest

from oresearch_graph.prompts import protocol, system_prompt
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import text_hash

GOLDEN = {
    "paper": "e2f69399a16efb46ac3f4cbaf9d4388b8f8d19822c3c702e77cdf40b74269dd5",
    "released": "569e61abeb6562cca98aa5f4e8aca7e44c936a72cfb09dd1a29d82d0bdbf6476",
}
"""Another text is another protocol: rows and checkpoints made under this one fit it no more."""
FINGERPRINTS = {
    ("paper", "parallel"): "edef56e7e478",
    ("paper", "sequential"): "a31ffa02353b",
    ("released", "parallel"): "64ec20b7287e",
    ("released", "sequential"): "c93ec9f39d7f",
}
EXTENSIONS = [
    ResearchSettings(language="de"),
    ResearchSettings(language="fr"),
    ResearchSettings(length="long"),
    ResearchSettings(tone="dry"),
    ResearchSettings(outline=("Causes",)),
    ResearchSettings(prompts={"planner": "Be brief."}),
    ResearchSettings(prompts={"researcher": "Be brief."}),
    ResearchSettings(prompts={"summarizer": "Be brief."}),
    ResearchSettings(
        prompts={"planner": "Be brief.", "researcher": "Be brief.", "summarizer": "Be brief."}
    ),
]


@pytest.mark.parametrize("dialect", GOLDEN)
def test_the_training_prompt_is_the_same_to_the_byte(dialect):
    assert text_hash(system_prompt(ResearchSettings(dialect=dialect))) == GOLDEN[dialect]


@pytest.mark.parametrize(("dialect", "execution"), FINGERPRINTS)
def test_the_plain_protocol_keeps_its_fingerprint(dialect, execution):
    plain = protocol(ResearchSettings(dialect=dialect, execution=execution))
    assert plain.fingerprint == FINGERPRINTS[dialect, execution]
    assert plain.prompt == GOLDEN[dialect][:16]
    assert not plain.extended


def test_every_extension_has_a_fingerprint_of_its_own():
    protocols = [protocol(settings) for settings in (ResearchSettings(), *EXTENSIONS)]
    assert all(one.extended for one in protocols[1:])
    for one, other in combinations(protocols, 2):
        assert one.prompt != other.prompt
        assert one.fingerprint != other.fingerprint
