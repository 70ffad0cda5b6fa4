"""Who writes and from which documents: chosen from the settings, and told in one line."""

from __future__ import annotations

import os
from typing import Final

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.policies.models import Policies, chat_policies
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.choose import describe_search, search_name

DEFAULT_MODEL: Final = "openai:gpt-5-mini"
"""Used when OPENAI_API_KEY is set and no model is named."""


def policies_for(settings: ResearchSettings) -> tuple[Policies, str]:
    """The policies, and the reason where the settings name no model."""
    if settings.base_url and not settings.model and not settings.researcher_models:
        raise ConfigurationError("--base-url needs a model's name: add --model NAME")
    if not settings.model and not settings.base_url and os.environ.get("OPENAI_API_KEY"):
        settings = settings.model_copy(update={"model": DEFAULT_MODEL})
        why = f"OPENAI_API_KEY is set and no --model: {DEFAULT_MODEL}. "
        return chat_policies(settings, parameters=settings.parameters), why
    named = (settings.model, settings.planner_model, settings.summarizer_model)
    if any(named) or settings.researcher_models:
        return chat_policies(settings, parameters=settings.parameters), ""
    return Policies.single(ExtractivePolicy()), ""


async def introduction(policies: Policies, why: str, settings: ResearchSettings) -> str:
    """The line. Raises PolicyError for a server that does not answer."""
    documents = describe_search(settings)
    chats = {
        policy.name: policy
        for policy in (policies.planner, *policies.researchers, policies.summarizer)
        if isinstance(policy, ChatPolicy)
    }
    if not chats:
        return (
            f"No language model: the extractive policy quotes passages of {documents}. Set "
            "OPENAI_API_KEY or --model for a model."
        )
    reasons = [f"{name} ({await policy.settle()})" for name, policy in chats.items()]
    own = settings.search.strip() == "auto" and search_name(settings) == "python"
    hint = " Set TAVILY_API_KEY for the web, or --corpus DIR." if own else ""
    return f"{why}{'; '.join(reasons)} over {documents}.{hint}"
