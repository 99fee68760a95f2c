"""The page that trains a DCGAN: it learns to draw letters, every control does what it says, and its readers."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "book"))
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import measure_training  # noqa: E402
import training_page  # noqa: E402

PAGE = "book/training.html"
SLOWLY = 120_000  # milliseconds; rounds are counted, and not seconds, because tests may share their cores

# A worker that answers at once, with as many rounds as it was asked for. What it says of losses is in `said`.
QUICK_WORKER = """
window.said = { discriminator: 1, generator: 1 };
window.asked = [];
window.Worker = class {
  rounds = 0;
  postMessage(message) {
    const { id, kind, rounds } = message;
    asked.push(message);
    this.rounds = kind === "start" ? 0 : this.rounds + Math.min(rounds, 100);
    const done = kind === "start" ? {} : { played: Math.min(rounds, 100), losses: said, spent: 1 };
    const answer = window.refuse ? { id, error: window.refuse }
      : { id, ...done, rounds: this.rounds, pictures: new Uint8ClampedArray(25 * 256) };
    setTimeout(() => this.onmessage({ data: answer }));
  }
};
"""


@pytest.fixture
def opened(visit):
    def open_page(**reader):
        page = visit(PAGE, **reader)
        page.set_default_timeout(SLOWLY)
        page.wait_for_function("globalThis.training?.pictures().length")
        return page

    return open_page


@pytest.fixture
def scripted(browser, site):
    """The page with other scripts run before its own."""
    contexts = []

    def open_page(script):
        contexts.append(browser.new_context())
        contexts[-1].add_init_script(script)
        page = contexts[-1].new_page()
        page.set_default_timeout(SLOWLY)
        page.goto(f"{site.as_uri()}/{PAGE}")
        page.wait_for_function("globalThis.training")
        page.evaluate("training.ready()")
        return page

    yield open_page
    for context in contexts:
        context.close()


def state(page):
    return page.evaluate("training.state()")


def status(page):
    return page.inner_text("#tr-status")


def samples(page) -> torch.Tensor:
    """What the page shows of the watched latents, (25, 1, 16, 16) in [-1, 1]."""
    return torch.tensor(page.evaluate("training.pictures()")).view(25, 1, 16, 16) / 127.5 - 1


def press(page, name, by="mouse"):
    page.click(f"#tr-{name}") if by == "mouse" else page.press(f"#tr-{name}", "Enter")


# ------------------------------------------------------------------------------------------------------------ learning


def test_after_600_rounds_the_classifier_recognises_letters_and_in_the_noise_it_does_not(opened):
    page = opened()
    assert state(page)["letters"] == measure_training.WANTED and state(page)["compiled"]
    assert page.input_value("#tr-rate") == str(measure_training.RATE)
    assert measure_training.recognised(samples(page)) == 0
    page.evaluate("training.advance(600)")
    assert state(page)["rounds"] == 600
    assert measure_training.recognised(samples(page)) >= 0.2


def test_pictures_grow_while_one_watches_and_pause_holds_them(opened):
    page = opened()
    before = samples(page)
    press(page, "play")
    page.wait_for_function("training.state().rounds >= 20")
    assert page.inner_text("#tr-play") == "Pause" and page.is_disabled("#tr-step")
    press(page, "play")
    assert page.inner_text("#tr-play") == "Start" and status(page).startswith("Paused after ")
    page.wait_for_timeout(1000)  # the last answer comes
    rounds = state(page)["rounds"]
    page.wait_for_timeout(500)
    assert state(page)["rounds"] == rounds and not state(page)["playing"]
    assert (samples(page) - before).abs().max() > 0.02
    assert page.inner_text("#tr-rounds").replace(",", "") == str(rounds)
    assert page.inner_text("#tr-seen").replace(",", "") == str(32 * rounds)
    assert 0 < float(page.inner_text("#tr-pace")) < 2000
    losses = state(page)["losses"]
    assert float(page.inner_text("#tr-loss-discriminator")) == pytest.approx(losses["discriminator"], abs=0.006)
    assert float(page.inner_text("#tr-loss-generator")) == pytest.approx(losses["generator"], abs=0.006)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_one_round_is_one_and_reset_begins_with_the_same_pictures(opened, by):
    page = opened()
    before = samples(page)
    for rounds in (1, 2):
        press(page, "step", by)
        page.wait_for_function(f"training.state().rounds === {rounds}")
    expect(page.locator("#tr-status")).to_have_text("Round 2.")
    after = samples(page)
    press(page, "reset", by)
    page.wait_for_function("training.state().rounds === 0")
    assert torch.equal(samples(page), before) and not torch.equal(after, before)
    page.evaluate("training.advance(2)")
    assert torch.equal(samples(page), after)
    page.fill("#tr-seed", "7")
    page.press("#tr-seed", "Tab")
    page.wait_for_function("training.state().rounds === 0")
    assert not torch.equal(samples(page), before)


def test_the_real_letters_are_those_of_the_books_data_set(opened):
    page = opened()
    for name in "ACEHX":  # only S is left
        page.click(f"#tr-letters >> text='{name}'")
    page.evaluate("training.ready()")
    assert state(page)["letters"] == "S" and page.is_disabled("#tr-letters >> text='S'")
    shown = page.evaluate(
        """() => { const canvas = document.getElementById("tr-real");
        return [...canvas.getContext("2d").getImageData(1, 1, 16, 16).data].filter((_, i) => i % 4 === 0); }"""
    )
    levels = training_page.letter_levels().reshape(26, -1, 16, 16)[ord("S") - ord("A"), 0]
    assert np.abs(np.array(shown).reshape(16, 16) - 17.0 * levels).max() <= 1


# ------------------------------------------------------------------------------------------------------------ controls


def test_another_rate_counts_from_the_next_round_on_and_other_letters_begin_anew(scripted):
    page = scripted(QUICK_WORKER)
    page.evaluate("training.advance(1)")
    page.select_option("#tr-rate", "0.01")
    page.evaluate("training.advance(1)")
    assert page.evaluate("asked.map((one) => [one.kind, one.rate])") == [
        ["start", 0.0005],
        ["advance", 0.0005],
        ["advance", 0.01],
    ]
    page.click("#tr-letters >> text='B'")
    page.evaluate("training.ready()")
    assert state(page)["rounds"] == 0 and state(page)["letters"] == "ABCEHSX"
    assert page.evaluate("asked.at(-1).kind") == "start"


def test_the_page_pauses_by_itself_after_5000_rounds_and_goes_on_when_asked(scripted):
    page = scripted(QUICK_WORKER)
    press(page, "play")
    page.wait_for_function("!training.state().playing")
    assert state(page)["rounds"] == 5000 and status(page) == "5,000 rounds, paused. Press Start to go on."
    press(page, "play")
    page.wait_for_function("!training.state().playing")
    assert state(page)["rounds"] == 10_000


def test_a_long_run_needs_no_more_points_of_its_curve(scripted):
    page = scripted(QUICK_WORKER)
    for _ in range(2000):
        page.evaluate("training.advance(1)")
    assert 200 < state(page)["curve"] <= 600


def test_training_rests_while_another_tab_is_in_front(scripted):
    page = scripted(QUICK_WORKER.replace("setTimeout(() => this.onmessage({ data: answer }))", QUICK_WORKER_WAITS))
    press(page, "play")
    page.wait_for_function("training.state().rounds > 0")

    def set_hidden(hidden):
        page.evaluate(
            """(hidden) => { Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange")); }""",
            hidden,
        )

    set_hidden(True)
    page.wait_for_timeout(200)  # the last answer comes
    rounds = state(page)["rounds"]
    page.wait_for_timeout(300)
    assert state(page)["rounds"] == rounds and state(page)["playing"]
    set_hidden(False)
    page.wait_for_function(f"training.state().rounds > {rounds}")


