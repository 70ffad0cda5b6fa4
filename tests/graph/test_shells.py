"""Pages that are no page are faults, and evidence of nothing."""

from __future__ import annotations

import pytest

from oresearch_graph.tools.reading.shells import shell
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import WebReader
from tests.helpers.loopback_site import running_site

SHELLS = {
    "React": "You need to enable JavaScript to run this app.",
    "Cloudflare": "Just a moment...\nEnable JavaScript and cookies to continue",
    "Cloudflare's check": "www.example.com\nVerifying you are human. This may take a few seconds.\n"
    "www.example.com needs to review the security of your connection before proceeding.\n"
    "Verification successful\nRay ID: 8f2a\nPerformance & security by Cloudflare",
    "Cloudflare's block": "Sorry, you have been blocked\nYou are unable to access example.com\n"
    "Why have I been blocked?\nThis website is using a security service to protect itself from "
    "online attacks. The action you just performed triggered the security solution.",
    "PerimeterX": "Access to this page has been denied because we believe you are using automation "
    "tools to browse the website. This may happen as a result of the following: Javascript is "
    "disabled or blocked by an extension. Your browser does not support cookies. Reference ID: #1",
    "DataDome": "Please enable JS and disable any ad blocker",
    "Bloomberg": "We've detected unusual activity from your computer network\nTo continue, please "
    "click the box below to let us know you're not a robot.\nWhy did this happen?\nPlease make "
    "sure your browser supports JavaScript and cookies.",
    "X": "JavaScript is not available.\nWe've detected that JavaScript is disabled in this browser."
    " Please enable JavaScript or switch to a supported browser to continue using x.com. You can "
    "see a list of supported browsers in our Help Center.",
    "Akamai": 'Access Denied\nYou don\'t have permission to access "http://example.com/" on this '
    "server.\nReference #18.2d351ab8",
    "nginx": "404 Not Found\nnginx/1.18.0 (Ubuntu)",
    "Varnish": "Error 503 Service Unavailable\nBackend fetch failed\nGuru Meditation:\nXID: 123",
    "not there": "Page not found\nThe page you are looking for doesn't exist or has been moved.",
    "login": "Log in to continue reading this article. Create a free account to continue.",
    "rate": "Too many requests. Please try again later.",
    "spinner": "Loading...",
    "German": "Bitte aktivieren Sie JavaScript in Ihrem Browser, um diese Seite anzuzeigen.",
    "French": "Veuillez activer JavaScript pour afficher cette page.",
    "Chinese": "请启用JavaScript以继续访问本网站。",
    "Japanese": "このサイトを利用するにはJavaScriptを有効にしてください。",
}
PAGES = {
    "about the language": "JavaScript was created by Brendan Eich in 1995 and runs in every "
    "browser. Node.js brought it to servers in 2009.",
    "about the status": "HTTP 404 is the status of a page that was not found. It was defined in "
    "1992 at CERN. Search engines drop such pages.",
    "about captchas": "CAPTCHA was coined in 2003 at Carnegie Mellon. It stands for a public "
    "Turing test. reCAPTCHA was sold to Google in 2009.",
    "a teaser": "The bridge spans 115 metres. It was built by George F. Brown. Sign in to continue "
    "reading this article.",
    "a setting": "To enable cookies in Firefox, open Settings. Choose Privacy & Security. Under "
    "Enhanced Tracking Protection choose Standard. Restart the browser.",
    "one sentence": "The harbour was closed on 3 May 1911.",
    "a long page": "You need to enable JavaScript to run this app. " * 60,
}


SAYINGS = (
    "Third-party cookies were blocked in Safari since 2020.",
    "The ePrivacy Directive requires websites to obtain consent before setting cookies.",
    "Cloudflare is a security service. The Secure Enclave is a security solution.",
    "FinCEN received 4.6 million suspicious activity reports this year.",
    "Access to abortion is restricted in 21 states.", "Voting is open to members only.",
    "An account is needed to view court filings on PACER.",
    "450 service members were deployed. 501 service stations closed.",
    "SpaceX said that it would try again later in the week.", "nginx served 34% of websites.",
    "A CAPTCHA asks its user to prove that they are human.",
)  # fmt: skip


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_says_nothing(name):
    assert shell(SHELLS[name])


@pytest.mark.parametrize("text", [*PAGES.values(), *SAYINGS], ids=lambda text: text[:30])
def test_a_page_that_says_something_is_none(text):
    assert shell(text) is None


async def test_the_reader_takes_a_shell_for_a_fault_and_its_noscript_for_no_text():
    with running_site() as site:
        site.add("/app", f"<html><body><noscript>{SHELLS['React']}</noscript></body></html>")
        site.add("/wall", f"<html><body><p>{SHELLS['DataDome']}</p></body></html>")
        site.add("/page", f"<html><body><p>{PAGES['about captchas']}</p></body></html>")
        reader = WebReader(guard=AddressGuard(allow_private=True))
        urls = [f"{site.url}/{name}" for name in ("app", "wall", "page")]
        app, wall, page = await reader.read(urls, "captchas")
    assert (app.text, wall.text) == ("", "")
    assert "it says nothing else" in str(wall.fault)
    assert app.fault
    assert "Carnegie Mellon" in page.text
