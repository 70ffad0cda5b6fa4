"""Models of GGUF files: a real child process, in which a stub stands for llama.cpp's bindings."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies import local_model
from oresearch_graph.policies.chat.connect import connect, split_name
from oresearch_graph.policies.models import chat_policies
from oresearch_graph.settings import ResearchSettings
from tests.helpers.loopback_site import running_site

STUB = '''
"""What the child uses of xllamacpp. What the model's file says is what goes wrong."""
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace


class CommonParams:
    def __init__(self):
        self.model, self.cpuparams = SimpleNamespace(), SimpleNamespace()


class Server:
    def __init__(self, params):
        with open(params.model.path, "rb") as file:
            story = file.read()
        if b"broken" in story:
            sys.stderr.write("0.00.1 E loader: wrong tensors\\\\n0.00.2 E init: giving up\\\\n")
            raise RuntimeError("Failed to init server, please check the input params.")
        if b"crash" in story:
            import os
            sys.stderr.write("out of luck\\\\n")
            sys.stderr.flush()
            os._exit(7)
        if b"slow" in story:
            import ctypes
            ctypes.PyDLL(None).sleep(30)  # as the bindings do: Python's lock is held

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.reply({})

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                if self.headers["authorization"] != f"Bearer {params.api_keys[0]}":
                    return self.send_error(401)
                message = {"role": "assistant", "content": json.dumps({
                    "context": params.n_ctx, "slots": params.n_parallel,
                    "names": sorted(params.model_alias), "threads": params.cpuparams.n_threads,
                    "keys": sorted(n for n in __import__("os").environ if n.endswith("_KEY")),
                })}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                self.reply({"id": "1", "object": "chat.completion", "created": 1, "model": "m",
                            "choices": [choice]})

            def reply(self, value):
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer((params.hostnames[0], params.port), Handler)
        self.listening_address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