QUICK_WORKER_WAITS = "this.rounds -= Math.min(rounds ?? 0, 99); answer.rounds = Math.max(0, this.rounds); "
QUICK_WORKER_WAITS += "setTimeout(() => this.onmessage({ data: answer }), 20)"


def test_whatever_is_pressed_while_an_answer_is_on_its_way_the_page_goes_on(opened):
    page = opened()
    page.evaluate(
        """() => { for (let i = 0; i < 4; i++) for (const name of ["play", "reset", "step", "play", "reset"]) {
        document.getElementById(`tr-${name}`).click(); } }"""
    )
    page.wait_for_timeout(300)
    press(page, "reset")
    page.evaluate("training.ready()")
    assert state(page)["rounds"] == 0 and not state(page)["playing"]
    press(page, "play")
    page.wait_for_function("training.state().rounds > 3")


# ------------------------------------------------------------------------------------------------------------ trouble


def test_a_loss_that_is_no_number_and_an_error_are_one_sentence_each(scripted):
    page = scripted(QUICK_WORKER)
    page.evaluate("said.generator = NaN")
    press(page, "play")
    expect(page.locator("#tr-status")).to_contain_text("no longer a number. Choose a lower learning rate")
    assert not state(page)["playing"]
    page.evaluate("window.refuse = 'out of memory'")
    press(page, "reset")
    expect(page.locator("#tr-status")).to_have_text("The training has stopped: out of memory")


