"""The policies of a run, from its settings: one per role, researchers from a seeded pool."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from langchain_core.tools import BaseTool

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.keys import revealed
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.policy import Policy
from oresearch_graph.policies.serving import ServedPolicy, Serving
from oresearch_graph.redaction import redacted
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Role


@dataclass(frozen=True)
class Policies:
    """Who writes as which role."""

    planner: Policy
    researchers: tuple[Policy, ...]
    """A pool; each subtask draws one."""
    summarizer: Policy
    seed: int = 0

    @classmethod
    def single(cls, policy: Policy) -> Policies:
        """One policy in every role."""
        return cls(policy, (policy,), policy)

    def researcher_for(self, branch: int) -> Policy:
        """The branch's researcher: the same one for the same seed, on any machine."""
        draw = hashlib.sha256(f"{self.seed}:{branch}".encode()).digest()
        return self.researchers[int.from_bytes(draw[:8], "big") % len(self.researchers)]

    def of(self, role: Role, branch: int | None = None) -> Policy:
        """The policy that continues threads of this role and branch."""
        match role:
            case "planner":
                return self.planner
            case "summarizer":
                return self.summarizer
            case "researcher":
                return self.researcher_for(branch or 1)
            case _:
                assert_never(role)

    async def aclose(self) -> None:
        """Close the connections that the policies opened."""
        for policy in self._distinct():
            if isinstance(policy, ChatPolicy):
                await policy.aclose()

    async def serving(self) -> Serving:
        """What the slowest of the policies' servers can do."""
        served = [policy for policy in self._distinct() if isinstance(policy, ServedPolicy)]
        return Serving.least([await policy.serving() for policy in served])

    def _distinct(self) -> list[Policy]:
        every = {id(p): p for p in (self.planner, *self.researchers, self.summarizer)}
        return list(every.values())

    @property
    def names(self) -> dict[str, str]:
        """Model names by role, as `Trace.models` has them."""
        pool = ", ".join(dict.fromkeys(policy.name for policy in self.researchers))
        names = {
            "planner": self.planner.name,
            "researcher": pool,
            "summarizer": self.summarizer.name,
        }
        return {role: redacted(name) for role, name in names.items()}


def chat_policies(
    settings: ResearchSettings,
    tools: Sequence[BaseTool] = (),
    *,
    parameters: Mapping[Role, Mapping[str, Any]] | None = None,
) -> Policies:
    """Chat models for every role, one policy per distinct model.

    A model's name may end in its own server's address, `name@http://…/v1`, where a role is not
    served by `base_url`. `parameters` are extra parameters by role. Raises ConfigurationError when
    a role has no model, or one that cannot be had for lack of a package or a key.
    """
    by_model: dict[tuple[str, str], ChatPolicy] = {}

    def policy(role: Role, name: str | None) -> ChatPolicy:
        if not name:
            raise ConfigurationError(
                f"no model for the {role}: set model, such as openai:gpt-5-mini"
            )
        extra = dict((parameters or {}).get(role, {}))
        key = (name, repr(sorted(revealed(extra).items())))
        if key not in by_model:
            by_model[key] = _chat_policy(name, settings, tools, extra)
        return by_model[key]

    pool = settings.researcher_models or (settings.model,)
    return Policies(
        planner=policy("planner", settings.planner_model or settings.model),
        researchers=tuple(policy("researcher", name) for name in pool),
        summarizer=policy("summarizer", settings.summarizer_model or settings.model),
        seed=settings.seed,
    )


def _chat_policy(
    name: str,
    settings: ResearchSettings,
    tools: Sequence[BaseTool],
    extra: Mapping[str, Any],
) -> ChatPolicy:
    model, at, server = name.partition("@http")
    return ChatPolicy(
        model,
        base_url=f"http{server}" if at else settings.base_url,
        extra=extra,
        rendering=settings.rendering,
        dialect=settings.dialect,
        tools=tools,
        timeout=settings.model_timeout,
        concurrency=settings.concurrency,
        temperature=settings.temperature,
        max_output_tokens=settings.max_output_tokens,
        price=settings.prices.get(model),
        allow_plain_http=settings.allow_plain_http,
    )
