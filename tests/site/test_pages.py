"""Every page in a real browser: what it loads, what it weighs, what moves, and whom it would shut out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
import vitals
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent.parent
SITE = Path(os.environ.get("DCGAN_SITE", ROOT / "_build" / "html"))
PAGES = [
    path.relative_to(SITE).as_posix() for folder in ("book", "notebooks") for path in (SITE / folder).glob("*.html")
]
PAGES = [*sorted(PAGES), "search.html"]
MEGABYTE = 1_000_000

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CODE_AND_FORMULAS = [[".highlight"], [".katex"]]  # a thousand spans a page in the same few colours: judged once, below

# What the theme does and the book cannot repair in a line, each with the reason why it is left.
THEME_FINDINGS: dict[str, str] = {}


@dataclass
class View:
    """One page as its first reader got it."""

    address: str
    page: Page
    vitals: vitals.Vitals
    complaints: list[str]  # requests to elsewhere, console errors, exceptions


@pytest.fixture(scope="module", params=PAGES)
def view(request: pytest.FixtureRequest, browser: Browser, server: str) -> Iterator[View]:
    """Each page is opened once, light and at a desk; tests change the reader's settings and put them back."""
    context = browser.new_context(viewport=DESKTOP)
    complaints: list[str] = []
    page = context.new_page()
    page.on("request", lambda sent: complaints.append(sent.url) if not _own(sent.url, server) else None)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    measured = vitals.measure(page, SITE, server, request.param)
    yield View(request.param, page, measured, complaints)
    context.close()


def _own(address: str, server: str) -> bool:
    return address.startswith((f"{server}/", "data:", "blob:"))


def test_page_wants_nothing_from_outside_and_reports_no_error(view):
    assert view.complaints == []


def test_less_than_half_a_megabyte_travels_before_the_first_touch_and_more_with_a_generator_sounds_or_a_film(view):
    """As GitHub Pages sends it, with gzip."""
    largest = sorted(view.vitals.files.items(), key=lambda item: -item[1])[:5]
    has_generator = any(name.endswith("latent_explorer/sketch.js") for name in view.vitals.files)
    has_film = any(name.endswith("film.webp") for name in view.vitals.files)
    has_sounds = view.page.locator("audio").count() > 0  # they lie in the page itself
    limit = 0.5 + 0.6 * has_generator + 0.125 * has_sounds + 0.35 * has_film
    assert view.vitals.gzipped < limit * MEGABYTE, largest


def test_nothing_jumps_while_the_page_loads_or_its_pictures_come(view):
    assert view.vitals.layout_shift < 0.1  # what Lighthouse calls good
    assert view.vitals.layout_shift_scrolled < 0.1


def test_no_script_typesets_and_no_icon_script_is_loaded(view):
    assert [name for name in view.vitals.files if "mathjax" in name or "fontawesome.js" in name] == []


def test_code_and_what_it_prints_fit_the_column_at_a_desk(view):
    too_wide = view.page.evaluate(
        """[...document.querySelectorAll(".bd-article pre")].filter((box) => box.scrollWidth > box.clientWidth + 1)
        .map((box) => box.innerText.slice(0, 80))"""
    )
    assert too_wide == []


TO_THE_NUMBER = """() => [...document.querySelectorAll(".bd-article .katex-display")].flatMap((formula) => {
    const number = formula.querySelector(".katex-tag, .tag");
    if (!number) return [];
    const signs = [...formula.querySelectorAll(".katex-html *")].filter(
        (one) => !one.children.length && one.textContent.trim() && !number.contains(one)
    );
    const end = Math.max(...signs.map((one) => one.getBoundingClientRect().right));
    return [[number.textContent.trim(), Math.round(number.getBoundingClientRect().left - end)]];
})"""


def test_no_formula_runs_into_its_number_at_a_desk(view):
    """Told with the pixels between the two."""
    assert [found for found in view.page.evaluate(TO_THE_NUMBER) if found[1] < 5] == []


WITHOUT_PICTURE = """() => {
    const place = (one) => {
        const box = one.getBoundingClientRect();
        return [box.top + scrollY, box.bottom + scrollY];
    };
    const headings = [...document.querySelectorAll(".bd-article h2")];
    const end = place(headings.find((one) => /^(Exercises|Take away)/.test(one.innerText)))[0];
    let [, last] = place(document.querySelector(".bd-article h1"));
    const gaps = [];
    for (const [top, bottom] of [...document.querySelectorAll(
        ".bd-article img, .bd-article canvas, .bd-article figure, .bd-article audio, .bd-article .living"
    )].filter((one) => one.getClientRects().length).map(place).sort((a, b) => a[0] - b[0])) {
        if (top > end) break;
        gaps.push([Math.round(top - last), Math.round(last)]);
        last = Math.max(last, bottom);
    }
    return [...gaps, [Math.round(end - last), Math.round(last)]];
}"""


