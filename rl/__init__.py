"""The research graph as a reinforcement-learning environment: verl's, and one of verifiers, which
looks for what it loads in a package's `__all__`."""

from importlib import import_module
from typing import Any, Final

_OF_VERIFIERS: Final = {
    "ResearchEnv": "rl.environment.harness",
    "ResearchHarness": "rl.environment.harness",
    "ResearchTaskset": "rl.environment.taskset",
}
__all__ = ["ResearchEnv", "ResearchHarness", "ResearchTaskset"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - classes of a package that need not be there
    if name not in _OF_VERIFIERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_OF_VERIFIERS[name]), name)
