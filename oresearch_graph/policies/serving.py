"""What the servers of a run's models can do, and what a run makes of it.

Defaults are meant for a fast API. A server with few slots or few tokens a second, as people run
them on a laptop, gets short prompts by role, small bounds, small observations, one branch at a
time and more seconds; a short context gets observations and bounds that fit it. Whatever was set
explicitly holds. The branches of a run wait for the slots of a server in a `BranchQueue`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from oresearch_graph.limits import Bounds, Effort, Limits
from oresearch_graph.records import stored
from oresearch_graph.settings import ResearchSettings

SLOW: Final = 40.0
"""Tokens a second; below it a server is slow."""


@stored
class Serving(BaseModel):
    """How a run's models are served. A resumed run goes on as it started."""

    model_config = ConfigDict(frozen=True)

    slots: int | None = None
    """Requests that the servers work on at one time."""
    pace: float | None = None
    """Tokens a second of a reply."""
    reading: float | None = None
    """Tokens a second of a prompt that is not cached."""
    batches: bool = False
    """They work on many requests at once, as servers of large models do."""
    grammar: bool = False
    """They hold a reply to a grammar."""
    context: int | None = None
    """Tokens that one request may hold, prompt and reply together."""

    @property
    def slow(self) -> bool:
        return self.pace is not None and self.pace < SLOW

    def few(self, branches: int) -> bool:
        """True when so many branches have to wait for each other."""
        return self.slots is not None and self.slots < branches

    @classmethod
    def least(cls, servers: Iterable[Serving]) -> Serving:
        """The slowest of several servers in each respect."""
        every = list(servers)

        def least(name: str) -> Any:  # noqa: ANN401 - of the field's type
            return min(filter(None, (getattr(each, name) for each in every)), default=None)

        return cls(
            slots=least("slots"), pace=least("pace"), reading=least("reading"),
            context=least("context"),
            batches=bool(every) and all(each.batches for each in every),
            grammar=bool(every) and all(each.grammar for each in every),
        )  # fmt: skip


@runtime_checkable
class ServedPolicy(Protocol):
    """A policy whose model a server runs."""

    async def serving(self) -> Serving: ...


class _Small(NamedTuple):
    """An effort's figures on a small server."""

    seconds: float
    subtasks: int
    steps: int
    tool_calls: int
    observation_tokens: int
    results: int
    bounds: Bounds


_SMALL: Final[dict[Effort, _Small]] = {
    "quick": _Small(300.0, 3, 3, 2, 450, 3, Bounds(120, 180, 180, 420)),
    "standard": _Small(1_800.0, 4, 5, 4, 700, 4, Bounds(160, 240, 320, 900)),
    "deep": _Small(7_200.0, 6, 8, 6, 900, 5, Bounds(240, 320, 500, 1_600)),
}
_TEMPERATURE: Final = 0.0
"""Small models wander at the servers' own 0.7 or 0.8."""


_SHARES: Final = {"planner": 8, "turn": 8, "answer": 8, "report": 4}
"""Of a context: an eighth of it for a turn, and so on."""
_OBSERVATION: Final = 5


def adapted(settings: ResearchSettings, serving: Serving) -> ResearchSettings:
    """The settings as a run on such servers has them; what was set explicitly stays."""
    paced = _paced(settings, serving)
    return paced if serving.context is None else _fitted(paced, settings, serving.context)


