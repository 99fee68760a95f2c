"""The playground in a real browser: every control by mouse and by keyboard, what the page promises, and its readers."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

PAGE = "book/playground.html"
SEEDS = (1, 2, 3)  # the collapse and its cures were measured over seven


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


def after(page, preset: str, steps: int, seed: int) -> dict:
    """What is measured after so many rounds of a preset."""
    page.fill("#pg-seed", str(seed))
    page.press("#pg-seed", "Enter")
    page.click(f"[data-preset={preset}]")
    return page.evaluate(f"playground.advance({steps})")


def test_page_opens_on_a_collapse_and_trains_by_itself(visit):
    page = visit(PAGE)
    page.wait_for_function("playground.state().step > 5")
    now = state(page)
    assert now["playing"] and now["settings"]["discriminatorRate"] == pytest.approx(2e-4)
    assert page.get_attribute("[data-preset=collapse]", "aria-pressed") == "true"


def median_modes(page, preset: str, steps: int) -> float:
    return statistics.median(after(page, preset, steps, seed)["covered"] for seed in SEEDS)


def test_collapse_hits_at_most_three_modes_at_every_look_up_to_a_thousand_steps(paused):
    page = paused()
    looks = []
    for seed in SEEDS:
        after(page, "collapse", 200, seed)
        looks.append([page.evaluate("playground.advance(200)")["covered"] for _ in range(4)])
    assert all(statistics.median(look) <= 3 for look in zip(*looks, strict=True)), looks


def test_looking_ahead_restores_at_least_six_modes_within_300_steps(paused):
    assert median_modes(paused(), "unrolled", 300) >= 6


def test_a_faster_discriminator_restores_at_least_six_modes_within_600_steps(paused):
    assert median_modes(paused(), "healthy", 600) >= 6


@pytest.mark.slow
def test_the_critic_restores_at_least_seven_modes_and_has_more_good_points_than_looking_ahead(paused):
    page = paused()
    critic = [after(page, "penalty", 600, seed) for seed in SEEDS]
    unrolled = [after(page, "unrolled", 300, seed) for seed in SEEDS]
    assert statistics.median(one["covered"] for one in critic) >= 7
    assert statistics.median(one["good"] for one in critic) > statistics.median(one["good"] for one in unrolled)


def test_training_lowers_the_kl_and_the_chart_says_so(paused):
    page = paused()
    page.click("[data-preset=healthy]")
    before = state(page)["kl"]
    after_training = page.evaluate("playground.advance(600)")["kl"]
    assert before > 1.5 and after_training < 0.6
    assert float(page.inner_text("#pg-divergence-value")) == pytest.approx(state(page)["kl"], abs=0.006)


def test_arrows_of_minimax_are_shorter_than_non_saturating_ones_where_the_discriminator_is_sure(paused):
    page = paused()
    lengths = page.evaluate(
        """() => {
        const run = Game.start({...Game.DEFAULTS, activation: "relu", discriminatorRate: 0.01});
        for (let i = 0; i < 30; i++) Game.updateDiscriminator(run);
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


SLIDERS = ["generatorRate", "discriminatorRate", "discriminatorSteps"]
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
    page.wait_for_function("playground.state().step > 0")
    assert page.inner_text("#pg-play") == "Pause"
    press("play")
    assert not state(page)["playing"]
    press("share")
    assert "seed=2" in page.url and "seed=2" in page.input_value("#pg-link")
    for preset, game in [("penalty", "wasserstein-penalty"), ("unrolled", "unrolled"), ("healthy", "non-saturating")]:
        press(f"[data-preset={preset}]")
        assert state(page)["settings"]["game"] == game
        assert page.get_attribute(f"[data-preset={preset}]", "aria-pressed") == "true"


def test_the_critics_button_names_all_that_it_changes(paused):
    page, found = paused(), {}
    for preset in ("collapse", "penalty"):
        page.click(f"[data-preset={preset}]")
        found[preset] = state(page)["settings"]
    slow, critic = found["collapse"], found["penalty"]
    changed = {name for name in slow if slow[name] != critic[name]}
    assert changed == {"game", "discriminatorRate", "discriminatorSteps"}
    label = page.inner_text("[data-preset=penalty]")
    times = round(critic["discriminatorRate"] / slow["discriminatorRate"])
    assert f"{critic['discriminatorSteps']} steps at {times} times the rate" in label


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
    for name, value in [("data", "grid"), ("game", "minimax"), ("activation", "tanh")]:
        if by == "mouse":
            page.select_option(f"#pg-{name}", value)
        else:
            page.press(f"#pg-{name}", "ArrowDown")
        assert state(page)["settings"][name] == value
    for name in ("arrows", "surface"):
        page.click(f"#pg-{name}") if by == "mouse" else page.press(f"#pg-{name}", "Space")
        assert not page.is_checked(f"#pg-{name}")
    if by == "keyboard":
        page.press("#pg-speed", "ArrowRight")
        assert page.inner_text("output[for=pg-speed]") == "5"


def test_points_are_drawn_with_the_mouse_and_their_quality_is_a_distance_of_histograms(paused):
    page = paused()
    box = page.locator("#pg-plane").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 60, steps=10)
    page.mouse.up()
    now = state(page)
    assert now["settings"]["data"] == "drawn" and len(now["settings"]["drawn"]) >= 12
    assert page.is_hidden("#pg-modes-figure") and "histograms" in page.inner_text("#pg-note")
    assert page.inner_text("#pg-divergence-name") == "Distance of histograms"
    page.select_option("#pg-activation", "tanh")
    before = state(page)["distance"]
    page.evaluate("playground.advance(400)")
    assert state(page)["distance"] < before
    page.click("#pg-clear")
    assert state(page)["settings"]["drawn"] == []


