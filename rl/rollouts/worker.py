"""What one agent-loop process shares between its rollouts, and how a rollout ends: scored with
its rows, or dropped with its reason. Knows nothing of verl's classes, so tests and the rehearsal
run it with an engine of their own."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from oresearch_graph.errors import ConfigurationError, JudgeError, TraceFileError
from oresearch_graph.graph.boundary import failure_of
from oresearch_graph.tools.choose import Documents
from oresearch_graph.tools.single_flight import SingleFlight
from oresearch_graph.trace import Trace, TraceWriter
from rl.rollouts.graph import Rollout, RolloutGraph
from rl.rollouts.judges import JudgeAudit, judge_from
from rl.rollouts.ledger_policy import Engine, LedgerPolicy, Sampling
from rl.rollouts.log import NOTHING_SAMPLED, RolloutReports
from rl.rollouts.reward import RewardJudge, RewardParts, spoiled_by
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.token_ledger import TokenRow
from rl.settings import RLSettings
from rl.tools.documents import open_documents
from rl.tools.training_tools import shuffled, training_tools

_log = logging.getLogger("oresearch.rl")
VALIDATION: Final = frozenset(("val", "validation", "test", "held_out"))
"""Values of a row's `extra_info.split` that mark it as one of validation."""


def spare_collector() -> None:
    """Keep Python's cycle collector off what lives as long as the process: call it once, when all
    is imported. Measured with 256 rollouts at one time: 1.6 of 6.2 ms CPU per model call went into
    going through 600,000 objects of imported modules; with this 0.35."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@dataclass(frozen=True)
class ScoredRollout:
    """A rollout that is trained on: its rows, its reward, and what is logged of it."""

    rollout: Rollout
    rows: list[TokenRow]
    parts: RewardParts
    info: dict[str, float | None]
    """verl's `reward_extra_info`: the same keys for every rollout."""


