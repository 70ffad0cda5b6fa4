"""What the redactor withholds, what it leaves, and that it takes linear time."""

from __future__ import annotations

import base64
import html
import json
import logging
import time
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.keys import Address, is_loopback, is_real, require_privacy, usable_key
from oresearch_graph.known_secrets import MARK, is_secret_name, known_secrets, remember_within
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.redaction import brief, quieted, redacted
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.choose import describe_search
from oresearch_graph.trace import Failure, Usage

KEY = "Zq8vLw3R/tY6u+Kp1NxB4"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VENDOR_API_KEY", f" {KEY}\n")


ENCODED = {
    "as it is": KEY,
    "in a URL": quote(KEY, safe=""),
    "in a URL, small letters": quote(KEY, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "in a URL in a URL": quote(quote(KEY, safe=""), safe=""),
    "in JSON": json.dumps(KEY).replace("/", "\\/"),
    "in HTML": html.escape(KEY),
    "in base64": base64.b64encode(KEY.encode()).decode(),
    "behind a user in base64": base64.b64encode(f"anna:{KEY}".encode()).decode(),
    "in URL-safe base64": base64.urlsafe_b64encode(f"a:{KEY}:b".encode()).decode(),
    "its beginning": f"{KEY[:13]}…",
    "its end": f"...{KEY[-12:]}",
}


@pytest.mark.parametrize("spelling", ENCODED.values(), ids=ENCODED)
@pytest.mark.usefixtures("known")
def test_a_known_secret_is_withheld_however_it_is_spelled(spelling: str) -> None:
    told = redacted(f"the service says {spelling} is no key")
    assert MARK in told
    assert KEY[3:10] not in told
    assert spelling[4:-4] not in told


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("searxng:http://user:PASSWORD@host/x failed", "PASSWORD"),
        ("https://ghp-user@host failed", "ghp-user"),
        ("http://us:pa/ss@host:80/x", "ss"),
        (r'{"url": "http:\/\/us:pass99@host"}', "pass99"),
        ("postgresql+psycopg://us:p%40ss@db/x", "p%40ss"),
        ("GET /v1?key=abc&x=1&access_token=zzz77", "zzz77"),
        ("GET /v1?key=abc9&x=1", "abc9"),
        ("{'Authorization': 'Bearer abcdef'}", "abcdef"),
        ("[(b'authorization', b'Basic dXNlcjpwdw==')]", "dXNl"),
        ("X-Api-Key: hello123", "hello123"),
        ('{"api_key": "correct horse"}', "horse"),
        (r"{\"client_secret\":\"xyzw\"}", "xyzw"),
        ("Incorrect API key provided: abcd1234efgh5678. Look", "efgh"),
        ("sent Bearer abcdefgh12345678 there", "abcdefgh"),
        ("sk-proj-T3BlbkFJq8vLw3RtY6", "BlbkFJ"),
        ("tvly-dev-abcdefgh", "abcdefgh"),
        ("AIzaSyA-1234567890abcdefg", "SyA"),
        ("github: ghp_abcdefghijklmnop", "abcdefgh"),
        ("hf_abcdefghijklmnop", "abcdefgh"),
        ("xoxb-1234-abcdefgh", "abcdefgh"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc", "hbGci"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/=\n-----END RSA PRIVATE KEY-----", "MIIE"),
    ],
)
def test_what_looks_like_a_secret_is_withheld_whoever_it_belongs_to(text: str, gone: str) -> None:
    told = redacted(text)
    assert gone not in told
    assert redacted(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "https://medium.com/@user/x and http://host:8080/@x and http://[::1]:80/@x",
        "max_tokens: 100, max_tokens=5, eos_token",
        "Unexpected token: '<' at 5",
        "no key for OpenAI: set OPENAI_API_KEY",
        "Tavily refused the key: correct TAVILY_API_KEY",
        "this server wants Bearer authentication and basic understanding",
        "risk-averse task-oriented readers; mail anna@example.org",
        "HTTP 404: check the model's name and the base URL http://host:8000/v1",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert redacted(text) == text


def test_short_values_and_other_variables_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    monkeypatch.setenv("SOME_TOKEN_FILE", "/var/run/some-token-file")
    monkeypatch.setenv("MAX_TOKENS", "1000000000")
    monkeypatch.setenv("PROXY", "http://anna:of-the-proxy-7@proxy:3128")
    assert redacted("EMPTY /var/run/some-token-file 1000000000") == (
        "EMPTY /var/run/some-token-file 1000000000"
    )
    assert "of-the-proxy-7" in known_secrets()


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True), ("HF_TOKEN", True), ("AWS_SECRET_ACCESS_KEY", True),
        ("AWS_SESSION_TOKEN", True), ("MY_SECRET_2", True), ("DB_PASSWORD", True),
        ("tavilyApiKey", True), ("x-goog-api-key", True), ("Authorization", True),
        ("MAX_TOKENS", False), ("TOKENIZERS_PARALLELISM", False), ("eos_token", False),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", False), ("OAUTH_TOKEN_URL", False), ("cache_key", False),
        ("PWD", False), ("KEYBOARD", False), ("top_p", False),
    ],
)  # fmt: skip
def test_names_say_what_holds_a_secret(name: str, secret: bool) -> None:
    assert is_secret_name(name) == secret