def test_points_are_drawn_with_the_keyboard(paused):
    page = paused()
    page.focus("#pg-plane")
    for key in ("ArrowRight", "Shift+ArrowUp", "Enter", "ArrowLeft", "ArrowDown", "Space", "Enter", "Backspace"):
        page.keyboard.press(key)
    drawn = state(page)["settings"]["drawn"]
    assert drawn == pytest.approx([0.1, 0.3, 0.0, 0.2], abs=0.007)
    assert "last point is gone" in page.inner_text("#pg-status")


def test_shared_link_restores_settings_seed_drawn_points_and_the_game(paused):
    page = paused("#data=drawn&game=unrolled&unrolledSteps=3&seed=77&generatorRate=0.002&activation=tanh")
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
    assert page.evaluate("playground.advance(3)")["step"] == 3
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


def test_a_link_without_a_game_changes_the_one_that_the_page_opens_on(paused):
    page = paused("#discriminatorRate=0.002&seed=7")
    settings = state(page)["settings"]
    assert (settings["seed"], settings["discriminatorRate"], settings["activation"]) == (7, 0.002, "relu")
    assert state(paused("#how-it-works"))["settings"]["discriminatorRate"] == pytest.approx(2e-4)


def test_only_the_playground_reads_its_address():
    """What a stranger can write into an address concerns no other script of the book."""
    root = Path(__file__).parent.parent.parent
    scripts = [*(root / "book" / "_static").rglob("*.js"), *(root / "dcgan_core" / "teaching").glob("*.js")]
    reading = re.compile(r"\b(location|hash(change)?|referrer|URLSearchParams|localStorage|postMessage|onmessage)\b")
    assert len(scripts) >= 7
    found = {
        path.relative_to(path.parent.parent).as_posix() for path in scripts if reading.search(path.read_text("utf-8"))
    }
    assert found == {"playground/page.js", "playground/link.js"}


STEPS_IN_300_MILLISECONDS = """() => new Promise((done) => { const before = playground.state().step;
    setTimeout(() => done(playground.state().step - before), 300); })"""


def test_game_rests_out_of_sight_and_goes_on_in_sight(visit):
    page = visit(PAGE)
    page.wait_for_function("playground.state().step > 0")
    page.evaluate("scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    page.wait_for_function("!playground.state().seen")
    assert page.evaluate(STEPS_IN_300_MILLISECONDS) == 0
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    before = state(page)["step"]
    page.wait_for_function(f"playground.state().step > {before}")


def test_game_rests_while_another_tab_is_in_front(visit):
    page = visit(PAGE)
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
    page = visit(PAGE)
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
    page = visit(PAGE)
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
    page = visit(PAGE)
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


def test_axe_finds_nothing_critical_or_serious_and_nothing_sticks_out(paused, findings, reader):
    page = paused(**reader)
    assert findings(page, "#playground") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_page_works_from_a_server_too_and_its_own_files_are_small(visit):
    page = visit(PAGE, http=True)
    page.wait_for_function("playground.state().step > 0")
    sizes = page.evaluate(
        """performance.getEntriesByType("resource").map((entry) => [entry.name, entry.decodedBodySize])"""
    )
    assert not [name for name, _ in sizes if "mathjax" in name]  # two megabytes that this page does not need
    assert sum(size for name, size in sizes if "playground" in name or "living" in name) < 60_000


def test_page_has_no_inline_handler(paused):
    page = paused()
    assert (
        page.evaluate(
            """[...document.querySelectorAll("#playground *")].flatMap((element) => element.getAttributeNames())
        .filter((name) => name.startsWith("on"))"""
        )
        == []
    )
