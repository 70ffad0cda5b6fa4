"""What a server says in the error that it answers with, whatever the shape of its body: the HTTP
status, the words, the fields of the request that it points at, and whether it speaks of a thread
that is too long or of a content filter."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from langchain_core.exceptions import ContextOverflowError, ModelInvalidRequestError

from oresearch_graph.redaction import BODY, brief

_SAID: Final = (
    "message", "Message", "error", "Error", "errors", "msg", "detail", "details", "description",
    "error_description", "error_message", "title", "reason", "metadata", "raw", "fieldViolations",
    "field_violations",
)  # fmt: skip
"""Where bodies have their words."""
_CODED: Final = ("code", "Code", "type", "status")
_POINTING: Final = ("param", "parameter", "argument", "field", "property", "loc", "path", "pointer")
_AROUND: Final = frozenset((
    "", "$", "body", "query", "json", "request", "generation_config", "generationConfig",
    "inference_config", "inferenceConfig", "parameters", "options",
))  # fmt: skip
"""What stands before a field's name where a body points at it."""
_LONGEST: Final = 50_000
"""Characters of a body that are read."""
_WORDS: Final = 1_500
"""Characters of its words that are looked at."""
_DEEPEST: Final = 6

_OVERFLOW: Final = re.compile(
    r"""
    context [ _-]? (?:length|window|size|limit) s? [ _-]? (?:_?exceeded|error|overflow)
  | (?:exceed|too[ ]long|too[ ]large|longer|larger|greater|more[ ]than|beyond|overflow|outside|fit
      |reached|full) [^.;]{0,120} (?:context|maximum[ ]model[ ]length|model's[ ]maximum)
  | context [ _-]? (?:length|window|size|limit) [^;]{0,160}
      (?:exceed|too[ ]long|overflow|reached|requested|not[ ]enough|resulted|your[ ]request|>)
  | context [ ] the [ ] overflows
  | maximum[ ] (?:context|prompt|sequence|input) [ ] length
  | maximum[ ] number[ ] of[ ] (?:input[ ])? tokens[ ] allowed
  | (?:prompt|inputs?|messages|request|conversation) [^.;]{0,60} too[ ] (?:long|large|big)\b
  | (?:input|prompt) [ ] (?:token[ ]count|tokens|length) [^.;]{0,60} exceeds?\b
  | too[ ]many[ ] (?:input[ ]|prompt[ ])? tokens
  | `inputs` [ ] (?:tokens|must[ ]have[ ]less)
  | number[ ]of[ ]tokens[ ]to[ ]keep
  | reduce[ ]the[ ]length
  | greater[ ]than[ ]max_model_len
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""OpenAI, Anthropic, Google, Mistral, Cohere, Bedrock, xAI, Groq, DeepSeek; llama.cpp, vLLM,
SGLang, Ollama, LM Studio, TGI."""
_NUMBER: Final = r"(\d[\d,_]{0,11})"
_CONTEXTS: Final = tuple(
    re.compile(each.replace("NUMBER", _NUMBER), re.IGNORECASE)
    for each in (
        r"\d \+ \d{1,9} > NUMBER",
        r"context (?:length|size|window|limit)\W{1,3}NUMBER",
        r"(?:context|prompt|sequence|model|input) (?:length|window|size)(?: of)?(?: only)?(?: is)?"
        r"(?: of)? NUMBER",
        r"NUMBER (?:tokens? )?maximum",
        r"maximum number of (?:input )?tokens allowed \(?NUMBER",
        r"(?:must be <=|cannot exceed|less than) NUMBER",
        r"configured limit of NUMBER",
        r"max_total_tokens=NUMBER",
        r"(?:maximum|limit)[^.;\d]{1,40}NUMBER",
    )
)
_PROMPTS: Final = tuple(
    re.compile(each.replace("NUMBER", _NUMBER), re.IGNORECASE)
    for each in (
        r"(?:request|prompt|input|inputs|messages?|received|given|contains|resulted in"
        r"|you requested|total length|length|count)\W{1,3}NUMBER",
        r"NUMBER (?:input |prompt )?tokens",
    )
)
_NO_PROMPT: Final = re.compile(r"at least \d{1,9}|\d{1,9} (?:characters|output tokens)")
"""vLLM stops counting a prompt that is too long, or measures it in characters."""
_FILTERED: Final = re.compile(
    r"""
    content [ _-]? (?:filter|management[ ]policy|policy|moderation|exists[ ]risk) | content_filter
  | data_?inspection | responsible_?ai | (?:was|been|is|input|prompt)[ ]flagged | moderation
  | usage[ ]policy | inappropriate[ ]content | sensitive[ ](?:content|information|words)
  | considered[ ]high[ ]risk | guardrail
  | blocked[ ]by[ ](?:our[ ]|the[ ])?(?:content|safety|moderation)
  | safety[ ](?:system|filter|polic|setting)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TEMPLATE: Final = re.compile(
    r"roles must alternate|system role not supported|jinja|chat[ _]template", re.IGNORECASE
)


class ServerRefusal(NamedTuple):
    """What an error says."""

    status: int | None
    words: str
    """The body's own words in one line, secrets withheld."""
    codes: str
    """The words that programs read: `code`, `type`."""
    fields: tuple[tuple[str, ...], ...]
    """Paths into the request that it points at: ("stop",), ("messages", "0", "role")."""
    context: int | None
    """Tokens of the context, where it says so."""
    prompt: int | None
    """Tokens that the prompt has, where it says so."""
    overflowed: bool
    """The thread is too long for the context."""

    @property
    def filtered(self) -> bool:
        """A content filter refused the prompt or the answer."""
        refusing = self.status in {400, 403, 422}
        return refusing and bool(_FILTERED.search(f"{self.words} {self.codes}"))

    @property
    def of_template(self) -> bool:
        """The chat template refused the messages; some servers answer 500 to that."""
        return bool(_TEMPLATE.search(self.words))


def refusal_of(error: BaseException) -> ServerRefusal:
    """Never raises, whatever the error holds."""
    body = _body(error)
    said = _Said()
    said.read(body, 0)
    words = brief("; ".join(dict.fromkeys(said.words)) or "", _WORDS)
    codes = " ".join(said.codes)[:BODY]
    status = _status(error, body)
    overflowed = isinstance(error, ContextOverflowError) or _overflowed(status, words, codes)
    context = said.numbers.get("n_ctx") or (_first(_CONTEXTS, words) if overflowed else None)
    prompt = said.numbers.get("n_prompt_tokens") or _prompt(words, context)
    fields = tuple(said.fields)
    return ServerRefusal(status, words, codes, fields, context, prompt, overflowed)


class _Said:
    """Words, codes and places, collected from a body."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.codes: list[str] = []
        self.fields: list[tuple[str, ...]] = []
        self.numbers: dict[str, int] = {}

    def read(self, body: Any, depth: int) -> None:  # noqa: ANN401 - whatever a server sends
        if depth > _DEEPEST or len(self.words) > _DEEPEST:
            return
        if isinstance(body, str):
            within = _json(body) if body[:1] in {"{", "["} else None
            if isinstance(within, dict | list):
                self.read(within, depth + 1)
            elif body.strip():
                self.words.append(body.strip()[:_WORDS])
        elif isinstance(body, list):
            for each in body[:_DEEPEST]:
                self.read(each, depth + 1)
        elif isinstance(body, dict):
            self._object(body, depth)

    def _object(self, body: Mapping[str, Any], depth: int) -> None:
        self.codes += [
            str(body[key])[:80] for key in _CODED if isinstance(body.get(key), str | int)
        ]
        self.numbers |= {
            key: body[key] for key in ("n_ctx", "n_prompt_tokens") if isinstance(body.get(key), int)
        }
        places = [path for key in _POINTING if (path := _path(body.get(key)))]
        self.fields += places
        if places and isinstance(body.get("msg"), str):
            self.words.append(f"{'.'.join(places[0])}: {body['msg']}"[:_WORDS])
            return
        usual = [key for key in _SAID if key in body]
        for key in usual or [k for k in body if k not in (*_CODED, *_POINTING, "input")][:_DEEPEST]:
            self.read(body[key], depth + 1)


def _path(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    """The path that a body points with, without what stands around a request's fields."""
    if isinstance(value, str) and len(value) <= BODY:
        parts = re.split(r"[./\[\]]+", value.strip())
    elif isinstance(value, list):
        parts = [str(each) for each in value[:_DEEPEST] if isinstance(each, str | int)]
    else:
        return ()
    while parts and parts[0] in _AROUND:
        parts = parts[1:]
    return tuple(part for part in parts if part)


def _body(error: BaseException) -> Any:  # noqa: ANN401
    """The body as far as the client kept it; else what the exception says."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        return response
    try:
        text = str(response.text)[:_LONGEST] if response is not None else ""
    except Exception:  # noqa: BLE001 - a stream that was not read, or anything else
        text = ""
    if text.strip():
        parsed = _json(text)
        return text if parsed is None else parsed
    body = getattr(error, "body", None)
    if body is not None:
        return body
    return error.args[0] if error.args and isinstance(error.args[0], dict) else str(error)


def _json(text: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _status(error: BaseException, body: Any) -> int | None:  # noqa: ANN401
    response = getattr(error, "response", None)
    places: list[Any] = [
        getattr(error, "status_code", None), getattr(response, "status_code", None),
        getattr(error, "code", None),
    ]  # fmt: skip
    if isinstance(response, dict):
        places.append((response.get("ResponseMetadata") or {}).get("HTTPStatusCode"))
    if isinstance(body, dict):
        within = body.get("error")
        places += [body.get("code"), within.get("code") if isinstance(within, dict) else None]
    for place in places:
        if isinstance(place, str) and re.fullmatch(r"[45]\d\d", place):
            return int(place)
        if isinstance(place, int) and 400 <= place < 600:
            return int(place)
    return 400 if isinstance(error, ModelInvalidRequestError) else None


def _overflowed(status: int | None, words: str, codes: str) -> bool:
    if status not in {None, 400, 413, 422, 500}:
        return False
    return status == 413 or bool(_OVERFLOW.search(words) or _OVERFLOW.search(codes))


def _first(patterns: tuple[re.Pattern[str], ...], words: str) -> int | None:
    for pattern in patterns:
        if match := pattern.search(words):
            return int(re.sub(r"\D", "", match[1])) or None
    return None


def _prompt(words: str, context: int | None) -> int | None:
    """The first count beyond the context, where the words have one."""
    if context is None:
        return None
    words = _NO_PROMPT.sub("", words)
    counts = [
        int(re.sub(r"\D", "", match[1])) for each in _PROMPTS for match in each.finditer(words)
    ]
    return next((count for count in counts if count > context), None)
