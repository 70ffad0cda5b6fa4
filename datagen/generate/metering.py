"""MeteredPolicy: a teacher's policy that tells what each call spent, and stops the candidate at its
checkpoint when the service behind the policy fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import httpx

from oresearch_graph.errors import ConfigurationError, PolicyError
from oresearch_graph.policies.chat.prices import Price, cost
from oresearch_graph.policies.models import Policies
from oresearch_graph.policies.policy import Continuation, Policy
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Usage

Charge = Callable[[Usage], None]

_HOPELESS: Final = frozenset((401, 402, 403, 404))
"""HTTP statuses that the next candidate would meet too: key, credit, permission, name."""


class TeacherFault(ConfigurationError):
    """A teacher's service failed in the middle of a candidate.

    As a ConfigurationError it passes the graph's boundary: the run stops where it stands, and is
    resumed from its checkpoint, instead of ending as a trace that lacks a branch.
    """

    def __init__(self, error: PolicyError) -> None:
        super().__init__(str(error))
        self.hits_all = _hits_all(error)
        """No other candidate of this teacher would fare better."""


def _hits_all(error: PolicyError) -> bool:
    cause = error.__cause__
    status = getattr(cause, "status_code", None)
    if status is not None:
        return status in _HOPELESS or getattr(cause, "code", None) == "insufficient_quota"
    name = type(cause).__name__
    if "Timeout" in name:
        return False
    return isinstance(cause, httpx.ConnectError | ConnectionError) or "Connection" in name


class MeteredPolicy:
    """See the module. `price` is the settings' own, which beats what the policy knows."""

    def __init__(self, policy: Policy, price: Price | None, charge: Charge) -> None:
        self._policy, self._price, self._charge = policy, price, charge

    @property
    def name(self) -> str:
        return self._policy.name

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        try:
            written = await self._policy.continue_thread(thread, stop, on_text=on_text)
        except PolicyError as error:
            raise TeacherFault(error) from error
        usage = written.usage
        if self._price is not None:
            known = usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens
            usage = usage.model_copy(update={"cost": cost(self._price, *known)})
        self._charge(usage)
        return written.model_copy(update={"usage": usage})


def metered(
    policies: Policies, price: Callable[[str], Price | None], charge: Charge, draw: int
) -> Policies:
    """The same policies for one candidate, whose calls are charged to it."""

    def wrapped(policy: Policy) -> Policy:
        return MeteredPolicy(policy, price(policy.name), charge)

    return replace(
        policies,
        planner=wrapped(policies.planner),
        researchers=tuple(wrapped(policy) for policy in policies.researchers),
        summarizer=wrapped(policies.summarizer),
        seed=draw,
    )
