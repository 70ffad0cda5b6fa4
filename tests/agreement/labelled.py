"""Claims with what people said of them, and the text that each was held against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SHARED: Final = Path(__file__).parents[3] / "shared" / "data" / "human_labels"
WICE: Final = SHARED / "wice_claim_dev.jsonl"
_TITLE: Final = "(meta data) TITLE:"
_META: Final = "(meta data) "
_SUPPORTED: Final = frozenset(("supported", "true", "1", "entailment", "yes"))


@dataclass(frozen=True)
class Labelled:
    """One claim; `supported` is people's word, of the whole of it."""

    claim: str
    title: str
    text: str
    label: str
    supported: bool
    system: str = ""
    report: str = ""


def half(claim: str) -> int:
    """0: thresholds were chosen on it; 1: it judges."""
    return hashlib.sha256(claim.encode()).digest()[-1] % 2


def labelled(path: Path) -> Iterator[Labelled]:
    """The claims of a file of WiCE, or of one with `claim`, `text` and `label` a line, and
    `title`, `system` and `report` where they are known."""
    for line in path.read_text("utf-8").splitlines():
        row: dict[str, Any] = json.loads(line)
        sentences = row.get("evidence") or row.get("text") or ""
        title = str(row.get("title") or "")
        if isinstance(sentences, list):
            if sentences and sentences[0].startswith(_TITLE):
                title = sentences[0].removeprefix(_TITLE).strip()
                sentences = sentences[1:]
            sentences = "\n".join(sentence.removeprefix(_META) for sentence in sentences)
        label = str(row["label"]).casefold()
        yield Labelled(
            row["claim"], title, sentences, label, label in _SUPPORTED,
            str(row.get("system") or ""), str(row.get("report") or ""),
        )  # fmt: skip
