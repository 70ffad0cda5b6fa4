"""What went wrong with a model call, from whatever its client raised: worth another try, or final.

Clients are told apart by what they carry (`status_code`, `response.headers`, `is_retryable`), not
by their classes, so that every LangChain provider is served.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from langchain_core.exceptions import ModelError

from oresearch_graph.errors import PolicyError, PolicyOverflow, PolicyRefused, PolicyTimeout
from oresearch_graph.network.causes import Cause, cause_of
from oresearch_graph.policies.chat.event_loops import of_other_loop
from oresearch_graph.policies.chat.refusals import ServerRefusal, refusal_of
from oresearch_graph.redaction import BODY, brief

_AGAIN: Final = frozenset((408, 409, 425, 429))
_FIXES: Final = {
    401: "the key is refused: check the API key",
    402: "the account has no credit left",
    403: "this key may not use that model",
    404: "check the model's name and the base URL",
    413: "the request is too long; lower observation_tokens",
}
LONGER: Final = {
    "llama.cpp": "start llama.cpp's server with a longer context (-c, --ctx-size)",
    "LM Studio": "load the model with a longer context length in LM Studio",
    "TGI": "start TGI with a larger --max-total-tokens and --max-input-tokens",
    "Ollama": "set a larger num_ctx (OLLAMA_CONTEXT_LENGTH) in Ollama",
    "SGLang": "start SGLang with a larger --context-length",
}
"""Where a server's context is set."""
_OVERFLOWS: Final = {
    "available context size": "llama.cpp", "loaded with context": "LM Studio",
    "context the overflows": "LM Studio", "tokens to keep": "LM Studio", "`inputs`": "TGI",
    "exceeded max context": "Ollama", "model's context length (": "SGLang",
}  # fmt: skip
"""A server's own words."""
ANY_LONGER: Final = (
    "take a model or a server setting with a longer context (llama.cpp -c, vLLM --max-model-len, "
    "Ollama num_ctx, LM Studio context length, TGI --max-total-tokens)"
)
_MALFORMED: Final = (ValueError, KeyError, TypeError, IndexError, AttributeError)


class CallFault(Exception):
    """One try of a model call failed; another may succeed."""

    def __init__(
        self, message: str, *, timed_out: bool = False, congested: bool = False,
        retry_after: float | None = None, broken_off: bool = False, other_loop: bool = False,
        fix: str = "",
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.fix = fix or "check that the model server is up"
        self.timed_out, self.congested, self.retry_after = timed_out, congested, retry_after
        self.broken_off, self.other_loop = broken_off, other_loop

    def final(self, model: str, tries: int) -> PolicyError:
        """The error when no try is left."""
        text = f"{model}: {self} ({tries} {'try' if tries == 1 else 'tries'})"
        if self.timed_out:
            return PolicyTimeout(f"{text}; raise model_timeout or use a faster model")
        if self.congested:
            return PolicyError(f"{text}; lower concurrency or wait")
        if self.other_loop:
            fix = "give each event loop a chat model object of its own, or give the model's name"
            return PolicyError(f"{text}; {fix}")
        if self.broken_off:
            return PolicyError(f"{text}; try again later, or see the model server's log")
        return PolicyError(f"{text}; {self.fix}")


def fault_of(error: Exception, model: str) -> CallFault | PolicyError:
    """The fault in an exception that a model call raised."""
    if of_other_loop(error):
        # Of an earlier asyncio.run, or of another thread's: the pool may open another.
        return CallFault("its connection belongs to another event loop", other_loop=True)
    refusal = refusal_of(error)
    if refusal.overflowed:
        return _overflow(refusal, model)
    # By name: the oldest langchain-core allowed has no ModelRefusalError.
    if refusal.filtered or _is_a(error, "ModelRefusal"):
        return filtered(model, refusal.words)
    cause = cause_of(error) if refusal.status in {None, 400, 407} else None
    if cause is not None:
        return _by_cause(cause, model)
    if refusal.status is not None:
        return _by_status(error, refusal, model)
    if isinstance(error, TimeoutError | httpx.TimeoutException) or _is_a(error, "Timeout"):
        return CallFault(brief(error) or "no answer in time", timed_out=True)
    if isinstance(error, httpx.TransportError | ConnectionError) or _is_a(error, "Connection"):
        inner = _innermost(error)
        return CallFault(f"no connection: {brief(inner) or type(inner).__name__}")
    if isinstance(error, ModelError):
        kind = CallFault if error.is_retryable else PolicyRefused
        return kind(f"{model}: {brief(error)}")
    if isinstance(error, _MALFORMED) or _is_a(error, "APIError"):
        return CallFault(f"the answer makes no sense ({type(error).__name__}: {brief(error)})")
    return PolicyError(f"{model}: {type(error).__name__}: {brief(error)}")


def filtered(model: str, words: str = "") -> PolicyError:
    """The error of a call whose prompt or answer a provider's filter withheld."""
    why = f": {brief(words)}" if words else ""
    return PolicyRefused(
        f"{model}: the provider's content filter refused to answer{why}; ask in other words or "
        "take another model"
    )


def _overflow(refusal: ServerRefusal, model: str) -> PolicyOverflow:
    kinds = (kind for words, kind in _OVERFLOWS.items() if words in refusal.words)
    fix = LONGER.get(next(kinds, ""), ANY_LONGER)
    return PolicyOverflow(
        f"{model}: the thread is too long for it: {brief(refusal.words)}; {fix}, or lower "
        "observation_tokens or max_steps",
        context=refusal.context,
        prompt=refusal.prompt,
    )


def _by_cause(cause: Cause, model: str) -> CallFault | PolicyError:
    words = f"no connection: {cause.words}"
    if cause.lasting:
        return PolicyError(f"{model}: {words}; {cause.fix}")
    return CallFault(words, fix=cause.fix)


def _by_status(error: Exception, refusal: ServerRefusal, model: str) -> CallFault | PolicyError:
    status = refusal.status or 0
    text = f"HTTP {status}: {brief(refusal.words or refusal.codes or error, 2 * BODY)}"
    quota = status == 429 and "insufficient_quota" in refusal.codes
    if (status in _AGAIN or status >= 500) and not quota and not refusal.of_template:
        return CallFault(
            text,
            timed_out=status == 408,
            congested=status == 429,
            retry_after=retry_after(getattr(getattr(error, "response", None), "headers", {})),
        )
    fix = _FIXES[402] if quota else _FIXES.get(status, "the server takes no such request")
    return PolicyRefused(f"{model}: {text}; {fix}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the server asks, in either form of Retry-After; None when it does not."""
    millis = headers.get("retry-after-ms")
    value = headers.get("retry-after")
    try:
        if millis is not None:
            return max(0.0, float(millis) / 1_000)
        return None if value is None else max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(str(value)).timestamp() - time.time())
    except ValueError:
        return None


def _is_a(error: Exception, part: str) -> bool:
    return any(part in kind.__name__ for kind in type(error).__mro__)


def _innermost(error: BaseException) -> BaseException:
    """What it came from: clients wrap the reason two or three times."""
    for _ in range(10):
        under = error.__cause__ or error.__context__
        if under is None or not str(under):
            break
        error = under
    return error
