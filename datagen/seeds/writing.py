"""Questions that a model writes for domains of which the files hold too few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from datagen.questions.wording import tidy
from datagen.records import Seed, seed_id
from datagen.settings.seeds import SeedSettings
from oresearch_graph.errors import PolicyError
from oresearch_graph.trace import list_items

if TYPE_CHECKING:
    from datagen.seeds.asking import Asking

_BATCH: Final = 20
_PROMPT: Final = """\
Write {count} research questions in the domain "{domain}", in the language with the ISO 639-1 code \
"{language}".

Each question is to be answered by a report of a few pages, written from many public sources:
- It is open-ended: no yes or no, no single fact, no list that one page holds.
- It is complex: it asks for causes, mechanisms, comparisons, trade-offs, evidence or forecasts, \
and falls into several parts that can be looked into apart from each other.
- It is specific: it names its subject, and where it matters the place and the period.
- It stands alone, and says nothing of a report, of sources or of these instructions.
- No two of them are about the same thing.

Answer with a numbered list, one question a line, and nothing else.{known}"""
_KNOWN: Final = "\n\nThese are written already; write others:\n"


class Shortage(NamedTuple):
    """What is missing in one domain at the end, and why."""

    domain: str
    missing: int
    why: str


async def write_questions(
    asking: Asking,
    settings: SeedSettings,
    there: Mapping[str, int],
    admit: Callable[[Seed], bool],
) -> list[Shortage]:
    """Have questions written until each domain has its wanted number, counting those `there`.

    `admit` takes a question that passes every check. What is asked depends on the settings and on
    earlier answers alone, so that the same run asks nothing again. A failing model leaves a
    Shortage.
    """
    short: list[Shortage] = []
    for domain, total in settings.write.items():
        missing = total - there.get(domain.casefold(), 0)
        if missing <= 0:
            continue
        try:
            missing = await _write(asking, settings, domain, missing, admit)
            why = f"too few of {asking.name}'s questions passed the checks"
        except PolicyError as error:
            return [*short, Shortage(domain, missing, str(error))]
        if missing:
            short.append(Shortage(domain, missing, why))
    return short


async def _write(
    asking: Asking,
    settings: SeedSettings,
    domain: str,
    missing: int,
    admit: Callable[[Seed], bool],
) -> int:
    """How many are still missing."""
    total = settings.write[domain]
    earlier: list[str] = []
    for turn in range(-(-total // _BATCH) + settings.write_rounds - 1):
        questions = await _asked(asking, settings, domain, turn, earlier)
        earlier += questions
        for question in questions:
            missing -= admit(_seed(question, domain, asking.name))
            if not missing:
                return 0
    return missing


async def _asked(
    asking: Asking, settings: SeedSettings, domain: str, turn: int, earlier: Sequence[str]
) -> list[str]:
    exclusions = _KNOWN + "\n".join(earlier) if earlier else ""
    prompt = _PROMPT.format(
        count=min(_BATCH, settings.write[domain]), domain=domain,
        language=settings.write_language, known=exclusions,
    )  # fmt: skip
    key = asking.key("write", turn, prompt)
    answer = asking.kept(key)
    if answer is None:
        answer = await asking.ask(prompt)
        await asking.keep(key, answer)
    return [question for item in list_items(answer) if (question := tidy(item))]


def _seed(question: str, domain: str, model: str) -> Seed:
    return Seed(
        id=seed_id(question), question=question, domain=domain, source=model, origin="written",
    )  # fmt: skip