class RolloutWorker:
    """Runs rollouts. One per process and event loop."""

    def __init__(
        self,
        settings: RLSettings,
        tokens: ThreadTokens,
        log: RolloutReports,
        *,
        model: str = "policy",
        judge: RewardJudge | None = None,
        documents: Documents | None = None,
        policy: type[LedgerPolicy] | None = None,
    ) -> None:
        """`documents` and `judge` stand in for what the settings name, `policy` for the one that
        asks the engine."""
        self.settings, self.tokens, self.log, self.model = settings, tokens, log, model
        self.graph = RolloutGraph(settings, model)
        self.judge = judge or RewardJudge(
            settings.reward, judge_from(settings.judge), JudgeAudit.of(settings.audit)
        )
        self._documents, self._policy = documents, policy
        self._openings = SingleFlight[Documents](goes_on=True)
        places = settings.rollouts_at_once
        self._places = nullcontext() if places is None else asyncio.Semaphore(places)
        self._writers: dict[Path, TraceWriter] = {}
        self._writing, self._warned = threading.Lock(), False

    async def rollout(
        self, row: Mapping[str, Any], engine: Engine, sampling: Sampling
    ) -> ScoredRollout | None:
        """One rollout of a row of verl's data; None when it is dropped. The log is told both.

        Raises ConfigurationError, which every rollout would meet, and nothing else.
        """
        question, validate = str(row["raw_prompt"][-1]["content"]), _split(row) in VALIDATION
        uid, session = str(row.get("uid", "")), int(row.get("session_id", 0))
        failures, calls, scored = dict[str, int](), dict[str, int](), None
        begun = False
        try:
            async with self._places:  # the rollout's clocks begin behind it
                self.log.begin(uid, session, question, int(row.get("global_steps", 0)), validate)
                begun = True
                rollout = await self._run(question, row, engine, sampling)
            scored = await self._scored_and_kept(rollout, row, failures, calls)
        except ConfigurationError:
            failures["infrastructure.configuration"] = 1
            raise
        except asyncio.CancelledError:
            failures["infrastructure.cancelled"] = 1
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a rollout: it is dropped, named
            _log.exception("a rollout failed outside its graph: %r", question[:200])
            failure = failure_of(error, "planner", None)
            failures[f"{failure.fault}.{failure.name}"] = 1
        finally:
            if begun:
                self.log.report(uid, session, "kept" if scored else "dropped", failures, calls)
        return scored

    async def _scored_and_kept(
        self, rollout: Rollout, row: Mapping[str, Any], failures: dict[str, int],
        calls: dict[str, int],
    ) -> ScoredRollout | None:  # fmt: skip
        """Tells what happened in `failures` and `calls`."""
        failures.update(rollout.failures)
        calls["web_search"] = rollout.tools.counts.searches
        calls["crawl_page"] = rollout.tools.counts.pages
        scored = await self._score(rollout, row, failures)
        await self._keep(rollout, scored, row, failures)
        return scored

    async def _run(
        self, question: str, row: Mapping[str, Any], engine: Engine, sampling: Sampling
    ) -> Rollout:
        tools = training_tools(self.settings, await self._open())
        if other := (row.get("extra_info") or {}).get("search_instead"):
            tools = shuffled(tools, str(other))
        sequential = self.settings.research_settings.execution == "sequential"
        policy = (self._policy or LedgerPolicy)(
            engine, self.tokens, sampling, name=self.model,
            keep_room=sampling.report_tokens if sequential else 0,
        )  # fmt: skip
        return await self.graph.run(question, policy, tools)

    async def _open(self) -> Documents:
        """The documents, opened once; rollouts that begin meanwhile wait for the same opening and
        share its fault."""
        if self._documents is None:
            return await self._openings.of("documents", self._load_documents)
        return self._documents

    async def _load_documents(self) -> Documents:
        self._documents = await asyncio.to_thread(open_documents, self.settings)
        return self._documents

    async def _score(
        self, rollout: Rollout, row: Mapping[str, Any], failures: dict[str, int]
    ) -> ScoredRollout | None:
        """None, with the reason among the failures, where nothing may be trained on."""
        trace, rows = rollout.trace, rollout.rows
        if trace is None or spoiled_by(trace) is not None:
            return None
        if not rows:
            failures[NOTHING_SAMPLED] = 1
            return None
        try:
            parts = await self.judge.score(trace, row)
        except JudgeError:
            failures["infrastructure.judge_error"] = 1
            return None
        return ScoredRollout(rollout, rows, parts, _info(rollout, rows, parts))

    async def _keep(
        self, rollout: Rollout, scored: ScoredRollout | None, row: Mapping[str, Any],
        failures: Mapping[str, int],
    ) -> None:  # fmt: skip
        """Trace and reward as files, where the settings ask for them. A full disk costs no
        rollout: it is told once."""
        if self.settings.traces is None or rollout.trace is None:
            return
        step = f"step_{int(row.get('global_steps', 0)):06d}"
        split = "validation" if _split(row) in VALIDATION else "train"
        file = self.settings.traces / step / f"{split}-{os.getpid()}.jsonl"
        line = {
            "trace_id": rollout.trace.id,
            "failures": failures,
            "reward": scored.info if scored else None,
        }
        try:
            await asyncio.to_thread(self._write, file, rollout.trace, line)
        except (TraceFileError, OSError) as error:
            if not self._warned:
                _log.warning("traces of rollouts are not kept: %s", error)
            self._warned = True

    def _write(self, file: Path, trace: Trace, line: Mapping[str, Any]) -> None:
        with self._writing:
            if file not in self._writers:
                while self._writers:  # forgotten before the next is opened, which may fail
                    self._writers.popitem()[1].close()
                self._writers[file] = TraceWriter(file)
            self._writers[file].write(trace)
            with file.with_suffix(".rewards").open("a", encoding="utf-8") as rewards:
                rewards.write(json.dumps(line) + "\n")


def _info(rollout: Rollout, rows: list[TokenRow], parts: RewardParts) -> dict[str, float | None]:
    stops = [stop for row in rows for stop in row.stops]
    return {
        **parts.as_floats(),
        "truncations": float(stops.count("length")),
        "turns_without_tag": float(stops.count("end")),
        "prefix_breaks": float(rollout.policy.ledger.prefix_breaks),
        "rows": float(len(rows)),
        "sampled_tokens": float(sum(row.sampled for row in rows)),
        "model_calls": float(len(stops)),
        "engine_retries": float(rollout.policy.counts.retries),
        "seconds": rollout.seconds,
        "partial": float(rollout.trace is not None and rollout.trace.outcome != "complete"),
    }


def _split(row: Mapping[str, Any]) -> str:
    return str((row.get("extra_info") or {}).get("split", "train"))
