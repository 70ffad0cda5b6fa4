"""The environment of every process of a run, set before verl is imported: it chooses its platform
at import and only once."""

from __future__ import annotations

import os
import uuid


def prepare_environment(device: str) -> dict[str, str]:
    """Set what a run on this device needs in this process, and return it for the others.

    A variable that is set already stays as it is.
    """
    if device != "cpu":
        return {}
    # verl/plugin/platform/platform_manager.py reads both while it is imported.
    os.environ.setdefault("VERL_PLATFORM", "cpu")
    os.environ.setdefault("VERL_USE_EXTERNAL_MODULES", "rl.cpu.platform")
    from rl.cpu.platform import ENVIRONMENT, RUN_ID

    needed = {**ENVIRONMENT, RUN_ID: uuid.uuid4().hex[:8]}
    for name, value in needed.items():
        os.environ.setdefault(name, value)
    return {name: os.environ[name] for name in needed}
