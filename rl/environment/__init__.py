"""The graph as an environment of verifiers: taskset and harness."""

from typing import Final

TRACE: Final = "oresearch"
"""Our Trace stands as JSON under this key of `info` of verifiers' trace."""
