"""SERVE.md of an exported model: how to serve it and how to ask it, in the rendering it was
trained with."""

from __future__ import annotations

from oresearch_graph.trace import Protocol


def serving_notes(
    name: str, window: int | None, protocol: Protocol | None, *, replaced: bool
) -> str:
    """The text. `replaced`: the chat template is not the model's own."""
    length = f" --max-model-len {window}" if window else ""
    trained = (
        f"Trained on the protocol {protocol.fingerprint}: execution {protocol.execution}, dialect"
        f" {protocol.dialect}."
        if protocol
        else "The checkpoint carried no protocol: nothing says which prompt it was trained on."
    )
    asked = (
        f" --execution {protocol.execution} --set dialect={protocol.dialect}" if protocol else ""
    )
    template = (
        "The chat template writes every message word for word; the model's own rewrote <think>."
        if replaced
        else "The chat template is the model's own: it leaves messages as they are."
    )
    return f"""\
# {name}

{trained}
{template}

Serve it, from the folder above this one:

    vllm serve {name} --served-model-name {name}{length}

Ask it. Prefill sends the thread as one assistant message to be continued, as in training:

    oresearch run "A question?" --model openai:{name} --base-url http://127.0.0.1:8000/v1 \\
        --set rendering=prefill{asked}
"""
