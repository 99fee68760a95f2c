"""The playground in a real browser: every control by mouse and by keyboard, what the page promises, and its readers."""

from __future__ import annotations

import gzip
import itertools
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

PAGE = "book/playground.html"
PLAYING = PAGE + "#game=non-saturating"  # a game of both, which goes on
STEPS = ("discriminator", "generator", "collapse", "faster", "critic", "ahead")


def state(page):
    return page.evaluate("playground.state()")


@pytest.fixture
def paused(visit):
    """The page at the start of a game that stands still."""

    def open_page(fragment: str = "", **reader):
        page = visit(PAGE + fragment, still=True, **reader)
        page.wait_for_selector("#playground.pg-ready")
        return page

    return open_page


def test_page_opens_on_the_discriminator_learning_alone_and_pauses_when_that_is_told(visit):
    page = visit(PAGE)
    page.wait_for_function("playground.state().judged > 5")
    now = state(page)
    assert now["playing"] and now["told"] == "discriminator" and now["step"] == 0
    page.wait_for_function("!playground.state().playing")
    now = state(page)
    assert now["judged"] == now["round"] == 60 and now["step"] == 0
    assert page.inner_text("#pg-play") == "Play"


@pytest.mark.parametrize("by", ["mouse", "keyboard", "finger"])
def test_every_step_of_the_story_sets_its_state_and_shows_its_own_text_alone(paused, by):
    page = paused(phone=by == "finger")
    page.click("#pg-new-seed")  # a step does not depend on what was there before
    page.select_option("#pg-data", "grid")
    for step in reversed(STEPS):
        button = page.locator(f"[data-step={step}]")
        {"mouse": button.click, "finger": button.tap, "keyboard": lambda button=button: button.press("Enter")}[by]()
        now = state(page)
        assert now["settings"] == page.evaluate(f"Story.settingsOf('{step}')")
        assert (now["told"], now["step"], now["round"]) == (step, 0, 0)
        pressed = page.evaluate(
            "[...document.querySelectorAll('[data-step][aria-pressed=true]')].map((b) => b.dataset.step)"
        )
        assert pressed == [step]
        assert [one for one in (*STEPS, "free") if page.is_visible(f"[data-of={one}]")] == [step]
    page.select_option("#pg-game", "minimax")
    assert page.locator("[data-step][aria-pressed=true]").count() == 0 and page.is_visible("[data-of=free]")


def test_a_step_that_is_told_stops_by_itself_with_the_numbers_that_are_shown(visit):
    page = visit(PAGE)
    page.click("[data-step=generator]")
    page.wait_for_function("playground.state().round === 60 && !playground.state().playing")
    now = state(page)
    assert now["step"] == 60 and now["judged"] == 60  # the head start
    assert page.inner_text("#pg-count-value") == f"{now['covered']} of 8"
    assert f"round {now['round']}" in page.inner_text("#pg-more")
    assert f"{now['covered']} of 8 modes" in page.inner_text("#pg-status")
    assert float(page.inner_text("#pg-loss-generator")) == pytest.approx(now["lossOfGenerator"], abs=0.006)
    assert float(page.inner_text("#pg-loss-discriminator")) == pytest.approx(now["lossOfDiscriminator"], abs=0.006)
    assert float(page.inner_text("#pg-says-fake")) == pytest.approx(now["saysOfFake"], abs=0.006)


def test_slow_motion_shows_one_update_at_a_time_and_who_makes_it(visit):
    page = visit(PAGE)
    page.click("#pg-play")
    page.click("#pg-slow")
    page.click("[data-step=critic]")
    seen = page.evaluate(
        """() => new Promise((done) => { const seen = []; const flow = document.getElementById("pg-flow");
        (function look() {
            const { judged, step } = playground.state();
            const now = [judged + step, flow.dataset.learning || ""];
            if (!seen.length || seen.at(-1)[0] !== now[0]) seen.push(now);
            now[0] < 5 ? requestAnimationFrame(look) : done(seen);
        })(); })"""
    )
    seen = [(count, who) for count, who in seen if count]
    assert [count for count, _ in seen] == [1, 2, 3, 4, 5]
    assert [who for _, who in seen] == ["discriminator"] * 3 + ["generator", "discriminator"]
    page.click("#pg-slow")
    page.wait_for_function("playground.state().round > 20")


