"""How an exported model is served: its chat template, and SERVE.md with the commands.

Qwen3's own template rewrites `<think>` in an assistant's message, so that a server would continue
another text than the rollout did. The template here writes every message word for word, in the
model's own frame of messages, which is ChatML for every model that needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from transformers import PreTrainedTokenizerBase

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Protocol
from rl.rollouts.thread_tokens import ThreadTokens, mangles_thinking

VERBATIM: Final = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
"""ChatML, the last assistant message too; a server that continues it cuts at its end."""

_SYSTEM: Final = "A system prompt with <think> in it.\n"
_QUESTION: Final = "A question?"


def serving_template(
    tokenizer: PreTrainedTokenizerBase, template_arguments: Mapping[str, Any] | None = None
) -> str | None:
    """The template to serve with; None where the model's own leaves messages as they are.

    `trained_with`: the run's `data.apply_chat_template_kwargs`. Raises ConfigurationError where
    neither template opens a thread as training did.
    """
    opening_ids = ThreadTokens(tokenizer, template_arguments).opening(_SYSTEM, _QUESTION)
    if not mangles_thinking(tokenizer) and _opens(tokenizer, opening_ids):
        return None
    model_template = tokenizer.chat_template
    tokenizer.chat_template = VERBATIM
    try:
        if _opens(tokenizer, opening_ids):
            return VERBATIM
    finally:
        tokenizer.chat_template = model_template
    raise ConfigurationError(
        "the model's chat template rewrites <think> and its messages are not ChatML; write a"
        " template that leaves messages as they are into the exported folder's chat_template.jinja"
    )


def _opens(tokenizer: PreTrainedTokenizerBase, opening_ids: list[int]) -> bool:
    """Without any arguments, as a server renders: the thread opens with the trained ids."""
    return ThreadTokens(tokenizer).opening(_SYSTEM, _QUESTION) == opening_ids


def serving_notes(
    name: str, window: int | None, protocol: Protocol | None, *, replaced: bool
) -> str:
    """The text. `replaced`: the chat template is not the model's own."""
    length = f" --max-model-len {window}" if window else ""
    protocol_line = (
        f"Trained on the protocol {protocol.fingerprint}: execution {protocol.execution}, dialect"
        f" {protocol.dialect}."
        if protocol
        else "The checkpoint carried no protocol: nothing says which prompt it was trained on."
    )
    options = (
        f" --execution {protocol.execution} --set dialect={protocol.dialect}" if protocol else ""
    )
    template = (
        "The chat template writes every message word for word; the model's own rewrote <think>."
        if replaced
        else "The chat template is the model's own: it leaves messages as they are."
    )
    return f"""\
# {name}

{protocol_line}
{template}

Serve it, from the folder above this one:

    vllm serve {name} --served-model-name {name}{length}

Ask it. Prefill sends the thread as one assistant message to be continued, as in training:

    oresearch run "A question?" --model openai:{name} --base-url http://127.0.0.1:8000/v1 \\
        --set rendering=prefill{options}
"""
