"""A model from a GGUF file: llama.cpp's own server as a child process, on a free loopback port.

`local:FILE.gguf` names a file, `local:OWNER/REPOSITORY/FILE.gguf` one of the Hugging Face hub,
fetched once into the hub's cache. All roles of a process share the server of a file. It ends with
the last model that uses it, and with its parent however that ends: the child reads its standard
input, and leaves when that closes. A chat template (Jinja) may replace the file's own. Needs the
extra `local`. Not covered: models in several files.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import re
import secrets
import selectors
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final

from oresearch_graph.errors import ConfigurationError, missing_extra
from oresearch_graph.known_secrets import is_secret_name
from oresearch_graph.network.causes import cause_of
from oresearch_graph.redaction import brief

PREFIX: Final = "local:"
CONTEXT: Final = 8192
"""Tokens that a request may hold, prompt and reply together."""
_START_SECONDS: Final = 300.0
"""For the model to be read into memory: a large file on a slow disk."""
_END_SECONDS: Final = 2.0
_MAGIC: Final = b"GGUF"
_IN_REPOSITORY: Final = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)/(?P<file>[^\s]+)")
_FAULT: Final = re.compile(r"^[\d.]+ E (?P<message>.+)$", re.MULTILINE)
"""llama.cpp's lines of errors; the first names the cause."""


class LocalServer:
    """A running server; it ends when nothing refers to it any more."""

    def __init__(self, file: Path, context: int, chat_template: str | None = None) -> None:
        """Returns when the server answers. Raises ConfigurationError when it does not come up."""
        self.name = file.stem
        self.key = secrets.token_urlsafe(24)
        """For no page in a browser, and no one else on this machine."""
        with tempfile.TemporaryFile() as log:
            self._child = _started(log)
            self._end = weakref.finalize(self, _ended, self._child)
            try:
                self.base_url = self._address(file, context, chat_template) + "/v1"
            except (OSError, TimeoutError) as error:
                self.close()
                log.seek(0)
                raise ConfigurationError(
                    f"{file.name} cannot be served ({_cause(log, error)})"
                ) from None

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def close(self) -> None:
        self._end()

    def _address(self, file: Path, context: int, chat_template: str | None) -> str:
        """Where the child listens, once it is well. Raises OSError or TimeoutError."""
        order = {
            "file": str(file), "name": self.name, "context": context, "key": self.key,
            "chat_template": chat_template,
        }  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        stdin, stdout = _pipes(self._child)
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(_START_SECONDS):
                raise TimeoutError(f"it was not ready in {_START_SECONDS:.0f} s")
        address = stdout.readline().decode().strip()
        if not address:
            raise OSError(f"its process ended with status {self._child.wait()}")
        while not _is_well(address):
            if not self.alive:
                raise OSError(f"its process ended with status {self._child.returncode}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"it was not well in {_START_SECONDS:.0f} s")
            time.sleep(0.05)
        return address


_servers: Final = weakref.WeakValueDictionary[tuple[Path, int, str | None], LocalServer]()
_lock: Final = threading.Lock()


def local_server(
    model: str, context: int = CONTEXT, chat_template: str | None = None
) -> LocalServer:
    """The server of a model, started where none runs in this process.

    `model` is what follows `local:`. Raises ConfigurationError with the fix.
    """
    _require_extra("xllamacpp")
    file = _file(model)
    key = (file.resolve(), context, chat_template)
    with _lock:
        server = _servers.get(key)
        if server is None or not server.alive:
            server = _servers[key] = LocalServer(file, context, chat_template)
        return server


def _require_extra(module: str) -> None:
    if find_spec(module) is None:
        raise ConfigurationError(f"local models need {missing_extra('local')}")


def _file(model: str) -> Path:
    """The model's file here, fetched where it is not."""
    if not model.lower().endswith(".gguf"):
        raise ConfigurationError(
            f"{PREFIX}{model} names no GGUF file: write {PREFIX}FILE.gguf, or "
            f"{PREFIX}OWNER/REPOSITORY/FILE.gguf"
        )
    file = Path(model).expanduser()
    place = _IN_REPOSITORY.fullmatch(model)
    if not file.is_file():
        if place is None or model.startswith("."):
            raise ConfigurationError(
                f"there is no file {model}; one of the hub is {PREFIX}OWNER/REPOSITORY/FILE.gguf"
            )
        file = _fetched(place["repository"], place["file"])
    try:
        with file.open("rb") as start:
            if start.read(len(_MAGIC)) != _MAGIC:
                raise ConfigurationError(f"{model} is no GGUF file")
    except OSError as error:
        raise ConfigurationError(f"{model} cannot be read: {error.strerror}") from None
    return file


def _fetched(repository: str, file: str) -> Path:
    _require_extra("huggingface_hub")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # noqa: BLE001 - the boundary to the hub's client
        cause = cause_of(error)
        why = f"{cause.words}; {cause.fix}".rstrip("; ") if cause else brief(error, 200)
        raise ConfigurationError(
            f"{file} is not here, and the hub's {repository} does not give it ({why})"
        ) from None


def _started(log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this Python, this package
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={name: value for name, value in os.environ.items() if not is_secret_name(name)},
        start_new_session=True,  # a Ctrl-C is for the parent
    )


def _pipes(child: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if child.stdin is None or child.stdout is None:
        raise OSError("no pipes")
    return child.stdin, child.stdout


def _ended(child: subprocess.Popen[bytes]) -> None:
    """Closes the child's standard input, at which it leaves; a child in the middle of reading its
    model does not hear of it and is killed."""
    stdin, stdout = _pipes(child)
    with stdout:
        stdin.close()
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _is_well(address: str) -> bool:
    with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)) as client:
        try:
            client.request("GET", "/health")
            return client.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def _cause(log: IO[bytes], error: Exception) -> str:
    """What the child said last, or llama.cpp first."""
    text = log.read().decode(errors="replace")
    fault = _FAULT.search(text)
    lines = [line for line in text.splitlines() if line.strip()]
    words = fault["message"] if fault else lines[-1] if lines else str(error)
    return brief(" ".join(words.split()), 300)


def _serve() -> None:
    """The child: one order on standard input, the address on standard output, then service until
    standard input closes."""
    order: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    # The end of the pipe is a signal that ends this process, for while a model is read the bindings
    # hold Python's lock and no thread of it runs; where a pipe gives none, the thread is there.
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | fcntl.FASYNC)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.model_alias = order["file"], {order["name"]}
    parameters.n_ctx, parameters.n_parallel = order["context"], 1
    parameters.cpuparams.n_threads = os.cpu_count() or 1
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.api_keys, parameters.ui = [order["key"]], False
    parameters.verbosity = 1  # errors
    if order["chat_template"]:
        parameters.chat_template = order["chat_template"]
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    threading.Event().wait()


def _leave_with_parent() -> None:
    os.read(0, 1)  # not through sys.stdin, for whose lock a dying Python would wait
    os._exit(0)


if __name__ == "__main__":
    _serve()