IN_SIGHT = """(names) => names.filter((name) => {
    const box = document.querySelector(name).getBoundingClientRect();
    return !(box.width > 0 && box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth);
})"""
CONTROLS = ["#pg-play", "#pg-step-discriminator", "#pg-step-generator", "#pg-slow", "#pg-restart"]
NEEDED = ["#pg-steps", "#pg-plane", "#pg-count-value", "#pg-more", "#pg-flow", "#pg-losses-chart", ".pg-key", *CONTROLS]


@pytest.mark.parametrize("step", STEPS)
def test_all_that_the_story_needs_is_on_one_screen_at_a_desk(paused, step):
    page = paused()
    page.set_viewport_size({"width": 1280, "height": 800})
    page.click(f"[data-step={step}]")
    assert page.evaluate("scrollY") == 0 and page.evaluate(IN_SIGHT, [*NEEDED, f"[data-of={step}]"]) == []


@pytest.mark.parametrize("step", STEPS)
def test_on_a_phone_one_screen_is_enough_and_the_buttons_are_where_the_thumb_is(paused, step):
    page = paused(phone=True)
    page.tap(f"[data-step={step}]")
    page.evaluate(
        """() => scrollBy({behavior: "instant", top: document.getElementById("playground").getBoundingClientRect().top
        - document.querySelector(".bd-header-article").getBoundingClientRect().bottom})"""
    )
    assert page.evaluate(IN_SIGHT, [*NEEDED, f"[data-of={step}]"]) == []
    reach = page.evaluate(
        """(names) => names.map((name) => document.querySelector(name).getBoundingClientRect())
        .map(({ top, height }) => [top, height])""",
        [f"[data-step={step}]", *CONTROLS],
    )
    assert all(top > 844 / 2 and height >= 38 for top, height in reach), reach


def test_nothing_moves_when_the_steps_and_their_numbers_change(paused, reader):
    page = paused(**reader)
    places = """[...document.querySelectorAll(".pg-stage, #pg-plane, #pg-flow, #pg-play, #pg-data")].map((one) => {
        const box = one.getBoundingClientRect();
        return [box.top + scrollY, box.left, box.width];
    })"""
    found = []
    for step in STEPS[:5]:
        page.evaluate("(step) => document.querySelector(`[data-step=${step}]`).click()", step)
        page.evaluate("playground.advance(30)")
        found.append(page.evaluate(places))
    assert all(one == found[0] for one in found), found


def swipe(page, start: tuple[float, float], dx: float, dy: float) -> None:
    """A finger that goes down, moves and goes up."""
    session = page.context.new_cdp_session(page)
    x, y = start
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for i in range(1, 11):
        point = {"x": x + dx * i / 10, "y": y + dy * i / 10}
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(300)


def test_a_swipe_that_starts_on_the_plane_scrolls_the_page_unless_drawing_was_asked_for(paused):
    page = paused(phone=True)
    page.click("[data-step=collapse]")
    before = state(page)

    def swiped() -> float:
        page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
        page.locator("#pg-plane").scroll_into_view_if_needed()
        box, at = page.locator("#pg-plane").bounding_box(), page.evaluate("scrollY")
        swipe(page, (box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.9), 0, -200)
        return page.evaluate("scrollY") - at

    assert swiped() > 100
    box = page.locator("#pg-plane").bounding_box()
    page.touchscreen.tap(box["x"] + 100, box["y"] + 100)
    assert state(page) == before
    page.tap("#pg-draw")
    assert swiped() == 0
    assert state(page)["settings"]["data"] == "drawn" and len(state(page)["settings"]["drawn"]) > 4


def test_clicks_and_keys_on_the_plane_do_nothing_unless_drawing_was_asked_for(paused):
    page = paused()
    before = state(page)
    page.locator("#pg-plane").click(position={"x": 90, "y": 90})
    assert state(page) == before
    assert page.get_attribute("#pg-plane", "tabindex") is None


def test_a_link_to_drawn_points_does_not_start_drawing(paused):
    page = paused("#data=drawn&drawn=AAAA")
    assert not state(page)["drawing"] and page.get_attribute("#pg-draw", "aria-pressed") == "false"


