"""Every error oresearch raises on purpose.

OresearchError
├── ConfigurationError     settings that cannot work: raised before anything runs
├── PolicyError            the model's server failed, after retries
│   ├── PolicyTimeout      no answer within the call's time-out
│   └── PolicyRefused      the request itself was refused (key, model name, bad parameter)
│       └── PolicyOverflow the thread is longer than the model's context
├── ToolError              a tool's own service failed, after retries
│   ├── AddressRefused     an address the guard does not let us reach
│   └── RequestRefused     a query or address that the service does not take
├── JudgeError             no judge could score a report; the report stays unscored
├── CitationsNotUnderstood no citation of a report leads anywhere
├── BudgetExhausted        the run's hard limit was reached
└── TraceFileError         a trace file that cannot be read, with its place

A page that answers 404 or is empty is not an error: it is an observation. A policy that writes
nonsense is not an error either: it is a `Failure` in the Trace. Errors here are the ones the
person who runs oresearch can act on, so every message names the cause and the fix in one line.
"""

from __future__ import annotations

from typing import Final

from oresearch_graph.redaction import brief

LONGEST: Final = 2_000
"""Characters of a message."""


# LangGraph's server shows clients what a RuntimeError says, and of other classes nothing.
class OresearchError(RuntimeError):
    """Base of all errors below. `str(error)` is one line without secrets: the cause, then the
    fix."""

    def __init__(self, *parts: object) -> None:
        super().__init__(
            *(brief(part, LONGEST) if isinstance(part, str) else part for part in parts)
        )


class ConfigurationError(OresearchError):
    """A setting, key, file or argument that cannot work."""


class PolicyError(OresearchError):
    """The service behind a policy failed after its retries: infrastructure, not the policy."""


class PolicyTimeout(PolicyError):
    """A model call did not answer within its time-out."""


class PolicyRefused(PolicyError):
    """The model server refused the request in a way that retrying cannot mend."""


class PolicyOverflow(PolicyRefused):
    """The thread is longer than the context of the model's server."""

    def __init__(
        self, message: str, *, context: int | None = None, prompt: int | None = None
    ) -> None:
        """Tokens of the context and of the refused prompt, where the server said them."""
        super().__init__(message)
        self.context, self.prompt = context, prompt


class ToolError(OresearchError):
    """The service behind a tool failed after its retries: infrastructure, not the web page."""


class AddressRefused(ToolError):
    """The address guard refused to connect: loopback, private, link-local or metadata."""


class RequestRefused(ToolError):
    """The service is there and does not take this very query or address: whoever asked can mend
    it, nobody else."""


class JudgeError(OresearchError):
    """No judge gave an opinion after retries: infrastructure. An unscored report is never 0."""


class CitationsNotUnderstood(OresearchError):
    """A report whose citations lead nowhere, or that has none: nothing in it can be checked."""


class BudgetExhausted(OresearchError):
    """A hard limit of the run's shared budget was reached."""

    def __init__(self, limit: str, used: float, allowed: float, *, reserve: float = 0) -> None:
        """`reserve`: for the report and the answers of other subtasks."""
        self.limit = limit
        rest = f", and {reserve:g} are kept for answers and the report" if reserve else ""
        super().__init__(f"the run's {limit} budget is spent: {used:g} of {allowed:g}{rest}")


class TraceFileError(OresearchError):
    """A trace file that cannot be read; the message names file and line."""


def missing_extra(name: str) -> str:
    """The end of a message: what is missing is an extra of the package, and how it is installed."""
    return f"an extra that is not installed: pip install '.[{name}]' in the checkout"
