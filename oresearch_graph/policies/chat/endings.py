"""How a piece of policy text ended: at a stop tag, at one that the server ate, or otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from oresearch_graph.policies.chat.reply import Reply
from oresearch_graph.policies.policy import StopCause
from oresearch_graph.trace.escaping import PROTOCOL_TAGS
from oresearch_graph.trace.tags import close_tag


class Ending(NamedTuple):
    """A piece of policy text up to and including its stop tag."""

    text: str
    stop: StopCause
    closed_by_world: bool = False


def stop_end(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop tag in the text ends."""
    ends = [at + len(tag) for tag in stop if (at := text.find(tag)) >= 0]
    return min(ends, default=None)


def unclosed_element(text: str, stop: Sequence[str]) -> str | None:
    """The tag of the element that stands open at the end of the text."""
    names = dict.fromkeys((*PROTOCOL_TAGS, *(tag[2:-1] for tag in stop)))
    pattern = re.compile(f"<(/?)({'|'.join(map(re.escape, names))})>")
    opened: str | None = None
    for found in pattern.finditer(text):
        if opened is None and not found[1]:
            opened = found[2]
        elif found[1] and found[2] == opened:
            opened = None
    return opened


def end_of(before: str, text: str, stop: Sequence[str], reply: Reply) -> Ending:
    """The text cut after its first stop tag, or with the stop tag that the server ate put back.

    `before` is what the policy continues: an open answer tag, text that was cut.
    """
    end = stop_end(text, stop)
    if end is not None:
        return Ending(text[:end], "stop")
    if reply.finish == "length":
        return Ending(text, "length")
    if reply.stop_string in stop:
        return Ending(text + str(reply.stop_string), "stop", closed_by_world=True)
    if reply.finish == "stop" and not reply.ended:
        opened = unclosed_element(before + text, stop)
        if opened is not None and close_tag(opened) in stop:
            return Ending(text + close_tag(opened), "stop", closed_by_world=True)
    return Ending(text, "end")
