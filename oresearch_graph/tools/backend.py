"""The tools seam: a search backend and a page reader. Every source of documents is one of these.

What strangers wrote passes `trace.plain_text` here, whoever makes the models: titles and addresses
are one line, texts have no control characters, lengths are bounded. A result whose address cannot
be one is left out of its `Hits`; its siblings stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    model_validator,
)

from oresearch_graph.errors import ToolError
from oresearch_graph.trace.plain_text import (
    OWN_SCHEMES,
    WEB_SCHEMES,
    admissible_address,
    body_text,
    iso_day,
    spelled_address,
    title_line,
)

SNIPPET: Final = 20_000
"""Characters of a result's text: an observation cuts it to what matters."""
PAGE: Final = 5_000_000
"""Characters of a page's text."""
_FAULT: Final = 500
_KINDS: Final = f"it begins with {', '.join(sorted(WEB_SCHEMES | OWN_SCHEMES))}"


def _as_text(value: object) -> str:
    """What a service sent where a text should be."""
    return "" if value is None else str(value)


def _day(value: object) -> str | None:
    return iso_day(_as_text(value))


def _fault(value: object) -> str | None:
    return None if value is None else title_line(_as_text(value), _FAULT)


Title = Annotated[str, BeforeValidator(lambda value: title_line(_as_text(value)))]
Day = Annotated[str | None, BeforeValidator(_day)]
"""ISO date, when the service or the page states one."""
Fault = Annotated[str | None, BeforeValidator(_fault)]


class Hit(BaseModel):
    """One search result. `url` is empty where what was given is no address: no Hits holds it."""

    model_config = ConfigDict(frozen=True)

    url: Annotated[str, BeforeValidator(lambda value: admissible_address(_as_text(value)) or "")]
    title: Title = ""
    snippet: Annotated[str, BeforeValidator(lambda value: body_text(_as_text(value), SNIPPET))] = ""
    published: Day = None


class Hits(BaseModel):
    """The results of one query, best first; `fault` when this query alone found no service, or
    nothing but results without an address."""

    model_config = ConfigDict(frozen=True)

    query: str
    hits: tuple[Hit, ...] = ()
    fault: Fault = None
    refused: bool = False
    """The fault is the query's: the service is there and did not take it."""

    @model_validator(mode="before")
    @classmethod
    def _only_with_address(cls, values: Any) -> Any:  # noqa: ANN401 - before validation, anything
        hits = list(values.get("hits") or ()) if isinstance(values, dict) else []
        if not hits:
            return values
        addressed = tuple(_addressed(hits))
        fault = values.get("fault")
        if not addressed and fault is None:
            fault = f"no result has an address: {_KINDS}"
        return {**values, "hits": addressed, "fault": fault}


def _addressed(entries: Iterable[object]) -> Iterable[Hit]:
    for entry in entries:
        try:
            hit = entry if isinstance(entry, Hit) else Hit.model_validate(entry)
        except ValidationError:
            continue
        if hit.url:
            yield hit


class Page(BaseModel):
    """One page as read: its text, or in `fault` why there is none (404, empty, too large)."""

    model_config = ConfigDict(frozen=True)

    url: Annotated[str, BeforeValidator(lambda value: spelled_address(_as_text(value)))]
    """The address asked for."""
    final_url: str | None = None
    """Where redirects led, when that is another address."""
    title: Title = ""
    text: Annotated[str, BeforeValidator(lambda value: body_text(_as_text(value), PAGE))] = ""
    published: Day = None
    fault: Fault = None

    @model_validator(mode="before")
    @classmethod
    def _led_to_an_address(cls, values: Any) -> Any:  # noqa: ANN401 - before validation, anything
        """Where redirects led to no address, source rules could not be held: there is no text."""
        if not isinstance(values, dict) or (led := values.get("final_url")) is None:
            return values
        if (final := admissible_address(_as_text(led))) is not None:
            return {**values, "final_url": final}
        fault = values.get("fault") or f"leads to what is no address: {_KINDS}"
        return {**values, "final_url": None, "fault": fault, "text": ""}


class ToolResult(BaseModel):
    """What one call of a tool found, as data: the source ledger gives it ids and words."""

    model_config = ConfigDict(frozen=True)

    tool: Literal["web_search", "crawl_page"]
    hits: tuple[Hits, ...] = ()
    """Of web_search: one for each distinct query, in order; one for all that were too many."""
    pages: tuple[Page, ...] = ()
    """Of crawl_page: one for each distinct address, in order, cut to the token budget; one for all
    that were too many."""


class SearchBackend(Protocol):
    """Finds addresses for queries."""

    @property
    def name(self) -> str: ...

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """At most `k` hits for each query, in the order of `queries`.

        Raises ToolError when the service itself is unavailable.
        """
        ...


class PageReader(Protocol):
    """Opens addresses."""

    @property
    def name(self) -> str: ...

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        """The pages in the order of `urls`, whole; `focus` may guide a remote extractor.

        A page that cannot be had is a Page with `fault`. Raises ToolError when the reader itself
        is unavailable.
        """
        ...


def pages_of(urls: Sequence[str], answers: Sequence[Page | ToolError]) -> list[Page]:
    """The pages that were asked for, what failed for one address as its fault. Raises the first
    ToolError where none was read."""
    errors = [answer for answer in answers if isinstance(answer, ToolError)]
    if errors and len(errors) == len(answers):
        raise errors[0]
    return [
        Page(url=url, fault=str(answer)) if isinstance(answer, ToolError) else answer
        for url, answer in zip(urls, answers, strict=True)
    ]
