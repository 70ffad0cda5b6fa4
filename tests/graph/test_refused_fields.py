"""A server that refuses a field we can do without, in the words and the body of many providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from oresearch_graph.errors import PolicyRefused
from oresearch_graph.policies.chat.model_call import Patience
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, world_step
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import research_brain
from tests.helpers.server_habits import (
    Body,
    Fault,
    Habits,
)

STOP = ("</subtask_list>",)
CALLS = ("</web_search>", "</crawl_page>", "</subtask_answer>")
PLAN = Thread(id="t", system="You research.", question="Why?", role="planner")
QUICK = Patience(silence=0.2, tries=3, backoff=0.01)
EVERYTHING: dict[str, Any] = {
    "temperature": 0.3, "top_p": 0.9, "seed": 1, "max_tokens": 200,
    "model_kwargs": {"parallel_tool_calls": False},
    "extra_body": {"grammar": "root ::= .", "include_stop_str_in_output": True},
}  # fmt: skip

Make = Callable[..., ChatPolicy]
Refusal = Callable[[str], "dict[str, Any] | str"]
SHAPES: dict[str, Refusal] = {
    "xai": lambda field: {
        "code": "Client specified an invalid argument",
        "error": f"Argument not supported on this model: {field}",
    },
    "openai": lambda field: {"error": {
        "message": f"Unsupported parameter: '{field}' is not supported with this model.",
        "type": "invalid_request_error", "param": field, "code": "unsupported_parameter",
    }},
    "value": lambda field: {"error": {
        "message": f"Unsupported value: '{field}' does not support this with this model.",
        "param": field, "code": "unsupported_value",
    }},
    "pydantic": lambda field: {"detail": [
        {"type": "extra_forbidden", "loc": ["body", field], "msg": "Extra inputs are not permitted",
         "input": {"temperature": 1}},
    ]},
    "message": lambda field: {"object": "error", "message": f"unknown field `{field}`"},
    "string": lambda field: {"error": f'json: unknown field "{field}"'},
    "detail": lambda field: {"detail": f"Unrecognized request argument supplied: {field}"},
    "errors": lambda field: {"errors": [{"field": field, "message": "is not a valid parameter"}]},
    "nested": lambda field: {"error": {"message": "Provider returned error", "metadata": {
        "raw": '{"error": {"message": "' + field + ': this field is not allowed"}}',
    }}},
    "strange": lambda field: {"error_msg": f"the param {field} is invalid", "error_code": 336003},
    "text": lambda field: f"Bad Request: unexpected property {field}",
}  # fmt: skip
FIELDS = (
    "stop", "max_completion_tokens", "temperature", "top_p", "seed", "grammar",
    "include_stop_str_in_output", "parallel_tool_calls",
)  # fmt: skip


def refusing(field: str, answer: dict[str, Any] | str, status: int) -> Callable[[Body], Any]:
    return lambda body: Fault("status", status, body=answer) if field in body else None


@pytest.fixture
async def policy() -> AsyncIterator[Make]:
    """Makes policies, and closes their connections."""
    policies: list[ChatPolicy] = []

    def make(server: OpenAIServer, **more: Any) -> ChatPolicy:
        settings = {"rendering": "turns", **more}
        policies.append(ChatPolicy("fake", base_url=server.base_url, patience=QUICK, **settings))
        return policies[-1]

    yield make
    for each in policies:
        await each.aclose()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("field", FIELDS)
async def test_a_refused_field_is_left_out_from_then_on(
    field: str, shape: str, policy: Make
) -> None:
    status = 422 if shape in {"pydantic", "string", "errors"} else 400
    with OpenAIServer(research_brain) as server:
        server.fault_for = refusing(field, SHAPES[shape](field), status)
        chat = policy(server, extra=EVERYTHING)
        for _ in range(2):
            reply = await chat.continue_thread(PLAN, STOP)
            assert reply.text.endswith("</subtask_list>")
        sent = [field in body for body in server.requests]
        others = [other for other in FIELDS if other != field]
        assert sent == [True, False, False]
        for body in server.requests:
            assert all(other in body for other in others)


async def test_what_the_constructor_set_is_left_out_too(policy: Make) -> None:
    with OpenAIServer(research_brain) as server:
        server.fault_for = refusing("temperature", SHAPES["openai"]("temperature"), 400)
        chat = policy(server, temperature=0.2, extra={"extra_body": {"min_p": 0.1}, "seed": 3})
        for _ in range(2):
            await chat.continue_thread(PLAN, STOP)
        assert [("temperature" in b, b["min_p"], b["seed"]) for b in server.requests] == [
            (True, 0.1, 3), (False, 0.1, 3), (False, 0.1, 3),
        ]  # fmt: skip


async def test_a_bound_is_sent_under_the_name_that_the_server_knows(
    policy: Make,
) -> None:
    with OpenAIServer(research_brain) as server:
        server.fault_for = refusing("max_completion_tokens", SHAPES["pydantic"](
            "max_completion_tokens"), 422)  # fmt: skip
        chat = policy(server, max_output_tokens=300)
        for _ in range(2):
            await chat.continue_thread(PLAN, STOP)
        assert [b.get("max_tokens") for b in server.requests] == [None, 300, 300]
        assert ["max_completion_tokens" in b for b in server.requests] == [True, False, False]
    with OpenAIServer(research_brain) as server:
        server.fault_for = lambda body: next(
            (Fault("status", 400, body=SHAPES["xai"](name)) for name in
             ("max_completion_tokens", "max_tokens") if name in body), None
        )  # fmt: skip
        chat = policy(server, max_output_tokens=300)
        await chat.continue_thread(PLAN, STOP)
        assert len(server.requests) == 3


async def test_a_bound_that_is_too_large_is_left_out(policy: Make) -> None:
    words = "max_tokens is too large: 100000. This model supports at most 16384 completion tokens."
    with OpenAIServer(research_brain) as server:
        fault = Fault("status", 400, body={"error": {"message": words, "param": "max_tokens"}})
        server.fault_for = lambda body: fault if "max_completion_tokens" in body else None
        chat = policy(server, max_output_tokens=100_000)
        await chat.continue_thread(PLAN, STOP)
        assert len(server.requests) == 2


async def test_a_stream_is_had_without_its_options(policy: Make) -> None:
    with OpenAIServer(research_brain) as server:
        server.fault_for = refusing("stream_options", SHAPES["message"]("stream_options"), 400)
        chat = policy(server)
        heard: list[str] = []
        for _ in range(2):
            await chat.continue_thread(PLAN, STOP, on_text=heard.append)
        assert ["stream_options" in b for b in server.requests] == [True, False, False]
        assert "".join(heard).count("</subtask_list>") <= 2
        assert heard


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "System role not supported"),
        (500, "Jinja Exception: System role not supported"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        (400, "Developer instruction is not enabled for models/gemma-3-27b-it"),
        (422, "'system' is not one of ['user', 'assistant'] - 'messages.0.role'"),
    ],
)
async def test_without_a_system_role_the_user_says_it(
    status: int, words: str, policy: Make
) -> None:
    with OpenAIServer(research_brain) as server:
        fault = Fault("status", status, body={"error": {"message": words}})
        server.fault_for = lambda b: fault if b["messages"][0]["role"] != "user" else None
        chat = policy(server)
        for _ in range(2):
            await chat.continue_thread(PLAN, STOP)
        assert len(server.requests) == 3
        sent = server.requests[-1]["messages"][0]
        assert sent == {"role": "user", "content": "You research.\n\nWhy?"}


async def test_a_tool_choice_that_is_refused_is_left_out(policy: Make) -> None:
    steps = (
        world_step("subtask", "One", branch=1),
        Step(kind="web_search", text="a", branch=1),
        world_step("observation", "b", branch=1),
    )
    forced = Thread(
        id="t", system="S", question="Q", role="researcher", branch=1, steps=steps,
        forced="subtask_answer",
    )  # fmt: skip
    with OpenAIServer(research_brain) as server:
        server.fault_for = refusing("tool_choice", SHAPES["detail"]("tool_choice"), 400)
        chat = policy(server, rendering="tools")
        reply = await chat.continue_thread(forced, ("</subtask_answer>",))
        assert reply.stop == "stop"
        assert "tools" in server.requests[-1]


async def test_prefill_goes_on_without_the_fields_around_it(
    policy: Make,
) -> None:
    steps = (Step(kind="subtask_list", text="1. One"), world_step("subtask", "One", branch=1))
    thread = Thread(id="t", system="S", question="Q", role="researcher", branch=1, steps=steps)
    with OpenAIServer(research_brain, Habits(on_final_assistant="echo")) as server:
        name = "continue_final_message"
        server.fault_for = refusing(name, SHAPES["pydantic"](name), 422)
        chat = policy(server, rendering="prefill")
        reply = await chat.continue_thread(thread, CALLS)
        assert reply.text.endswith("</web_search>")
        assert "add_generation_prompt" not in server.requests[-1]


async def test_tools_that_a_server_refuses_are_asked_for_in_turns(
    policy: Make,
) -> None:
    steps = (Step(kind="subtask_list", text="1. One"), world_step("subtask", "One", branch=1))
    thread = Thread(id="t", system="S", question="Q", role="researcher", branch=1, steps=steps)
    with OpenAIServer(research_brain) as server:
        words = {"error": {"message": "registry.ollama.ai/library/x does not support tools"}}
        server.fault_for = refusing("tools", words, 400)
        chat = policy(server, rendering="tools")
        for _ in range(2):
            reply = await chat.continue_thread(thread, CALLS)
            assert reply.text.endswith("</web_search>")
        assert ["tools" in body for body in server.requests] == [True, False, False]
    assert "turns: the server refuses tools" in str(chat.rendering_reason)


@pytest.mark.parametrize(
    "body",
    [
        {"error": "the moon is in the wrong house"},
        {"detail": [{"loc": ["body", "messages", 0], "msg": "the moon is in the wrong house"}]},
        "the moon is in the wrong house",
        {"error": {"message": "the moon is in the wrong house", "param": None}},
        {"message": "the moon is in the wrong house: temperature"},
        {"error": {"message": "temperature: the moon is in the wrong house",
                   "type": "invalid_request_error", "code": "INVALID_ARGUMENT"}},
        {"detail": [{"loc": ["body", "temperature"], "type": "less_than_equal",
                     "msg": "the moon is in the wrong house, Input should be less than 2"}]},
    ],
)  # fmt: skip
async def test_otherwise_the_bodys_own_words_are_shown(
    body: dict[str, Any] | str, policy: Make
) -> None:
    with OpenAIServer(research_brain) as server:
        server.fault_for = lambda _: Fault("status", 400, body=body)
        chat = policy(server, temperature=5.0)
        with pytest.raises(PolicyRefused, match=r"HTTP 400: .*the moon is in the wrong house"):
            await chat.continue_thread(PLAN, STOP)
        assert len(server.requests) == 1


async def test_the_probe_leaves_a_refused_field_out(policy: Make) -> None:
    with OpenAIServer(research_brain, Habits(on_final_assistant="echo")) as server:
        server.fault_for = refusing("temperature", SHAPES["text"]("temperature"), 400)
        chat = policy(server, rendering="auto", temperature=0.2)
        assert (await chat.settle()).startswith("prefill")
        await chat.continue_thread(PLAN, STOP)
        assert ["temperature" in b for b in server.requests] == [True, False, False]


@pytest.mark.parametrize("field", ["tool_choice", "stop", "system role", "max_tokens"])
async def test_a_server_that_refuses_what_it_was_not_sent_is_no_loop(
    field: str, policy: Make
) -> None:
    with OpenAIServer(research_brain) as server:
        body = {"error": {"message": f"{field} is not supported"}}
        server.fault_for = lambda _: Fault("status", 400, body=body)
        with pytest.raises(PolicyRefused, match="not supported"):
            await policy(server, max_output_tokens=50).continue_thread(PLAN, STOP)
        assert len(server.requests) <= 3
