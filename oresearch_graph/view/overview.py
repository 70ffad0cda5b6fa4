"""What a reader wants first: the outcome and what failed, the findings, who spent what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oresearch_graph.trace.record import CitationReport, Failure, Trace, Usage, known_sum
from oresearch_graph.view.markup import Html, joined, tag
from oresearch_graph.view.remarks import Panel, Remark
from oresearch_graph.view.steps import step_id


def facts(trace: Trace, citations: CitationReport | None) -> Html:
    """Outcome and figures, on one line that breaks where it must."""
    told = [
        tag("span", trace.outcome, class_=f"outcome {trace.outcome}"),
        _fact("execution", trace.execution),
        _fact("language", trace.language),
        _fact("supported", _share(citations)),
        _fact("coverage", None if citations is None else _percent(citations.coverage)),
        _fact("begun", trace.created),
        _fact("protocol", trace.protocol.fingerprint),
        _fact("trace", trace.id or None),
    ]
    return joined(
        tag("p", *told, class_="facts"),
        tag("p", "No language model wrote this: the extractive policy did.", class_="notice")
        if trace.extractive else None,
    )  # fmt: skip


def failures(found: Sequence[Failure]) -> Html | None:
    """The named failures; None without any."""
    return tag("ul", *map(_failure, found), class_="failures") if found else None


def _failure(failure: Failure) -> Html:
    place = "" if failure.branch is None else f", subtask {failure.branch}"
    rejected = failure.rejected
    return tag(
        "li",
        tag("strong", failure.name), f" ({failure.fault}{place}): ",
        tag("span", failure.message, dir="auto"),
        tag("details", tag("summary", "The text that was refused"),
            tag("div", rejected[:20_000], class_="foreign", dir="auto")) if rejected else None,
    )  # fmt: skip


def findings(remarks: Sequence[Remark], key: str) -> Html:
    """Everything found, with a way to its step."""
    if not remarks:
        return tag("p", "None: the trace is well-formed.")
    return tag("ul", *(_remark(remark, key) for remark in remarks), class_="findings")


def _remark(remark: Remark, key: str) -> Html:
    place = None
    if remark.step is not None:
        place = tag("a", f"step {remark.step}", href=f"#{step_id(key, remark.step)}", class_="jump")
    return tag(
        "li", tag("span", remark.by, class_="by"), " ", tag("strong", remark.label), ": ",
        tag("span", remark.message, dir="auto"), " ", place,
        tag("span", " declared", class_="small") if remark.declared else None,
    )  # fmt: skip


def panel(given: Panel) -> Html:
    """A table of labels, values and words."""
    rows = (
        tag("tr", tag("th", line.label, scope="row", dir="auto"), tag("td", line.value),
            tag("td", line.text, dir="auto"))
        for line in given.lines
    )  # fmt: skip
    return joined(
        tag("h4", given.title),
        _scrolling(tag("table", tag("tbody", *rows)), given.title),
    )


def usage(trace: Trace) -> Html:
    """Calls, tokens and cost by role, model and subtask; unknown is a dash."""
    if not trace.usage:
        return tag("p", "The trace holds no usage.", class_="small")
    head = ("role", "subtask", "model", "calls", "tool calls", "tokens in", "cached", "tokens out",
            "cost, $")  # fmt: skip
    rows = [_usage_row(u.role, _known(u.branch), u.model, [u]) for u in trace.usage]
    if len(trace.usage) > 1:
        rows.append(_usage_row("all", "", "", trace.usage))
    table = tag("table", tag("thead", tag("tr", *(tag("th", h, scope="col") for h in head))),
                tag("tbody", *rows))  # fmt: skip
    return _scrolling(table, "Usage by role")


def _usage_row(role: str, branch: str, model: str, spent: Iterable[Usage]) -> Html:
    spent = list(spent)
    cost = known_sum(u.cost for u in spent)
    numbers = (
        sum(u.calls for u in spent),
        sum(u.tool_calls for u in spent),
        known_sum(u.prompt_tokens for u in spent),
        known_sum(u.cached_tokens for u in spent),
        known_sum(u.completion_tokens for u in spent),
    )
    cells = [_known(number) for number in numbers] + ["–" if cost is None else f"{cost:.4f}"]
    return tag("tr", tag("th", role, scope="row"), tag("td", branch), tag("td", model),
               *(tag("td", cell, class_="number") for cell in cells))  # fmt: skip


def _scrolling(table: Html, label: str) -> Html:
    return tag("div", table, class_="wide", tabindex="0", role="region", aria_label=label)


def _known(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def _fact(name: str, value: str | None) -> Html | None:
    return None if value is None else tag("span", tag("span", name, class_="small"), " ", value)


def _share(citations: CitationReport | None) -> str | None:
    if citations is None or not citations.claims:
        return None
    supported = sum(claim.status == "supported" for claim in citations.claims)
    return f"{supported} of {len(citations.claims)} cited sentences"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"
