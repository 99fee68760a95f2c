"""Replays in a real browser: by mouse and by keyboard, frame, marks and numbers always show one moment."""

from __future__ import annotations

import math
import re
from io import BytesIO
from pathlib import Path

import pytest
from alone import stop_time, write_page
from PIL import Image

from dcgan_core.teaching.replay import replay

GREYS = (0, 50, 100, 150, 200, 250)
AT = [0, 10, 20, 40, 60, 80]
LOSS = ([5, 15, 35, 55, 75], [4.0, 3.5, math.nan, 2.5, 1.5])
PAGE = "page.html"


def output(number: int) -> str:
    """What a notebook's cell shows."""
    return replay(
        [Image.new("L", (160, 90), grey) for grey in GREYS],
        at=AT,
        series=[{"generator loss": LOSS, "discriminator loss": ([0, 80], [1, 2])}, {"covered": (AT, range(1, 7))}],
        frame_milliseconds=100,
        alt="A grey field",
        caption=f"Replay {number}",
    ).data


CUT_OFF = """() => [...document.querySelectorAll(".replay text")].filter((text) => {
    const [label, chart] = [text, text.closest("svg")].map((one) => one.getBoundingClientRect());
    return label.left < chart.left - 0.5 || label.right > chart.right + 0.5;
}).map((text) => text.textContent)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A page with two replays and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    write_page(folder / PAGE, "Replays", f"{output(1)}<hr>{output(2)}")
    return folder


@pytest.fixture
def opened(visit):
    def open_page(**reader):
        page = visit(PAGE, **reader)
        page.wait_for_selector(".replay-ready >> nth=1")
        return page

    return open_page


def grey(page, number: int = 0) -> int:
    """The colour in the middle of the frame on screen."""
    picture = Image.open(BytesIO(page.locator(".replay-screen").nth(number).screenshot()))
    return picture.getpixel((picture.width // 2, picture.height // 2))[0]


def shown(page, number: int = 0) -> dict:
    """Everything that tells the moment, read from the page."""
    root, colour = page.locator(".replay").nth(number), grey(page, number)
    left = "(all) => all.map((one) => one.getBoundingClientRect().x)"
    return {
        "place": int(root.locator("input").input_value()),
        "frame": GREYS.index(min(GREYS, key=lambda value: abs(value - colour))),
        "text": root.locator("output").inner_text(),
        "numbers": root.locator("b").all_inner_texts(),
        "cursors": root.locator(".replay-cursor").evaluate_all(left),
    }


def agrees(moment: dict, place: int) -> bool:
    """Whether slider, frame, text and numbers are those of moment number `place`."""
    loss = ["–", "4", "3.50", "–", "2.50", "1.50"][place]
    judged = ["1", "1", "1", "1", "1", "2"][place]
    return (
        moment["place"] == moment["frame"] == place
        and moment["text"] == f"{AT[place]} images"
        and moment["numbers"] == [loss, judged, str(place + 1)]
    )


def test_it_opens_at_the_end_and_stands_still(opened):
    page = opened()
    page.wait_for_timeout(400)
    assert agrees(shown(page), 5) and agrees(shown(page, 1), 5)


def test_keys_move_frame_marks_and_numbers_together(opened):
    page = opened()
    slider = page.locator("input").first
    looks = {5: shown(page)["cursors"]}
    for key, place in (("ArrowLeft", 4), ("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("End", 5)):
        slider.press(key)
        moment = shown(page)
        assert agrees(moment, place), (key, moment)
        assert slider.get_attribute("aria-valuetext") == f"{AT[place]} images"
        looks[place] = moment["cursors"]
    for panel in zip(*(looks[place] for place in (0, 1, 2, 4, 5)), strict=True):
        steps = [(x - panel[0]) / (panel[-1] - panel[0]) for x in panel]
        assert steps == pytest.approx([0, 10 / 80, 20 / 80, 60 / 80, 1], abs=0.01)
    assert agrees(shown(page, 1), 5), "the other replay moved too"


def test_the_mouse_pulls_the_slider_and_points_into_a_chart(opened):
    page = opened()
    slider = page.locator("input").first
    box = slider.bounding_box()
    slider.click(position={"x": 4, "y": box["height"] / 2})
    assert agrees(shown(page), 0)
    marked = shown(page)["cursors"][1]
    chart = page.locator("svg").nth(1).bounding_box()
    page.mouse.move(marked + 2, chart["y"] + chart["height"] / 2)
    page.mouse.down()
    assert agrees(shown(page), 0)
    page.mouse.move(chart["x"] + 0.95 * chart["width"], chart["y"] + chart["height"] / 2, steps=5)
    page.mouse.up()
    assert agrees(shown(page), 5)
    page.mouse.move(marked, chart["y"] + chart["height"] / 2)
    assert agrees(shown(page), 5), "it follows without a pressed button"


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
@pytest.mark.parametrize("still", [False, True], ids=["any-motion", "less-motion"])
def test_play_begins_at_the_start_ends_at_the_end_and_pauses_between(opened, by, still):
    page = opened(still=still)
    button = page.locator("button").first

    def press():
        button.click() if by == "mouse" else button.press("Enter")

    stop_time(page)
    press()
    page.clock.run_for(250)
    assert button.inner_text() == "Pause" and agrees(shown(page), 2)
    press()
    page.clock.run_for(1000)
    assert button.inner_text() == "Play" and agrees(shown(page), 2)
    press()
    page.clock.run_for(250)
    assert button.inner_text() == "Pause" and agrees(shown(page), 4)
    page.clock.run_for(1000)
    assert button.inner_text() == "Play" and agrees(shown(page), 5)
    press()
    assert button.inner_text() == "Pause" and agrees(shown(page), 0)


def test_touching_the_slider_stops_the_play(opened):
    page = opened()
    stop_time(page)
    page.locator("button").first.click()
    page.clock.run_for(150)
    page.locator("input").first.press("ArrowRight")
    page.clock.run_for(1000)
    assert page.locator("button").first.inner_text() == "Play" and agrees(shown(page), 2)


def test_a_screen_reader_hears_the_numbers_once_when_all_is_still_and_nothing_while_it_plays(opened):
    page = opened()
    stop_time(page)
    page.evaluate(
        """() => { window.heard = []; const status = document.querySelector(".replay-status");
        new MutationObserver(() => heard.push(status.textContent)).observe(status, {childList: true}); }"""
    )
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.locator("input").first.press(key)
        page.clock.run_for(300)
    assert page.evaluate("heard") == []
    page.clock.run_for(300)
    assert page.evaluate("heard") == ["generator loss 3.50, discriminator loss 1, covered 3"]
    page.locator("button").first.click()
    page.clock.run_for(350)  # the last frame has just come
    assert len(page.evaluate("heard")) == 1
    page.clock.run_for(1000)
    assert page.evaluate("heard")[1:] == ["generator loss 1.50, discriminator loss 2, covered 6"]


def test_an_output_that_comes_later_starts_too(opened):
    """As JupyterLab puts it in: built outside the page, its scripts made anew, then attached."""
    page = opened()
    page.evaluate(
        """(source) => {
        const host = document.createElement("div");
        host.innerHTML = source;
        for (const old of host.querySelectorAll("script")) {
            const script = document.createElement("script");
            script.type = old.type;
            script.textContent = old.textContent;
            old.replaceWith(script);
        }
        document.querySelector("main").append(host);
    }""",
        output(3),
    )
    page.wait_for_selector(".replay-ready >> nth=2")
    page.locator("input").nth(2).press("Home")
    assert agrees(shown(page, 2), 0) and agrees(shown(page, 0), 5)


def test_paper_shows_the_last_frame_with_its_numbers(opened):
    page = opened()
    page.locator("input").first.press("Home")
    page.emulate_media(media="print")
    assert not page.locator("button").first.is_visible() and not page.locator("input").first.is_visible()
    assert {**shown(page), "place": 5}["frame"] == 5 and shown(page)["text"] == "80 images"
    page.emulate_media(media="screen")
    assert agrees(shown(page), 0)


def test_without_a_script_stand_the_last_frame_its_numbers_and_the_charts(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / PAGE).as_uri())
    assert grey(page) == pytest.approx(250, abs=3)
    assert page.locator("output").first.inner_text() == "80 images"
    assert page.locator("b").first.inner_text() == "1.50"
    assert page.locator("svg path:visible").count() > 0
    assert not page.locator("button").first.is_visible() and not page.locator("input").first.is_visible()
    context.close()


def test_axe_finds_nothing_and_nothing_sticks_out(opened, findings, reader):
    page = opened(**reader)
    assert findings(page, "main") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CUT_OFF) == []
    if reader["phone"]:
        slider = page.locator("input").first.bounding_box()
        assert slider["width"] > 300, "too short for a finger to find a moment"
        assert slider["y"] < page.locator(".replay-screen").first.bounding_box()["y"]


@pytest.mark.parametrize("mark", ["data-theme=dark", "theme=dark", "data-jp-theme-light=false", "class=vscode-dark"])
def test_curves_are_lighter_where_the_page_is_dark(opened, mark):
    """As the book, Colab, JupyterLab and VS Code mark it."""
    page = opened()
    name, value = mark.split("=")

    def lightness() -> float:
        colour = page.locator("g path").first.evaluate("(line) => getComputedStyle(line).stroke")
        return float(re.search(r"[\d.]+", colour)[0]) if colour.startswith("oklab") else 0

    before = lightness()
    page.evaluate("([name, value]) => document.documentElement.setAttribute(name, value)", [name, value])
    assert before == 0 and lightness() > 0.6
