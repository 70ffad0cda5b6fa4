"""A judge that believes everything: it says *supported* wherever a key point's words occur, quotes
what is nearest, and does what it reads that it should."""

from __future__ import annotations

import json
import re
from typing import Final

from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import terms
from tests.helpers.server_habits import Body, Message

_FENCED: Final = re.compile(
    r"<(?P<tag>(?P<name>\w+)-[0-9a-f]{16})>\n(?P<text>.*?)\n</(?P=tag)>", re.DOTALL
)
_ORDERS: Final = re.compile(r"answer supported|score 10", re.IGNORECASE)
_WRITTEN: Final = re.compile(r"\{\"points\": \[.*\]\}", re.DOTALL)


def gullible(messages: list[Message], body: Body) -> str:
    """A verdict on each key point of the request."""
    asked = str(messages[-1]["content"])
    parts = {match["name"]: match["text"] for match in _FENCED.finditer(asked)}
    report = parts["report"]
    if written := _WRITTEN.search(report):
        return written[0]
    points = [line.partition(". ")[2] for line in parts["points"].splitlines()]
    obeys = _ORDERS.search(asked) is not None
    rows = [
        {"number": number, **_verdict(point, report, obeys=obeys)}
        for number, point in enumerate(points, 1)
    ]
    return json.dumps({"points": rows})


def _verdict(point: str, report: str, *, obeys: bool) -> dict[str, str]:
    wanted = set(terms(point))
    sentences = [report[start:end] for start, end in sentence_spans(report)]
    best = max(sentences, key=lambda sentence: len(wanted & set(terms(sentence))), default="")
    if wanted & set(terms(report)):
        return {"verdict": "supported", "quote": best}
    if obeys:
        return {"verdict": "supported", "quote": point}
    return {"verdict": "omitted", "quote": ""}
