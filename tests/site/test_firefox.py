"""The living pages in Firefox, driven through its own protocol: what they draw, play and compute there.

Playwright drives no Firefox that a distribution ships. Chromium's tests have every control and every reader; these ask
what a browser of another make could get wrong: scripts, canvases, numbers, readers' settings, sounds.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator

import pytest
import torch
from test_latent_explorer import agree, latent_explorer
from test_playground_story import PLAY

from dcgan_core import recorded
from dcgan_core.teaching.chapter_05 import layer_outputs

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # of the library, while it waits
marionette = pytest.importorskip("marionette_driver.marionette")
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
SETTINGS = {"dark": "ui.systemUsesDarkTheme", "still": "ui.prefersReducedMotion"}
PAGES = ["book/intro", "book/playground", "book/latent_explorer", "book/training", "book/claims"]
PAGES += ["notebooks/03_minimax", "notebooks/10_mode_collapse", "notebooks/16_applications"]

ERRORS = """
const found = [];
for (const message of Services.console.getMessageArray()) {
  if (!(message instanceof Ci.nsIScriptError)) continue;
  if (message.flags & Ci.nsIScriptError.warningFlag) continue;
  if (message.sourceName.startsWith(arguments[0])) found.push(message.errorMessage);
}
Services.console.reset();
return found;
"""


class Firefox:
    """One window; `reader` sets what the reader prefers."""

    def __init__(self, client, base: str) -> None:
        self.client, self.base = client, base

    def open(self, page: str, **reader: bool) -> None:
        for name, preference in SETTINGS.items():
            self.client.set_pref(preference, int(reader.get(name, False)))
        self.client.navigate(f"{self.base}/{page}.html")

    def evaluate(self, expression: str) -> object:
        """The value of the JavaScript expression in the page, which may be a promise."""
        script = """
        const done = arguments[arguments.length - 1];
        const page = window.wrappedJSObject;
        (async () => JSON.stringify(await page.eval(arguments[0])))().then(
            (value) => done([true, value]), (error) => done([false, String(error)]));
        """
        succeeded, value = self.client.execute_async_script(script, script_args=[expression], script_timeout=120_000)
        assert succeeded, value
        return None if value is None else json.loads(value)

    def wait(self, expression: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            time.sleep(0.05)

    def find(self, selector: str):
        return self.client.find_element("css selector", selector)

    def errors(self) -> list[str]:
        with self.client.using_context("chrome"):
            return self.client.execute_script(ERRORS, script_args=[self.base])


@pytest.fixture(scope="module")
def started(site, tmp_path_factory) -> Iterator[Firefox]:
    """Headless Firefox. Without one the tests are skipped, but never in CI."""
    if FIREFOX is None:
        message = "no Firefox is installed: the living pages are not tested in it (Debian: apt-get install firefox-esr)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = marionette.Marionette(
        bin=FIREFOX, host="127.0.0.1", port=port, headless=True, gecko_log=str(tmp_path_factory.mktemp("log") / "gecko")
    )
    client.start_session()
    client.set_window_rect(width=1280, height=1000)
    yield Firefox(client, site.as_uri())
    client.quit()
    client.cleanup()


@pytest.fixture
def firefox(started) -> Iterator[Firefox]:
    """The window, for a test after which none of the site's scripts may have failed."""
    started.errors()
    yield started
    assert started.errors() == []


def test_a_script_that_fails_is_noticed(started):
    started.open("book/claims")
    assert started.errors() == []
    failing = "document.head.append(Object.assign(document.createElement('script'), {text: 'nobody.knows();'}))"
    started.evaluate(f"void {failing}")
    assert started.errors() == ["ReferenceError: nobody is not defined"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_as_the_reader_likes_it_and_nothing_sticks_out(firefox, page, dark):
    firefox.open(page, dark=dark)
    assert firefox.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    assert firefox.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    ground = firefox.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 64) if dark else (min(ground) > 224)
    assert firefox.evaluate("document.querySelectorAll('.bd-article mjx-container').length") == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_step_1_of_the_story_goes_as_its_text_says(firefox, seed):
    firefox.open("book/playground", still=True)
    given = json.dumps({"step": "discriminator", "seed": seed, "rounds": [60]})
    start, end = firefox.evaluate(f"(function () {{ const input = {given}; {PLAY} }})()")
    assert end["greenUnderReal"] > 0.99 and end["purpleUnderFake"] > 0.99
    assert start["longest"] < 0.2 and end["longest"] > 3


