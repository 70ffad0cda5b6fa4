"""The proxies and certificates that the environment names, for every client alike."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from typing import Final
from urllib.request import getproxies

import httpx

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.keys import is_loopback
from oresearch_graph.redaction import brief

_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_VARIABLES: Final = ("all_proxy", "http_proxy", "https_proxy")


def uses_environment(url: str | None) -> bool:
    """False for a server of this machine where proxies are set: it is reached without them."""
    return not (url and is_loopback(url) and getproxies())


def tls_context() -> ssl.SSLContext:
    """The certificates to trust: those of SSL_CERT_FILE or SSL_CERT_DIR where one is set.

    Blocks for 45 ms when they are first read. Raises ConfigurationError for such that cannot be.
    """
    return _tls_context(*map(os.environ.get, _CERTIFICATES))


@lru_cache(maxsize=8)
def _tls_context(*_places: str | None) -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        name = next(filter(os.environ.get, _CERTIFICATES), "")
        raise ConfigurationError(
            f"the certificates of {name or 'this system'} cannot be read "
            f"({error.strerror or error}): correct the variable, or unset it"
        ) from error


def proxy_error(error: Exception) -> ConfigurationError:
    """The error for a proxy that a client cannot be made with."""
    names = [name for name in os.environ if name.lower() in _VARIABLES]
    fix = "pip install socksio" if isinstance(error, ImportError) else "correct it"
    return ConfigurationError(
        f"the proxy in {' or '.join(names) or 'the system settings'} cannot be used "
        f"({brief(error, 150)}): {fix}, or unset it"
    )
