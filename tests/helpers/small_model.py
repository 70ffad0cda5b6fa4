"""A small model behind a slow server with one slot, as people run them on a laptop."""

from __future__ import annotations

import re
from typing import Any

from oresearch_graph.policies.chat.probe import PACES, PROBES
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import Brain, Habits


def forget_probes() -> None:
    """Servers come and go under one address."""
    PROBES.forget()
    PACES.forget()


def small_model(messages: list[dict[str, Any]], _: dict[str, Any]) -> str:
    """Goes on behind the given tag, as a model that is held to the grammar."""
    system, last = str(messages[0]["content"]), str(messages[-1]["content"])
    spoken = "\n".join(str(message["content"]) for message in messages[1:])
    shown = re.findall(r"\[(\d{4})\]", spoken)
    if "Here they are, one after the other" in last:
        return " 7, 8, 9, 10"
    if last.endswith("<subtask_list>"):
        return "\n1. The cause of tides\n2. The size of tides\n</subtask_list>"
    if last.endswith("<think>"):
        if "<observation>" not in spoken:
            return "I need it.</think>\n<web_search>tides moon</web_search>"
        return f"It tells.</think>\n<subtask_answer>The moon [{shown[0]}].</subtask_answer>"
    assert last.endswith("<suggested_answer>"), (system, last)
    first, second = shown[0], shown[-1]
    return (
        f"\n\n## Introduction\n\nThe moon [{first}].\n\n## The cause of tides\n\nIt is [{first}].\n"
        f"\n## The size of tides\n\nLarge [{second}].\n\n## Conclusion\n\nThe moon [{first}].\n\n"
        f"## References\n\n[{first}]\n[{second}]\n</suggested_answer>"
    )


def one_slot(pace: float = 9.0, slots: int = 1, brain: Brain = small_model) -> OpenAIServer:
    habits = Habits(on_final_assistant="echo", keeps_stop=False)
    return OpenAIServer(brain, habits, slots=slots, pace=pace)
