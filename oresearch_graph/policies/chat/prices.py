"""What model calls cost, where the price is known. Prices are USD per million tokens.

Gathered in November 2026 from public reports of OpenAI's list (developers.openai.com/api/docs/
pricing), not from an invoice. Prices change, and other providers have their own: pass a `Price`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Price(NamedTuple):
    """USD per million tokens."""

    prompt: float
    cached: float
    """Prompt tokens that the provider had in its cache."""
    completion: float


PRICES: Final[dict[str, Price]] = {
    "gpt-5.5": Price(5.0, 0.5, 30.0),
    "gpt-5.4": Price(2.5, 0.25, 15.0),
    "gpt-5.1": Price(1.25, 0.125, 10.0),
    "gpt-5": Price(1.25, 0.125, 10.0),
    "gpt-5-mini": Price(0.25, 0.025, 2.0),
    "gpt-5-nano": Price(0.05, 0.005, 0.4),
    "gpt-4.1": Price(2.0, 0.5, 8.0),
    "gpt-4.1-mini": Price(0.4, 0.1, 1.6),
    "gpt-4.1-nano": Price(0.1, 0.025, 0.4),
    "gpt-4o": Price(2.5, 1.25, 10.0),
    "gpt-4o-mini": Price(0.15, 0.075, 0.6),
    "o3": Price(2.0, 0.5, 8.0),
    "o4-mini": Price(1.1, 0.275, 4.4),
}

_DATED: Final = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)\Z")


def known_price(model: str) -> Price | None:
    """The price of a model name (`openai:` prefix and date suffix aside), or None."""
    return PRICES.get(_DATED.sub("", model.rpartition(":")[2]))


def cost(
    price: Price | None,
    prompt_tokens: int | None,
    cached_tokens: int | None,
    completion_tokens: int | None,
) -> float | None:
    """US dollars of one call; None when the price or a count is unknown."""
    if price is None or prompt_tokens is None or completion_tokens is None:
        return None
    cached = min(cached_tokens or 0, prompt_tokens)
    dollars = (
        (prompt_tokens - cached) * price.prompt
        + cached * price.cached
        + completion_tokens * price.completion
    )
    return dollars / 1_000_000