def test_points_that_leave_the_plane_are_counted(paused):
    page = paused("#generatorRate=0.03&discriminatorRate=0.03&game=wasserstein-clipping&clipLimit=1")
    assert page.is_hidden("#pg-outside")
    for _ in range(20):
        page.evaluate("playground.advance(20)")
        if state(page)["outside"] > 0.5:
            break
    assert state(page)["outside"] > 0.5
    assert page.inner_text("#pg-outside") == f"{round(100 * state(page)['outside'])}% of the points are off the plane"


def test_sliders_say_what_they_mean_to_a_screen_reader(paused):
    page = paused()
    page.press("#pg-discriminatorRate", "Home")
    assert page.get_attribute("#pg-discriminatorRate", "aria-valuetext") == "0.00001"


def test_training_lowers_the_kl_and_the_chart_says_so(paused):
    page = paused()
    page.click("[data-step=faster]")
    before = state(page)["kl"]
    after_training = page.evaluate("playground.advance(600)")["kl"]
    assert before > 1.5 and after_training < 0.6
    assert float(page.inner_text("#pg-divergence-value")) == pytest.approx(state(page)["kl"], abs=0.006)


def test_arrows_of_minimax_are_shorter_than_non_saturating_ones_where_the_discriminator_is_sure(paused):
    page = paused()
    lengths = page.evaluate(
        """() => {
        const run = Game.start(Story.settingsOf("discriminator"));
        for (let i = 0; i < Story.STEPS.discriminator.until; i++) Game.advance(run);
        return ["minimax", "non-saturating"].map((game) => {
            run.settings = {...run.settings, game};
            return Array.from(Game.look(run, 100, true).arrows);
        });
    }"""
    )
    minimax, plain = lengths
    size = [sum(value * value for value in arrows) for arrows in (minimax, plain)]
    assert size[0] < 0.25 * size[1]
    for i in range(0, 200, 2):
        assert minimax[i] * plain[i] + minimax[i + 1] * plain[i + 1] >= 0  # the same way


SLIDERS = ["generatorRate", "discriminatorRate", "discriminatorSteps", "headStart"]
SLIDERS_OF = {
    "unrolledSteps": "unrolled",
    "clipLimit": "wasserstein-clipping",
    "penaltyWeight": "wasserstein-penalty",
}


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_every_button_does_its_work(paused, by):
    page = paused()

    def press(name):
        selector = name if name.startswith("[") else f"#pg-{name}"
        page.click(selector) if by == "mouse" else page.press(selector, "Enter")

    press("step-generator")
    assert state(page)["step"] == 1 and "generator took one step" in page.inner_text("#pg-status")
    press("step-discriminator")
    assert state(page)["step"] == 1 and "discriminator took one step" in page.inner_text("#pg-status")
    press("restart")
    assert state(page)["step"] == 0
    press("new-seed")
    assert state(page)["settings"]["seed"] == 2
    press("play")
    page.wait_for_function("playground.state().round > 0")
    assert page.inner_text("#pg-play") == "Pause"
    press("play")
    assert not state(page)["playing"]
    press("share")
    assert "seed=2" in page.url and "seed=2" in page.input_value("#pg-link")
    press("slow")
    assert state(page)["slow"] and page.get_attribute("#pg-slow", "aria-pressed") == "true"


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
@pytest.mark.parametrize("name", [*SLIDERS, *SLIDERS_OF])
def test_every_slider_changes_its_setting(paused, by, name):
    page = paused()
    page.select_option("#pg-game", SLIDERS_OF.get(name, "non-saturating"))
    before = state(page)["settings"][name]
    slider = page.locator(f"#pg-{name}")
    if by == "mouse":
        box = slider.bounding_box()
        slider.click(position={"x": 0.9 * box["width"], "y": box["height"] / 2})
    else:
        slider.press("ArrowRight")
    now = state(page)["settings"][name]
    assert now > before
    assert float(page.inner_text(f"output[for=pg-{name}]")) == pytest.approx(now, rel=0.06)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_lists_and_boxes_work(paused, by):
    page = paused()
    for name, value in [("data", "grid"), ("game", "minimax"), ("learning", "generator")]:
        if by == "mouse":
            page.select_option(f"#pg-{name}", value)
        else:
            page.press(f"#pg-{name}", "ArrowDown")
            if name == "learning":
                page.press(f"#pg-{name}", "ArrowDown")
        assert state(page)["settings"][name] == value
    for name in ("arrows", "surface"):
        page.click(f"#pg-{name}") if by == "mouse" else page.press(f"#pg-{name}", "Space")
        assert not page.is_checked(f"#pg-{name}")
    if by == "keyboard":
        page.press("#pg-speed", "ArrowRight")
        assert page.inner_text("output[for=pg-speed]") == "5"


