"""The page about a run in a real browser: no network, nothing for axe, a slider for keys and fingers, nothing wide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from dcgan_core.config import Config
from dcgan_core.data import glyphs
from dcgan_core.report import write_report
from dcgan_core.train import train


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page about a short run on a folder of few pictures, which is read in no time."""
    folder, pictures = tmp_path_factory.mktemp("report"), tmp_path_factory.mktemp("pictures")
    drawn = glyphs.render(120, image_size=16, seed=0).images
    for number, letter in enumerate(drawn):
        Image.fromarray(letter[0]).save(pictures / f"{number:03}.png")
    config = Config(
        data=str(pictures),
        image_size=16,
        generator_width=4,
        discriminator_width=4,
        batch_size=8,
        total_images=400,
        log_every_images=40,
        sample_every_images=100,
        evaluate_every_images=100,
    )
    train(config, folder / "a-run-with-a-very-long-name-that-nobody-would-type-twice-but-somebody-did", progress=False)
    run = next(folder.iterdir())
    return Path(write_report(run, device="cpu")[0]).as_uri()


@pytest.fixture
def opened(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page as one of several readers has it; whatever it asks of a network, or complains of, fails the test."""
    reader = getattr(request, "param", {})
    context = browser.new_context(
        viewport={"width": 390, "height": 844} if reader.get("phone") else {"width": 1280, "height": 900},
        has_touch=bool(reader.get("phone")),
        color_scheme="dark" if reader.get("dark") else "light",
        reduced_motion="reduce" if reader.get("still") else "no-preference",
        java_script_enabled=not reader.get("no_script"),
    )
    complaints: list[str] = []
    page = context.new_page()
    page.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert complaints == []


READERS = [{"phone": phone, "dark": dark} for phone in (False, True) for dark in (False, True)]


@pytest.mark.parametrize("opened", READERS, indirect=True, ids=str)
def test_axe_finds_nothing_and_nothing_sticks_out(opened: Page, browser: Browser, findings) -> None:
    opened.locator("summary").click()
    assert findings(opened, "html") == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for box in opened.locator("img:visible, svg, table, button:visible").all():
        place = box.bounding_box()
        assert place and place["x"] >= 0 and place["x"] + place["width"] <= opened.viewport_size["width"] + 1


@pytest.mark.parametrize("opened", READERS, indirect=True, ids=str)
def test_curves_are_seen_on_light_and_on_dark(opened: Page) -> None:
    """Their colour is that of the page's variables, and differs from the paper's by the contrast that lines need."""
    contrast = opened.evaluate(
        """() => {
        const light = (colour) => {
            const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
                const share = part / 255;
                return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        const lines = [...document.querySelectorAll("svg path")].filter((path) => path.style.strokeWidth === "1.6"
            || path.getAttribute("style")?.includes("stroke-width: 1.6"));
        return lines.map((line) => {
            const [a, b] = [light(getComputedStyle(line).stroke), paper].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
        });
    }"""
    )
    assert len(contrast) >= 3 and min(contrast) > 3


@pytest.mark.parametrize("opened", [{}, {"phone": True}], indirect=True, ids=str)
def test_the_slider_moves_by_keys_and_shows_one_grid_at_a_time(opened: Page) -> None:
    slider, images = opened.locator("#moment"), opened.locator("#film img:visible")
    assert images.count() == 1 and images.get_attribute("data-at") == "400"
    slider.focus()
    opened.keyboard.press("Home")
    assert images.count() == 1 and images.get_attribute("data-at") == "0"
    assert opened.locator("output").inner_text() == "0" and slider.get_attribute("aria-valuetext") == "0 images"
    opened.keyboard.press("ArrowRight")
    assert images.count() == 1 and images.get_attribute("data-at") == "104"
    opened.keyboard.press("End")
    assert images.get_attribute("data-at") == "400"


def test_the_film_plays_once_and_stops_at_its_end(opened: Page) -> None:
    opened.evaluate(
        """() => {
        const watched = (selector) => {
            const element = document.querySelector(selector), seen = [];
            new MutationObserver(() => seen.push(element.textContent)).observe(
                element, {childList: true, characterData: true, subtree: true});
            return seen;
        };
        window.moments = watched("output");
        window.words = watched("#film button");
    }"""
    )
    opened.get_by_role("button", name="Play").click()
    expect(opened.get_by_role("button", name="Play")).to_be_visible(timeout=30_000)
    assert opened.evaluate("window.words") == ["Stop", "Play"]
    assert opened.evaluate("window.moments") == ["0", "104", "200", "304", "400"]
    opened.wait_for_timeout(1_000)
    assert len(opened.evaluate("window.moments")) == 5, "it goes on"


@pytest.mark.parametrize("opened", [{"still": True}], indirect=True, ids=str)
def test_nothing_plays_for_a_reader_who_wants_no_motion(opened: Page) -> None:
    assert not opened.locator("#film button").is_visible() and opened.locator("#moment").is_visible()


@pytest.mark.parametrize("opened", [{"no_script": True}], indirect=True, ids=str)
def test_without_scripts_the_last_grid_is_there_and_no_dead_slider(opened: Page) -> None:
    assert opened.locator("#film img:visible").count() == 1
    assert not opened.locator("#moment").is_visible()
