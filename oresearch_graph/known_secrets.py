"""The secrets this process knows, in every spelling, so that they can be withheld from what is kept
or shown.

They are the values of environment variables whose names say so, what our own code was given as a
key, and what an embedder's models and tools carry. Nothing here is written down anywhere.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from types import FunctionType, ModuleType
from typing import Final
from urllib.parse import quote, quote_plus, unquote

MARK: Final = "[redacted]"
"""Stands where a secret stood."""
_FROM_ENVIRONMENT: Final = 8
"""Characters: a shorter value of a variable is no key, and withholding it would eat words."""
_GIVEN: Final = 6
_MOST: Final = 256
"""Secrets remembered at one time; a server of many tenants forgets the oldest."""
_DEPTH, _OBJECTS = 5, 3_000
"""How far an embedder's object is looked through."""

_WORDS: Final = frozenset((
    "apikey", "authorization", "bearer", "cookie", "credential", "credentials", "pat", "passphrase",
    "passwd", "password", "secret", "secrets",
))  # fmt: skip
_KINDS_OF_KEY: Final = frozenset((
    "access", "api", "auth", "encryption", "master", "private", "secret", "signing", "subscription",
))  # fmt: skip
_TOKENS_OF_TEXT: Final = frozenset((
    "bos", "cls", "end", "eos", "image", "mask", "pad", "sep", "start", "stop", "unk",
))  # fmt: skip
_NOT_ITSELF: Final = frozenset((
    "dir", "endpoint", "env", "expires", "expiry", "file", "header", "ids", "limit", "name", "path",
    "type", "ttl", "uri", "url", "variable",
))  # fmt: skip
"""Last words of names of things about a secret."""
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_USERINFO: Final = re.compile(r"://([^\s/?#]{1,512})@")

_given: OrderedDict[str, None] = OrderedDict()
_lock: Final = threading.Lock()


@lru_cache(maxsize=4_096)
def is_secret_name(name: str) -> bool:
    """True for the name of a variable, field, header or parameter that holds a secret."""
    words = [word for word in re.split(r"[\W_]+", _CAMEL.sub("_", name[:200]).lower()) if word]
    if not words or words[-1] in _NOT_ITSELF:
        return False
    if not _WORDS.isdisjoint(words) or words[-1].endswith(("apikey", "authtoken", "accesstoken")):
        return True
    pairs = list(zip(["", *words], words, strict=False))
    return any(
        (word == "key" and before in _KINDS_OF_KEY)
        or (word == "token" and before not in _TOKENS_OF_TEXT)
        for before, word in pairs
    )


def looks_random(text: str) -> bool:
    """Letters and digits in one word: a key or a hash, no word of a language."""
    return (
        len(text) >= 12
        and not any(map(str.isspace, text))
        and any(map(str.isdigit, text))
        and any(map(str.isalpha, text))
    )


def remember(*secrets: str) -> None:
    """Withhold these from now on."""
    _keep(secrets)


def remember_within(*values: object) -> None:
    """Withhold from now on what these carry: a chat model, a tool, headers, settings, an address
    with a password."""
    for value in values:
        _keep(secrets_in(value))


def secrets_in(value: object) -> Iterator[str]:
    """The secrets in an object: `SecretStr` anywhere in it, texts under names of secrets, user and
    password of addresses."""
    visited: set[int] = set()
    waiting: list[tuple[str, object, int]] = [("", value, 0)]
    while waiting and len(visited) < _OBJECTS:
        name, value, depth = waiting.pop()
        if callable(reveal := getattr(type(value), "get_secret_value", None)):
            value, name = reveal(value), "secret"
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            yield from _in_text(name, value)
        elif value is not None and depth < _DEPTH and id(value) not in visited:
            visited.add(id(value))
            waiting += [(key or name, each, depth + 1) for key, each in _parts(value)]


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((str(key), each) for key, each in list(value.items()))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (("", each) for each in list(value))
    elif not isinstance(value, type | FunctionType | ModuleType | int | float):
        for fields in (
            getattr(value, "__dict__", None),
            getattr(value, "__pydantic_extra__", None),
        ):
            if isinstance(fields, dict):
                yield from ((str(key), each) for key, each in list(fields.items()))


