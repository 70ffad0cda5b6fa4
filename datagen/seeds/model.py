"""The model that the seeds stage may ask: domain labels, and questions for domains of which the
files hold too few. It is asked once; answers are kept in the run's work folder under the hash of
what was asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from langchain_core.messages import HumanMessage

from datagen.questions.likeness import tidy
from datagen.records import Record, Seed, seed_id
from datagen.run.record_files import KeyedRecords
from datagen.settings.seeds import SeedSettings
from oresearch_graph.errors import PolicyError
from oresearch_graph.policies.chat.reply import read_message
from oresearch_graph.policies.chat.text_model import TextModel
from oresearch_graph.trace import list_items

_TRIES = 4
_LABEL_BATCH: Final = 20
_SHOWN: Final = 600
"""Characters of a question: enough to tell its domain."""
_LABEL_LINE: Final = re.compile(r"^[^\w\n]*+(\d{1,3})(?!\w)(.*)$", re.MULTILINE)
_LABEL_EDGES: Final = re.compile(r"^\W++|(?<!\W)\W++$")
_LABEL_PROMPT: Final = """\
Each numbered question below belongs to one of these domains:
{domains}

Answer with one line for each question, its number and the domain's name exactly as listed:
1: <domain>

{questions}"""
_WRITE_BATCH: Final = 20
_WRITE_PROMPT: Final = """\
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
_EXCLUSIONS: Final = "\n\nThese are written already; write others:\n"


class Answer(Record):
    """What was said to one question."""

    key: str
    text: str


class CachedModel:
    """An asynchronous context; leaving it closes the connections and the file of answers."""

    def __init__(self, settings: SeedSettings, file: Path) -> None:
        """Raises ConfigurationError for a model that cannot be had, or a spoilt file."""
        self._name, self._base_url = settings.model or "", settings.base_url
        self._model = TextModel(
            self._name, self._base_url, concurrency=settings.concurrency, tries=_TRIES,
            timeout=settings.timeout,
        )  # fmt: skip
        self.name = self._model.name
        self._answers = KeyedRecords(file, Answer, lambda answer: answer.key)

    def key(self, *parts: object) -> str:
        """The hash of a question to this model."""
        text = json.dumps([self._name, self._base_url, *parts], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def stored(self, key: str) -> str | None:
        """The answer that stands under a key."""
        answer = self._answers.get(key)
        return None if answer is None else answer.text

    async def keep(self, key: str, text: str) -> None:
        await asyncio.to_thread(self._answers.keep, Answer(key=key, text=text))

    async def ask(self, prompt: str) -> str:
        """The model's text. Raises PolicyError; an answer cut by the token limit is one."""
        reply = read_message(await self._model.answer([HumanMessage(prompt)]))
        if reply.finish == "length":
            raise PolicyError(f"{self.name}: its answer was cut by its token limit; raise it")
        return reply.text

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._answers.close()
        await self._model.aclose()


async def label_domains(
    model: CachedModel, seeds: Sequence[Seed], domains: Sequence[str]
) -> tuple[dict[str, str], str | None]:
    """The domain of each seed without one, by its id, as far as the model told; and why it did
    not, if it failed. A failing model is not asked about the rest."""
    bare = [seed for seed in seeds if seed.domain is None]
    keys = {seed.id: model.key("domain", list(domains), seed.question) for seed in bare}
    unknown = [seed for seed in bare if model.stored(keys[seed.id]) is None]
    failures: list[str] = []

    async def label(batch: Sequence[Seed]) -> None:
        if failures:
            return
        try:
            labels_read = _read_labels(await model.ask(_label_prompt(batch, domains)), domains)
        except PolicyError as error:
            failures.append(str(error))
            return
        for number, seed in enumerate(batch, start=1):
            await model.keep(keys[seed.id], labels_read.get(number, ""))

    batches = [unknown[at : at + _LABEL_BATCH] for at in range(0, len(unknown), _LABEL_BATCH)]
    await asyncio.gather(*(label(batch) for batch in batches))
    answers = {seed.id: model.stored(keys[seed.id]) for seed in bare}
    labels = {seed: domain for seed, domain in answers.items() if domain}
    return labels, next(iter(failures), None)


def _label_prompt(batch: Sequence[Seed], domains: Sequence[str]) -> str:
    lines = (
        f"{number}: {' '.join(seed.question.split())[:_SHOWN]}"
        for number, seed in enumerate(batch, start=1)
    )
    return _LABEL_PROMPT.format(domains="\n".join(domains), questions="\n".join(lines))


def _read_labels(answer: str, domains: Sequence[str]) -> dict[int, str]:
    """Labels by the question's number; what is no domain of the list is left out."""
    by_name = {_LABEL_EDGES.sub("", domain).casefold(): domain for domain in domains}
    lines = (
        (int(match[1]), _LABEL_EDGES.sub("", match[2]).casefold())
        for match in _LABEL_LINE.finditer(answer)
    )
    return {number: by_name[label] for number, label in lines if label in by_name}


class Shortage(NamedTuple):
    """What is missing in one domain at the end, and why."""

    domain: str
    missing: int
    why: str


async def write_questions(
    model: CachedModel,
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
            missing = await _write_domain(model, settings, domain, missing, admit)
            why = f"too few of {model.name}'s questions passed the checks"
        except PolicyError as error:
            return [*short, Shortage(domain, missing, str(error))]
        if missing:
            short.append(Shortage(domain, missing, why))
    return short


async def _write_domain(
    model: CachedModel,
    settings: SeedSettings,
    domain: str,
    missing: int,
    admit: Callable[[Seed], bool],
) -> int:
    """How many are still missing."""
    total = settings.write[domain]
    earlier: list[str] = []
    for turn in range(-(-total // _WRITE_BATCH) + settings.write_rounds - 1):
        questions = await _batch_of_questions(model, settings, domain, turn, earlier)
        earlier += questions
        for question in questions:
            missing -= admit(_new_seed(question, domain, model.name))
            if not missing:
                return 0
    return missing


async def _batch_of_questions(
    model: CachedModel, settings: SeedSettings, domain: str, turn: int, earlier: Sequence[str]
) -> list[str]:
    exclusions = _EXCLUSIONS + "\n".join(earlier) if earlier else ""
    prompt = _WRITE_PROMPT.format(
        count=min(_WRITE_BATCH, settings.write[domain]), domain=domain,
        language=settings.write_language, known=exclusions,
    )  # fmt: skip
    key = model.key("write", turn, prompt)
    answer = model.stored(key)
    if answer is None:
        answer = await model.ask(prompt)
        await model.keep(key, answer)
    return [question for item in list_items(answer) if (question := tidy(item))]


def _new_seed(question: str, domain: str, model: str) -> Seed:
    return Seed(
        id=seed_id(question), question=question, domain=domain, source=model, origin="written",
    )  # fmt: skip
