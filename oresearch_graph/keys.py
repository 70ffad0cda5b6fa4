"""Keys and the addresses they are sent to: stripped and checked before the first call, and never in
clear over a network, unless a setting says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.known_secrets import is_secret_name, remember, remember_within
from oresearch_graph.redaction import brief, redacted

NO_KEY: Final = "none-needed"
"""Sent where a client insists on a key and the server wants none."""
_PLACEHOLDERS: Final = frozenset((
    "dummy", "lm-studio", "no-key", "none", "none-needed", "not-needed", "null", "ollama",
    "sk-no-key-required",
))  # fmt: skip
_SHORTEST: Final = 6
PLAIN_HTTP: Final = "ORESEARCH_ALLOW_PLAIN_HTTP"


def usable_key(value: str, name: str) -> str:
    """The key without the blanks, line ends and quotation marks that copying adds; empty where
    nothing is left. `name` is the variable or setting that holds it.

    Raises ConfigurationError, which does not show it, for what no HTTP header can carry.
    """
    key = value.strip().strip("\"'").strip()
    if any(not "!" <= character <= "~" for character in key):
        raise ConfigurationError(
            f"{name} is no key: it holds a line break, a blank or a character outside ASCII; copy "
            "it anew"
        )
    remember(key)
    return key


def environment_key(name: str) -> str:
    """The key in a variable; empty without one. Raises ConfigurationError."""
    return usable_key(os.environ.get(name, ""), name)


def is_real(key: str) -> bool:
    """False for the words that people give to servers that want no key."""
    return len(key) >= _SHORTEST and key.lower() not in _PLACEHOLDERS


def revealed(value: Any) -> Any:  # noqa: ANN401 - parameters of a model call, whatever they hold
    """The value with the text of every `SecretStr` in it in its place."""
    if isinstance(value, Mapping):
        return {key: revealed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [revealed(each) for each in value]
    reveal = getattr(type(value), "get_secret_value", None)
    return reveal(value) if callable(reveal) else value


class Address(NamedTuple):
    """A server's address, and the user and password that were written in it."""

    url: str
    """Without them."""
    user: str = ""
    password: str = ""

    @classmethod
    def of(cls, text: str) -> Address | None:
        """None for a text that is no http(s) address. What it gives away is withheld from then
        on."""
        remember_within(text)
        try:
            parts = urlsplit(text.strip())
            host, _ = parts.hostname, parts.port
        except ValueError:
            return None
        if parts.scheme not in ("http", "https") or not host:
            return None
        netloc = parts.netloc.rpartition("@")[2]
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts._replace(netloc=netloc).geturl(), user, password)

    @property
    def gives_key(self) -> bool:
        return bool(self.user or self.password)


def shown_address(text: str) -> str:
    """What was given as an address and may be none, in quotes: whatever stands before its last @
    may be a password."""
    before, at, host = text.rpartition("@")
    return brief(repr(f"…@{host}" if at and before else text), 100)


def require_privacy(url: str, what: str, *, allowed: bool | None = None) -> None:
    """Raise ConfigurationError where a key (`what` names it) would cross a network in clear.

    `allowed` is the setting `allow_plain_http`; None: as its variable says.
    """
    if allowed is None:
        allowed = os.environ.get(PLAIN_HTTP, "").strip().lower() in ("1", "true", "yes", "on")
    if not allowed and urlsplit(url).scheme == "http" and not is_loopback(url):
        raise ConfigurationError(
            f"{what} would be sent to {url} unencrypted: use https, or set allow_plain_http "
            f"({PLAIN_HTTP}=1) for a network that you trust"
        )


def require_private_connections(servers: Mapping[str, Mapping[str, Any]]) -> None:
    """The same for MCP connections: their headers and addresses may hold keys."""
    remember_within(servers)
    for name, connection in servers.items():
        address = Address.of(str(connection.get("url") or ""))
        headers = connection.get("headers") or {}
        if address and (address.gives_key or any(is_secret_name(str(each)) for each in headers)):
            require_privacy(address.url, f"the key of the MCP server {name}")


def is_loopback(url: str) -> bool:
    """True for a server on this machine, which wants no key."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def hidden(value: Any) -> Any:  # noqa: ANN401 - parameters of a model call, whatever they hold
    """The parameters with each text under a secret's name as `SecretStr`."""
    if isinstance(value, Mapping):
        return {
            name: SecretStr(each)
            if isinstance(each, str) and is_secret_name(str(name))
            else hidden(each)
            for name, each in value.items()
        }
    return [hidden(each) for each in value] if isinstance(value, list) else value


def holds_secret(value: object) -> bool:
    """A key stands in it somewhere."""
    if isinstance(value, Mapping):
        return any(map(holds_secret, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_secret, value))
    return isinstance(value, SecretStr) or (isinstance(value, str) and redacted(value) != value)