# The chapter that is not there yet, with the largest gap that it had when this was written. It may only shrink.
NOT_YET = {"13_which_fix": 7_200}


def test_no_more_than_two_screens_of_a_chapter_are_without_a_picture(view):
    """From the title to the exercises; a gap is told with the place at which it begins."""
    if view.address.startswith("notebooks/"):
        gaps = view.page.evaluate(WITHOUT_PICTURE)
        limit = NOT_YET.get(Path(view.address).stem, 2 * DESKTOP["height"])
        assert [gap for gap in gaps if gap[0] > limit] == []
        assert max(gaps)[0] > 2 * DESKTOP["height"] or Path(view.address).stem not in NOT_YET, "take it off the list"


# The shown pictures, and how wide each is inside its padding.
PICTURES = """() => {
    const shown = [...document.querySelectorAll(".bd-article img")].filter((one) => one.getClientRects().length);
    return shown.map((one) => {
        const style = getComputedStyle(one);
        return [one.src, one.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)];
    });
}"""
SMALL_LABELS_YET = {"13_which_fix"}  # will be written anew


def label_sizes(drawing: Path) -> tuple[float, list[tuple[float, str]]]:
    """The width of a chart of Matplotlib and the size and text of each of its labels, in its own units, points.

    Matplotlib draws a label of s points as outlines at a hundred units per em, scaled by s / 100; what is raised or
    lowered in a formula is scaled once more inside, and is not counted here.
    """
    root = ElementTree.parse(drawing, ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True)))
    labels, text = [], ""
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        if group.get("id", "").startswith("text_"):
            inside = list(group.iter())
            scales = [re.search(r"scale\(([\d.]+) -", each.get("transform", "")) for each in inside]
            text = " ".join((each.text or "").strip() for each in inside if each.tag is ElementTree.Comment)
            assert any(scales), f"no size was found of the label {text!r} in {drawing.name}"
            labels += [(100 * float(scale[1]), text) for scale in scales if scale]
    return float(root.getroot().attrib["viewBox"].split()[2]), labels


def test_labels_of_charts_have_nine_pixels_or_more_on_a_phone(view):
    small = set()
    view.page.set_viewport_size(PHONE)
    try:
        for scheme in ("light", "dark"):
            view.page.emulate_media(color_scheme=scheme)
            view.page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
            for address, shown in view.page.evaluate(PICTURES):
                drawing = SITE / "_images" / address.rsplit("/", 1)[-1]
                if drawing.suffix == ".svg" and "Matplotlib" in drawing.read_text(encoding="utf-8")[:2_000]:
                    width, labels = label_sizes(drawing)
                    small |= {
                        (round(size * shown / width, 1), text) for size, text in labels if size * shown < 9 * width
                    }
    finally:
        view.page.set_viewport_size(DESKTOP)
    if Path(view.address).stem in SMALL_LABELS_YET:
        assert small, "take it off the list"
    else:
        assert small == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_critical_or_serious_at_a_desk(view, findings, scheme):
    """Light and dark differ in their colours only."""
    view.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    view.page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
    colours = True if scheme == "dark" else None
    assert _ours(findings(view.page, {"exclude": CODE_AND_FORMULAS}, colours)) == []


def test_axe_finds_nothing_critical_or_serious_on_a_phone_and_nothing_sticks_out(view, findings):
    """Colours are those of the desk, but for the bar at the top, which is another one on a phone."""
    view.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    view.page.set_viewport_size(PHONE)
    try:
        assert view.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        view.page.wait_for_timeout(500)  # the theme's script makes the tables that scroll reachable by keyboard
        assert _ours(findings(view.page, {"exclude": CODE_AND_FORMULAS}, colours=False)) == []
        assert _ours(findings(view.page, "header", colours=True)) == []
    finally:
        view.page.set_viewport_size(DESKTOP)


def _ours(found: list[str]) -> list[str]:
    return [finding for finding in found if finding.split(":")[0] not in THEME_FINDINGS]


