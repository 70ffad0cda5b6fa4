"""One model that is asked short things, and the answers it gave: asked once, kept in the run's
work folder under the hash of what was asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Self

from langchain_core.messages import HumanMessage
from langchain_core.runnables import ensure_config

from datagen.records import Record
from datagen.run.kept_records import KeptRecords
from datagen.settings.seeds import SeedSettings
from oresearch_graph.errors import PolicyError
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.policies.chat.limiter import AdaptiveLimiter
from oresearch_graph.policies.chat.model_call import ModelCall, Patience
from oresearch_graph.policies.chat.policy import model_name
from oresearch_graph.policies.chat.probe import speaks_openai
from oresearch_graph.policies.chat.reply import read_message

_TRIES = 4


class Answer(Record):
    """What was said to one question."""

    key: str
    text: str


class Asking:
    """An asynchronous context; leaving it closes the connections and the file of answers."""

    def __init__(self, settings: SeedSettings, file: Path) -> None:
        """Raises ConfigurationError for a model that cannot be had, or a spoilt file."""
        self._name, self._base_url = settings.model or "", settings.base_url
        self._model = connect(self._name, base_url=self._base_url, timeout=settings.timeout)
        self.name = model_name(self._model)
        self._call = ModelCall(
            self.name,
            AdaptiveLimiter(settings.concurrency),
            Patience(timeout=settings.timeout, tries=_TRIES),
            says_finish=speaks_openai(self._model),
        )
        self._answers = KeptRecords(file, Answer, lambda answer: answer.key)

    def key(self, *told: object) -> str:
        """The hash of a question to this model."""
        text = json.dumps([self._name, self._base_url, *told], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def kept(self, key: str) -> str | None:
        """The answer that stands under a key."""
        answer = self._answers.get(key)
        return None if answer is None else answer.text

    async def keep(self, key: str, text: str) -> None:
        await asyncio.to_thread(self._answers.keep, Answer(key=key, text=text))

    async def ask(self, prompt: str) -> str:
        """The model's text. Raises PolicyError; an answer cut by the token limit is one."""
        message = await self._call(
            self._model, [HumanMessage(prompt)], config=ensure_config(), arguments={}
        )
        reply = read_message(message)
        if reply.finish == "length":
            raise PolicyError(f"{self.name}: its answer was cut by its token limit; raise it")
        return reply.text

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._answers.close()
        client = getattr(self._model, "root_async_client", None)
        if client is not None:
            await client.close()
