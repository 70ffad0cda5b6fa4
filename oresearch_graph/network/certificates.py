"""Whose certificates are trusted: those that SSL_CERT_FILE and SSL_CERT_DIR name, else those of
REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, else httpx's own list."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Final

import httpx

from oresearch_graph.errors import ConfigurationError

_OPENSSL: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_BUNDLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def certificate_variables() -> tuple[str, ...]:
    """The variables that say whom to trust; none: the usual list counts."""
    variables = tuple(filter(os.environ.get, _OPENSSL))
    return variables or tuple(filter(os.environ.get, _BUNDLES))[:1]


def tls_context() -> ssl.SSLContext:
    """What every TLS connection of ours is checked by.

    Blocks for 45 ms when certificates are first read. Raises ConfigurationError for such that
    cannot be.
    """
    return _tls_context(tuple((name, os.environ[name]) for name in certificate_variables()))


@lru_cache(maxsize=8)
def _tls_context(places: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    if not places:
        return httpx.create_ssl_context(trust_env=False)
    files = {name: place for name, place in places if _is_file(name, place)}
    folders = [place for name, place in places if name not in files]
    try:
        return ssl.create_default_context(
            cafile=next(iter(files.values()), None), capath=next(iter(folders), None)
        )
    except ssl.SSLError:
        raise _unreadable(next(iter(files), ""), "it holds no certificate in PEM") from None


def _is_file(name: str, place: str) -> bool:
    """False for folders, of which SSL_CERT_DIR may name several. Raises ConfigurationError for
    what is not there: OpenSSL does not say so."""
    folders = place.split(os.pathsep) if name == "SSL_CERT_DIR" else [place]
    if name != "SSL_CERT_FILE" and any(Path(folder).is_dir() for folder in folders):
        return False
    if name == "SSL_CERT_DIR":
        raise _unreadable(name, "there is no such folder")
    try:
        with Path(place).open("rb"):
            return True
    except OSError as error:
        raise _unreadable(name, error.strerror or "it cannot be opened") from None


def _unreadable(name: str, why: str) -> ConfigurationError:
    what = "a folder made by `openssl rehash`" if name == "SSL_CERT_DIR" else "a file in PEM"
    return ConfigurationError(
        f"the certificates of {name} cannot be read ({why}): name {what}, or unset it"
    )
