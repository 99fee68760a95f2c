"""Fixtures of the living pages' tests: a real browser, pages that may use no network, and an accessibility check.

The site is read from _build/html, or from the folder that the environment variable DCGAN_SITE names.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, sync_playwright

ROOT = Path(__file__).parent.parent.parent
SITE = Path(os.environ.get("DCGAN_SITE", ROOT / "_build" / "html"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]  # it would try the network by itself
COLOURS = ["color-contrast", "link-in-text-block"]  # axe's rules about colours, which take most of its time


@pytest.fixture(scope="session")
def site() -> Path:
    if not (SITE / "book").is_dir():
        pytest.skip("there is no built site")
    return SITE


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium. Without one the tests are skipped, but never in CI."""
    if CHROMIUM is None:
        message = "no Chromium is installed: the living pages are not tested (Debian: apt-get install chromium)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(folder: Path, how: type[http.server.SimpleHTTPRequestHandler] = _Quiet) -> Iterator[str]:
    """The address at which this machine serves the folder to itself."""
    handler = functools.partial(how, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


@pytest.fixture(scope="session")
def server(site: Path) -> Iterator[str]:
    with serve(site) as address:
        yield address


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, site: Path, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Opens pages: `visit("book/x.html#fragment", dark=True)`; closes them after the test.

    Pages come from file://, or with `http=True` from a server on this machine. Every other address is refused, and a
    test that has led to such a request, to a console error or to an uncaught exception fails. `phone` is 390 pixels
    wide and touched with fingers; `dark`, `still` (prefers-reduced-motion) are the reader's settings.
    """
    complaints: list[str] = []
    contexts = []

    def open_page(
        address: str, *, phone: bool = False, dark: bool = False, still: bool = False, http: bool = False
    ) -> Page:
        base = request.getfixturevalue("server") if http else site.as_uri()
        context = browser.new_context(
            viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 900},
            has_touch=phone,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
        )
        contexts.append(context)

        def guard(route: Route) -> None:
            if route.request.url.startswith((base, "data:", "blob:")):
                route.continue_()
            else:
                complaints.append(f"wanted {route.request.url}")
                route.abort()

        context.route("**/*", guard)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{base}/{address}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(params=["desk, light", "desk, dark", "phone, light", "phone, dark"])
def reader(request: pytest.FixtureRequest) -> dict[str, bool]:
    """Each of four readers, as arguments of `visit`."""
    return {setting: setting in request.param for setting in ("phone", "dark")}


@pytest.fixture(scope="session")
def findings() -> Callable[..., list[str]]:
    """What axe-core holds against a part of a page: critical and serious findings, as 'rule: element'.

    The part is a selector, or what axe-core calls a context: `{"exclude": [[selector], ...]}`. By default all rules
    are asked; with `colours`, only those about colours, or only the others.
    """
    axe = Axe()

    def find(page: Page, part: str | dict, colours: bool | None = None) -> list[str]:
        # "preload" would read the style sheets again, which file:// does not allow.
        options: dict[str, object] = {"preload": False, "resultTypes": ["violations"]}
        if colours is not None:
            options |= {"runOnly": COLOURS} if colours else {"rules": {rule: {"enabled": False} for rule in COLOURS}}
        violations = axe.run(page, context=part, options=options).response["violations"]
        return [
            f"{violation['id']}: {node['html'][:120]}"
            for violation in violations
            if violation["impact"] in ("critical", "serious")
            for node in violation["nodes"]
        ]

    return find
