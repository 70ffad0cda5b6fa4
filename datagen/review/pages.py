"""The pages of a review: the list of items, and one item with what filter and judge found."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from datagen.records import Decision, Filtered, Judgement, SeedTruth
from datagen.review.session import ReviewSession
from oresearch_graph.judging.key_points import KeyPoint
from oresearch_graph.view.markup import Html, joined, tag
from oresearch_graph.view.overview import Line, Panel, Remark, panel
from oresearch_graph.view.page import document
from oresearch_graph.view.trace_view import trace_section

_KEYS: Final = (
    ("a", "accept"),
    ("r", "reject: type the reason, Enter sends it, Escape leaves the field"),
    ("j →", "the next item"),
    ("k ←", "the one before"),
    ("n", "the next one without your word"),
    ("l", "the list"),
    ("?", "this help"),
)
_WORD: Final = {True: "accepted", False: "rejected"}


def list_page(session: ReviewSession, root: str) -> str:
    """All items with this reviewer's words, and where to go on."""
    progress = session.progress()
    begin = session.next_open(-1)
    told = f"{progress.accepted} accepted, {progress.rejected} rejected, of {progress.whole}"
    rows = (
        tag("tr", tag("td", tag("a", str(n + 1), href=f"{root}/item/{n + 1}")),
            tag("td", item.item), tag("td", _kind(session, n)),
            tag("td", _WORD[word.accept] if word else "–"),
            tag("td", word.reason if word else "", dir="auto"))
        for n, item, word in session.numbered()
    )  # fmt: skip
    head = tag("tr", *(tag("th", name, scope="col")
                       for name in ("no.", "item", "stratum", "your word", "reason")))  # fmt: skip
    go_on = tag("p", "Everything has your word. Ctrl-C in the terminal ends the review.")
    if begin is not None:
        go_on = tag("p", tag("a", f"Go on with item {begin + 1}", href=f"{root}/item/{begin + 1}",
                             data_keys="j ArrowRight n", class_="go-on"))  # fmt: skip
    body = joined(
        tag("h1", f"Review by {session.reviewer}"),
        tag("p", told, role="status"),
        go_on,
        tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="wide part"),
        _help(),
    )
    return _document(f"Review: {told}", body)


def item_page(session: ReviewSession, number: int, root: str, notice: str = "") -> str:
    """One item with the form that takes the reviewer's word."""
    item = session.items[number]
    word = session.own_words().get(item.item)
    body = joined(
        _bar(session, number, root, word, notice),
        _content(session, item.item),
        _help(),
    )
    return _document(f"{number + 1}/{len(session.items)} {item.item}", body)


def _bar(
    session: ReviewSession, number: int, root: str, word: Decision | None, notice: str
) -> Html:
    progress = session.progress()
    before = number or None
    after = number + 2 if number + 1 < len(session.items) else None
    open_ = session.next_open(number)
    state = (
        f"You {_WORD[word.accept]} it{': ' + word.reason if word.reason else ''}." if word else ""
    )
    return tag(
        "div",
        tag("form",
            tag("input", type="hidden", name="item", value=number + 1),
            tag("label", "Reason ", tag("input", name="reason", id="reason", maxlength=2000,
                value=word.reason if word else "", autocomplete="off",
                placeholder="asked of a rejection")),
            tag("button", "Reject (r)", name="verdict", value="reject", class_="reject"),
            tag("button", "Accept (a)", name="verdict", value="accept", class_="accept",
                data_keys="a"),
            method="post", action=f"{root}/decide"),
        tag("nav",
            _link("‹ k", before, root, "k ArrowLeft", "The item before"),
            _link("j ›", after, root, "j ArrowRight", "The next item"),
            _link("n open", None if open_ is None else open_ + 1, root, "n", "The next one open"),
            tag("a", "list", href=f"{root}/", data_keys="l"),
            tag("button", "?", type="button", data_keys="?", class_="help", aria_label="Help"),
            aria_label="Items"),
        tag("p",
            f"{number + 1} of {progress.whole} · {_kind(session, number)} · "
            f"{progress.accepted} accepted, {progress.rejected} rejected by {session.reviewer} ",
            tag("strong", state, class_="state", dir="auto"), class_="small", role="status"),
        tag("progress", value=progress.accepted + progress.rejected, max=progress.whole,
            aria_label="Items with your word"),
        tag("p", notice, class_="notice", role="alert") if notice else None,
        class_="review-bar",
    )  # fmt: skip