def test_what_an_embedders_object_carries_is_known() -> None:
    client = SimpleNamespace(
        wrapper=SimpleNamespace(tavily_api_key=SecretStr("of-the-wrapper")),
        headers={"X-Api-Key": b"of-the-headers", "Accept": "application/json"},
        connections=[{"env": {"DOCS_TOKEN": "of-the-env"}, "url": "http://anna:of-the-url@host"}],
        sort_key="of-the-documents",
    )
    client.itself = client
    remember_within(client)
    assert {"of-the-wrapper", "of-the-headers", "of-the-env", "of-the-url"} <= {*known_secrets()}
    assert "of-the-documents" not in known_secrets()


@pytest.mark.usefixtures("known")
def test_errors_failures_and_logs_pass_it(caplog: pytest.LogCaptureFixture) -> None:
    error = OresearchError(f"one\ntwo {KEY} \x1b[31m" + "x" * 9_000 + ": do this")
    assert len(str(error)) <= 2_000
    assert str(error).startswith(f"one two {MARK} \ufffd[31m")
    assert str(error).endswith(": do this")
    failure = Failure(name="internal", fault="infrastructure", message=f"bad {KEY}")
    assert failure.message == f"bad {MARK}"
    assert Usage(role="planner", model="m@http://u:p@h/v1").model == "m@http://h/v1"
    try:
        raise ValueError(KEY) from KeyError(KEY)
    except ValueError:
        logging.getLogger("oresearch_graph").exception("with %s", KEY)
    assert KEY not in caplog.text
    assert "Traceback" in caplog.text
    outer = ValueError(KEY, 7)
    outer.__cause__ = KeyError(KEY)
    assert quieted(outer).args == (MARK, 7)
    assert outer.__cause__.args == (MARK,)


@pytest.mark.usefixtures("known")
def test_a_body_is_cut_after_its_secrets_are_out() -> None:
    for before in range(180, 320, 7):
        told = brief("x" * before + KEY + "y" * 30_000 + KEY)
        assert len(told) <= 300
        assert KEY[:5] not in told
        assert KEY[-5:] not in told


@pytest.mark.parametrize(
    "piece",
    ["a", "sk-", "://", "://a:", "api_key", "token ", "@", "a@", "password=", "eyJ-", '"token": ',
     "-----BEGIN PRIVATE KEY-----", "bearer ", "'", "\\", KEY[:13], KEY[-12:], " ", "key: "],
)  # fmt: skip
@pytest.mark.usefixtures("known")
def test_it_takes_linear_time(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        start = time.process_time()
        redacted(text)
        return time.process_time() - start

    short = min(seconds(8_000) for _ in range(3))
    assert min(seconds(32_000) for _ in range(2)) < 9 * short + 0.02


def test_keys_are_stripped_and_checked() -> None:
    assert usable_key('  "abcdefgh"\r\n', "X") == "abcdefgh"
    assert usable_key(" \n", "X") == ""
    for wrong in ("abc defgh", "abc\ndefgh", "abcdéfgh", "\ufeffabcdefgh", "abc\0defgh"):
        with pytest.raises(ConfigurationError, match=r"^MY_KEY is no key: .*; copy it") as caught:
            usable_key(wrong, "MY_KEY")
        assert "abc" not in str(caught.value)
    assert not any(map(is_real, ("EMPTY", "none", "none-needed", "x", "dummy")))


def test_keys_go_in_clear_to_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("https://h/v1", "http://127.0.0.1:1/v1", "http://[::1]/v1", "http://localhost/"):
        require_privacy(url, "the key")
    for url in (
        "http://h/v1",
        "http://10.0.0.2/v1",
        "http://localhost.example/",
        "http://127.1.e/",
    ):
        with pytest.raises(ConfigurationError, match=r"use https, or set allow_plain_http"):
            require_privacy(url, "the key")
        require_privacy(url, "the key", allowed=True)
    monkeypatch.setenv("ORESEARCH_ALLOW_PLAIN_HTTP", "true")
    require_privacy("http://h/v1", "the key")
    assert not is_loopback("http://127.0.0.1.example/v1")


def test_a_model_is_refused_before_its_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    address = {"base_url": "http://models.example/v1", "timeout": 1.0}
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ConfigurationError, match="allow_plain_http"):
        connect("fake", **address)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="allow_plain_http"):
        connect("anthropic:fake", extra={"api_key": KEY}, **address)  # type: ignore[arg-type]
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    assert connect("fake", **address) is not None  # type: ignore[arg-type]


def test_an_address_is_parted_from_what_it_gives_away() -> None:
    address = Address.of("http://an%40na:p%2Fw@h:8/x?y=1")
    assert address == ("http://h:8/x?y=1", "an@na", "p/w")
    assert Address.of("http://h:99999/") is None
    assert Address.of("http://[h/") is None
    assert Address.of("ftp://h/") is None
    settings = ResearchSettings(search="searxng:http://anna:of-the-search@find.example/")
    assert describe_search(settings) == "the web, by SearXNG at http://find.example/"


def test_settings_do_not_show_keys() -> None:
    headers = {"default_headers": {"X-Api-Key": KEY}, "top_p": 0.9}
    settings = ResearchSettings(
        parameters={"planner": {"api_key": KEY, **headers}},
        base_url="http://anna:of-the-base@h/v1",
        researcher_models=("m@http://anna:of-the-name@h/v1",),
    )
    for shown in (repr(settings), str(settings), str(settings.model_dump())):
        assert KEY not in shown
    for gone in ("of-the-base", "of-the-name"):
        assert gone not in repr(settings)
    assert "0.9" in repr(settings)
    again = ResearchSettings.model_validate(settings.model_dump())
    assert again == settings
    assert again.parameters["planner"]["api_key"].get_secret_value() == KEY
