"""Domain labels by a model, twenty questions in one prompt; each label is kept by its question."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from datagen.records import Seed
from oresearch_graph.errors import PolicyError

if TYPE_CHECKING:
    from datagen.seeds.asking import Asking

_BATCH: Final = 20
_SHOWN: Final = 600
"""Characters of a question: enough to tell its domain."""
_LINE: Final = re.compile(r"^[^\w\n]*+(\d{1,3})(?!\w)(.*)$", re.MULTILINE)
_EDGES: Final = re.compile(r"^\W++|(?<!\W)\W++$")
_PROMPT: Final = """\
Each numbered question below belongs to one of these domains:
{domains}

Answer with one line for each question, its number and the domain's name exactly as listed:
1: <domain>

{questions}"""


async def label_domains(
    asking: Asking, seeds: Sequence[Seed], domains: Sequence[str]
) -> tuple[dict[str, str], str | None]:
    """The domain of each seed without one, by its id, as far as the model told; and why it did
    not, if it failed. A failing model is not asked about the rest."""
    bare = [seed for seed in seeds if seed.domain is None]
    keys = {seed.id: asking.key("domain", list(domains), seed.question) for seed in bare}
    unknown = [seed for seed in bare if asking.kept(keys[seed.id]) is None]
    failures: list[str] = []

    async def label(batch: Sequence[Seed]) -> None:
        if failures:
            return
        try:
            labels_read = _read(await asking.ask(_prompt(batch, domains)), domains)
        except PolicyError as error:
            failures.append(str(error))
            return
        for number, seed in enumerate(batch, start=1):
            await asking.keep(keys[seed.id], labels_read.get(number, ""))

    batches = [unknown[at : at + _BATCH] for at in range(0, len(unknown), _BATCH)]
    await asyncio.gather(*(label(batch) for batch in batches))
    answers = {seed.id: asking.kept(keys[seed.id]) for seed in bare}
    labels = {seed: domain for seed, domain in answers.items() if domain}
    return labels, next(iter(failures), None)


def _prompt(batch: Sequence[Seed], domains: Sequence[str]) -> str:
    lines = (
        f"{number}: {' '.join(seed.question.split())[:_SHOWN]}"
        for number, seed in enumerate(batch, start=1)
    )
    return _PROMPT.format(domains="\n".join(domains), questions="\n".join(lines))


def _read(answer: str, domains: Sequence[str]) -> dict[int, str]:
    """Labels by the question's number; what is no domain of the list is left out."""
    by_name = {_EDGES.sub("", domain).casefold(): domain for domain in domains}
    lines = (
        (int(match[1]), _EDGES.sub("", match[2]).casefold()) for match in _LINE.finditer(answer)
    )
    return {number: by_name[label] for number, label in lines if label in by_name}
