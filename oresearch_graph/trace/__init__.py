"""The language: what a research run is, as a record and as tagged text.

Needs pydantic and the standard library only, so that a training job, a notebook or a data
pipeline can read traces without langgraph or torch.
"""

from oresearch_graph.trace.calls import Call, read_call, write_call
from oresearch_graph.trace.escaping import (
    PROTOCOL_TAGS,
    escape_tokens,
    escape_world,
    unescape_tokens,
    unescape_world,
)
from oresearch_graph.trace.files import (
    TraceWriter,
    read_traces,
    trace_json_schema,
    write_traces,
)
from oresearch_graph.trace.grammar import Violation, ViolationCode, violations
from oresearch_graph.trace.list_items import list_items
from oresearch_graph.trace.projection import parse_trace, render_trace
from oresearch_graph.trace.record import (
    HARMLESS,
    SCHEMA_VERSION,
    CitationReport,
    Claim,
    Dialect,
    Evidence,
    Failure,
    FailureName,
    Fault,
    Outcome,
    Protocol,
    Role,
    Source,
    Span,
    Trace,
    Usage,
    known_sum,
    text_hash,
)
from oresearch_graph.trace.step import (
    ANSWER_KINDS,
    CALL_KINDS,
    KINDS,
    Author,
    Execution,
    Step,
    StepKind,
    world_step,
)
from oresearch_graph.trace.tags import (
    close_tag,
    open_tag,
    parse_policy_text,
    parse_steps,
    render_step,
    render_steps,
    shown_text,
    step_segments,
)

__all__ = [
    "ANSWER_KINDS",
    "CALL_KINDS",
    "HARMLESS",
    "KINDS",
    "PROTOCOL_TAGS",
    "SCHEMA_VERSION",
    "Author",
    "Call",
    "CitationReport",
    "Claim",
    "Dialect",
    "Evidence",
    "Execution",
    "Failure",
    "FailureName",
    "Fault",
    "Outcome",
    "Protocol",
    "Role",
    "Source",
    "Span",
    "Step",
    "StepKind",
    "Trace",
    "TraceWriter",
    "Usage",
    "Violation",
    "ViolationCode",
    "close_tag",
    "escape_tokens",
    "escape_world",
    "known_sum",
    "list_items",
    "open_tag",
    "parse_policy_text",
    "parse_steps",
    "parse_trace",
    "read_call",
    "read_traces",
    "render_step",
    "render_steps",
    "render_trace",
    "shown_text",
    "step_segments",
    "text_hash",
    "trace_json_schema",
    "unescape_tokens",
    "unescape_world",
    "violations",
    "world_step",
    "write_call",
    "write_traces",
]
