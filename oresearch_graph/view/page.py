"""A whole HTML document: style and script are in it, and nothing else may run or be fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from oresearch_graph.prompts import own_question
from oresearch_graph.text.scripts import main_script
from oresearch_graph.trace.plain_text import title_line
from oresearch_graph.trace.record import Trace
from oresearch_graph.view.markup import Html, joined, tag
from oresearch_graph.view.report import ReportView, as_written, language_of
from oresearch_graph.view.report_record import RunCost
from oresearch_graph.view.trace_view import trace_section


def traces_page(traces: Sequence[Trace]) -> str:
    """One self-contained page of one trace, or of several with an index."""
    keys = [f"t{number}" for number in range(1, len(traces) + 1)]
    sections = (trace_section(t, key) for t, key in zip(traces, keys, strict=True))
    title = traces[0].question if len(traces) == 1 else f"{len(traces)} traces"
    index = _index(traces, keys) if len(traces) > 1 else None
    return document(title, joined(index, *sections))


def _index(traces: Sequence[Trace], keys: Sequence[str]) -> Html:
    lines = (
        tag("li", tag("a", trace.question or "(no question)", href=f"#{key}", dir="auto"), " ",
            tag("span", trace.outcome, class_=f"outcome {trace.outcome}"),
            tag("span", f" {trace.id}", class_="small"))
        for trace, key in zip(traces, keys, strict=True)
    )  # fmt: skip
    return tag("nav", tag("h2", f"{len(traces)} traces"), tag("ol", *lines), aria_label="Traces")


def report_page(report: str, trace: Trace, *, plain: bool = False) -> str:
    """A delivered report alone, for the screen and for paper, in its language and direction;
    nothing runs on it. `plain`: its Markdown is shown as it is written."""
    direction = "rtl" if main_script(report) in {"arabic", "hebrew"} else "ltr"
    title = title_line(own_question(trace.question)) or "Report"
    facts = " · ".join(filter(None, (trace.outcome, RunCost.of(trace).in_words(), trace.created)))
    main = tag(
        "main",
        tag("h1", title, dir="auto"),
        tag("p", facts, class_="facts", lang="en", dir="ltr"),
        as_written(report) if plain else ReportView.alone(report, "report"),
    )
    return _whole(title, main, [own_file("report.css")], [], language=language_of(trace),
                  direction=direction)  # fmt: skip


def document(
    title: str, body: Html, *, style: str = "", script: str = "", own_forms: bool = False
) -> str:
    """The document. `style` and `script` are added to the view's own; with `own_forms` forms may
    be sent to where the page came from."""
    styles = [own_file("page.css"), style] if style else [own_file("page.css")]
    scripts = [own_file("page.js"), script] if script else [own_file("page.js")]
    skip = tag("a", "To the content", href="#main", class_="skip")
    main = joined(skip, tag("main", body, id="main", tabindex="-1"))
    return _whole(f"{title[:120]} – oresearch", main, styles, scripts, own_forms=own_forms)


def _whole(
    title: str, body: Html, styles: Sequence[str], scripts: Sequence[str], *,
    language: str | None = "en", direction: str | None = None, own_forms: bool = False,
) -> str:  # fmt: skip
    policy = content_policy(styles, scripts, own_forms=own_forms)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="same-origin" if own_forms else "no-referrer"),
        # Without it a browser asks the server for /favicon.ico.
        tag("link", rel="icon", href="data:,") if own_forms else None,
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        *(tag("style", Html(each)) for each in styles),
    )
    ends = (tag("script", Html(each)) for each in scripts)
    whole = tag("html", head, tag("body", body, *ends), lang=language, dir=direction)
    return f"<!doctype html>\n{whole}\n"


def content_policy(
    styles: Sequence[str], scripts: Sequence[str], *, own_forms: bool = False
) -> str:
    """The Content-Security-Policy: these styles and scripts by their hashes, and no address."""
    form = "'self'" if own_forms else "'none'"
    return (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; "
        f"img-src data:; base-uri 'none'; form-action {form}"
    )


def _hashes(texts: Sequence[str]) -> str:
    if not texts:
        return "'none'"
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


@cache
def own_file(name: str) -> str:
    """A file of this folder, as it is put into pages."""
    return files("oresearch_graph.view").joinpath(name).read_text("utf-8")
