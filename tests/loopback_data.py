"""`examples/end_to_end.sh` with a loopback OpenAI-compatible server as teacher and judge.

    python -m tests.loopback_data RUN_DIR

The server is the tests' own (real sockets, no network); it quotes what it is shown.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.helpers.openai_server import OpenAIServer
from tests.helpers.quoting_brain import QuotingBrain

SCRIPT = Path(__file__).parent.parent / "examples" / "end_to_end.sh"


def settings_for(base_url: str) -> dict[str, str]:
    """What differs from examples/datagen.yaml."""
    return {
        "generate.teachers": f"[{{name: loopback, model: fake, base_url: '{base_url}'}}]",
        "filter.allow_extractive": "false",
        "judge.by": "model",
        "judge.model": "fake",
        "judge.base_url": base_url,
        "judge.min_quality": "0.6",
        "export.allow_extractive": "false",
    }


def main(run: str) -> int:
    with OpenAIServer(QuotingBrain()) as server:
        settings = settings_for(server.base_url)
        changes = [f"--set={name}={value}" for name, value in settings.items()]
        done = subprocess.run([str(SCRIPT), run, *changes], check=False)
        sys.stdout.write(f"{len(server.requests)} requests were answered\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "out/data-loopback"))