def _link(shown: str, place: int | None, root: str, keys: str, label: str) -> Html:
    if place is None:
        return tag("span", shown, class_="small", aria_hidden="true")
    return tag("a", shown, href=f"{root}/item/{place}", data_keys=keys, aria_label=label)


def _kind(session: ReviewSession, number: int) -> str:
    item = session.items[number]
    risky = "" if number < session.random else "queue · "
    return f"{risky}{item.group} · {item.stratum}"


def _content(session: ReviewSession, item: str) -> Html:
    if (truth := session.truths.get(item)) is not None:
        return joined(_rubric(truth), _rests_on(session, truth))
    trace = session.trace(item)
    if trace is None:
        return tag("p", f"The run's files hold no trace or rubric {item}.", class_="notice")
    judgement, filtered = session.judgements.get(item), session.filtered.get(item)
    return trace_section(
        trace,
        "t1",
        remarks=_remarks(filtered) if filtered else (),
        panels=[_verdict(judgement)] if judgement else (),
    )


def _remarks(filtered: Filtered) -> list[Remark]:
    return [
        Remark("filter", f.rule, f.message, f.step, f.start, f.end) for f in filtered.findings
    ]  # fmt: skip


def _verdict(said: Judgement) -> Panel:
    """What the judge says, with its reasons and quotes."""
    verdict = "accepted" if said.accepted else "rejected"
    if said.judged is None:
        return Panel("Judge", (Line("unjudged", "–", said.unjudged or ""),))
    agreement = "" if said.agreement is None else f"agreement {said.agreement:.2f}"
    head = Line(
        f"{said.judged.by}: {verdict}{', chosen' if said.chosen else ''}",
        f"{said.judged.quality:.2f}",
        f"{said.judged.votes} votes {agreement}",
    )
    scores = (
        Line(s.criterion, f"{s.score:.2f}", " ".join(filter(None, (s.reason, _quote(s.quote)))))
        for s in said.judged.scores
    )
    return Panel("Judge", (head, *scores))


def _quote(quote: str | None) -> str:
    return f"“{quote}”" if quote else ""


def _rubric(truth: SeedTruth) -> Html:
    points = [Line(p.text, f"{p.weight:g}", _told(p)) for p in truth.truth.key_points]
    criteria = truth.truth.rubric.criteria if truth.truth.rubric else ()
    asked = [Line(c.text, f"{c.weight:g}", c.description) for c in criteria]
    return tag(
        "section",
        tag("h2", truth.question, dir="auto"),
        tag("p", f"Made by {truth.by} from {', '.join(truth.traces)}", class_="small"),
        panel(Panel("Key points: weight, what is needed, source", tuple(points)))
        if points else None,
        panel(Panel("Rubric", tuple(asked))) if asked else None,
        class_="trace",
    )  # fmt: skip


def _told(point: KeyPoint) -> str:
    """What a report must hold for the point to be found, and where the fact stands."""
    needs = " and ".join(f"({' or '.join(group)})" for group in point.needs)
    return " · ".join(part for part in (needs, point.source or "") if part)


def _rests_on(session: ReviewSession, truth: SeedTruth) -> Html:
    """The first trace that the truth was made of, for its facts to be looked up in."""
    found = (session.trace(item) for item in truth.traces)
    trace = next(filter(None, found), None)
    return trace_section(trace, "t1") if trace else Html()


def _help() -> Html:
    keys = (joined(tag("dt", tag("kbd", key)), tag("dd", told)) for key, told in _KEYS)
    close = tag("form", tag("button", "Close"), method="dialog")
    return tag("dialog", tag("h2", "Keys"), tag("dl", *keys),
               tag("p", "A later word takes the place of an earlier one."), close,
               id="help", aria_label="Keys")  # fmt: skip


def _document(title: str, body: Html) -> str:
    return document(
        title, body, style=_own("review.css"), script=_own("review.js"), own_forms=True
    )  # fmt: skip


@cache
def _own(name: str) -> str:
    return files("datagen.review").joinpath(name).read_text("utf-8")
