"""The proxies and certificates that the environment names, for every client alike."""

from __future__ import annotations

import os
from typing import Final
from urllib.request import getproxies

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.keys import is_loopback
from oresearch_graph.redaction import brief

_VARIABLES: Final = ("all_proxy", "http_proxy", "https_proxy")


def uses_environment(url: str | None) -> bool:
    """False for a server of this machine where proxies are set: it is reached without them."""
    return not (url and is_loopback(url) and getproxies())


def proxy_error(error: Exception) -> ConfigurationError:
    """The error for a proxy that a client cannot be made with."""
    names = [name for name in os.environ if name.lower() in _VARIABLES]
    fix = "pip install socksio" if isinstance(error, ImportError) else "correct it"
    return ConfigurationError(
        f"the proxy in {' or '.join(names) or 'the system settings'} cannot be used "
        f"({brief(error, 150)}): {fix}, or unset it"
    )
