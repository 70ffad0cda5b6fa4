"""What model calls cost, where the price is known: the provider's list, as genai-prices ships it,
or a `Price` of one's own. Nothing is fetched: a newer list comes with a newer genai-prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.probe import is_official, speaks_openai

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice
    from langchain_core.language_models import BaseChatModel

_LONGEST_NAME: Final = 200


_PROVIDERS: Final = {
    "langchain_anthropic": "anthropic", "langchain_google_genai": "google",
    "langchain_google_vertexai": "google", "langchain_mistralai": "mistral",
    "langchain_groq": "groq", "langchain_cohere": "cohere", "langchain_fireworks": "fireworks",
    "langchain_aws": "aws",
}  # fmt: skip
"""By the package of LangChain's class."""


def list_price(model: BaseChatModel, name: str) -> ModelPrice | None:
    """The provider's price today, where the model is asked at the provider's own address."""
    if not speaks_openai(model):
        package = type(model).__module__.partition(".")[0]
        return known_price(name, _PROVIDERS[package]) if package in _PROVIDERS else None
    address = getattr(model, "openai_api_base", None)
    if is_official(address):
        return known_price(name)
    return known_price(name, at=address) if str(address).startswith("https://") else None


def known_price(
    model: str, provider: str = "openai", *, at: str | None = None
) -> ModelPrice | None:
    """The provider's price today of a model name (`openai:` prefix aside), or None. `at`: the
    address tells the provider."""
    from genai_prices import Usage, calc_price  # 0.3 s, which a run without a model need not pay

    name = model.removeprefix("openai:")
    if len(name) > _LONGEST_NAME:
        return None
    where: dict[str, Any] = {"provider_id": provider} if at is None else {"provider_api_url": at}
    try:
        price = calc_price(Usage(), name, **where).model_price
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
