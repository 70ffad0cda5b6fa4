"""Pages in real headless Chromium: `make test-browser`. A message on their console is a fault."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from datagen.review.sample import read_decisions
from datagen.run.folder import Work
from datagen.run.record_files import write_records
from datagen.run.review_result import gate_fault, read_result
from datagen.settings import settings_text
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.trace import Trace, write_traces
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.view.page import traces_page
from tests.datagen.test_review import filled
from tests.helpers.hostile import hostile_trace
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.strangers_page import ASKS, StrangersSite
from tests.helpers.studio_server import QUESTION, StudioServer
from tests.helpers.traces import GOOD, SOURCES, trace_of

pytestmark = pytest.mark.browser

OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
]  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert path, "there is no Chromium: install it (apt-get install chromium), or set CHROMIUM"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        await browser.close()


class Watched:
    """A page with everything it said, asked for and opened."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(120_000)
        self.console: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        self.refused: list[str | None] = []
        page.on("requestfailed", lambda request: self.refused.append(request.failure))
        page.on("dialog", self._dismiss)

    async def _dismiss(self, dialog) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()

    def assert_quiet(self, requests: int) -> None:
        assert self.console == []
        assert self.dialogs == []
        assert len(self.requests) == requests, self.requests


async def opened(browser: Browser, address: str, **options) -> Watched:
    watched = Watched(await browser.new_page(**options))
    await watched.page.goto(address)
    return watched


def checked() -> Trace:
    text = GOOD.replace("They reach 16 metres [2].", "They reach 99 metres [2]. It is so [7].")
    trace = trace_of(text, id="a")
    assert trace.answer
    return trace.model_copy(
        update={"citations": verify_report(parse_answer(trace.answer.text), SOURCES)}
    )


def written(folder: Path, *traces: Trace) -> str:
    path = folder / "page.html"
    path.write_text(traces_page(traces), encoding="utf-8")
    return path.as_uri()


async def test_a_citation_lights_up_its_passage(browser: Browser, tmp_path: Path):
    seen = await opened(browser, written(tmp_path, checked(), checked()))
    page = seen.page
    cite, passage = page.locator("#t1 .cite.quoted"), page.locator("#t1 .passage mark").first
    card = page.locator("#t1-claim-1")
    assert not await card.is_visible()
    await cite.hover()
    assert await card.locator("mark").inner_text() == "The Moon causes tides."
    assert "lit" in (await passage.get_attribute("class") or "")
    await page.mouse.move(5, 5)
    assert not await card.is_visible()
    await cite.click()
    await page.mouse.move(5, 5)
    assert await card.is_visible()
    assert "quoted" in await card.inner_text()
    assert await passage.is_visible()  # the source that held it folded is open
    colours = [
        await mark.evaluate("mark => getComputedStyle(mark).backgroundColor")
        for mark in (passage, page.locator("#t2 .passage mark").first)
    ]
    assert colours[0] != colours[1]
    await page.keyboard.press("Escape")
    assert not await card.is_visible()
    await card.evaluate("card => card.querySelector('a.jump').click()")
    seen.assert_quiet(requests=1)


async def test_citations_are_reached_by_keyboard(browser: Browser, tmp_path: Path):
    seen = await opened(browser, written(tmp_path, checked()))
    page = seen.page
    await page.locator("#t1 .cite.contradicted").focus()
    assert "99" in await page.locator("#t1-claim-2").inner_text()
    await page.keyboard.press("Tab")
    assert "dangling" in await page.locator("#t1-claim-3").inner_text()
    await page.keyboard.press("Enter")
    assert await page.locator("#t1 .cite[aria-current]").inner_text() == "[7] ✗"
    outline = "() => getComputedStyle(document.activeElement).outlineStyle"
    assert await page.evaluate(outline) == "solid"
    seen.assert_quiet(requests=1)


async def test_folded_steps_open(browser: Browser, tmp_path: Path):
    seen = await opened(browser, written(tmp_path, checked()))
    page = seen.page
    think = page.locator("#t1-step-2 .foreign")
    if not await think.count():
        think = page.locator("#t1-branch-1 .step .foreign").first
    assert not await think.is_visible()
    await page.locator("#t1-branch-1 > summary").click()
    await page.locator("#t1-branch-1 .step > summary").nth(1).click()
    assert await page.locator("#t1-branch-1 .step .foreign").nth(1).is_visible()
    await page.locator(".findings a.jump").first.click()
    assert await page.locator("details:target").get_attribute("open") is not None
    seen.assert_quiet(requests=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_a_hostile_trace_does_nothing(
    browser: Browser, tmp_path: Path, width: int, scheme: str
):
    address = written(tmp_path, hostile_trace())
    size = {"width": width, "height": 800}
    seen = await opened(browser, address, viewport=size, color_scheme=scheme)
    page = seen.page
    await page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for cite in await page.locator(".cite").all():
        await cite.focus()
    await page.wait_for_timeout(300)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.locator("img, iframe, form, object, embed").count() == 0
    seen.assert_quiet(requests=1)


async def test_what_is_injected_into_the_page_cannot_run(browser: Browser, tmp_path: Path):
    """The policy holds by itself, were the escaping ever to fail."""
    seen = await opened(browser, written(tmp_path, checked()))
    await seen.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend',"
        " '<img src=http://127.0.0.1:9/x.png onerror=alert(1)><p onclick=alert(2) id=x>x</p>')"
    )
    await seen.page.locator("#x").click()
    assert seen.dialogs == []
    assert seen.refused == ["csp"] * (len(seen.requests) - 1)
    assert any("Content Security Policy" in text for text in seen.console)