def canvas(name: str) -> str:
    """How many different bytes the canvas holds."""
    return f"""(() => {{ const one = document.querySelector("{name}");
    return new Set(one.getContext("2d").getImageData(0, 0, one.width, one.height).data).size; }})()"""


def test_the_playground_draws_and_its_buttons_work(firefox):
    firefox.open("book/playground", still=True)
    firefox.find('[data-step="collapse"]').click()
    firefox.wait("document.querySelector('[data-step=collapse]').getAttribute('aria-pressed') === 'true'")
    biggest = "[...document.querySelectorAll('#playground canvas')].sort((a, b) => b.width - a.width)[0]"
    firefox.evaluate(f"{biggest}.id ||= 'biggest'")
    assert firefox.evaluate(canvas(f"#{firefox.evaluate(f'{biggest}.id')}")) > 50


def test_the_explorers_numbers_are_pytorchs(firefox):
    run = recorded.load(latent_explorer.RUN)
    firefox.open("book/latent_explorer")
    firefox.wait("!!document.querySelector('#latent-explorer.le-ready')")
    firefox.find("#le-map").send_keys("\ue00c")  # a touch brings the exact weights
    firefox.wait("latentExplorer.state().exact")
    latent = run.latents[0]
    agree(firefox.evaluate(f"latentExplorer.outputs({latent.tolist()})"), layer_outputs(run.generator, latent[None]))
    assert firefox.evaluate(canvas("#le-letter")) > 20


def test_the_dcgan_of_the_page_trains(firefox):
    firefox.open("book/training")
    firefox.wait("!!globalThis.training")
    firefox.evaluate("training.ready()")
    before = torch.tensor(firefox.evaluate("[...training.pictures()]"), dtype=torch.float32)
    firefox.evaluate("training.advance(30)")
    state = firefox.evaluate("training.state()")
    assert state["rounds"] == 30 and state["compiled"]
    assert 0 < state["losses"]["discriminator"] < 3 and 0 < state["losses"]["generator"] < 10
    after = torch.tensor(firefox.evaluate("[...training.pictures()]"), dtype=torch.float32)
    assert (after - before).abs().max() > 20  # of 255


def test_the_agent_plays_the_level(firefox):
    firefox.open("notebooks/16_applications")
    firefox.wait("!!document.querySelector('.level-ready')")
    firefox.evaluate(
        "[...document.querySelectorAll('.level-game button')].find((one) => /agent/.test(one.innerText)).click()"
    )
    firefox.wait("document.querySelector('.level-game').dataset.state === 'passed'")


def test_sounds_can_be_played(firefox):
    firefox.open("notebooks/16_applications")
    lengths = firefox.evaluate("""Promise.all([...document.querySelectorAll("audio")].map((one) => new Promise((done) =>
    {
      if (one.readyState) return done(one.duration);
      one.onloadedmetadata = () => done(one.duration);
      one.onerror = () => done(0);
      one.preload = "metadata";
      one.load();
    })))""")
    assert len(lengths) > 10 and min(lengths) > 0.1


def test_a_replay_follows_its_slider(firefox):
    firefox.open("notebooks/10_mode_collapse")
    firefox.wait("!!document.querySelector('.replay-ready')")
    moment = "document.querySelector('.replay output').innerText"
    before = firefox.evaluate(moment)
    firefox.find(".replay input").send_keys("\ue012")  # left arrow
    assert firefox.evaluate(moment) != before