def test_points_are_drawn_with_the_mouse_and_their_quality_is_a_distance_of_histograms(paused):
    page = paused("#activation=tanh")
    page.click("#pg-draw")
    assert page.is_visible("#pg-hint")
    page.locator("#pg-plane").scroll_into_view_if_needed()
    box = page.locator("#pg-plane").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 60, steps=10)
    page.mouse.up()
    now = state(page)
    assert now["settings"]["data"] == "drawn" and len(now["settings"]["drawn"]) >= 12
    assert page.is_hidden("#pg-modes-figure") and "histograms" in page.inner_text("#pg-note")
    assert page.inner_text("#pg-divergence-name") == "Distance of histograms"
    before = state(page)["distance"]
    page.evaluate("playground.advance(400)")
    assert state(page)["distance"] < before
    first = len(now["settings"]["drawn"])
    page.mouse.click(box["x"] + 200, box["y"] + 200)
    assert len(state(page)["settings"]["drawn"]) == first + 2
    page.click("#pg-undo")
    assert len(state(page)["settings"]["drawn"]) == first
    page.click("#pg-undo")
    assert state(page)["settings"]["drawn"] == []
    page.mouse.click(box["x"] + 200, box["y"] + 200)
    page.click("#pg-clear")
    assert state(page)["settings"]["drawn"] == []


def test_points_are_drawn_with_the_keyboard(paused):
    page = paused()
    page.press("#pg-draw", "Enter")
    page.focus("#pg-plane")
    for key in ("ArrowRight", "Shift+ArrowUp", "Enter", "ArrowLeft", "ArrowDown", "Space", "Enter", "Backspace"):
        page.keyboard.press(key)
    drawn = state(page)["settings"]["drawn"]
    assert drawn == pytest.approx([0.1, 0.3, 0.0, 0.2], abs=0.007)
    assert "last point is gone" in page.inner_text("#pg-status")
    page.keyboard.press("Escape")
    assert not state(page)["drawing"]


