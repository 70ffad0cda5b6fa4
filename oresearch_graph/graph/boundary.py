"""The one place where an exception becomes a Failure in the Trace.

Branches work behind it: what goes wrong inside one is recorded with whose fault it was, its
finished steps stay, its siblings go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from langgraph.errors import GraphBubbleUp

from oresearch_graph.errors import (
    BudgetExhausted,
    ConfigurationError,
    OresearchError,
    PolicyError,
    PolicyTimeout,
    ToolError,
)
from oresearch_graph.redaction import brief
from oresearch_graph.trace import Failure, FailureName, Fault, Role

_log = logging.getLogger("oresearch_graph")


@contextmanager
def boundary(failures: list[Failure], role: Role, branch: int | None = None) -> Iterator[None]:
    """Record what goes wrong inside as a Failure instead of letting it end the run.

    Interrupts and cancellation pass through, and so does a ConfigurationError: no sibling would
    fare better.
    """
    try:
        yield
    except (GraphBubbleUp, ConfigurationError):
        raise
    except Exception as error:  # noqa: BLE001 - the boundary: every fault is recorded, none lost
        if not isinstance(error, (OresearchError, TimeoutError)):
            _log.exception("unexpected error in %s %s", role, branch or "")
        failures.append(failure_of(error, role, branch))


def failure_of(error: Exception, role: Role, branch: int | None) -> Failure:
    """The Failure that an exception stands for."""
    name, fault = _class_of(error)
    message = str(error) if isinstance(error, OresearchError) else brief(error)
    message = message or type(error).__name__
    return Failure(name=name, fault=fault, message=message, role=role, branch=branch)


def _class_of(error: Exception) -> tuple[FailureName, Fault]:
    match error:
        case BudgetExhausted(limit="time"):
            return "budget", "infrastructure"  # how fast the services are is not the policy's doing
        case BudgetExhausted():
            return "budget", "policy"
        case PolicyTimeout() | TimeoutError():
            return "timeout", "infrastructure"
        case PolicyError():
            return "model_error", "infrastructure"
        case ToolError():
            return "tool_error", "infrastructure"
        case _:
            return "internal", "infrastructure"
