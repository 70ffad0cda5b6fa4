"""What tests of training get."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test may not start Ray, and does not depend on the platform that another one chose."""
    import ray

    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("a worker was about to start"))
    yield
    assert not ray.is_initialized()
