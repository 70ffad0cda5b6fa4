"""RowChecks: what `verify` asks of every row of every configuration.

Rows that say the same in other words (messages, ShareGPT, the chosen side of a pair, both files of
RL's questions) are made again from the rows they rest on and compared; what is held of a row for
that is a hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pydantic import ValidationError

from datagen.export.columns import CONFIGS
from datagen.export.conversations import TOOLS, messages, sharegpt
from datagen.export.files import Manifest, row_hash
from datagen.export.prepared import Texts
from datagen.export.proofs import author_faults, row_faults
from datagen.export.sft_rows import assistant_text
from datagen.records import seed_of
from oresearch_graph.rows.files import Row, canonical
from oresearch_graph.rows.rl import RLQuestion, RLRow
from oresearch_graph.trace import (
    Protocol,
    Trace,
    parse_steps,
    render_steps,
    text_hash,
    unescape_world,
)
from oresearch_graph.trace.validation import first_fault


class RowChecks:
    """The checks of one data set, with what must agree between its files."""

    def __init__(self, manifest: Manifest, texts: Callable[[str], Texts]) -> None:
        """`texts` gives those of the sources of a trace."""
        self.manifest, self.texts = manifest, texts
        self._splits: dict[str, str] = {}
        self._expected: dict[tuple[str, str], str] = {}
        """Hash of what a row of (configuration, id) must say, by the rows it rests on."""
        self._checks: dict[str, Callable[[Row], Iterator[str]]] = {
            "sft-threads": lambda row: self._sft(row, linear=False),
            "sft-linear": lambda row: self._sft(row, linear=True),
            "messages": self._messages,
            "sharegpt": self._sharegpt,
            "preference": self._preference,
            "rl-selection": self._selection,
            "sources": self._sources,
        }

    def faults(self, config: str, split: str, row: Row) -> Iterator[str]:
        """What is wrong with a row of a file."""
        try:
            if "sha256" in CONFIGS[config].names and row["sha256"] != row_hash(row):
                yield "its columns are not those of its hash"
            yield from self._split_faults(_seed(config, row), split)
            if config == "rl":
                yield from self._rl(row, split)
            else:
                yield from self._checks[config](row)
        except ValidationError as error:
            yield f"it is no row of {config}: {first_fault(error)}"
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            yield f"it is no row of {config}: {type(error).__name__}: {error}"

    def _split_faults(self, seed: str, split: str) -> Iterator[str]:
        first = self._splits.setdefault(seed, split)
        if first != split:
            yield f"its seed {seed} stands in {first} and in {split}"

    def _sft(self, row: Row, *, linear: bool) -> Iterator[str]:
        protocol = self.manifest.protocols[row["execution"]]
        if row["fingerprint"] != protocol.fingerprint:
            yield f"its fingerprint {row['fingerprint']} is not {protocol.fingerprint}"
        if text_hash(row["system"])[:16] != protocol.prompt:
            yield "its system prompt is not its protocol's"
        if seed_of(row["trace_id"]) != row["seed"]:
            yield f"its trace {row['trace_id']} is none of seed {row['seed']}"
        texts = self.texts(row["trace_id"])
        yield from row_faults(row, texts, protocol.tools, linear=linear)
        if linear:
            self._expect_conversations(row, protocol)

    def _expect_conversations(self, row: Row, protocol: Protocol) -> None:
        text = assistant_text(row)
        steps = parse_steps(text, execution=row["execution"], tools=protocol.tools)
        question = unescape_world(row["question"], protocol.tools)
        trace = Trace(question=question, steps=steps, protocol=protocol)
        name = row["trace_id"]
        self._expected["messages", name] = text_hash(canonical(messages(trace, row["system"])))
        self._expected["sharegpt", name] = text_hash(canonical(sharegpt(trace)))
        self._expected["text", name] = text_hash(text)

    def _same(self, kind: str, name: str, value: object) -> Iterator[str]:
        if self._expected.get((kind, name)) != text_hash(canonical(value)):
            yield "it does not say what the row of sft-linear says"

    def _messages(self, row: Row) -> Iterator[str]:
        yield from self._same("messages", row["id"], row["messages"])
        if row["tools"] != TOOLS:
            yield "its tools are not those of the protocol"

    def _sharegpt(self, row: Row) -> Iterator[str]:
        yield from self._same("sharegpt", row["id"], row["conversations"])
        if text_hash(row["system"])[:16] not in self._prompts():
            yield "its system prompt is not its protocol's"

    def _prompts(self) -> set[str]:
        return {protocol.prompt for protocol in self.manifest.protocols.values()}

    def _preference(self, row: Row) -> Iterator[str]:
        gap = round(row["chosen_quality"] - row["rejected_quality"], 6)
        if gap != row["margin"] or gap <= 0:
            yield f"its margin is {row['margin']}, its qualities differ by {gap}"
        if {seed_of(row["chosen_id"]), seed_of(row["rejected_id"])} != {row["seed"]}:
            yield f"its candidates are not of seed {row['seed']}"
        if text_hash(row["prompt"][0]["content"])[:16] not in self._prompts():
            yield "its system prompt is not its protocol's"
        texts = [self._side(row, side) for side in ("chosen", "rejected")]
        if texts[0] == texts[1]:
            yield "both sides say the same"
        if row["thread"] == "run" and self._expected["text", row["chosen_id"]] != text_hash(
            texts[0]
        ):
            yield "its chosen side is not the row of sft-linear"
        for side, text in zip(("chosen", "rejected"), texts, strict=True):
            if row[side] != [{"role": "assistant", "content": text.strip()}]:
                yield f"its {side} message is not its {side} segments"
            yield from self._authors(row, side, text)

    def _side(self, row: Row, side: str) -> str:
        return "".join(segment["text"] for segment in row[f"{side}_segments"])

    def _authors(self, row: Row, side: str, text: str) -> Iterator[str]:
        """Sides may be of two executions: a subtask is the world's in one of them."""
        role = "planner" if row["thread"] == "plan" else None
        by_execution: list[Sequence[str]] = []
        for execution, protocol in self.manifest.protocols.items():
            steps = parse_steps(text, execution=execution, tools=protocol.tools)
            segments = row[f"{side}_segments"]
            if render_steps(steps, protocol.tools) == text:
                faults = author_faults(segments, steps, role, execution, protocol.tools)
                by_execution.append(list(faults))
        if all(by_execution):
            yield from (f"{side}: {fault}" for fault in min(by_execution, key=len, default=()))

    def _rl(self, row: Row, split: str) -> Iterator[str]:
        """The Parquet file's rows are what the JSON Lines file's make."""
        if "reward_model" not in row:
            expected = RLRow.of(RLQuestion.model_validate(row), 0, split)
            self._expected["rl", row["id"]] = text_hash(canonical(expected.model_dump(mode="json")))
            self._expected["question", row["id"]] = text_hash(canonical(row))
            return
        first = {**row, "extra_info": {**row["extra_info"], "index": 0}}
        if self._expected.get(("rl", row["extra_info"]["id"])) != text_hash(canonical(first)):
            yield "it is not what its line of the JSON Lines file makes"

    def _selection(self, row: Row) -> Iterator[str]:
        if self._expected.get(("question", row["seed"])) != row["question_sha256"]:
            yield "its question is not the one of rl"
        if not 0 <= row["accepted"] <= row["candidates"] or row["judged"] > row["candidates"]:
            yield "its counts do not fit"
        if row["judged"] and not row["lowest"] <= row["mean"] <= row["highest"]:
            yield "its mean is not between its scores"

    def _sources(self, row: Row) -> Iterator[str]:
        for source in row["sources"]:
            if self.manifest.page_text == "hash":
                if source["text"]:
                    yield f"source {source['id']} has text in a data set without page text"
            elif text_hash(source["text"]) != source["sha256"]:
                yield f"the text of source {source['id']} is not that of its hash"


def _seed(config: str, row: Row) -> str:
    if config == "rl":
        return str(row["extra_info"]["id"] if "extra_info" in row else row["id"])
    return str(row["seed"])
