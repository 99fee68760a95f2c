"""The living pages in Firefox and in WebKit (as in Safari and Epiphany): what they draw, play and compute there.

Playwright drives no Firefox and no WebKit that a distribution ships: Firefox is driven through its own protocol, and
WebKitGTK's small browser through its driver, on a screen that nobody sees. Chromium's tests have every control and
every reader; these ask what a browser of another make could get wrong: scripts, canvases, numbers, settings, sounds.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from conftest import serve
from selenium import webdriver
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service
from test_latent_explorer import agree, latent_explorer
from test_playground_story import PLAY

from dcgan_core import recorded
from dcgan_core.teaching.chapter_05 import layer_outputs

# Of the libraries: Marionette while it waits, and old ways in all that it and Selenium need.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
WEBKIT = shutil.which("WebKitWebDriver")
MINI_BROWSERS = ("/usr/lib/*/webkit*gtk-*/MiniBrowser", "/usr/libexec/webkit*gtk-*/MiniBrowser")
PAGES = ["book/intro", "book/playground", "book/latent_explorer", "book/training", "book/claims"]
PAGES += ["notebooks/03_minimax", "notebooks/10_mode_collapse", "notebooks/16_applications"]
SHIFT, LEFT = "\ue008", "\ue012"

# The value of an expression in the page, which may be a promise, as JSON.
VALUE = """
const done = arguments[arguments.length - 1];
(async () => JSON.stringify(await PAGE.eval(arguments[0])))().then(
    (value) => done([true, value]), (error) => done([false, String(error)]));
"""
# Stands before all other scripts of a page: what fails from then on, scripts that do not come among it.
WATCH = b"""<script>window.failures = [];
addEventListener("error", ({ message, target }) => failures.push(message || `no ${target.src || target.href}`), true);
addEventListener("unhandledrejection", (event) => failures.push(String(event.reason)));</script>"""


class Watched(http.server.SimpleHTTPRequestHandler):
    """Sends the site, with the watching script in each page."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html" or not path.is_file():
            return super().do_GET()
        page = path.read_bytes().replace(b"<head>", b"<head>" + WATCH, 1)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        pass


