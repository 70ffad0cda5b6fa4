"""Start-up rules about what rollouts ask for: the judge and the documents."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.keys import Address, environment_key, is_real, require_privacy
from oresearch_graph.redaction import public_name
from rl.launch.problem import Launch, Problem
from rl.settings import JudgeSettings
from rl.tools.training_tools import check_documents

_SECONDS: Final = 5.0
"""How long the judge's server may take to accept a connection."""


def judge_is_there(launch: Launch) -> Iterator[Problem]:
    """A model judge has a model, and a server that answers."""
    judge = launch.settings.judge
    if judge.kind != "model" or launch.settings.reward.quality == 0:
        return
    if not judge.model:
        yield Problem(
            "oresearch.judge.model",
            "kind=model names no model: nothing would give quality",
            "oresearch.judge.model=… oresearch.judge.base_url=…, or judge.kind=key_points",
        )
        return
    try:
        key = environment_key("OPENAI_API_KEY")
    except ConfigurationError as error:
        yield Problem("OPENAI_API_KEY", str(error), "export OPENAI_API_KEY anew")
        return
    if not judge.base_url and not key:
        yield Problem(
            "oresearch.judge.base_url",
            f"{judge.model} has no server and OPENAI_API_KEY is not set",
            "oresearch.judge.base_url=http://host:port/v1, or set OPENAI_API_KEY",
        )
    yield from _servers(judge, launch.dry_run)
    if is_real(key):
        yield from _in_clear(judge)


def _in_clear(judge: JudgeSettings) -> Iterator[Problem]:
    """The key goes to other machines by https only."""
    for name in ("base_url", "second_base_url"):
        if address := Address.of(getattr(judge, name) or ""):
            try:
                require_privacy(address.url, "OPENAI_API_KEY")
            except ConfigurationError as error:
                fix = "https, ORESEARCH_ALLOW_PLAIN_HTTP=1, or OPENAI_API_KEY set to EMPTY"
                yield Problem(f"oresearch.judge.{name}", str(error), fix)


def _servers(judge: JudgeSettings, dry_run: bool) -> Iterator[Problem]:
    named = {"base_url": judge.base_url, "second_base_url": judge.second_base_url}
    for name, url in named.items():
        if url and (why := _unreachable(url)):
            yield Problem(
                f"oresearch.judge.{name}",
                f"{public_name(url)} {why}",
                "start the judge's server, or correct the address",
                refused=not dry_run,
            )


def _unreachable(url: str) -> str | None:
    """Why no connection can be made; None if it can."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "is not an address"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "is not an address: it begins with http:// or https://"
    try:
        with socket.create_connection((parts.hostname, port), timeout=_SECONDS):
            return None
    except OSError as error:
        return f"cannot be reached ({error.strerror or error})"


def documents_are_there(launch: Launch) -> Iterator[Problem]:
    """The tools' folder, record, service or key is there."""
    try:
        check_documents(launch.settings)
    except OresearchError as error:
        source = launch.settings.tools.source
        key = "address" if source == "service" and launch.settings.tools.address else "path"
        setting = "research.search" if source == "live" else f"tools.{key}"
        fix = "correct it, or take the embedded documents: oresearch.tools.source=python"
        yield Problem(f"oresearch.{setting}", str(error), fix)


def extras_fit(launch: Launch) -> Iterator[Problem]:
    """A rollout's time limits contain each other."""
    seconds = launch.settings.seconds
    for inner, outer in (("call", "branch"), ("branch", "rollout"), ("rollout", "step")):
        within, allowed = getattr(seconds, inner), getattr(seconds, outer)
        if within > allowed:
            yield Problem(
                f"oresearch.seconds.{inner}",
                f"{within:g} s is longer than seconds.{outer} = {allowed:g} s, which ends it first",
                f"oresearch.seconds.{inner}={allowed:g}",
            )


RULES = (judge_is_there, documents_are_there, extras_fit)
