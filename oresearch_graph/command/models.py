"""Which models a run has, of what the settings and the environment name."""

from __future__ import annotations

import os
from typing import Final

from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.servers import served_model
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.policies.models import Policies, chat_policies
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.choose import describe_search, search_name

DEFAULT_MODEL: Final = "openai:gpt-5-mini"
"""Used when OPENAI_API_KEY is set and no model is named."""


async def with_model(settings: ResearchSettings) -> tuple[ResearchSettings, str]:
    """The settings with the model's name that an address or a key stands for, and the reason."""
    if settings.model or settings.researcher_models:
        return settings, ""
    if settings.base_url:
        return settings.model_copy(update={"model": await served_model(settings.base_url)}), ""
    if os.environ.get("OPENAI_API_KEY"):
        why = f"OPENAI_API_KEY is set and no --model: {DEFAULT_MODEL}. "
        return settings.model_copy(update={"model": DEFAULT_MODEL}), why
    return settings, ""


def policies_for(settings: ResearchSettings) -> Policies:
    """The policies of settings; without any model's name, the extractive one."""
    models = (settings.model, settings.planner_model, settings.summarizer_model)
    if any(models) or settings.researcher_models:
        return chat_policies(settings, parameters=settings.parameters)
    return Policies.single(ExtractivePolicy())


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
    is_default = settings.search.strip() == "auto" and search_name(settings) == "python"
    hint = " Set TAVILY_API_KEY for the web, or --corpus DIR." if is_default else ""
    return f"{why}{'; '.join(reasons)} over {documents}.{hint}"
