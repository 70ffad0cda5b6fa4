"""Tool calls as text: both dialects read, either one written.

    paper      <web_search>a | b&serp_num=10</web_search>   <crawl_page>https://…</crawl_page>
    released   <web_search>query=a | b&num=10</web_search>  <crawl_page>url=A | B</crawl_page>

Queries and addresses may hold `&` and `=`: only a count at the very end of a search is a count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal

from oresearch_graph.trace.escaping import escape_world
from oresearch_graph.trace.record import Dialect
from oresearch_graph.trace.step import Step
from oresearch_graph.trace.validation import FrozenModel

_COUNT_LAST: Final = re.compile(r"&(?:serp_)?num=(\d{1,4})\s*\Z")
_COUNT_FIRST: Final = re.compile(r"\A(?:serp_)?num=(\d{1,4})&(?=query=)")
_ADDRESS: Final = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:\S")
_BETWEEN_ADDRESSES: Final = re.compile(
    r"(?<=\s)\||\|(?=\s|(?:url=)?[A-Za-z][A-Za-z0-9+.-]{0,30}://)|\n"
    r"|\s(?=(?:url=)?[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
)
_REMEMBERED: Final = 1_000
"""Characters of a call that is remembered as read."""


class Call(FrozenModel):
    """What a call step asks for. One element is one call, however many queries it carries."""

    tool: str
    items: tuple[str, ...] = ()
    """Queries of a search, addresses of a crawl."""
    num: int | None = None
    """Results asked for per query, when the policy said."""
    arguments: dict[str, Any] | None = None
    """The JSON object of an extra tool's call."""
    fault: str | None = None
    """Why the call cannot be carried out, in words for the policy; None when well-formed."""


def read_call(step: Step) -> Call:
    """The call of a `web_search`, `crawl_page` or `tool_call` step. Never raises on its text."""
    if step.kind == "web_search":
        return (_read_search if len(step.text) > _REMEMBERED else _search_read_before)(step.text)
    if step.kind == "crawl_page":
        return (_read_crawl if len(step.text) > _REMEMBERED else _crawl_read_before)(step.text)
    if step.kind == "tool_call":
        return _read_tool(step.name or "tool_call", step.text)
    raise ValueError(f"a {step.kind} step is no call")


def write_call(
    kind: Literal["web_search", "crawl_page"],
    items: Sequence[str],
    num: int | None = None,
    dialect: Dialect = "paper",
) -> str:
    """The text between the tags of a call. A `|` inside an item, which would split it, becomes a
    space in a query and `%7C` in an address."""
    bar = "%7C" if kind == "crawl_page" else " "
    joined = " | ".join(" ".join(item.replace("|", bar).split()) for item in items)
    if dialect == "paper":
        return joined if num is None or kind == "crawl_page" else f"{joined}&serp_num={num}"
    if kind == "crawl_page":
        return f"url={joined}"
    return f"query={joined}" if num is None else f"query={joined}&num={num}"


_JSON_LIKE: Final = re.compile(
    r"""
    \s* (?: \{ \s* (?: ["'}] | \w{1,40} \s* :)      # {"queries": …}  {'queries': …}  {queries: …}
    |  \[ \s* ["'\[{\]]                             # ["a", "b"]
    |  ["'] \w{1,40} ["'] \s* : \s* [\["'{\d] )      # "queries": ["a"]
    """,
    re.VERBOSE,
)
_NO_JSON: Final = "the arguments are no JSON that can be read; write them again"
_ITEMS: Final = {
    "web_search": ("queries", "query", "q", "search_query", "search_queries", "items", "input"),
    "crawl_page": ("urls", "url", "links", "link", "pages", "items", "input"),
}
"""Names under which models put what a tool works on."""


_DEEPEST: Final = 5
_MOST: Final = 100


def json_value(text: str) -> Any:  # noqa: ANN401 - whatever it holds
    """What the text holds as JSON, objects and lists alone; None where it holds none."""
    if not _JSON_LIKE.match(text):
        return None
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def item_strings(arguments: Any, tool: str, depth: int = 0) -> list[str]:  # noqa: ANN401
    """The queries or addresses in a tool's arguments: models write one string for a list of one,
    a list as JSON text, an object for each item."""
    value = arguments
    if depth > _DEEPEST:
        return []
    if isinstance(value, dict):
        inside = next((value[name] for name in _ITEMS[tool] if value.get(name)), None)
        return [] if inside is None else item_strings(inside, tool, depth + 1)
    if isinstance(value, str):
        inside = json_value(value)
        return [value] if inside is None else item_strings(inside, tool, depth + 1)
    if isinstance(value, list):
        return [text for each in value[:_MOST] for text in item_strings(each, tool, depth + 1)]
    return [str(value)]


def _read_json(tool: str, text: str, num: int | None) -> Call | None:
    """A call whose text is JSON, as models of other protocols write it; None for plain text."""
    text = text.removeprefix("query=").removeprefix("url=")
    if not _JSON_LIKE.match(text):
        return None
    value = json_value(text)
    if value is None:
        return Call(tool=tool, num=num, fault=_NO_JSON)
    items = tuple(dict.fromkeys(filter(None, map(str.strip, item_strings(value, tool)))))
    return Call(tool=tool, items=items, num=num, fault=None if items else _NO_JSON)


def _read_search(text: str) -> Call:
    text, num = text.strip(), None
    for pattern in (_COUNT_LAST, _COUNT_FIRST):
        if match := pattern.search(text):
            num = int(match[1])
            text = text[: match.start()] + text[match.end() :]
            break
    if (call := _read_json("web_search", text, num)) is not None:
        return call
    parts = (part.strip().removeprefix("query=").strip() for part in text.split("|"))
    items = tuple(dict.fromkeys(part for part in parts if part))
    if not items:
        return Call(tool="web_search", num=num, fault="the search holds no query")
    if num == 0:
        return Call(tool="web_search", items=items, num=num, fault="0 results were asked for")
    return Call(tool="web_search", items=items, num=num)


def _read_crawl(text: str) -> Call:
    if (call := _read_json("crawl_page", text.strip(), None)) is not None and call.fault:
        return call
    if call is not None:
        return _checked(call.items)
    parts = (part.strip() for part in _BETWEEN_ADDRESSES.split(text.strip()))
    items = tuple(dict.fromkeys(part for p in parts if (part := p.removeprefix("url=").strip())))
    return _checked(items)


def _checked(items: tuple[str, ...]) -> Call:
    """A crawl of these addresses, or what is wrong with them."""
    if not items:
        return Call(tool="crawl_page", fault="the call holds no address")
    bad = [item for item in items if not _ADDRESS.match(item)]
    if bad:
        fault = f"not an address: {escape_world(bad[0][:200])!r}; write the whole address, with https://"
        return Call(tool="crawl_page", items=items, fault=fault)
    return Call(tool="crawl_page", items=items)


# A call is read by whoever carries it out, shows, checks and counts it.
_search_read_before: Final = lru_cache(maxsize=1_024)(_read_search)
_crawl_read_before: Final = lru_cache(maxsize=1_024)(_read_crawl)


def _read_tool(name: str, text: str) -> Call:
    try:
        arguments = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        return Call(tool=name, fault=f"the arguments are not a JSON object: {error}")
    if not isinstance(arguments, dict):
        return Call(tool=name, fault="the arguments are not a JSON object")
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return Call(tool=name, fault="the arguments hold half a surrogate pair, or nest too deep")
    return Call(tool=name, arguments=arguments)