def test_without_webassembly_simd_one_sentence_says_so_and_the_numbers_are_the_same(opened, scripted):
    refuse = "WebAssembly.Module = function () { throw new WebAssembly.CompileError('no simd'); };"
    page, usual = scripted(refuse), opened()
    assert "no WebAssembly SIMD" in page.inner_text("#tr-slow") and page.is_visible("#tr-slow")
    assert not state(page)["compiled"] and usual.is_hidden("#tr-slow")
    for one in (page, usual):
        one.evaluate("training.advance(3)")
    assert (samples(page) - samples(usual)).abs().max() < 0.02
    assert scripted("delete window.WebAssembly;").is_visible("#tr-slow")


def test_a_browser_that_allows_no_worker_is_one_sentence(scripted):
    page = scripted("window.Worker = function () { throw new Error('no worker here'); };")
    assert status(page) == "The training cannot begin: no worker here"


def test_without_javascript_no_dead_control_is_shown(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{PAGE}")
    assert page.is_visible("#tr-fallback") and page.is_hidden("#tr-play")
    context.close()


# ------------------------------------------------------------------------------------------------------------ readers


def test_nothing_trains_by_itself_and_who_prefers_less_motion_sees_a_picture_every_two_seconds(visit):
    page = visit(PAGE, still=True)
    page.set_default_timeout(SLOWLY)
    page.wait_for_function("globalThis.training?.pictures().length")
    page.wait_for_timeout(300)
    assert state(page)["rounds"] == 0 and not state(page)["playing"]
    page.evaluate(
        """() => { window.drawn = []; const own = CanvasRenderingContext2D.prototype.putImageData;
        CanvasRenderingContext2D.prototype.putImageData = function (...all) {
          if (this.canvas.id === "tr-samples") drawn.push(performance.now());
          own.apply(this, all); }; }"""
    )
    press(page, "play")
    page.wait_for_function("drawn.length >= 4")
    moments = page.evaluate("drawn")
    assert min(np.diff(moments[1:])) >= 1900  # the first is the press itself


def test_axe_finds_nothing_critical_or_serious_and_nothing_sticks_out(opened, findings, reader):
    page = opened(**reader)
    page.evaluate("training.advance(3)")
    assert findings(page, "#training") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_pictures_and_buttons_fit_one_screen(opened):
    page = opened(phone=True)
    page.locator("#tr-samples").scroll_into_view_if_needed()
    boxes = [page.locator(f"#tr-{name}").bounding_box() for name in ("samples", "real", "play", "curves")]
    top, bottom = min(box["y"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    assert bottom - top < 844 - 100


def test_page_works_from_a_server_and_its_own_files_are_small(visit, site):
    page = visit(PAGE, http=True)
    page.set_default_timeout(SLOWLY)
    page.wait_for_function("globalThis.training?.pictures().length")
    page.evaluate("training.advance(1)")
    names = page.evaluate('performance.getEntriesByType("resource").map((entry) => entry.name)')
    local = [site / urlsplit(name).path.lstrip("/") for name in names if not name.startswith("blob:")]
    own = [path for path in local if path.parent.name == "training" or path.name == "living.css"]
    assert len(own) == 7

    def travels(paths):
        return sum(len(gzip.compress(path.read_bytes(), 6)) for path in paths)

    assert travels(own) < 120_000 and travels(local) < 500_000
