"""Settings as forms send them."""

from __future__ import annotations

import pytest

from oresearch_graph.settings import ResearchSettings, resolve_settings


def test_a_field_that_a_form_left_empty_is_not_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORESEARCH_MAX_STEPS", "7")
    form = ResearchSettings.model_validate(
        {"model": "", "language": "", "max_steps": "", "outline": "", "effort": "quick"}
    )
    assert form.model_fields_set == {"effort"}
    assert resolve_settings(form).limits.steps == 7
