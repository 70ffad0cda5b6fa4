"""Verdicts as a judge's model writes them."""

from __future__ import annotations

import json


def verdict(*scores: object, quote: str = "") -> str:
    rows = [
        {"number": number, "reason": f"because {number}", "quote": quote, "score": score}
        for number, score in enumerate(scores, start=1)
    ]
    return json.dumps({"criteria": rows})
