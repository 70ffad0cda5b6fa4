"""Which traces become rows, why the others do not, and under which protocol rows are told.

A teacher may have been asked for more than training shows (visible reasoning), or by a short prompt
for each role, which makes its protocol extended: its rows are restated under the plain training
prompt, and the card says how many. Another dialect or other tools are another language: refused.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

from datagen.export.prepared import PreparedTrace
from datagen.export.scrub import Scrubber, withheld
from datagen.settings import DatagenSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.prompts import protocol, system_prompt
from oresearch_graph.trace import Execution, Protocol, Trace, text_hash
from oresearch_graph.trace.answer import parse_answer, parsed_answers
from oresearch_graph.trace.references import Ledger, seen_sources

Reason = Literal[
    "extractive",  # written without a language model
    "repaired",  # rejected text was corrected under a prompt that rows do not show
    "changed",  # middleware changed a request or a reply: the rows would show neither
    "failed",  # nothing to read
    "rejected_by_people",
    "other_dialect",
    "other_tools",
    "unresolved_citation",
    "wrong_span",  # a claim or its evidence does not stand where the trace says
    "unclear_threads",  # steps that do not tell which thread wrote them
    "nothing_to_train",
]
EXECUTIONS: Final[tuple[Execution, ...]] = ("parallel", "sequential")


class Refused(ValueError):
    """A trace that is left out."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Admission:
    """Prepares the traces that may become rows, and counts the others."""

    def __init__(self, settings: DatagenSettings) -> None:
        """Raises ConfigurationError for prompt additions, which training does not have."""
        research, self.settings = settings.training, settings.export
        if research.extended:
            raise ConfigurationError(
                "research: length, tone, outline, language and prompts are for serving; rows are "
                "told under the plain training prompt: remove them"
            )
        self.system = system_prompt(research)
        self.protocols: dict[Execution, Protocol] = {
            execution: protocol(research.model_copy(update={"execution": execution}))
            for execution in EXECUTIONS
        }
        self.scrubber = Scrubber()
        self.refused: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        """For each reason the first trace it met, with the message."""
        self.restated = 0
        """Traces made under another prompt."""
        self.constrained = 0
        """Traces whose text was held to the protocol's grammar."""

    def prepare(self, trace: Trace) -> PreparedTrace:
        """The trace as every row tells it: restated under the training protocol, its citations
        checked, without what the settings keep out. Raises Refused."""
        trace = _with_sources(self._restated(trace))
        ledger = Ledger(trace.sources or ())
        _check_citations(trace, ledger)
        if self.settings.scrub:
            trace = self.scrubber.scrub(trace)
        if self.settings.page_text == "hash":
            trace = withheld(trace, ledger)
        return PreparedTrace.of(trace, ledger)

    def count(self, trace: Trace) -> None:
        """Note a trace that was exported."""
        self.constrained += trace.protocol.constrained
        self.restated += trace.protocol.prompt != self.protocols[trace.execution].prompt

    def refuse(self, trace: str, fault: Refused) -> None:
        """Note a trace that was not."""
        self.refused[fault.reason] += 1
        self.first.setdefault(fault.reason, f"{trace}: {fault}")

    def _restated(self, trace: Trace) -> Trace:
        if trace.extractive and not self.settings.allow_extractive:
            raise Refused(
                "extractive", "written without a language model; export.allow_extractive admits it"
            )
        if trace.repaired and not self.settings.allow_repaired:
            raise Refused("repaired", "text was corrected; export.allow_repaired admits it")
        if names := trace.changed_by:
            raise Refused("changed", f"middleware changed it: {', '.join(names)}; run without")
        if trace.outcome == "failed":
            raise Refused("failed", "it has no report")
        original, plain = trace.protocol, self.protocols[trace.execution]
        if original.dialect != plain.dialect:
            raise Refused(
                "other_dialect", f"its calls are written in the dialect {original.dialect}"
            )
        if original.tools != plain.tools:
            raise Refused("other_tools", f"it has tools that training has not: {original.tools}")
        return trace.model_copy(update={"protocol": plain})


def _with_sources(trace: Trace) -> Trace:
    """A trace from bare text gets a ledger of the addresses its observations show."""
    if trace.sources is None:
        sources = tuple(seen_sources(trace.steps))
        sources = tuple(s.model_copy(update={"sha256": text_hash(s.text)}) for s in sources)
        trace = trace.model_copy(update={"sources": sources})
    if trace.citations is None and trace.answer is not None:
        report = verify_report(parse_answer(trace.answer.text), trace.sources or ())
        trace = trace.model_copy(update={"citations": report})
    return trace


def _check_citations(trace: Trace, ledger: Ledger) -> None:
    """Every mark of an answer resolves, every claim and quote stands where it is said to.

    Raises Refused.
    """
    ledger = Ledger(trace.sources or ())
    for answer in parsed_answers(trace).values():
        for number in {mark.number for mark in answer.marks} | answer.references.keys():
            if answer.resolve(number, ledger) is None:
                raise Refused("unresolved_citation", f"[{number}] resolves to no source")
        for link in answer.links:
            if answer.dangles(link, ledger):
                raise Refused("unresolved_citation", f"{answer.name(link)} resolves to no source")
    for source in ledger.by_id.values():
        if text_hash(source.text) != source.sha256:
            raise Refused("wrong_span", f"the text of source {source.id} is not that of its hash")
    _check_spans(trace, ledger)


def _check_spans(trace: Trace, ledger: Ledger) -> None:
    answer = trace.answer.text if trace.answer is not None else ""
    for claim in trace.citations.claims if trace.citations else ():
        if answer[claim.start : claim.end] != claim.text:
            raise Refused("wrong_span", f"no claim stands at {claim.start} of the report")
        for evidence in claim.evidence:
            source = ledger.by_id.get(evidence.source)
            if source is None or source.text[evidence.start : evidence.end] != evidence.quote:
                raise Refused("wrong_span", f"source {evidence.source} has no quote where it says")