'''.replace("\\\\n", "\\n")


@pytest.fixture(autouse=True)
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bindings that need no model, for this process to see and for the child to load."""
    folder = tmp_path / "bindings"
    folder.mkdir()
    (folder / "xllamacpp.py").write_text(STUB)
    monkeypatch.syspath_prepend(str(folder))
    paths = (str(folder), str(Path(__file__).parents[2]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def model_file(folder: Path, story: bytes = b"", name: str = "tiny.gguf") -> Path:
    file = folder / name
    file.write_bytes(b"GGUF" + story)
    return file


def gone(pid: int) -> bool:
    """True once a process has ended, though nobody may have asked for its status."""
    for _ in range(100):
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if status.rpartition(")")[2].split()[0] in "ZX":
            return True
        time.sleep(0.05)
    return False


def test_a_file_is_served_without_a_key_and_named_by_its_stem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("TAVILY_API_KEY", "tvly-of-no-concern-here")
    model = connect(f"local:{model_file(tmp_path)}", timeout=30, extra={"context": 4096})

    answer = json.loads(str(model.invoke("Hello").content))
    assert answer["context"] == 4096
    assert answer["slots"] == 1
    assert answer["names"] == ["tiny"]
    assert answer["threads"] == os.cpu_count()
    assert answer["keys"] == []


def test_roles_share_a_server_that_ends_with_the_last_of_them(
    tmp_path: Path, connections: list[Any]
) -> None:
    name = f"local:{model_file(tmp_path)}"
    policies = chat_policies(ResearchSettings(model=name, rendering="turns"))
    judge = connect(name, timeout=30)
    names = policies.names
    (server,) = local_model._servers.values()
    pid = server._child.pid

    connections.clear()  # that of all tests, which would keep the models
    del policies, server
    gc.collect()
    assert names == dict.fromkeys(("planner", "researcher", "summarizer"), "tiny")
    assert list(local_model._servers)
    del judge
    gc.collect()
    assert list(local_model._servers) == []
    assert gone(pid)


def test_another_server_takes_the_place_of_one_that_died(tmp_path: Path) -> None:
    file = str(model_file(tmp_path))
    first = local_model.local_server(file)
    first._child.kill()
    first._child.wait()
    second = local_model.local_server(file)
    assert second is not first
    assert second.alive
    assert local_model.local_server(file) is second


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_child_ends_with_its_parent(tmp_path: Path, end: signal.Signals | None) -> None:
    code = (
        "import sys, time\n"
        "from oresearch_graph.policies.local_model import local_server\n"
        "server = local_server(sys.argv[1])\n"
        "print(server._child.pid, flush=True)\n" + ("time.sleep(60)" if end else "")
    )
    command = [sys.executable, "-c", code, str(model_file(tmp_path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if end:
            parent.send_signal(end)
    assert gone(pid)


@pytest.mark.parametrize(
    ("story", "cause"),
    [
        (b"broken", "loader: wrong tensors"),
        (b"crash", "out of luck"),
    ],
)
def test_a_child_that_dies_says_why(tmp_path: Path, story: bytes, cause: str) -> None:
    file = model_file(tmp_path, story)
    with pytest.raises(ConfigurationError) as refusal:
        connect(f"local:{file}", timeout=30)
    assert str(refusal.value) == f"tiny.gguf cannot be served ({cause})"


def test_a_child_that_is_not_ready_in_time_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_model, "_START_SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match="it was not ready in 1 s"):
        connect(f"local:{model_file(tmp_path, b'slow')}", timeout=30)
    assert time.monotonic() - began < 1 + local_model._END_SECONDS


def test_what_cannot_be_a_model_is_named_with_the_fix(tmp_path: Path) -> None:
    page = tmp_path / "page.gguf"
    page.write_text("<html>")
    (tmp_path / "folder.gguf").mkdir()
    for name, message in {
        f"local:{page}": "is no GGUF file",
        f"local:{tmp_path}/absent.gguf": "there is no file .*local:OWNER/REPOSITORY/FILE.gguf",
        f"local:{tmp_path}/folder.gguf": "there is no file",
        "local:absent.gguf": "there is no file",
        "local:model.bin": "names no GGUF file: write local:FILE.gguf",
        "local:": "names no GGUF file",
    }.items():
        with pytest.raises(ConfigurationError, match=message):
            connect(name, timeout=30)


@pytest.mark.parametrize(
    ("module", "name"), [("xllamacpp", "a.gguf"), ("huggingface_hub", "owner/repository/a.gguf")]
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    monkeypatch.setattr(local_model, "find_spec", lambda other: None if other == module else 1)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[local\]' in the checkout"):
        connect(f"local:{name}", timeout=30)


def test_a_name_on_a_server_may_begin_with_local() -> None:
    address = "http://127.0.0.1:9/v1"
    assert split_name("local:a.gguf", None) == ("local", "a.gguf")
    assert split_name("local:a.GGUF", address) == ("local", "a.GGUF")
    assert split_name("local:8b", address) == ("openai", "local:8b")


FETCH = """
import sys
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.local_model import _file
try:
    print(_file(sys.argv[1]))
except ConfigurationError as error:
    print(error)
"""


def test_a_file_of_the_hub_is_fetched_once(tmp_path: Path) -> None:
    """The hub's client reads its address and cache's folder when it is imported."""
    pytest.importorskip("huggingface_hub")
    body, at = b"GGUF of the hub", "/owner/Tiny-GGUF/resolve/main/tiny-q4.gguf"
    with running_site() as site:
        headers = {"ETag": '"0123456789abcdef"', "X-Repo-Commit": "a" * 40}
        site.add(at, body, content_type="application/octet-stream", headers=headers)
        environment = {
            **os.environ, "HF_ENDPOINT": site.url, "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip

        def fetched(model: str) -> str:
            command = [sys.executable, "-c", FETCH, model]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        paths = [Path(fetched("owner/Tiny-GGUF/tiny-q4.gguf")) for _ in range(2)]
        assert paths[0] == paths[1]
        assert paths[0].stem == "tiny-q4"
        assert paths[0].read_bytes() == body
        assert [one.path for one in site.asked if one.method == "GET"].count(at) == 1
        absent = fetched("owner/Tiny-GGUF/absent.gguf")
        assert "the hub's owner/Tiny-GGUF does not give it (" in absent
        assert "\n" not in absent
