"""vLLM's own server with a tiny untrained model: what it tells, and that it takes our grammar."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from oresearch_graph.errors import PolicyOverflow
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.servers import Server
from oresearch_graph.threads import Citable, Next, Thread
from rl.tiny.base_model import as_pretrained, make_model, make_tokenizer
from tests.helpers.traces import GOOD

pytestmark = pytest.mark.training
_SECONDS = 240.0
"""To start: 40 on two idle cores."""
_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_SGL_KERNEL": "0", "VLLM_USE_V2_MODEL_RUNNER": "0", "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "VLLM_NO_USAGE_STATS": "1",
}  # fmt: skip
CONTEXT = 1_024


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("vllm")
    tokenizer = as_pretrained(make_tokenizer([GOOD]))
    for part in (tokenizer, make_model(tokenizer, layers=1)):
        part.save_pretrained(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "tests.helpers.vllm_server", "--model", str(folder / "model"),
        "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port),
        "--max-model-len", str(CONTEXT), "--enforce-eager", "--dtype", "float32",
        "--enable-prompt-tokens-details",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True,
            cwd=Path(__file__).parents[2], env={**os.environ, **_ENVIRONMENT},
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _SECONDS
        while not _answers(address):
            assert process.poll() is None, (folder / "log").read_text()[-2_000:]
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield f"{address}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def thread(expected: Next, question: str = "What causes tides?", bound: int = 200) -> Thread:
    return Thread(
        id="t", system="You research.", question=question, role="researcher", branch=1,
        next=expected, bound=bound, constrained=True, language="en",
    )  # fmt: skip


async def test_the_server_tells_its_context_and_holds_replies_to_the_grammar(base_url: str) -> None:
    policy = ChatPolicy("tiny", base_url=base_url, rendering="prefill", temperature=0.0)
    assert await policy.server() == Server("vLLM", ("tiny",), CONTEXT)
    serving = await policy.serving()
    assert (serving.context, serving.grammar, serving.batches) == (CONTEXT, True, True)
    plan = thread(Next(tag="subtask_list", items=3), "Why? " * 100)  # caches go by 128 tokens
    text = await policy.continue_thread(plan, ("</subtask_list>",))
    assert text.given == "<subtask_list>"
    assert text.text.startswith("\n1. ")
    answer = Next(tag="subtask_answer", sources=(Citable(id=1001),))
    forced = thread(answer).model_copy(update={"forced": "subtask_answer"})
    text = await policy.continue_thread(forced, ("</subtask_answer>",))
    assert "<" not in text.text.removesuffix("</subtask_answer>")
    again = await policy.continue_thread(plan, ("</subtask_list>",))
    assert again.usage.cached_tokens
    await policy.aclose()


async def test_what_is_too_long_is_refused_in_known_words(base_url: str) -> None:
    policy = ChatPolicy("tiny", base_url=base_url, rendering="prefill")
    policy._exchange._described = Server("vLLM", ("tiny",))  # its context is not known
    with pytest.raises(PolicyOverflow) as raised:
        await policy.continue_thread(thread(Next(tag="think"), "Why? " * 2_000), ("</web_search>",))
    assert raised.value.context == CONTEXT
    assert (await policy.server()).context == CONTEXT
    await policy.aclose()