def test_shared_link_restores_settings_seed_drawn_points_and_the_game(paused):
    page = paused("#data=drawn&game=unrolled&unrolledSteps=3&seed=77&generatorRate=0.002&activation=tanh")
    page.click("#pg-draw")
    page.focus("#pg-plane")
    for key in ("Enter", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.click("#pg-share")
    settings = state(page)["settings"]
    assert settings["seed"] == 77 and len(settings["drawn"]) == 4
    again = paused("#" + page.url.split("#")[1])
    restored = state(again)["settings"]
    assert restored == settings
    assert again.evaluate("playground.advance(20)") == page.evaluate("playground.advance(20)")


def test_nonsense_in_a_link_is_ignored_and_named(paused):
    page = paused("#game=poker&generatorRate=1e9&seed=x&drawn=%%%&discriminatorSteps=2")
    settings = state(page)["settings"]
    assert settings["game"] == "non-saturating" and settings["seed"] == 1 and settings["drawn"] == []
    assert settings["generatorRate"] == 1e-3 and settings["discriminatorSteps"] == 2
    said = page.inner_text("#pg-ignored")
    assert "game=poker" in said and "generatorRate=1e9" in said and "and 1 more" in said


WORST = [
    "#constructor=1",
    "#game=minimax&toString=1",
    "#game=minimax&__proto__=1&hasOwnProperty=2&valueOf=3",
    "#__proto__[game]=minimax&game=__proto__",
    "#game=unrolled&unrolledSteps=2.5",
    "#game=minimax&seed=NaN&generatorRate=Infinity",
    "#game=minimax&drawn=" + "A" * 100_000,
    "#game=%3Cimg%20src%3Dx%20onerror%3Dthrow%28%29%3E",
    "#game=minimax&x=" + "%F0%9F%98%80" * 10_000,
    "#=&==&&game=minimax",
]


@pytest.mark.parametrize("fragment", WORST, ids=lambda fragment: fragment[:40])
def test_the_worst_links_leave_a_page_that_works_and_says_what_it_ignored(paused, fragment):
    """`visit` fails the test for any error in the console."""
    page = paused(fragment)
    assert page.evaluate("playground.advance(3)")["round"] == 3
    assert page.is_visible("#pg-ignored") and page.inner_text("#pg-ignored").startswith("Ignored in the link: ")
    assert page.locator("#pg-ignored *").count() == 0, "the link's text became a part of the page"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#pg-share")
    assert page.is_hidden("#pg-ignored")
    again = paused("#" + page.url.split("#")[1])
    assert again.is_hidden("#pg-ignored") and state(again)["settings"] == state(page)["settings"]


def test_a_link_that_is_opened_in_the_same_page_is_read_as_strictly(paused):
    page = paused()
    before = state(page)["settings"]
    page.evaluate("location.hash = 'constructor=1'")
    page.wait_for_selector("#pg-ignored")
    assert state(page)["settings"] == before
    page.evaluate("location.hash = 'game=minimax&seed=3'")
    page.wait_for_selector("#pg-ignored", state="hidden")
    assert state(page)["settings"]["game"] == "minimax" and state(page)["settings"]["seed"] == 3
    page.evaluate("location.hash = 'how-it-works'")
    page.wait_for_timeout(100)
    assert state(page)["settings"]["game"] == "minimax" and page.is_hidden("#pg-ignored")


def test_a_link_without_a_game_plays_the_plain_one_and_an_address_without_a_setting_tells_the_story(paused):
    now = state(paused("#discriminatorRate=0.002&seed=7"))
    settings = now["settings"]
    assert (settings["seed"], settings["discriminatorRate"], settings["activation"]) == (7, 0.002, "relu")
    assert settings["game"] == "non-saturating" and settings["learning"] == "both" and now["told"] is None
    assert state(paused("#how-it-works"))["told"] == "discriminator"


def test_only_the_playground_reads_its_address():
    """What a stranger can write into an address concerns no other script of the book."""
    root = Path(__file__).parent.parent.parent
    scripts = [*(root / "book" / "_static").rglob("*.js"), *(root / "dcgan_core" / "teaching").glob("*.js")]
    reading = re.compile(r"\b(location|hash(change)?|referrer|URLSearchParams|localStorage|postMessage|onmessage)\b")
    own_worker = re.compile(r"\b(worker|scope|made)\.(post|on)message\b", re.IGNORECASE)  # made of the page's own text
    assert len(scripts) >= 7
    found = {
        path.relative_to(path.parent.parent).as_posix()
        for path in scripts
        if reading.search(own_worker.sub("", path.read_text("utf-8")))
    }
    assert found == {"playground/page.js", "playground/link.js"}


STEPS_IN_300_MILLISECONDS = """() => new Promise((done) => { const before = playground.state().step;
    setTimeout(() => done(playground.state().step - before), 300); })"""


def test_game_rests_out_of_sight_and_goes_on_in_sight(visit):
    page = visit(PLAYING)
    page.wait_for_function("playground.state().step > 0")
    page.evaluate("scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    page.wait_for_function("!playground.state().seen")
    assert page.evaluate(STEPS_IN_300_MILLISECONDS) == 0
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    before = state(page)["step"]
    page.wait_for_function(f"playground.state().step > {before}")


def test_game_rests_while_another_tab_is_in_front(visit):
    page = visit(PLAYING)
    page.wait_for_function("playground.state().step > 0")

    def set_hidden(hidden: bool):
        page.evaluate(
            """(hidden) => { Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange")); }""",
            hidden,
        )

    set_hidden(True)
    page.evaluate("new Promise(requestAnimationFrame)")  # the last frame that was asked for
    assert page.evaluate(STEPS_IN_300_MILLISECONDS) == 0
    assert state(page)["playing"], "it has not been paused: it goes on by itself"
    set_hidden(False)
    before = state(page)["step"]
    page.wait_for_function(f"playground.state().step > {before}")


def test_where_pictures_come_late_each_gets_one_step_only(visit):
    page = visit(PLAYING)
    page.wait_for_function("playground.state().step > 0")
    page.fill("#pg-speed", "20")
    steps = page.evaluate(
        """() => new Promise((done) => { const steps = []; (function slow() {
        const begin = performance.now(), before = playground.state().step;
        while (performance.now() - begin < 40);
        requestAnimationFrame(() => { steps.push(playground.state().step - before);
            steps.length < 30 ? slow() : done(steps); }); })(); })"""
    )
    assert steps[-10:] == [1] * 10, steps


def test_what_stands_still_is_drawn_once(visit):
    page = visit(PLAYING)
    page.wait_for_function("playground.state().step > 20")
    page.evaluate(
        """() => { window.strokes = []; const own = CanvasRenderingContext2D.prototype.stroke;
        CanvasRenderingContext2D.prototype.stroke = function () { strokes.push(this.canvas.id); own.call(this); }; }"""
    )
    before = state(page)["step"]
    page.wait_for_function(f"playground.state().step > {before + 20}")
    assert "pg-plane" in page.evaluate("strokes") and "pg-real-layer" not in page.evaluate("strokes")
    page.set_viewport_size({"width": 500, "height": 900})
    page.wait_for_function("strokes.includes('pg-real-layer')")


@pytest.mark.slow
def test_on_a_machine_four_times_slower_a_picture_takes_the_main_thread_less_than_a_thirtieth_of_a_second(visit):
    """The thread's own time, because the tests may share their cores; the best of some looks, for the same reason."""
    page = visit(PLAYING)
    page.wait_for_function("playground.state().step > 100")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})

    def busy() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    looks = []
    for _ in range(4):
        begin = busy()
        page.evaluate(
            """new Promise((done) => { let frames = 0;
            (function next() { frames++ < 40 ? requestAnimationFrame(next) : done(); })(); })"""
        )
        looks.append((busy() - begin) / 40)
    assert min(looks) < 1 / 30, looks


