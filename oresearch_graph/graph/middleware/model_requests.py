"""wrap_model_call around one continuation of a researcher, and the protocol text that it brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langgraph.types import Command

from oresearch_graph.errors import ConfigurationError, OresearchError, PolicyError
from oresearch_graph.graph.middleware.conversation import Conversation, snapshot
from oresearch_graph.graph.middleware.layers import Hook
from oresearch_graph.policies.chat.model_objects import model_name
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.reply import read_message
from oresearch_graph.policies.policy import Continuation, Policy
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Usage, open_tag, parse_policy_text

if TYPE_CHECKING:
    from oresearch_graph.graph.middleware.branch import BranchMiddleware


async def model_continuation(
    branch: BranchMiddleware, policy: Policy, thread: Thread, stop: Sequence[str], *,
    on_text: Callable[[str], None] | None = None,
) -> Continuation:  # fmt: skip
    """One continuation, with what stands around the model."""
    hooks = branch.stack.around_model
    if not hooks or not isinstance(policy, ChatPolicy):
        return await policy.continue_thread(thread, stop, on_text=on_text)
    conversation = Conversation(thread, branch.rendering)
    attempts: list[tuple[object, Continuation]] = []
    failure: OresearchError | None = None
    names = dict(branch.changes.names)

    async def ask(request: ModelRequest[Any]) -> ModelResponse[Any]:
        nonlocal failure, names
        failure, names = None, dict(branch.changes.names)
        try:
            system = request.system_message
            update = {} if system is None else {"system": str(system.text)}
            edited = conversation.edited(request.messages).model_copy(update=update)
            other = _policy(branch, policy, request)
            continuation = await other.continue_thread(edited, stop, on_text=on_text)
        except OresearchError as error:
            failure = error
            raise
        reply = _reply(conversation, continuation, branch.rendering.extra)
        attempts.append((snapshot(reply), continuation))
        return ModelResponse(result=[reply])

    request = ModelRequest(
        model=policy.model, messages=conversation.messages, tools=[*branch.tools.values()],
        system_message=SystemMessage(thread.system), runtime=cast("Any", branch.runtime),
        state=cast("Any", branch.state(conversation.messages)),
    )  # fmt: skip
    handler = branch.changes.compose(
        hooks, ask, partial(_look, policy), lambda response: tuple(map(snapshot, response.result)),
        partial(_response, branch),
    )  # fmt: skip
    response = await handler(request)
    reply = next(m for m in reversed(response.result) if isinstance(m, AIMessage))
    for attempt, continuation in reversed(attempts):
        if attempt == snapshot(reply):
            return continuation
    last = attempts[-1][1] if attempts else None
    steps = parse_policy_text(conversation.text_of(reply), branch.rendering.extra)
    if failure and not (isinstance(failure, PolicyError) and any(step.tag for step in steps)):
        branch.changes.names = names
        raise failure  # words about an error are no answer
    cause = last.stop if last else "stop"
    end: Any = {"finish": "length" if cause == "length" else "stop", "ended": cause == "end"}
    text = branch.rendering.read(thread, stop, read_message(reply)._replace(**end))
    facts = {**text._asdict(), "room": last and last.room}
    return Continuation(**facts, usage=Usage(role=thread.role))


def _policy(branch: BranchMiddleware, own: ChatPolicy, request: ModelRequest[Any]) -> ChatPolicy:
    """Who is asked: the branch's own policy, or one for the model that a request names."""
    tools = list(branch.tools.values())
    if list(request.tools) != tools or request.tool_choice or request.response_format:
        raise ConfigurationError(
            "middleware changes tools, tool_choice or response_format of a researcher's "
            "request, which the protocol sets: leave them as they are"
        )
    if request.model is own.model and not request.model_settings:
        return own
    return branch.run_context.other_policy(own, request.model, request.model_settings)


def _reply(conversation: Conversation, piece: Continuation, tools: Sequence[str]) -> AIMessage:
    """What a model wrote, as the message of a chat model."""
    thread, usage = conversation.thread, piece.usage
    opened = open_tag(thread.forced) if thread.forced and not thread.pending else ""
    steps = parse_policy_text(f"{opened}{piece.given}{piece.text}", tools)
    reply = conversation.message(steps, len(thread.steps))
    reply.response_metadata = {"model_name": usage.model, "finish_reason": piece.stop}
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    if prompt is not None and completion is not None:
        reply.usage_metadata = UsageMetadata(
            input_tokens=prompt, output_tokens=completion, total_tokens=prompt + completion
        )
    return reply


def _look(policy: ChatPolicy, request: ModelRequest[Any]) -> object:
    """A snapshot of a request. Usage names another model; one of the same name it cannot tell."""
    model, system = request.model, request.system_message
    alike = model_name(getattr(model, "bound", model)) == policy.name
    return (
        None if system is None else snapshot(system),
        tuple(map(snapshot, request.messages)),
        repr(sorted(request.model_settings.items())),
        id(model) if alike and model is not policy.model else None,
    )


def _response(branch: BranchMiddleware, hook: Hook, answer: object) -> ModelResponse[Any]:
    """What a hook returned. A command may set what middleware keeps for itself, no more."""
    if isinstance(answer, ExtendedModelResponse):
        command = answer.command or Command()
        others = {name: True for name in ("goto", "graph", "resume") if getattr(command, name)}
        branch.set_state(hook, {**dict(cast("Any", command.update or {})), **others})
        answer = answer.model_response
    if isinstance(answer, AIMessage):
        answer = ModelResponse(result=[answer])
    if not isinstance(answer, ModelResponse) or not any(
        isinstance(message, AIMessage) for message in answer.result
    ):
        raise hook.error(
            f"{hook.name}: wrap_model_call returned no AIMessage: return the model's or another"
        )
    return answer
