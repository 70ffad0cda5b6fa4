"""A thread longer than its model's context, in the words of every server: recognised, cut, answered
from what fits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from oresearch_graph.errors import PolicyOverflow
from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.graph.shortening import shortened
from oresearch_graph.policies.chat.model_call import Patience
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.refusals import refusal_of
from oresearch_graph.policies.chat.reply import Reply
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.text.words import token_count
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, world_step
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain, research_brain
from tests.helpers.scripted import Documents
from tests.helpers.server_habits import Body, Fault, Message

QUICK = Patience(silence=0.2, tries=3, backoff=0.01)
PLAN = Thread(id="t", system="You research.", question="Why?", role="planner")
WORDS: dict[str, tuple[int, Any]] = {
    "llama.cpp": (400, {"error": {
        "code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 5210, "n_ctx": 4096,
        "message": "the request exceeds the available context size, try increasing it"}}),
    "llama.cpp, in words": (400, {"error": {
        "message": "request (5210 tokens) exceeds the available context size (4096 tokens), try "
        "increasing it"}}),
    "vLLM": (400, {"object": "error", "message": "This model's maximum context length is 4096 "
        "tokens. However, you requested 5210 tokens in the messages, Please reduce the length of "
        "the messages."}),
    "vLLM, newer": (400, {"error": {"message": "The decoder prompt (length 5210) is longer than "
        "the maximum model length of 4096."}}),
    "SGLang": (400, {"message": "The input (5210 tokens) is longer than the model's context length "
        "(4096 tokens)."}),
    "LM Studio": (400, {"error": "Trying to keep the first 5210 tokens when context the overflows. "
        "However, the model is loaded with context length of only 4096 tokens, which is not "
        "enough."}),
    "TGI": (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= "
        "4096. Given: 5210 `inputs` tokens and 0 `max_new_tokens`", "error_type": "validation"}),
    "Ollama": (400, {"error": "prompt too long; exceeded max context length by 1114 tokens"}),
    "OpenAI": (400, {"error": {"code": "context_length_exceeded", "message": "This model's maximum "
        "context length is 4096 tokens. However, your messages resulted in 5210 tokens."}}),
    "OpenAI, newer": (400, {"error": {"message": "Your input exceeds the context window of this "
        "model. Please adjust your input and try again."}}),
    "Anthropic": (400, {"type": "error", "error": {"type": "invalid_request_error", "message":
        "prompt is too long: 5210 tokens > 4096 maximum"}}),
    "Mistral": (400, {"object": "error", "message": "Prompt contains 5210 tokens and 0 draft "
        "tokens, too large for model with 4096 maximum context length", "code": "3051"}),
    "Google": (400, [{"error": {"code": 400, "message": "The input token count (5210) exceeds the "
        "maximum number of tokens allowed (4096)."}}]),
    "xAI": (400, {"code": "x", "error": "This model's maximum prompt length is 4096 but the "
        "request contains 5210 tokens."}),
    "Cohere": (400, {"message": "too many tokens: total number of tokens in the prompt cannot "
        "exceed 4096 - received 5210."}),
    "Bedrock": (400, {"message": "Input is too long for requested model."}),
    "a proxy": (413, "Request Entity Too Large"),
    "OpenRouter": (400, {"error": {"message": "Provider returned error", "metadata": {"raw":
        '{"message": "This model\'s maximum context length is 4096 tokens. However, you requested '
        'about 5210 tokens"}'}}}),
}  # fmt: skip
WITHOUT_NUMBERS = {"Ollama", "OpenAI, newer", "Bedrock", "a proxy"}


class Refused(Exception):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"Error code: {status}")
        self.status_code, self.body = status, body


@pytest.mark.parametrize("server", WORDS)
def test_every_servers_words_are_recognised(server: str) -> None:
    refusal = refusal_of(Refused(*WORDS[server]))
    assert refusal.overflowed
    if server not in WITHOUT_NUMBERS:
        assert (refusal.context, refusal.prompt) == (4096, 5210)


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 1024 tokens. However, you requested 4 output "
        "tokens and your prompt contains at least 1021 input tokens, for a total of at least 1025 "
        "tokens. Please reduce the length of the input prompt or the number of requested output "
        "tokens. (parameter=input_tokens, value=1021)",
        "This model's maximum context length is 1024 tokens. However, you requested 1000 output "
        "tokens and your prompt contains 6500 characters (more than 456 characters, which is the "
        "upper bound for 24 input tokens). Please reduce the length of the input prompt or the "
        "number of requested output tokens. (parameter=input_text, value=6500)",
        "max_completion_tokens=4000 cannot be greater than max_model_len=max_total_tokens=1024. "
        "Please request fewer output tokens. (parameter=max_completion_tokens, value=4000)",
    ],
)
def test_words_recorded_from_vllm_tell_the_context_and_no_size_of_the_prompt(words: str) -> None:
    error = {"message": words, "type": "BadRequestError", "param": "input_tokens", "code": 400}
    refusal = refusal_of(Refused(400, {"error": error}))
    assert refusal.overflowed
    assert (refusal.context, refusal.prompt) == (1024, None)


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
        "Rate limit reached on tokens per minute (TPM): Limit 6000, Requested 9000",
        "Unsupported parameter: 'stop' is not supported with this model.",
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is "
        "less than the `context_window` for this model",
        "Invalid 'stop': array too long. Expected an array with maximum length 4.",
    ],
)
def test_other_words_are_none(words: str) -> None:
    assert not refusal_of(Refused(400, {"error": {"message": words}})).overflowed


def refusing(tokens: int, status: int, body: Any) -> Any:
    """The fault of a server whose context holds so many tokens, four characters each."""

    def fault(request: Body) -> Fault | None:
        prompt = sum(len(json.dumps(message)) for message in request["messages"]) // 4
        text = json.dumps(body).replace("5210", str(prompt)).replace("4096", str(tokens))
        return Fault("status", status, body=json.loads(text)) if prompt > tokens else None

    return fault


FILLED = {
    f"https://example.org/{name}": f"The Moon causes tides, says {name}. " * 150
    for name in ("one", "two", "three")
}


@pytest.mark.parametrize("server", ["llama.cpp", "vLLM", "LM Studio", "TGI", "Ollama", "Anthropic"])
@pytest.mark.parametrize("rendering", ["turns", "tools"])
async def test_a_branch_keeps_its_evidence(server: str, rendering: Any) -> None:
    brain = ResearchBrain(subtasks=("The Moon and tides", "Tides, says two"), calls=3)
    with OpenAIServer(brain) as running:
        running.fault_for = refusing(1_400, *WORDS[server])
        chat = ChatPolicy("fake", base_url=running.base_url, rendering=rendering, patience=QUICK)
        documents = Documents(FILLED)
        settings = ResearchSettings(effort="quick", observation_tokens=900)
        graph = create_research_graph(chat, search=documents, reader=documents, settings=settings)
        state = await graph.ainvoke({"question": "What causes tides?"})
        known = (await chat.server()).context
        await chat.aclose()
    trace = state["trace"]
    answers = [step.text for step in trace.steps if step.kind == "subtask_answer"]
    assert len(answers) == 2
    assert all("[" in answer for answer in answers), "they cite what was found"
    assert state["report"]
    cuts = [failure for failure in trace.failures if failure.name == "cut"]
    assert cuts
    assert {failure.fault for failure in trace.failures} == {"infrastructure"}
    assert known == (None if server in WITHOUT_NUMBERS else 1_400)


@pytest.mark.parametrize(
    ("server", "fix"),
    [
        ("llama.cpp", "-c, --ctx-size"), ("vLLM", "--max-model-len"), ("Ollama", "num_ctx"),
        ("LM Studio", "context length in LM Studio"), ("TGI", "--max-total-tokens"),
        ("SGLang", "--context-length"),
    ],
)  # fmt: skip
async def test_the_hint_names_the_servers_setting(server: str, fix: str) -> None:
    status, body = WORDS[server]
    with OpenAIServer(research_brain) as running:
        running.fault_for = lambda _: Fault("status", status, body=body)
        chat = ChatPolicy("fake", base_url=running.base_url, rendering="turns", patience=QUICK)
        with pytest.raises(PolicyOverflow, match="the thread is too long for it") as raised:
            await chat.continue_thread(PLAN, ("</subtask_list>",))
        assert len(running.requests) == 1
        await chat.aclose()
    assert fix in str(raised.value)
    assert "lower observation_tokens" in str(raised.value)


async def test_a_bound_that_leaves_no_room_is_left_out_of_that_call() -> None:
    """vLLM refuses prompt and bound together, where the prompt alone would do."""
    words = (
        "'max_tokens' or 'max_completion_tokens' is too large: 800. This model's maximum context "
        "length is 512 tokens and your request has 300 input tokens (800 > 512 - 300)."
    )
    fault = Fault("status", 400, body={"object": "error", "message": words})
    with OpenAIServer(research_brain) as running:
        running.faults.append(fault)
        chat = ChatPolicy(
            "fake", base_url=running.base_url, rendering="turns", max_output_tokens=800
        )
        for _ in range(2):
            await chat.continue_thread(PLAN, ("</subtask_list>",))
        assert ["max_completion_tokens" in b for b in running.requests] == [True, False, True]
        await chat.aclose()


@pytest.mark.parametrize("tells", [True, False])
async def test_a_prompt_cut_in_silence_is_noticed_by_its_count(tells: bool) -> None:
    """Ollama cuts a prompt to `num_ctx` and answers: tokens counted below the words that were sent
    tell, where they are at the context that it tells, or twice the same."""

    def brain(messages: list[Message], body: Body) -> Any:
        short = len(json.dumps(messages)) // 4 <= 1_200
        whole = ResearchBrain(subtasks=("The Moon and tides", "Tides, says two"), calls=3)
        return whole(messages, body) if short else "What was the question?"

    with OpenAIServer(brain, cuts=1_200, tells_context=tells) as running:
        chat = ChatPolicy("fake", base_url=running.base_url, rendering="turns", patience=QUICK)
        documents = Documents(FILLED)
        settings = ResearchSettings(effort="quick", observation_tokens=1_600)
        graph = create_research_graph(chat, search=documents, reader=documents, settings=settings)
        state = await graph.ainvoke({"question": "What causes tides?"})
        known = (await chat.server()).context
        await chat.aclose()
    cuts = [failure for failure in state["trace"].failures if failure.name == "cut"]
    assert cuts
    assert all(failure.fault == "infrastructure" for failure in cuts)
    assert all("OLLAMA_CONTEXT_LENGTH" in failure.message for failure in cuts)
    assert known == 1_200
    assert state["report"]
    assert not tells or len(cuts) == len({(failure.role, failure.branch) for failure in cuts})


@pytest.mark.parametrize(
    ("prompt", "cached", "text"),
    [
        (40, None, "潮汐是由月球引起的。" * 400),
        (900, 1_800, "The Moon causes tides. " * 600),
        (300, None, "The Moon causes tides. " * 600),
        (2_500, None, "The Moon causes tides. " * 600),
    ],
    ids=["no words", "a cache told apart", "what was not cached", "a whole prompt"],
)
async def test_other_small_counts_are_no_cut(prompt: int, cached: int | None, text: str) -> None:
    with OpenAIServer(research_brain) as running:
        chat = ChatPolicy("fake", base_url=running.base_url, rendering="turns", patience=QUICK)
        for tokens in (prompt, prompt + 250):
            reply = Reply("", prompt_tokens=tokens, cached_tokens=cached)
            assert await chat._exchange.checked([HumanMessage(text)], reply) == reply
        await chat.aclose()


def test_what_the_policy_wrote_is_never_cut() -> None:
    page = "[1001] One\nhttps://example.org/one\n" + "The Moon causes tides. " * 200
    steps = (
        world_step("subtask", "The Moon", branch=1),
        Step(kind="think", text="Long. " * 200, branch=1),
        Step(kind="web_search", text="Moon", branch=1),
        world_step("observation", f"{page}\n\n{page.replace('1001', '1002')}", branch=1),
    )
    thread = Thread(id="t", system="S", question="Q", role="researcher", branch=1, steps=steps)
    overflow = PolicyOverflow("too long", context=1_000, prompt=2_500)
    short = shortened(thread, overflow)
    assert short is not None
    assert short.forced == "subtask_answer"
    assert short.steps[:3] == steps[:3]
    text = short.steps[3].text
    assert token_count(text) < 0.7 * 1_000
    assert "[1001] One\nhttps://example.org/one" in text
    assert "[1002] One\nhttps://example.org/one" in text
    tries = 0
    while short is not None and tries < 20:
        short, tries = shortened(short, PolicyOverflow("too long")), tries + 1
    assert short is None


def test_a_summarizer_reads_shorter_answers_and_a_planner_a_shorter_question() -> None:
    answer = Step(kind="subtask_answer", text="Tides are high [1001]. " * 200, branch=1)
    report = Thread(id="t", system="S", question="Tides", role="summarizer", steps=(answer,))
    short = shortened(report, PolicyOverflow("too long", context=400, prompt=1_400))
    assert short is not None
    assert token_count(short.steps[0].text) < 400
    assert short.forced is None
    asked = f"Why?\n\n{'An earlier report said much. ' * 300}"
    plan = Thread(id="t", system="S", question=asked, role="planner")
    shorter = shortened(plan, PolicyOverflow("too long"))
    assert shorter is not None
    assert shorter.question.startswith("Why?")
    assert token_count(shorter.question) <= 320
    assert shortened(shorter, PolicyOverflow("too long")) is None
