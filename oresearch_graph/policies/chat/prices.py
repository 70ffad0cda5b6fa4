"""What model calls cost, where the price is known: OpenAI's list, as genai-prices ships it, or a
`Price` of one's own. Nothing is fetched: a newer list comes with a newer genai-prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from oresearch_graph.policies.chat.probe import is_official, speaks_openai

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice
    from langchain_core.language_models import BaseChatModel

_LONGEST_NAME: Final = 200


class Price(NamedTuple):
    """USD per million tokens."""

    prompt: float
    cached: float
    """Prompt tokens that the provider had in its cache."""
    completion: float


def list_price(model: BaseChatModel, name: str) -> ModelPrice | None:
    """OpenAI's price today where the model is asked at OpenAI's own address, or None."""
    openai = speaks_openai(model) and is_official(getattr(model, "openai_api_base", None))
    return known_price(name) if openai else None


def known_price(model: str) -> ModelPrice | None:
    """OpenAI's price today of a model name (`openai:` prefix aside), or None."""
    from genai_prices import Usage, calc_price  # 0.3 s, which a run without a model need not pay

    name = model.removeprefix("openai:")
    if len(name) > _LONGEST_NAME:
        return None
    try:
        price = calc_price(Usage(), name, provider_id="openai").model_price
    except LookupError:
        return None
    # What is billed by the minute or the image has no price per token, which is not a price of 0.
    return price if price.input_mtok and price.output_mtok else None


def cost(
    price: Price | ModelPrice | None,
    prompt_tokens: int | None,
    cached_tokens: int | None,
    completion_tokens: int | None,
) -> float | None:
    """US dollars of one call; None when the price or a count is unknown."""
    if price is None or prompt_tokens is None or completion_tokens is None:
        return None
    cached = min(cached_tokens or 0, prompt_tokens)
    if not isinstance(price, Price):
        from genai_prices import Usage

        usage = Usage(
            input_tokens=prompt_tokens, cache_read_tokens=cached, output_tokens=completion_tokens
        )
        return float(price.calc_price(usage)["total_price"])
    dollars = (
        (prompt_tokens - cached) * price.prompt
        + cached * price.cached
        + completion_tokens * price.completion
    )
    return dollars / 1_000_000
