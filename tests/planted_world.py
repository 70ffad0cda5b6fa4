"""An invented world: pages of facts that no model remembers, questions about them, and the truth.

    python -m tests.planted_world --seed N [--out DIR]

Without DIR the questions and the truth are printed. `tests.planted_score` holds traces against it.
Every value (a number, a name, a date, a place) stands in one fact only, and that fact on one or
two pages of its topic, so that a report's sentence can be traced to the pages that hold it. Some
topics have a neighbour of a similar name with facts of its own. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import calendar
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split("|" if "|" in text else None))


_KINDS: Final[tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...]] = (
    ("the {} bridge", "bridge", (
        ("span", "has a span of {}", "metres 120 980"),
        ("architect", "was designed by the architect {}", "person"),
        ("repair", "was closed for its great repair in {}", "year"),
        ("stone", "was built of stone from the quarry at {}", "place"))),
    ("Lake {}", "lake", (
        ("depth", "reaches a depth of {} at its northern end", "metres 40 590"),
        ("area", "covers an area of {}", "square kilometres 2 60"),
        ("survey", "was surveyed for the first time by {}", "person"),
        ("outflow", "flows out over a weir at {}", "place"))),
    ("the {} Works", "company", (
        ("founder", "was founded as a workshop by {}", "person"),
        ("staff", "has a staff of {} people", "count 140 9800"),
        ("seat", "has its head office in {}", "place"),
        ("founding", "was entered in the trade register on {}", "date"))),
    ("the {} sheep", "breed", (
        ("origin", "was first bred on the hill farms around {}", "place"),
        ("weight", "weighs as a grown ram up to {}", "kilograms 48 160"),
        ("recognition", "was recognised as a breed in {}", "year"),
        ("breeder", "owes its present form to the breeder {}", "person"))),
    ("Mount {}", "mountain", (
        ("height", "rises to a height of {}", "metres 2100 7900"),
        ("first ascent", "was climbed for the first time on {}", "date"),
        ("climber", "was climbed first by a party under {}", "person"),
        ("hut", "is approached from the climbers' hut at {}", "place"))),
    ("the {} festival", "festival", (
        ("founder", "was started by the music teacher {}", "person"),
        ("attendance", "draws {} visitors in a usual year", "count 2100 99000"),
        ("venue", "takes place on the common at {}", "place"),
        ("first edition", "was held for the first time on {}", "date"))),
    ("the ship {}", "ship", (
        ("length", "measures {} from stem to stern", "metres 32 190"),
        ("launch", "was launched on {}", "date"),
        ("shipyard", "was built at the shipyard of {}", "place"),
        ("captain", "sailed for many years under captain {}", "person"))),
    ("the {} museum", "museum", (
        ("collection", "keeps a collection of {} objects", "count 2100 88000"),
        ("donor", "goes back to a gift by {}", "person"),
        ("opening", "opened its doors on {}", "date"),
        ("storehouse", "keeps what is not on show in a storehouse at {}", "place"))),
    ("the {} lighthouse", "lighthouse", (
        ("range", "can be seen from a distance of {}", "kilometres 12 70"),
        ("keeper", "had as its last keeper {}", "person"),
        ("first lighting", "was lit for the first time on {}", "date"),
        ("lamp", "has a lamp that was made in {}", "place"))),
    ("the {} cheese", "cheese", (
        ("ripening", "ripens in the cellar for {} days", "count 40 590"),
        ("dairy", "is made by the old dairy at {}", "place"),
        ("maker", "was made first by the farmer {}", "person"),
        ("prize", "won its first prize in {}", "year"))),
    ("the {} railway", "railway", (
        ("length", "has a length of {}", "kilometres 12 95"),
        ("engineer", "was laid out by the engineer {}", "person"),
        ("terminus", "ends at the station of {}", "place"),
        ("opening", "carried its first passengers on {}", "date"))),
    ("the {} harp", "harp", (
        ("strings", "is strung with {} strings", "count 40 130"),
        ("inventor", "was invented by the carpenter {}", "person"),
        ("workshop", "is still made in a workshop in {}", "place"),
        ("first concert", "was heard in public for the first time on {}", "date"))),
)  # fmt: skip
"""Each kind's name with its place for a topic, the word for it, and its aspects: how a sentence
states it, and what value it takes."""
_UNITS: Final = {
    "metres": r"m|met(?:er|re)s?",
    "kilometres": r"km|kilomet(?:er|re)s?",
    "square kilometres": r"km²|km2|km\^2|(?:sq\.?|square)[ -](?:km|kilomet(?:er|re)s?)",
    "kilograms": r"kg|kilos?|kilogram(?:me)?s?",
}
_MONTHS: Final = tuple(calendar.month_name[1:])
_STEMS: Final = _listed(
    "Quil Tarr Velm Ostr Dunn Mirr Hask Brell Corv Fenn Gald Ildr Jorr Keld Lorn Mavr Nerr Orlst "
    "Pell Rask Sarn Thol Ulv Wend Yarr Zell Brimm Cassk Drev Eskl"
)
_PLACE_ENDS: Final = _listed("amere ewick aholt iby ostead essa ivar une ombe ister ock arrow")
_SURNAME_ENDS: Final = _listed("quist adry enko ovar umsen ettle irand ollo askin emund")
_GIVEN: Final = _listed(
    "Orsola Bertil Maive Torben Ilka Renwin Sunniv Dagny Calder Ysolde Perrin Anselka"
)
_FRAMES: Final = (
    "{It} {says}.",
    "As the parish records have it, {it} {says}.",
    "{It} {says}, as every guide will tell.",
    "According to the county archive, {it} {says}.",
)
_WHO: Final = _listed(
    "visitors|older residents|people of the valley|writers of guidebooks|teachers of the district|"
    "those who work nearby|travellers|neighbours|photographers|shopkeepers|walkers|retired farmers"
)
_DOES: Final = _listed(
    "often speak of|like to recall|rarely mention|still talk about|seldom agree about|"
    "sometimes write about|seem to be fond of|are apt to complain about|have songs about|"
    "are quick to praise"
)
_WHAT: Final = _listed(
    "the quiet of the place|the colour of the roofs|the weather on the way|the smell of wet grass|"
    "the narrow path behind the inn|the old tales|the sound of bells|the steep road|"
    "the light over the fields|the price of tea|the long wait for the bus|the kindness of strangers"
)
_WHEN: Final = _listed(
    "in the early morning|when the wind turns|after a long winter|before the season begins|"
    "on dull afternoons|whatever the leaflets say|as soon as the rain stops|over a bowl of soup|"
    "when the evenings grow short|on market days"
)
_TITLES: Final = ("{}", "{} in the records", "A walk to {}")
_QUESTIONS: Final = 12
_NEIGHBOURS: Final = 10


@dataclass(frozen=True)
class Fact:
    """One value of a topic: what must stand in a sentence, and which pages hold it."""

    id: str
    aspect: str
    text: str
    accept: tuple[str, ...]
    """Regular expressions, for any case, of which one must match."""
    pages: tuple[str, ...] = ()

    def stands_in(self, text: str) -> bool:
        return any(re.search(pattern, text, re.IGNORECASE) for pattern in self.accept)


@dataclass(frozen=True)
class Question:
    """A question about one topic and the facts that answer it."""

    id: str
    question: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class World:
    """The pages by file name, and what is asked about them."""

    seed: int
    pages: dict[str, str]
    questions: tuple[Question, ...]

    def truth(self) -> str:
        """`questions.json`: the seed, and each question with its facts."""
        value = {"seed": self.seed, "questions": [asdict(one) for one in self.questions]}
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

    def write(self, folder: Path) -> None:
        """Writes `pages/*.md` and `questions.json`."""
        (folder / "pages").mkdir(parents=True, exist_ok=True)
        for name, text in self.pages.items():
            (folder / "pages" / name).write_text(text, "utf-8")
        (folder / "questions.json").write_text(self.truth(), "utf-8")


def planted_world(seed: int) -> World:
    """The world of a seed."""
    return _Maker(seed).world()


class _Maker:
    """Draws values and words of which none comes twice."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(f"planted world {seed}")  # noqa: S311 (nothing secret)
        self.drawn: set[str] = set()
        self.pages: dict[str, str] = {}

    def world(self) -> World:
        kinds = self.rng.sample(_KINDS, _QUESTIONS)
        questions = tuple(self.question(i, *kind) for i, kind in enumerate(kinds, 1))
        return World(self.seed, dict(sorted(self.pages.items())), questions)

    def question(
        self, number: int, called: str, word: str, aspects: Sequence[tuple[str, str, str]]
    ) -> Question:
        """Writes the topic's pages, and those of its neighbour."""
        stem = self.rng.choice(_STEMS)
        topic, neighbour = (called.format(self.new(stem, _PLACE_ENDS)) for _ in range(2))
        facts = [self.fact(f"q{number}f{i}", topic, a) for i, a in enumerate(aspects, 1)]
        asked = sorted(self.rng.sample(range(len(facts)), 3))
        names = [_file(title.format(topic)) for title in _TITLES[: 2 + number % 2]]
        for fact, held in zip(self.shuffled(facts, asked), self.places(names), strict=True):
            facts[facts.index(fact)] = Fact(fact.id, fact.aspect, fact.text, fact.accept, held)
        for name, title in zip(names, _TITLES, strict=False):
            self.page(name, title.format(topic), topic, word, [f for f in facts if name in f.pages])
        if number <= _NEIGHBOURS:
            others = [self.fact("", neighbour, aspect) for aspect in aspects]
            self.page(_file(neighbour), neighbour, neighbour, word, others)
        wanted = ", ".join(facts[i].aspect for i in asked)
        return Question(
            f"q{number}", f"What is known about {topic}: its {wanted}?",
            tuple(facts[i] for i in asked),
        )  # fmt: skip

    def shuffled(self, facts: Sequence[Fact], asked: Sequence[int]) -> list[Fact]:
        """The facts that are asked for in any order, then the rest."""
        first = [facts[i] for i in asked]
        self.rng.shuffle(first)
        return first + [fact for fact in facts if fact not in first]

    def places(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Which pages hold the first, second, … fact: no page holds all that is asked for."""
        return [(names[0], names[1]), (names[1],), (names[-1 if len(names) > 2 else 0],),
                (self.rng.choice(names),)]  # fmt: skip

    def fact(self, name: str, topic: str, aspect: tuple[str, str, str]) -> Fact:
        heading, phrase, value = aspect
        written, accept = self.value(*value.rsplit(" ", 2))
        return Fact(name, heading, f"{topic} {phrase.format(written)}", accept)

    def value(self, sort: str, *bounds: str) -> tuple[str, tuple[str, ...]]:
        """A new value as pages write it, and the patterns of its other spellings."""
        match sort:
            case "person":
                surname = self.new(self.rng.choice(_STEMS), _SURNAME_ENDS)
                return f"{self.rng.choice(_GIVEN)} {surname}", (rf"\b{surname}\b",)
            case "place":
                place = self.new(self.rng.choice(_STEMS), _PLACE_ENDS)
                return place, (rf"\b{place}\b",)
            case "year":
                year = self.number(1701, 1989)
                return str(year), (rf"(?<![\d,.]){year}(?!\d)",)
            case "date":
                return self.date()
        low, high = map(int, bounds)
        tenths = self.rng.randrange(1, 10) if sort == "square kilometres" else 0
        number = self.number(low, high)
        written = f"{number:,}" + (f".{tenths}" if tenths else "")
        pattern = rf"(?<![\d.,]){written.replace('.', '[.]').replace(',', '[, ]?')}(?![.,]?\d)"
        if sort == "count":
            return written, (pattern,)
        return f"{written} {sort}", (rf"{pattern}[\s-]?(?:{_UNITS[sort]})(?!\w)",)

    def date(self) -> tuple[str, tuple[str, ...]]:
        day, month, year = (
            self.rng.randrange(1, 29),
            self.rng.randrange(12),
            self.number(1701, 1989),
        )
        name = _MONTHS[month]
        word, nth = rf"{name[:3]}(?:{name[3:]})?\.?", rf"(?<!\d)0?{day}(?:st|nd|rd|th)?"
        patterns = (
            rf"{nth} (?:of )?{word},? {year}(?!\d)",
            rf"\b{word} {nth},? {year}(?!\d)",
            rf"\b{year}-{month + 1:02}-{day:02}(?!\d)",
        )
        return f"{day} {name} {year}", patterns

    def number(self, low: int, high: int) -> int:
        """No number comes twice, as a year or as any count."""
        while str(number := self.rng.randrange(low, high)) in self.drawn:
            pass
        self.drawn.add(str(number))
        return number

    def new(self, stem: str, ends: Sequence[str]) -> str:
        while (name := stem + self.rng.choice(ends)) in self.drawn:
            stem = stem if self.rng.random() < 0.8 else self.rng.choice(_STEMS)
        self.drawn.add(name)
        return name

    def page(self, name: str, title: str, topic: str, word: str, facts: Sequence[Fact]) -> None:
        """Facts in plain sentences among filler, in three paragraphs."""
        sentences = [self.filler() for _ in range(self.rng.randrange(9, 12))]
        for fact in facts:
            frame, says = self.rng.choice(_FRAMES), fact.text.removeprefix(topic).strip()
            it = self.rng.choice((topic, topic, f"the {word}"))
            sentence = frame.format(It=_capital(it), it=it, says=says)
            sentences.insert(self.rng.randrange(1, len(sentences)), sentence)
        sentences.insert(0, f"This page is about {topic}, a {word} that few people know.")
        cuts = (0, len(sentences) // 3, 2 * len(sentences) // 3, len(sentences))
        parts = [" ".join(sentences[a:b]) for a, b in pairwise(cuts)]
        self.pages[name] = "\n\n".join([f"# {_capital(title)}", *parts]) + "\n"

    def filler(self) -> str:
        while (text := " ".join(map(self.rng.choice, (_WHO, _DOES, _WHAT, _WHEN)))) in self.drawn:
            pass
        self.drawn.add(text)
        return f"{_capital(text)}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _file(title: str) -> str:
    return "-".join(re.findall(r"\w+", title.lower().removeprefix("the "))) + ".md"


def main() -> None:
    """Writes or prints the world of a seed."""
    parser = argparse.ArgumentParser(prog="tests.planted_world", description="An invented world.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, help="folder for pages/*.md and questions.json")
    arguments = parser.parse_args()
    world = planted_world(arguments.seed)
    if arguments.out is None:
        sys.stdout.write(world.truth())
    else:
        world.write(arguments.out)
        words = sum(len(page.split()) for page in world.pages.values())
        sys.stdout.write(
            f"{arguments.out}: {len(world.pages)} pages of {words:,} words, "
            f"{len(world.questions)} questions\n"
        )


if __name__ == "__main__":
    main()
