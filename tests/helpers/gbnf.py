"""GBNF without recursion as a regular expression: what a server may let its model write."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ )
  | (?P<text> "(?:[^"\\]|\\.)*" )
  | (?P<class> \[\^?(?:[^\]\\]|\\.)*\] )
  | (?P<name> [A-Za-z][A-Za-z0-9-]* )
  | (?P<mark> [()|?*+] )
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


def accepts(grammar: str, text: str) -> bool:
    """True when the whole text can be written under the grammar."""
    return re.fullmatch(_expression(grammar), text) is not None


def _expression(grammar: str) -> str:
    rules = dict(line.split(" ::= ", 1) for line in grammar.split("\n") if line.strip())
    done: dict[str, str] = {}

    def of(name: str) -> str:
        if name not in done:
            done[name] = f"(?:{''.join(_pieces(rules[name], of))})"
        return done[name]

    return of("root")


def _pieces(rule: str, of) -> Iterator[str]:
    at = 0
    while at < len(rule):
        match = _TOKEN.match(rule, at)
        assert match is not None, rule[at : at + 40]
        at = match.end()
        match match.lastgroup:
            case "text":
                yield f"(?:{re.escape(_unescaped(match[0][1:-1]))})"
            case "class":
                yield match[0]
            case "name":
                yield of(match[0])
            case "mark":
                yield "(?:" if match[0] == "(" else match[0]
            case _:
                pass


def _unescaped(text: str) -> str:
    return re.sub(r"\\(?:x(..)|(.))", _meaning, text)


def _meaning(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _ESCAPES[escape[2]]
