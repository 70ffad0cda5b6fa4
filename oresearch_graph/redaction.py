"""The one redactor: what every error, failure and log line passes before it is kept or shown.

It withholds the secrets this process knows, and what looks like one whoever's it is: user and
password of addresses, Authorization headers, values under names of keys, the usual shapes of keys.
Linear in the text: no pattern asks for anything behind a run without bound.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import Final

from oresearch_graph.known_secrets import MARK, looks_random, without_known

BODY: Final = 300
"""Characters kept of what a provider, a tool or a page answered in an error."""
_READ: Final = 20_000
"""Characters looked at where so few are kept."""

_ADDRESS: Final = re.compile(
    r"""
    (:\\?/\\?/)                                  # http:// and JSON's http:\/\/
    (?: [^\s/?#"'<>\\]{1,512}                    # user:password, user, token
      | [^\s/?#:@\["'<>]{1,128} : (?!\d+[/?#]) [^\s@"'<>]{1,256}   # a password with a slash in it
    ) @
    """,
    re.VERBOSE,
)
_NAMED: Final = re.compile(
    r"""
    ( (?: api[_-]?key | access[_-]?key(?:[_-]?id)? | private[_-]?key | subscription[_-]?key
        | secret(?:[_-]?access)?(?:[_-]?key)? | pass(?:word|wd|phrase) | authorization | cookie
        | (?:access|auth|bearer|id|refresh|security|session)[_-]?token | x-amz-signature
        | (?<=[?&]) (?:auth|key|pwd|sig|signature|token)
        | (?<=["'_-]) token | \btoken(?==)
      )
      (?: \\*["']?\s{0,4} (?:[=:]|%3[aAdD])\s{0,4} b? | \\*["'],\s{0,2}b?(?=["']) )
      \\*["'`]? (?!(?:\w{1,10}\s{1,4})?\[redacted\])
      (?: (?:basic|bearer|digest|token)\s{1,4} )?
    )
    (?: (?<=["'`]) [^"'`\\]{1,600} | [^\s"'`&,;<>(){}\[\]\\]+ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CREDENTIAL: Final = re.compile(
    r"""
    ( \b(?:basic|bearer|digest|key|password|token)
      (?: \s{1,4}(?:given|is|provided|used|was) )? :? \s{1,4} ["'`(]? )
    ( [\w.~+/=*-]{8,} )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SHAPE: Final = re.compile(
    r"""
    (?<![A-Za-z0-9])
    (?: sk-[\w*-]{8,} | [rs]k_(?:live|test)_\w{8,} | tvly-[\w*-]{8,} | AIza[\w-]{16,}
      | gh[oprsu]_\w{12,} | github_pat_\w{12,} | glpat-[\w-]{12,} | hf_\w{12,} | xox[a-z]-[\w-]{8,}
      | gsk_\w{16,} | xai-[\w-]{16,} | nvapi-[\w-]{16,} | pplx-\w{16,} | r8_\w{16,} | lsv2_\w{16,}
      | (?:AKIA|ASIA)[A-Z0-9]{12,} | ya29\.[\w-]{16,} | eyJ[\w.-]{24,}
      | -----BEGIN[ ][A-Z ]{0,30}PRIVATE[ ]KEY-----[\w+/=\s\\-]{0,8192}
    )
    """,
    re.VERBOSE,
)


def redacted(text: str) -> str:
    """The text without secrets. Doing it twice changes nothing."""
    return _without_shapes(without_known(text))


def public_name(name: str) -> str:
    """A model's, tool's or server's name without what an address in it gives away."""
    return _without_shapes(name)


def brief(message: object, most: int = BODY) -> str:
    """What an error or a stranger's answer says: redacted, on one line, at most so long; its end
    stays, for there stands what to do."""
    text = str(message)
    text = redacted(text if len(text) <= most + _READ else f"{text[:_READ]} … {text[-most:]}")
    flat = " ".join(text.split())
    if len(flat) > most:
        tail = most // 4
        flat = f"{flat[: most - tail - 3]} … {flat[-tail:]}"
    return "".join(c if c.isprintable() else "\ufffd" for c in flat)


def quieted(error: BaseException) -> BaseException:
    """The exception, and what caused it, with their texts redacted: whoever prints a traceback
    prints those."""
    link: BaseException | None = error
    for _ in range(10):
        if link is None:
            break
        arguments = tuple(redacted(each) if isinstance(each, str) else each for each in link.args)
        if arguments != link.args:
            link.args = arguments
        link = link.__cause__ or link.__context__
    return error


def _without_shapes(text: str) -> str:
    text = _ADDRESS.sub(r"\1", text)
    text = _NAMED.sub(lambda match: match[1] + MARK, text)
    text = _CREDENTIAL.sub(_credential, text)
    return _SHAPE.sub(MARK, text)


def _credential(match: re.Match[str]) -> str:
    """`Bearer authentication` is English."""
    return match[1] + MARK if looks_random(match[2]) or len(match[2]) >= 24 else match[0]


class RedactingFilter(logging.Filter):
    """Redacts a record, its traceback included, before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            record.exc_info = None  # a handler that formats it itself would undo this
        if record.exc_text:
            record.exc_text = redacted(record.exc_text)
        return True


_FILTER: Final = RedactingFilter()
for _name in ("oresearch_graph", "oresearch.rl"):
    logging.getLogger(_name).addFilter(_FILTER)
