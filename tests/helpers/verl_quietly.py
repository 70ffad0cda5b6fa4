"""Imports verl's trainer once without its warnings, which are of what is not installed.

Warnings are errors in these tests, and those of an import are not the test's own. Import this
module before any other that imports verl's trainer.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import verl.trainer.ppo.v1  # noqa: F401