def _fitted(paced: ResearchSettings, explicit: ResearchSettings, context: int) -> ResearchSettings:
    """With observations and bounds that leave a thread room in the context."""
    limits, changes = paced.limits, dict[str, Any]()
    fitting = {part: max(64, context // share) for part, share in _SHARES.items()}
    bounds = {
        part: fitting[part]
        for part, bound in limits.bounds._asdict().items()
        if bound > fitting[part] and part not in explicit.bounds
    }
    if bounds:
        changes["bounds"] = {**paced.bounds, **bounds}
        if "continuations" not in explicit.model_fields_set:
            changes["continuations"] = min(paced.continuations, 1)
    tokens = max(100, context // _OBSERVATION)
    if tokens < limits.observation_tokens and "observation_tokens" not in explicit.model_fields_set:
        changes["observation_tokens"] = tokens
    return paced.model_copy(update=changes) if changes else paced


def _paced(settings: ResearchSettings, serving: Serving) -> ResearchSettings:
    """As slots and pace have them."""
    few = serving.slots is not None and serving.few(settings.limits.subtasks)
    if not (serving.slow or few):
        return settings
    small, explicit = _SMALL[settings.effort], settings.model_fields_set
    if serving.batches and not few:
        names = {"max_seconds", "model_timeout"} - explicit
        return settings.model_copy(update=dict.fromkeys(names, small.seconds))
    defaults: dict[str, Any] = {
        "max_subtasks": small.subtasks,
        "max_steps": small.steps,
        "max_tool_calls": small.tool_calls,
        "observation_tokens": small.observation_tokens,
        "results_per_query": small.results,
        "corrections": 1,
        "continuations": 2,
        "temperature": _TEMPERATURE,
    }
    if serving.slow:
        defaults |= {"max_seconds": small.seconds, "model_timeout": small.seconds}
        defaults["subtask_timeout"] = max(settings.subtask_timeout, small.seconds)
    if few or serving.slots is None:
        defaults["branches_at_once"] = serving.slots or 1
    changes = {name: value for name, value in defaults.items() if name not in explicit}
    changes["bounds"] = {**small.bounds._asdict(), **settings.bounds}
    if settings.prompt_style == "auto":
        changes["prompt_style"] = "roles"
    changed = settings.model_copy(update=changes)
    return changed if "max_subtasks" in explicit else _affordable(changed, serving)


def forecast(limits: Limits, serving: Serving) -> float | None:
    """Seconds that a run will take at this pace; None where that is not known."""
    if serving.pace is None:
        return None
    reading = serving.reading or 4 * serving.pace
    bounds, output_tokens, input_tokens = limits.bounds, 0.0, 0.0
    turns = min(limits.steps, 2)
    output_tokens += _SHARE * bounds.planner + limits.subtasks * turns * _SHARE * bounds.turn
    output_tokens += _SHARE * bounds.report
    input_tokens += _PROMPT * (2 + limits.subtasks) + limits.subtasks * (turns - 1) * (
        limits.observation_tokens + _TASK
    )
    input_tokens += limits.subtasks * _SHARE * bounds.turn
    return output_tokens / serving.pace + input_tokens / reading


_SHARE: Final = 0.6
"""Of a bound that a text usually takes."""
_PROMPT: Final = 250
"""Tokens of a role's prompt and question."""
_TASK: Final = 100
"""Tokens that come with an observation: addresses, the task."""


def _affordable(settings: ResearchSettings, serving: Serving) -> ResearchSettings:
    """With as many subtasks as the time allows."""
    limits = settings.limits
    subtasks = limits.subtasks
    while subtasks > 1:
        seconds = forecast(limits._replace(subtasks=subtasks), serving)
        if seconds is None or seconds <= limits.seconds:
            break
        subtasks -= 1
    return settings.model_copy(update={"max_subtasks": subtasks})


class BranchQueue:
    """Lets so many branches work at one time, the lowest first; a branch keeps its place over all
    its steps. Where a server has fewer slots than there are branches, each call of another branch
    would drop what the server remembers of this one. One event loop owns it."""

    def __init__(self, places: int | None) -> None:
        """`places`: None lets all work at once."""
        self.places = places
        self._inside: set[int] = set()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @contextmanager
    def held(self, branch: int) -> Iterator[None]:
        """A step that fails for good gives the branch's place up."""
        try:
            yield
        except BaseException:
            self.leave(branch)
            raise

    async def enter(self, branch: int, seconds: float) -> bool:
        """Wait for a place, so many seconds; False: none came free."""
        if self.places is None or branch in self._inside:
            return True
        if len(self._inside) >= self.places:
            turn = branch, asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await asyncio.wait_for(turn[1], seconds)
            except TimeoutError:
                return False
            finally:
                self._waiting.remove(turn)
            return True  # whoever left has given it the place
        self._inside.add(branch)
        return True

    def leave(self, branch: int) -> None:
        """Give the branch's place, if it has one, to the next branch."""
        if branch not in self._inside:
            return
        self._inside.remove(branch)
        for number, future in sorted(self._waiting, key=lambda turn: turn[0]):
            if not future.done() and not future.get_loop().is_closed():
                self._inside.add(number)
                future.set_result(None)
                return

    def clear(self) -> None:
        """No branch is at work: whoever held a place was abandoned."""
        self._inside.clear()