class Window(ABC):
    """One window of a browser, 1280 pixels wide."""

    def __init__(self, client, base: str) -> None:
        self.client, self.base = client, base

    @abstractmethod
    def open(self, page: str, *, dark: bool = False) -> None:
        """For a reader who prefers light or dark."""

    @abstractmethod
    def run(self, script: str, argument: str) -> list:
        """What a script hands to its last argument."""

    def failures(self) -> list[str]:
        """What scripts of the page have failed with so far."""
        return self.evaluate("failures")

    def evaluate(self, expression: str) -> object:
        """The value of the JavaScript expression in the page, which may be a promise."""
        succeeded, value = self.run(VALUE, expression)
        assert succeeded, value
        return None if value is None else json.loads(value)

    def wait(self, expression: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            time.sleep(0.05)

    def find(self, selector: str):
        return self.client.find_element("css selector", selector)


class Firefox(Window):
    def open(self, page: str, *, dark: bool = False) -> None:
        self.client.set_pref("ui.systemUsesDarkTheme", int(dark))
        self.client.navigate(f"{self.base}/{page}.html")

    def run(self, script: str, argument: str) -> list:
        script = script.replace("PAGE", "window.wrappedJSObject")
        return self.client.execute_async_script(script, script_args=[argument], script_timeout=120_000)


class WebKit(Window):
    def open(self, page: str, *, dark: bool = False) -> None:
        self.client.get(f"{self.base}/{page}.html")
        wanted = "dark" if dark else "light"  # the reader's choice on the page: the driver cannot set the system's
        if self.evaluate(f"localStorage.getItem('mode') !== '{wanted}'"):
            self.evaluate(f"['mode', 'theme'].forEach((name) => localStorage.setItem(name, '{wanted}'))")
            self.client.refresh()

    def run(self, script: str, argument: str) -> list:
        return self.client.execute_async_script(script.replace("PAGE", "window"), argument)


def missing(message: str) -> None:
    pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def start_firefox(base: str, folder: Path, stack: ExitStack) -> Window:
    if FIREFOX is None:
        missing("no Firefox is installed: the living pages are not tested in it (Debian: apt-get install firefox-esr)")
    from marionette_driver.marionette import Marionette

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = Marionette(bin=FIREFOX, host="127.0.0.1", port=port, headless=True, gecko_log=str(folder / "firefox.log"))
    client.start_session()
    stack.callback(client.cleanup)
    stack.callback(client.quit)
    client.set_window_rect(width=1280, height=1000)
    return Firefox(client, base)


def start_webkit(base: str, folder: Path, stack: ExitStack) -> Window:
    browsers = [path for pattern in MINI_BROWSERS for path in Path("/").glob(pattern[1:])]
    if not (WEBKIT and browsers and shutil.which("Xvfb")):
        pytest.skip("WebKitGTK's driver or Xvfb is not installed (Debian: apt-get install webkit2gtk-driver xvfb)")
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "1400x1100x24", "-nolisten", "tcp"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    stack.callback(screen.wait)
    stack.callback(screen.terminate)
    stack.callback(screen.stdout.close)
    display = screen.stdout.readline().strip()
    # Its own sandbox needs rights that a container does not give; drawing needs no graphics card.
    drawing = {"GDK_BACKEND": "x11", "LIBGL_ALWAYS_SOFTWARE": "1", "WEBKIT_DISABLE_COMPOSITING_MODE": "1"}
    drawing |= {"WEBKIT_DISABLE_DMABUF_RENDERER": "1", "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
    options = Options()
    options.binary_location = str(sorted(browsers)[-1])
    options.add_argument("--automation")
    service = Service(WEBKIT, env={**os.environ, **drawing, "DISPLAY": f":{display}"})
    client = webdriver.WebKitGTK(options=options, service=service)
    stack.callback(client.quit)
    client.set_script_timeout(120)
    client.set_window_size(1280, 1000)
    return WebKit(client, base)


STARTS: dict[str, Callable[[str, Path, ExitStack], Window]] = {"firefox": start_firefox, "webkit": start_webkit}


@pytest.fixture(scope="module", params=list(STARTS))
def started(request, site, tmp_path_factory) -> Iterator[Window]:
    """Without a browser its tests are skipped; in CI without Firefox they fail."""
    with ExitStack() as stack:
        base = stack.enter_context(serve(site, Watched))
        yield STARTS[request.param](base, tmp_path_factory.mktemp("log"), stack)


@pytest.fixture
def window(started) -> Iterator[Window]:
    """The window, for a test in which no script of the page that it opened last may fail."""
    yield started
    assert started.failures() == []


def test_what_fails_in_a_page_is_noticed(started):
    started.open("book/claims")
    assert started.failures() == []
    for attribute in ("text: 'nobody.knows();'", "src: 'nowhere.js'"):
        started.evaluate(f"void document.head.append(Object.assign(document.createElement('script'), {{{attribute}}}))")
    started.evaluate("void Promise.reject('broken')")
    started.wait("failures.length === 3")
    assert sorted("nobody" in one or "nowhere.js" in one or one == "broken" for one in started.failures()) == [True] * 3


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_as_the_reader_likes_it_and_nothing_sticks_out(window, page, dark):
    window.open(page, dark=dark)
    assert window.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    assert window.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    ground = window.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 64) if dark else (min(ground) > 224)
    assert window.evaluate("document.querySelectorAll('.bd-article mjx-container').length") == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_step_1_of_the_story_goes_as_its_text_says(window, seed):
    window.open("book/playground")
    given = json.dumps({"step": "discriminator", "seed": seed, "rounds": [60]})
    start, end = window.evaluate(f"(function () {{ const input = {given}; {PLAY} }})()")
    assert end["greenUnderReal"] > 0.99 and end["purpleUnderFake"] > 0.99
    assert start["longest"] < 0.2 and end["longest"] > 3


def canvas(name: str) -> str:
    """How many different bytes the canvas holds."""
    return f"""(() => {{ const one = document.querySelector("{name}");
    return new Set(one.getContext("2d").getImageData(0, 0, one.width, one.height).data).size; }})()"""


def test_the_playground_draws_and_its_buttons_work(window):
    window.open("book/playground")
    window.find('[data-step="collapse"]').click()
    window.wait("document.querySelector('[data-step=collapse]').getAttribute('aria-pressed') === 'true'")
    biggest = "[...document.querySelectorAll('#playground canvas')].sort((a, b) => b.width - a.width)[0]"
    window.evaluate(f"{biggest}.id ||= 'biggest'")
    assert window.evaluate(canvas(f"#{window.evaluate(f'{biggest}.id')}")) > 50


def test_the_explorers_numbers_are_pytorchs(window):
    run = recorded.load(latent_explorer.RUN)
    window.open("book/latent_explorer")
    window.wait("!!document.querySelector('#latent-explorer.le-ready')")
    window.find("#le-map").send_keys(SHIFT)  # a touch brings the exact weights
    window.wait("latentExplorer.state().exact")
    latent = run.latents[0]
    agree(window.evaluate(f"latentExplorer.outputs({latent.tolist()})"), layer_outputs(run.generator, latent[None]))
    assert window.evaluate(canvas("#le-letter")) > 20


def test_the_dcgan_of_the_page_trains(window):
    window.open("book/training")
    window.wait("!!globalThis.training")
    window.evaluate("training.ready()")
    before = torch.tensor(window.evaluate("[...training.pictures()]"), dtype=torch.float32)
    window.evaluate("training.advance(30)")
    state = window.evaluate("training.state()")
    assert state["rounds"] == 30 and state["compiled"]
    assert 0 < state["losses"]["discriminator"] < 3 and 0 < state["losses"]["generator"] < 10
    after = torch.tensor(window.evaluate("[...training.pictures()]"), dtype=torch.float32)
    assert (after - before).abs().max() > 20  # of 255


def test_the_agent_plays_the_level(window):
    window.open("notebooks/16_applications")
    window.wait("!!document.querySelector('.level-ready')")
    window.evaluate(
        "[...document.querySelectorAll('.level-game button')].find((one) => /agent/.test(one.innerText)).click()"
    )
    window.wait("document.querySelector('.level-game').dataset.state === 'passed'")


def test_sounds_can_be_played(window):
    window.open("notebooks/16_applications")
    lengths = window.evaluate("""Promise.all([...document.querySelectorAll("audio")].map((one) => new Promise((done) =>
    {
      if (one.readyState) return done(one.duration);
      one.onloadedmetadata = () => done(one.duration);
      one.onerror = () => done(0);
      one.preload = "metadata";
      one.load();
    })))""")
    assert len(lengths) > 10 and min(lengths) > 0.1


def test_a_replay_follows_its_slider(window):
    window.open("notebooks/10_mode_collapse")
    window.wait("!!document.querySelector('.replay-ready')")
    moment = "document.querySelector('.replay output').innerText"
    before = window.evaluate(moment)
    window.find(".replay input").send_keys(LEFT)
    assert window.evaluate(moment) != before