def test_nothing_moves_by_itself_for_readers_who_prefer_less_motion(paused):
    page = paused()
    assert not state(page)["playing"] and state(page)["step"] == 0
    assert "Press Play" in page.inner_text("#pg-status")
    for step in STEPS:
        page.click(f"[data-step={step}]")
        assert not state(page)["playing"]


def test_axe_finds_nothing_critical_or_serious_and_nothing_sticks_out(paused, findings, reader):
    page = paused(**reader)
    page.evaluate("playground.advance(60)")
    assert findings(page, "#playground") == []
    page.click("[data-step=critic]")
    page.click("#pg-slow")
    assert findings(page, "#playground", colours=False) == []
    page.click("#pg-draw")
    page.click("#pg-share")
    assert findings(page, "#playground") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_page_works_from_a_server_too_and_its_own_files_are_small(visit, site):
    page = visit(PAGE, http=True)
    page.wait_for_function("playground.state().judged > 0")
    sizes = page.evaluate(
        """performance.getEntriesByType("resource").map((entry) => [entry.name, entry.decodedBodySize])"""
    )
    assert not [name for name, _ in sizes if "mathjax" in name]  # two megabytes that this page does not need
    own = [urlsplit(name).path for name, _ in sizes if "playground" in name or "living" in name]
    assert len(own) >= 8  # what travels is a twentieth of what a page of the book may weigh
    assert sum(len(gzip.compress((site / name.lstrip("/")).read_bytes(), 6)) for name in own) < 25_000


def test_without_javascript_the_story_can_be_read_and_no_dead_control_is_shown(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{PAGE}")
    boxes = [page.locator(f"[data-of={step}]").bounding_box() for step in STEPS]
    assert page.is_visible("#pg-fallback") and page.is_hidden("#pg-play") and page.is_hidden("#pg-game")
    assert all(above["y"] + above["height"] <= below["y"] + 1 for above, below in itertools.pairwise(boxes))
    context.close()


def test_page_has_no_inline_handler(paused):
    page = paused()
    assert (
        page.evaluate(
            """[...document.querySelectorAll("#playground *")].flatMap((element) => element.getAttributeNames())
        .filter((name) => name.startsWith("on"))"""
        )
        == []
    )