def _in_text(name: str, text: str) -> Iterator[str]:
    weak = name.strip("_").lower() in ("key", "auth") and looks_random(text)
    if weak or is_secret_name(name):
        yield from _credentials(text)
    for match in _USERINFO.finditer(text[:10_000]):
        user, colon, password = match[1].partition(":")
        yield from (password, unquote(password)) if colon else (user, unquote(user))
        if colon:
            yield base64.b64encode(unquote(match[1]).encode()).decode()


def _credentials(text: str) -> Iterator[str]:
    """The value of an Authorization header and the like: whole, and without its scheme."""
    yield text
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() in ("bearer", "token", "basic", "digest"):
        yield rest
    if scheme.lower() == "basic":
        try:
            yield base64.b64decode(rest).decode().partition(":")[2]
        except ValueError:
            return


def _keep(secrets: Iterable[str]) -> None:
    with _lock:
        for secret in secrets:
            if len(bare := secret.strip()) >= _GIVEN and not bare.startswith(MARK):
                _given[bare] = None
                _given.move_to_end(bare)
        while len(_given) > _MOST:
            _given.popitem(last=False)


Secrets = tuple[str, ...]


def known_secrets() -> Secrets:
    """Every secret known at this moment, the longest first."""
    with _lock:
        secrets = set(_given)
    for name, value in os.environ.items():
        bare = value.strip().strip("\"'")
        if len(bare) < _FROM_ENVIRONMENT:
            continue
        if is_secret_name(name) or (name.endswith("_KEY") and looks_random(bare)):
            secrets |= {each for each in _credentials(bare) if len(each) >= _FROM_ENVIRONMENT}
        elif "://" in bare:
            secrets |= {each for each in _in_text("", bare) if len(each) >= _FROM_ENVIRONMENT}
    return tuple(sorted(secrets, key=lambda secret: (-len(secret), secret)))


def without_known(text: str) -> str:
    """The text with `MARK` for every known secret, however it is spelled, and for its beginning or
    end where somebody has cut it. All else stays: a page may show keys that are not ours."""
    return _without(text, known_secrets())


def all_without_known(*texts: str, secrets: Secrets | None = None) -> tuple[str, ...]:
    """Each text so. `secrets`: what is known, where it was looked up before."""
    secrets = known_secrets() if secrets is None else secrets
    return tuple(_without(text, secrets) for text in texts)


def _without(text: str, secrets: Secrets) -> str:
    for spelling in _spellings(secrets):
        if spelling in text:
            text = text.replace(spelling, MARK)
    for secret in secrets:
        text = _without_cut(text, secret)
    return text


@lru_cache(maxsize=16)
def _spellings(secrets: Secrets) -> tuple[str, ...]:
    """As written, in URLs, JSON, HTML and base64, the longest first."""
    spellings = {each for secret in secrets for each in _spelled(secret)}
    return tuple(sorted(spellings, key=lambda spelling: (-len(spelling), spelling)))


def _spelled(secret: str) -> Iterator[str]:
    yield secret
    for encoded in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield encoded
        yield re.sub("%..", lambda match: match[0].lower(), encoded)
        yield quote(encoded, safe="")
    for ascii_only in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")
        yield json.dumps(escaped)[1:-1]
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    if len(secret) >= _FROM_ENVIRONMENT:
        yield from _in_base64(secret.encode("utf-8", "surrogatepass"))


def _in_base64(secret: bytes) -> Iterator[str]:
    """What base64 makes of it wherever it stands in the encoded bytes, in both alphabets."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).decode().rstrip("=")
        whole = (before + len(secret)) % 3 == 0
        core = encoded[(0, 2, 3)[before] : len(encoded) if whole else -1]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def _without_cut(text: str, secret: str) -> str:
    """Others shorten what they show: the first or last half of a secret is withheld too."""
    if len(secret) < 16 or "://" in secret:
        return text
    text = _without_beginning(text, secret, MARK)
    return _without_beginning(text[::-1], secret[::-1], MARK[::-1])[::-1]


def _without_beginning(text: str, secret: str, mark: str) -> str:
    half = min(24, max(12, len(secret) // 2))
    first, *others = text.split(secret[:half])
    rest = secret[half:]
    pieces = [first]
    for part in others:
        pairs = zip(part, rest, strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        pieces += (mark, part[shared:])
    return "".join(pieces)
