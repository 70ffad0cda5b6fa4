"""The report while it is being written: for whoever streams a run as events or as chat messages,
without protocol tags, under the numbers of the report that comes of it, up to its references."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from langchain_core.messages import AIMessageChunk
from langgraph.config import get_stream_writer
from langgraph.graph.message import push_message

from oresearch_graph.evidence.delivery import disarmed
from oresearch_graph.graph.events import Report, ReportText, emit
from oresearch_graph.trace import Source, close_tag, open_tag
from oresearch_graph.trace.references import Ledger, same_address
from oresearch_graph.trace.report_form import find_headings, lines_of, sections_under

_OPEN: Final = open_tag("suggested_answer")
_CLOSE: Final = close_tag("suggested_answer")
_TAG: Final = re.compile(f"{_OPEN}|{_CLOSE}")
_MARK: Final = r"[\[【]\s?\d{1,7}(?:\s?[,;，、]\s?\d{1,7}){0,9}\s?[\]】]"
_CLUSTER: Final = re.compile(rf"{_MARK}(?:[ \t]?{_MARK}){{0,19}}")
_CLOSED: Final = re.compile(r"[\]】\n]")
_NUMBER: Final = re.compile(r"\d+")
_ACT: Final = re.compile(r"(?:!|<|\][(:]\s?[^\s()]{0,80})\Z")
"""What a reader of Markdown may act upon, unfinished."""
_WINDOW: Final = 400
"""Characters at the end of a text in which something may be unfinished."""
_HEADING: Final = 60
"""Characters of a line that may turn out to be the heading of the references."""


class ReportDraft:
    """One run's report, piece by piece as its policy writes it.

    Each time the policy begins anew, so does the draft. What was told and what a piece may still
    become are one text, however it was cut into pieces.
    """

    def __init__(self, run_id: str, sources: Sequence[Source]) -> None:
        self._id, self._ledger, self._listener = run_id, Ledger(sources), get_stream_writer()
        self._count = 0
        self._begin(writing=False)

    def _begin(self, *, writing: bool) -> None:
        self._writing, self._held, self._mid_line = writing, "", False
        self._numbers: dict[str, int] = {}
        self._pieces: list[str] = []
        """What was told of this draft."""
        self._count += writing

    @property
    def message_id(self) -> str:
        """Of the chat message that the draft is."""
        return f"{self._id}-report-{self._count}"

    def __call__(self, piece: str) -> None:
        """Hear what the policy writes next."""
        self._held += piece
        while tag := _TAG.search(self._held):
            before, rest = self._held[: tag.start()], self._held[tag.end() :]
            self._tell(before, whole=True)
            if tag[0] == _OPEN:
                self._begin(writing=True)
            self._writing, self._held = tag[0] == _OPEN, rest
        self._held = self._tell(self._held, whole=False)

    def _tell(self, text: str, *, whole: bool) -> str:
        """Tell what is sure of a text; the rest of it."""
        if not self._writing:
            return text[-len(_CLOSE) :]
        end = len(text.rstrip()) if whole else self._sure(text)
        sure, rest = text[:end], text[end:]
        if (at := self._references(sure)) is not None:
            self._writing, sure = False, sure[:at].rstrip()
        sure = _CLUSTER.sub(self._renumbered, sure if self._pieces else sure.lstrip())
        if sure := disarmed(sure):
            self._pieces.append(sure)
            self._say(sure)
            self._mid_line = not sure.endswith("\n")
        return rest

    def _sure(self, text: str) -> int:
        """Where that begins which may become a tag, a citation or a heading."""
        end = len(text)
        tag = text.rfind("<", max(0, end - len(_CLOSE)))
        if tag >= 0 and any(each.startswith(text[tag:]) for each in (_OPEN, _CLOSE)):
            end = tag
        begin = max(0, end - _WINDOW)
        bracket = max(text.rfind("[", begin, end), text.rfind("【", begin, end))
        if bracket >= 0 and not _CLOSED.search(text, bracket, end):
            end = bracket
        for cluster in _CLUSTER.finditer(text, begin, end):
            if not text[cluster.end() : end].strip():
                end = cluster.start()
        if act := _ACT.search(text, max(0, end - _WINDOW), end):
            end = act.start()
        line = text.rfind("\n", 0, end) + 1
        if end - line <= _HEADING and (line or not self._mid_line):
            end = line
        # Of blanks that go on and on some are told.
        return max(len(text[:end].rstrip()), end - _WINDOW)

    def _references(self, text: str) -> int | None:
        """Where the heading of the references stands."""
        lines = lines_of(text)[1 if self._mid_line else 0 :]
        headings = list(find_headings(lines, ()))
        return next(
            (
                s.heading_start
                for s in sections_under(headings, len(text))
                if s.name == "references"
            ),
            None,
        )

    def _renumbered(self, cluster: re.Match[str]) -> str:
        numbers = dict[int, None]()
        for number in map(int, _NUMBER.findall(cluster[0])):
            if (source := self._ledger.by_id.get(number)) is None:
                return cluster[0]  # the report's own list may say what it is
            address = same_address(source.url)
            numbers[self._numbers.setdefault(address, len(self._numbers) + 1)] = None
        return "".join(f"[{number}]" for number in numbers)

    def end(self, report: str) -> str:
        """Tell what the delivered report has beyond the draft, or all of it where they differ or
        somebody else listens by now. The id of the chat message that now holds it."""
        known = "".join(self._pieces) if self._listener is get_stream_writer() else ""
        if known and report.startswith(known):
            self._say(report[len(known) :])
            return self.message_id
        emit(Report(text=report))
        return f"{self._id}-report"

    def _say(self, text: str) -> None:
        emit(ReportText(text=text, draft=self._count))
        push_message(AIMessageChunk(content=text, id=self.message_id), state_key=None)