def test_of_a_chart_and_its_twin_one_is_shown_and_the_other_not_even_loaded_by_a_reader_in_the_light(view):
    assert not [name for name in view.vitals.files if name.endswith("-dark.svg")]
    shown = (
        "[...document.querySelectorAll('.bd-article img.only-{}')].filter((one) => one.getClientRects().length).length"
    )
    counts = {}
    for scheme in ("dark", "light"):
        view.page.emulate_media(color_scheme=scheme)
        view.page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
        counts[scheme] = [view.page.evaluate(shown.format(kind)) for kind in ("dark", "light")]
    number = view.page.locator(".bd-article img.only-dark").count()
    assert counts == {"dark": [number, 0], "light": [0, number]}


@pytest.mark.parametrize("address", ["notebooks/07_training_loop.html", "notebooks/21_modern_gan.html"])
def test_a_reader_in_the_dark_loads_the_dark_twins_alone(browser, server, address):
    context = browser.new_context(viewport=DESKTOP, color_scheme="dark")
    page = context.new_page()
    loaded: list[str] = []
    page.on("requestfinished", lambda request: loaded.append(request.url))
    vitals.measure(page, SITE, server, address)  # scrolls to the end
    for twin in page.locator(".bd-article img.only-dark").all():
        source = twin.evaluate("(one) => one.src")
        assert source in loaded and source.replace("-dark.svg", ".svg") not in loaded
    assert page.locator(".bd-article img.only-dark").count() > 3
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_caption_can_be_read(view, scheme):
    view.page.emulate_media(color_scheme=scheme)
    view.page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
    captions = view.page.locator(".bd-article figcaption").all()
    assert [one.inner_text()[:60] for one in captions if not one.evaluate("(one) => one.offsetHeight")] == []


def test_for_readers_who_prefer_less_motion_films_stand_still_and_nothing_is_animated(view):
    view.page.emulate_media(reduced_motion="reduce")
    moving = view.page.evaluate(
        """[...document.querySelectorAll("figure.animation picture")].filter((picture) => {
            const film = picture.querySelector("img"), still = picture.querySelector("source").srcset;
            return film.currentSrc && film.currentSrc !== new URL(still, location).href;
        }).length"""
    )
    assert moving == 0
    animated = "document.getAnimations().some((one) => one.playState === 'running')"
    view.page.wait_for_function(f"!{animated}", timeout=3_000)  # what began before the reader's wish was known may end


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("address", ["notebooks/03_minimax.html", "notebooks/07_training_loop.html"])
def test_colours_of_code_and_formulas_have_contrast(visit, findings, address, dark):
    assert findings(visit(address, dark=dark, still=True), ".bd-article") == []


FOCUS = """() => {
    const style = getComputedStyle(document.activeElement);
    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
    return {
        name: document.activeElement.outerHTML.slice(0, 90),
        ring: outlined || style.boxShadow !== "none",
        body: document.activeElement === document.body,
    };
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("address", ["book/intro.html", "notebooks/03_minimax.html"])
def test_keyboard_shows_where_it_is(visit, address, dark):
    page = visit(address, dark=dark, still=True)
    unseen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        place = page.evaluate(FOCUS)
        if not place["body"] and not place["ring"]:
            unseen.append(place["name"])
    assert unseen == []


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_quiz_answers_open_and_close_by_keyboard(visit, key):
    page = visit("notebooks/03_minimax.html", still=True)
    answer = page.locator("#quiz details").first
    summary = answer.locator("summary")
    assert not answer.evaluate("(element) => element.open")
    summary.press(key)
    assert answer.evaluate("(element) => element.open")
    summary.press(key)
    assert not answer.evaluate("(element) => element.open")


def test_dark_is_known_before_the_first_paint(visit):
    """Otherwise a page would flash white in a dark room until the theme's script has come."""
    for dark in (False, True):
        page = visit("book/intro.html", dark=dark)
        script = page.locator("head script").first.inner_text()
        wanted = "dark" if dark else "light"
        assert (
            page.evaluate(
                f"(() => {{ localStorage.clear(); {script}; return document.documentElement.dataset.theme }})()"
            )
            == wanted
        )


def test_built_site_is_under_60_megabytes():
    """Of which a reader loads a page's share: half of it are charts, once for light and once for dark."""
    assert sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file()) < 60 * MEGABYTE


def test_every_picture_keeps_its_place_and_all_but_the_first_load_late():
    wrong = []
    for address in PAGES:
        pictures = BeautifulSoup((SITE / address).read_text(encoding="utf-8"), "html.parser").select(".bd-article img")
        wrong += [
            (address, picture["src"]) for picture in pictures if not picture.get("width") or not picture.get("height")
        ]
        wrong += [(address, picture["src"]) for picture in pictures[1:] if picture.get("loading") != "lazy"]
    assert wrong == []
