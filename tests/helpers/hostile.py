"""A trace full of what would act on a careless page."""

from __future__ import annotations

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.trace import Failure, Source, Span, Trace, Usage
from oresearch_graph.trace.answer import parse_answer
from tests.helpers.traces import GOOD, trace_of

HOSTILE = (
    "<script>alert('ran')</script>",
    "</script><script>alert('ran')</script>",
    "</style></title></textarea><img src=x onerror=alert('ran')>",
    "<iframe src='http://127.0.0.1:9/frame'></iframe>",
    '"><svg onload=alert("ran")>',
    "[press](javascript:alert('ran')) ![seen](http://127.0.0.1:9/pixel.png)",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css><base href=http://127.0.0.1:9/>",
    "<!-- --><meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "left \u202egnp.exe\u2066 \u0007\x1b[31mred\x00 &lt;b&gt; &#x202e; {{7*7}} ${7*7}",
    "]]> <![CDATA[ <math><mtext></mtext><mglyph><svg><mtext><textarea>",
)

TABLE = "| left | right |\n|:--|--:|\n| <b onclick=alert('ran')> | The Moon causes tides [1] |"


def hostile_trace() -> Trace:
    """Markup, script and control characters in every field that takes text."""
    bad = "\n\n".join(HOSTILE)
    flat = " ".join(HOSTILE)
    text = (
        GOOD.replace("What tides are", flat)
        .replace("Look for causes.", bad)
        .replace("tides cause&serp_num=3", bad)
        .replace("The Moon causes tides.</observation>", f"{bad}</observation>")
        .replace(
            "The Moon causes tides [1].", f"The Moon causes tides [1].\n\n{bad} [1].\n\n{TABLE}\n\n"
        )
        .replace("Tides are large.", f"[x]: javascript:alert(1)\n\n[x] <javascript:alert(1)> {bad}")
    )
    sources = (
        Source.of(id=1001, url="https://example.org/tides", title=flat,
                  text=f"The Moon causes tides. {bad}", published=HOSTILE[0]),
        Source.of(id=1002, url="javascript:alert('ran')", title=bad, text=bad),
        Source.of(id=1003, url=f'https://example.org/"{flat}', text=bad),
        Source.of(id=2001, url="https://example.org/range", text="Tides reach 16 metres."),
    )  # fmt: skip
    trace = trace_of(
        text, id=HOSTILE[1], question=flat, language="en", sources=sources,
        failures=(Failure(name="repaired", fault="policy", message=bad, rejected=bad),),
        usage=(Usage(role="planner", model=flat),),
        spans=(Span(name=flat, start=-5.0, seconds=1e9), Span(name="model", start=0.0, seconds=-1)),
        models={"planner": flat}, created=HOSTILE[4],
    )  # fmt: skip
    assert trace.answer is not None
    return trace.model_copy(
        update={"citations": verify_report(parse_answer(trace.answer.text), sources)}
    )
