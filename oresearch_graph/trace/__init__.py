"""The language: what a research run is, as a record and as tagged text.

Needs pydantic and the standard library only, so that a training job, a notebook or a data
pipeline can read traces without langgraph or torch.
"""

from oresearch_graph.trace.record import (
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
    list_items,
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

__all__ = [
    "ANSWER_KINDS",
    "CALL_KINDS",
    "KINDS",
    "SCHEMA_VERSION",
    "Author",
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
    "Usage",
    "known_sum",
    "list_items",
    "text_hash",
    "world_step",
]
