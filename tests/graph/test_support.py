"""What is known of everyday sentences by everyday sources, in several languages."""

from __future__ import annotations

import pytest

from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.evidence.source_index import SourceIndex
from oresearch_graph.evidence.support import support
from oresearch_graph.text.language import detect_language
from oresearch_graph.trace import Source
from tests.helpers.growth import first_fault
from tests.helpers.linear_texts import Family

HOLDS = {"quoted", "found"}
CLEAR = {"quoted", "found", "unchecked", "not_checkable"}
"""Nothing speaks against it."""
NOT = {"unchecked", "missing", "contradicted", "not_checkable"}
"""It does not hold."""


def status(claim: str, *texts: str, title: str = "") -> str:
    indexes = [
        SourceIndex(Source.of(id=n, url=f"https://s{n}.example", title=title, text=text))
        for n, text in enumerate(texts, 1)
    ]
    language = detect_language(claim)
    return support(checkable_parts(claim, language), indexes, language).status


@pytest.mark.parametrize(
    ("known", "claim", "texts", "title"),
    [
        (
            NOT,
            "The Orne bridge was opened in 1911 and is 320 metres long according to Noor.",
            (
                "The Orne bridge was opened in 1911. It is nice.",
                "Noor measured it. The thing is 320 metres long.",
            ),
            "",
        ),
        (
            NOT,
            "In 1911 Isa Noor built the Orne bridge.",
            (
                "In 1911 the Orne bridge was built by Isa Quill. One. Two. Three. Four. Five. "
                "Isa Noor was a painter.",
            ),
            "",
        ),
        (
            NOT,
            "Isa Noor stole 3 million euros.",
            ("Isa Noor denies that Isa Noor stole 3 million euros.",),
            "",
        ),
        (
            NOT,
            "Kolm won the 2019 election.",
            ("If Kolm won the 2019 election, taxes would fall. Dree won.",),
            "",
        ),
        (
            NOT,
            "The Orne bridge collapsed in 1911.",
            ("The claim that the Orne bridge collapsed in 1911 is false.",),
            "",
        ),
        (
            NOT,
            "The bridge was opened in 1911, and was renovated in 2019.",
            ("The bridge was opened in 1911.",),
            "",
        ),
        (HOLDS, "It grew between 10% and 15% in Kolm.", ("It grew 10–15% in Kolm.",), ""),
        (
            NOT,
            "The bridge is 320 metres long and 12 metres wide.",
            ("The bridge is 320 metres long.",),
            "",
        ),
        (NOT, "About 1200 people died in Kolm.", ("In 1911 many people died in Kolm.",), ""),
        (HOLDS, "It lasted from 2019 to 2021 in Kolm.", ("It lasted 2019–21 in Kolm.",), ""),
        (CLEAR, "该市人口约1.2亿。", ("该市人口约1亿2000万。",), ""),
        (
            HOLDS,
            "Die Brücke von Vell wurde im Mai 2024 eröffnet.",
            ("Die Brücke von Vell wurde im Mai 2024 eröffnet.",),
            "",
        ),
        (
            CLEAR,
            "Die Brücke von Vell wurde 2024 eröffnet.",
            ("Die Brücke von Vell wurde im Mai 2024 eröffnet.",),
            "",
        ),
        (
            CLEAR,
            "Le pont de Vell a été ouvert en 2024 par Isa Noor.",
            ("Le pont de Vell a été ouvert en mai 2024 par Isa Noor.",),
            "",
        ),
        (
            HOLDS,
            "Chiang Mai has 127,000 inhabitants.",
            ("The city has 127,000 inhabitants.",),
            "Chiang Mai",
        ),
        (
            CLEAR,
            "The song reached No. 1 in the Norwegian charts.",
            ("The song reached number 1 in the Norwegian charts.",),
            "",
        ),
        (
            HOLDS,
            "The film Never Say Goodbye was released in 1946.",
            ("The film was released in 1946.",),
            "Never Say Goodbye",
        ),
        (CLEAR, "无锡市人口约为750万。", ("该市人口约为750万。",), ""),
        (
            CLEAR,
            "More than 300 people came to Kolm.",
            ("Fewer than 500 and over 300 people came to Kolm.",),
            "",
        ),
        (
            {"not_checkable"},
            "Rosstat counted 10 million people in 2021.",
            ("Росстат насчитал 10 миллионов человек в 2021 году.",),
            "",
        ),
        (
            CLEAR,
            "Munich is the capital of Bavaria in southern Germany with 1.5 million people.",
            (
                "München ist die Hauptstadt des Freistaates Bayern im Süden Deutschlands mit 1,5 "
                "Millionen Einwohnern und eine der größten Städte der Republik.",
            ),
            "",
        ),
        (
            HOLDS,
            "Die Orne-Brücke in Vell wurde am 5. Mai 2024 eröffnet und ist 320 Meter lang.",
            ("Die Orne-Brücke in Vell wurde am 5. Mai 2024 eröffnet. Sie ist 320 Meter lang.",),
            "",
        ),
        (
            NOT,
            "Die Brücke in Vell wurde am 7. Juni 2024 eröffnet.",
            ("Die Brücke in Vell wurde am 5. März 2024 eröffnet.",),
            "",
        ),
        (
            CLEAR,
            "Vell hat 1250 Einwohner im Jahr 2020.",
            ("Vell hat 1.250 Einwohner im Jahr 2020.",),
            "",
        ),
        (CLEAR, "研究认为芬迪湾的「潮差可达16米」。", ("研究认为芬迪湾的潮差可达16米左右。",), ""),
        (
            HOLDS,
            "In 2019 Theresa May resigned as prime minister.",
            ("In 2019 Theresa May resigned as the prime minister.",),
            "",
        ),
        (HOLDS, "It cost €1,500 in Kolm.", ("It cost €1,500.00 in Kolm.",), ""),
        (
            {"contradicted"},
            "The moon pulls the water up by 16 metres.",
            ("The moon pulls the water up by 14 metres.",),
            "",
        ),
        (
            {"contradicted"},
            "The bridge was not opened in 1911.",
            ("The bridge was opened in 1911.",),
            "",
        ),
        ({"contradicted"}, "月亮不牵引海水的运动。", ("月亮牵引海水的运动。",), ""),
        (
            NOT,
            "Il ponte non è stato aperto nel 1911 da Isa Noor.",
            ("Il ponte è stato aperto nel 1911 da Isa Noor.",),
            "",
        ),
        (
            NOT,
            "Pierre Curie won the Nobel Prize in Physics in 1903.",
            ("Marie Curie won the Nobel Prize in Physics in 1903.",),
            "",
        ),
        (
            NOT,
            "Google founded the firm Acme in 1999 in Ohio.",
            ("Jane Miller founded the firm Acme in 1999 in Ohio.",),
            "",
        ),
        (
            CLEAR,
            "The plant employs more than 200,000 people in Ohio.",
            ("The plant employs 208,000 people in Ohio.",),
            "",
        ),
        (
            CLEAR,
            "The plant employs over 200,000 people in Ohio.",
            ("The plant employs 208,000 people in Ohio.",),
            "",
        ),
        (
            CLEAR,
            "The plant employs about 210,000 people in Ohio.",
            ("The plant employs 208,000 people in Ohio.",),
            "",
        ),
        (
            CLEAR,
            "GDP grew about 2.5% in 2021 in France.",
            ("GDP grew 2.47 percent in 2021 in France.",),
            "",
        ),
        (
            NOT,
            "Die Mieten sanken zwischen 2010 und 2020 um 85 Prozent.",
            ("Die Mieten stiegen zwischen 2010 und 2020 um 85 Prozent.",),
            "",
        ),
        (
            NOT,
            "Die Mieten fielen zwischen 2010 und 2020 um 85 Prozent.",
            ("Die Mieten stiegen zwischen 2010 und 2020 um 85 Prozent.",),
            "",
        ),
        (
            NOT,
            "The ECB cut its key rate from 3.5% to 3.75%.",
            ("On Tuesday the ECB raised its key rate from 3.5% to 3.75%.",),
            "",
        ),
        (
            NOT,
            "The ECB lowered its key rate to 3.75%.",
            ("On Tuesday the ECB raised its key rate from 3.5% to 3.75%.",),
            "",
        ),
        (NOT, "Shares were down 4% on Monday.", ("Shares rose 4% on Monday.",), ""),
        (
            NOT,
            "Der Flughafen Tempelhof wurde 2008 eröffnet.",
            ("Der Flughafen Tempelhof wurde 2008 geschlossen.",),
            "",
        ),
        (NOT, "Die Mauer fiel 1989 nie.", ("Die Mauer fiel am 9. November 1989.",), ""),
        (
            NOT,
            "Sales at Acme hardly increased in 2020 in every region of the country.",
            ("Sales at Acme increased in 2020 in every region of the country.",),
            "",
        ),
        (HOLDS, "Die Mauer fiel am 9.11.1989.", ("Die Mauer fiel am 9. November 1989.",), ""),
        (
            HOLDS,
            "The bridge opened on 2014-03-05.",
            ("The bridge opened on 5 March 2014 and cost 3.4 million euros.",),
            "",
        ),
        (
            CLEAR,
            "The bridge opened on 5/3/2014.",
            ("The bridge opened on 5 March 2014 and cost 3.4 million euros.",),
            "",
        ),
        (
            HOLDS,
            "The bridge cost 3.4m euros.",
            ("The bridge opened on 5 March 2014 and cost 3.4 million euros.",),
            "",
        ),
        (
            CLEAR,
            "The bridge cost EUR 3,400,000.",
            ("The bridge opened on 5 March 2014 and cost 3.4 million euros.",),
            "",
        ),
        (
            HOLDS,
            "The plant employs 208k people in Ohio.",
            ("The plant employs 208,000 people in Ohio.",),
            "",
        ),
        (
            HOLDS,
            "Acme employs 12,000 people, e.g. in Europe.",
            ("Acme employs 12,000 people in 14 countries in the United States and Europe.",),
            "",
        ),
        (
            CLEAR,
            "Acme employs 12,000 people in the U.S. and Europe.",
            ("Acme employs 12,000 people in 14 countries in the US and Europe.",),
            "",
        ),
    ],
)
def test_what_is_known(known: set[str], claim: str, texts: tuple[str, ...], title: str):
    assert status(claim, *texts, title=title) in known


def test_a_part_may_stand_in_a_source_that_cannot_be_read():
    claim, other = "In Kolm 300 people met Isa Noor.", "In Kolm people met."
    assert status(claim, other) == "missing"
    assert status(claim, other, "") == "unchecked"


@pytest.mark.parametrize(
    "piece",
    ["The tide rises here. ", "rise q1 ", "fall ", "not ", "1911 ", "May 1911 ", '"Qx" ', "a b "],
)
def test_claim_and_source_may_grow_together(piece: str):
    def check(text: str) -> object:
        index = SourceIndex(Source.of(id=1, url="https://a.example", text=text))
        claim = checkable_parts(text[:2_000])
        return [support(claim, [index]) for _ in range(len(text) // 500)]

    families = (Family(piece, tail="X"), Family(piece, head="Tides rise. ", tail="X"))
    assert first_fault(check, families, 2_000) is None
