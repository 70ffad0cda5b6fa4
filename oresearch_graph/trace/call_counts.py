"""How many of a trace's calls were calls: different ones, and those that brought something new."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from oresearch_graph.trace.calls import Call, read_call
from oresearch_graph.trace.look_alikes import as_seen
from oresearch_graph.trace.record import Trace
from oresearch_graph.trace.references import addresses, same_address
from oresearch_graph.trace.step import Step

_MINUS: Final = re.compile(r"(?<![^\W_])[-−](?=\d)")
_SIGNS: Final = frozenset("+#%")
_COUNT: Final = re.compile(r"&(?:serp_)?num=\d*+")
"""A count of results, wherever a query has one: `read_call` knows the last, of four digits."""
_BLOCK: Final = re.compile(r"^\[\d{1,7}\] .*\n(?P<address>\S+)$", re.MULTILINE)
"""A source in an observation: number and title, then its address."""
SAID_BY_TOOL: Final = re.compile(
    r"""
    ^ (?: No\ results\. | \#\#\ Query:\ .*            # a query repeats what the policy wrote
    | This\ (?:query\ failed|call\ failed|call\ could\ not\ be\ carried\ out):\ .*
    | This\ very\ call\ was\ made\ before.* | This\ call\ was\ not\ carried\ out.*
    | \S+:\ could\ not\ be\ read:\ .* ) $
    """,
    re.VERBOSE | re.MULTILINE,
)
"""A line of a tool of oresearch_graph that shows nothing of a source."""

Count = Callable[[Sequence[Step]], int]
"""How many calls of some steps count."""


def calls_per_subtask(trace: Trace, count: Count) -> tuple[int, ...]:
    """The calls that count of each subtask that the plan lists, in order: 0 where a listed one was
    never begun. Where nothing is listed, of each branch that there is."""
    branches = trace.branches
    numbers = range(1, len(trace.subtasks) + 1) or branches
    return tuple(count(branches.get(branch, ())) for branch in numbers)


def distinct_calls(steps: Sequence[Step]) -> int:
    """Well-formed calls. One element is one call, however many queries it holds; the same call
    again, otherwise spelled or with another number of results, is none."""
    return len({key for step in steps if (key := call_key(step)) is not None})


def fruitful_calls(steps: Sequence[Step]) -> int:
    """Distinct calls whose observation shows a source that these steps had not shown before; for
    `crawl_page` a page that was not opened before, under this address or another."""
    keys: set[tuple[str, ...]] = set()
    seen: set[str] = set()
    pages: set[str] = set()
    count = 0
    for step, after in pairwise((*steps, None)):
        if step is None or (key := call_key(step)) is None:
            continue
        if after is None or after.kind != "observation" or after.author != "world":
            continue
        is_page = step.kind == "crawl_page"
        sources = list(_sources(after.text, with_text=is_page))
        known = pages if is_page else seen
        count += key not in keys and any(known.isdisjoint(source) for source in sources)
        keys.add(key)
        seen.update(address for address, *_ in sources)
        if is_page:
            pages.update(mark for source in sources for mark in source)
    return count


def call_key(step: Step) -> tuple[str, ...] | None:
    """What makes a call another one: its tool, and what it works on. None: it is no whole call."""
    if not step.is_call or step.closed is None:
        return None
    call = read_call(step)
    if call.fault is not None:
        return None
    return (step.tag or step.kind, *_subjects(call))


def _subjects(call: Call) -> Iterable[str]:
    if call.tool == "crawl_page":
        return sorted(set(map(same_address, call.items)))
    if call.tool == "web_search":
        return sorted({normal_text(_COUNT.sub(" ", item)) for item in call.items})
    return (json.dumps(call.arguments, sort_keys=True),)


def normal_text(text: str) -> str:
    """A text without case, punctuation, white space and forms of characters; signs stay that make
    another word or figure of one (C++, C#, -5), not those that stand alone. A text of nothing
    else is itself."""
    normal = as_seen(text).casefold()
    kept = [c if c.isalnum() or c in "+#%" or unicodedata.category(c)[0] == "M" else " "
            for c in _MINUS.sub("#", normal)]  # fmt: skip
    words = (word for word in "".join(kept).split() if not _SIGNS.issuperset(word))
    return " ".join(words) or text


def _sources(observation: str, *, with_text: bool) -> Iterator[tuple[str, ...]]:
    """An observation's sources: the address, and what is shown of it where that is wanted. Of one
    in another form, the addresses that stand in it."""
    blocks = list(_BLOCK.finditer(observation))
    for block, following in zip(blocks, [*blocks[1:], None], strict=False):
        text = observation[block.end() : following.start() if following else len(observation)]
        shown = (f"text {' '.join(text.split())}",) if with_text else ()
        yield same_address(block["address"]), *shown
    if not blocks:
        for _, address in addresses(SAID_BY_TOOL.sub("", observation)):
            yield (same_address(address),)
