"""A loopback engine for trainers that tokenize by themselves: vLLM's `/inference/v1/generate`, ids
in and ids out, with a brain (tests/helpers/openai_server.py) behind a tokenizer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from transformers import PreTrainedTokenizerFast

from tests.helpers.server_habits import Brain, Message

LOG_PROB = -0.5


class TokenServer:
    """`sampled` has the ids of every answer. Stop strings are honoured and kept."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, brain: Brain) -> None:
        self.tokenizer, self.brain = tokenizer, brain
        self.sampled: list[list[int]] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The address, which ends in /v1."""
        app = web.Application()
        app.router.add_post("/inference/v1/generate", self._generate)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _generate(self, request: web.Request) -> web.Response:
        body = await request.json()
        text = str(self.brain(self._messages(body["token_ids"]), {}))
        stops = body["sampling_params"].get("stop") or []
        ends = [at + len(stop) for stop in stops if (at := text.find(stop)) >= 0]
        ids = self.tokenizer.encode(text[: min(ends, default=None)], add_special_tokens=False)
        self.sampled.append(ids)
        log_probs = [{"token": f"token_id:{token}", "logprob": LOG_PROB} for token in ids]
        choice = {"token_ids": ids, "finish_reason": "stop", "logprobs": {"content": log_probs}}
        return web.json_response({"request_id": "made-1", "choices": [choice]})

    def _messages(self, ids: list[int]) -> list[Message]:
        """The chat that was rendered, by ChatML's marks, without the beginning of the reply."""
        text = self.tokenizer.decode(ids, skip_special_tokens=False)
        messages: list[dict[str, Any]] = []
        for part in text.split("<|im_start|>")[1:-1]:
            role, _, content = part.partition("\n")
            messages.append({"role": role, "content": content.rpartition("<|im_end|>")[0]})
        return messages
