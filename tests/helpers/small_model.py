"""A small model behind a slow server with one slot, as people run them on a laptop."""

from __future__ import annotations

import re
from typing import Any

from oresearch_graph.policies.chat.probe import PACES, PROBES
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import Brain, Habits

CAUSE = "The moon causes tides"
SIZE = "Tides are large"


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
        of_size = "The size of tides" in spoken.rpartition("<subtask>")[2]
        answer = f"{SIZE if of_size else CAUSE} [{shown[0]}]."
        return f"It tells.</think>\n<subtask_answer>{answer}</subtask_answer>"
    assert last.endswith("<suggested_answer>"), (system, last)
    cause, size = f"{CAUSE} [{shown[0]}].", f"{SIZE} [{shown[-1]}]."
    return (
        f"\n\n## Introduction\n\n{cause}\n\n## The cause of tides\n\n{cause}\n\n"
        f"## The size of tides\n\n{size}\n\n## Conclusion\n\n{size}\n\n"
        f"## References\n\n[{shown[0]}]\n[{shown[-1]}]\n</suggested_answer>"
    )


def one_slot(pace: float = 9.0, slots: int = 1, brain: Brain = small_model) -> OpenAIServer:
    habits = Habits(on_final_assistant="echo", keeps_stop=False)
    return OpenAIServer(brain, habits, slots=slots, pace=pace)