class Server:
    """`python -m datagen review` as a person starts it."""

    def __init__(self, work: Work, reviewer: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "datagen", "review", str(work.run.root), "--reviewer", reviewer],
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stderr
        told = self.process.stderr.readline()
        found = re.search(r"http://\S+", told)
        assert found, told + self.process.stderr.read()
        self.address = found[0]

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; the exit status and what was told."""
        self.process.send_signal(signal.SIGINT)
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A run folder with a hostile trace in the sample."""
    work = filled(tmp_path, sample=12, rubrics=0, rejected_share=0, least_decisions=2)
    write_traces(work.run.generated, [hostile_trace().model_copy(update={"id": "s0.1"})])
    work.run.settings.write_text(settings_text(work.settings))
    write_records(work.run.rubrics, [])
    return work


@pytest.fixture
def servers(work: Work) -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        if server.process.poll() is None:
            server.kill()


async def test_a_review_by_keyboard(browser: Browser, work: Work, servers: list[Server]):
    servers.append(Server(work, "ann"))
    seen = await opened(browser, servers[0].address)
    page, keys = seen.page, seen.page.keyboard
    await keys.press("j")
    await page.wait_for_url("**/item/1")
    await keys.press("?")
    assert await page.locator("dialog").is_visible()
    await keys.press("Escape")
    await keys.press("a")
    await page.wait_for_url("**/item/2")
    await keys.press("r")
    await keys.type("a thin jakra plan")  # keys in the field are text
    await keys.press("Enter")
    await page.wait_for_url("**/item/3")
    await keys.press("ArrowLeft")
    await page.wait_for_url("**/item/2")
    assert "You rejected it: a thin jakra plan." in await page.locator(".state").inner_text()
    await keys.press("k")
    await page.wait_for_url("**/item/1")
    await keys.press("r")
    await keys.type("on second thought")
    await keys.press("Enter")
    await page.wait_for_url("**/item/3")
    words = read_decisions(work.run.review / "decisions.jsonl")
    said = sorted((d.accept, d.reason) for each in words.values() for d in each.values())
    assert said == [(False, "a thin jakra plan"), (False, "on second thought")]
    assert seen.console == []

    servers[0].kill()  # and a new server goes on
    servers.append(Server(work, "ann"))
    again = await opened(browser, servers[1].address)
    await again.page.keyboard.press("n")
    await again.page.wait_for_url("**/item/3")
    await again.page.keyboard.press("a")
    await again.page.wait_for_url("**/item/4")
    assert again.console == []
    status, told = servers[1].interrupt()
    assert status == 0, told
    result = read_result(work.run)
    assert result
    assert (result.traces.accepted, result.traces.decided) == (1, 3)
    assert "reviewers accepted 1 of 3" in str(gate_fault(work.run, work.settings.review))


async def test_a_hostile_item_does_nothing_to_the_review(
    browser: Browser, work: Work, servers: list[Server]
):
    servers.append(Server(work, "ann"))
    seen = await opened(browser, servers[0].address)
    row = seen.page.locator("tr", has=seen.page.get_by_text("s0.1", exact=True))
    await row.locator("a").click()
    await seen.page.wait_for_url("**/item/*")
    await seen.page.evaluate(
        "document.querySelectorAll('details').forEach(d => { d.open = true; })"
    )
    await seen.page.wait_for_timeout(300)
    seen.assert_quiet(requests=2)
    assert read_decisions(work.run.review / "decisions.jsonl") == {}


async def test_a_wrong_token_is_refused(browser: Browser, work: Work, servers: list[Server]):
    servers.append(Server(work, "ann"))
    origin = servers[0].address.split("/", 3)
    page = await browser.new_page()
    answer = await page.goto(f"http://{origin[2]}/guess/item/1")
    assert answer
    assert answer.status == 403
    assert "lacks the token" in await page.locator("body").inner_text()


async def test_a_strangers_page_gets_nothing_from_the_served_graph(
    browser: Browser, tmp_path: Path
):
    with OpenAIServer(ResearchBrain()) as model, StrangersSite() as site:
        studio = StudioServer(
            tmp_path, OPENAI_API_KEY="sk-developers-own", ORESEARCH_MODEL="fake",
            ORESEARCH_BASE_URL=model.base_url, ORESEARCH_SEARCH="python",
        )  # fmt: skip
        try:
            async with studio.client() as client:
                thread = (await client.threads.create())["thread_id"]
                context = {
                    "corpus": "/etc", "search": f"searxng:http://127.0.0.1:{site.port}",
                    "base_url": f"http://127.0.0.1:{site.port}/v1", "allow_private_addresses": True,
                }  # fmt: skip
                for given in (context, {}):  # refused by the graph itself, and welcome to it
                    run = {"assistant_id": "research", "input": QUESTION, "context": given}
                    for page_of in ("127.0.0.1", "rebound.example"):
                        seen = await opened(browser, f"http://{page_of}:{site.port}/")
                        for name in ("127.0.0.1", "localhost"):
                            server = f"http://{name}:{studio.port}"
                            asks = {"server": server, "thread": thread, "run": run}
                            assert await seen.page.evaluate(ASKS, asks) == []
                    # After a rebinding the page and the server are of one origin.
                    server = f"http://rebound.example:{studio.port}"
                    seen = await opened(browser, f"{server}/ok")
                    asks = {"server": server, "thread": thread, "run": run}
                    read = await seen.page.evaluate(ASKS, asks)
                    assert read
                    assert all("refused: " in text for _, text in read), read
                assert model.requests == []
                assert (site.asked, site.keys) == ([], [])
                (only,) = await client.threads.search()
                assert (only["thread_id"], only["status"]) == (thread, "idle")
                assert await client.runs.list(thread) == []
                # The developer's own client is served.
                await client.runs.wait(thread, "research", input=QUESTION)
                assert model.requests
        finally:
            studio.stop()
