"""How the built pages look: the typeface comes and nothing jumps, the card, the pictures of the parts, the accent."""

from __future__ import annotations

import functools
import http.server
import os
import re
import threading
import time
from pathlib import Path

import pytest
import vitals
from bs4 import BeautifulSoup

SITE = Path(os.environ.get("DCGAN_SITE", Path(__file__).parents[2] / "_build" / "html"))
CHAPTERS = sorted(path.relative_to(SITE).as_posix() for path in (SITE / "notebooks").glob("*.html"))
PARTS = ["Start here", "Why", "The game", "The networks", "Training", "Mode collapse", "Using it", "Sharper"]

if not CHAPTERS:
    pytest.skip("there is no built site", allow_module_level=True)

LATE = 4  # seconds
FIELDS = ["Question", "Answer", "Before you start", "Reading time", "To run"]


@pytest.mark.parametrize("address", CHAPTERS)
def test_a_chapter_begins_with_a_card_of_question_answer_and_time(address):
    page = BeautifulSoup((SITE / address).read_text(encoding="utf-8"), "html.parser")
    (card,) = page.select(".chapter-card")
    assert [field.text.rstrip(".:") for field in card.select("p > strong:first-child")] == FIELDS
    assert card.find_previous_sibling().name == "h1"
    assert re.search(r"\d+ minutes", card.select_one(".card-time").text)
    assert re.search(r"about \d+ seconds", card.select_one(".card-run").text)


def test_the_card_is_one_column_on_a_phone_and_three_at_a_desk(visit):
    tops = """[...document.querySelectorAll(".chapter-card > p")].slice(2).map((one) =>
        Math.round(one.getBoundingClientRect().top))"""
    at_desk = visit("notebooks/03_minimax.html").evaluate(tops)
    on_phone = visit("notebooks/03_minimax.html", phone=True).evaluate(tops)
    assert len(set(at_desk)) == 1 and on_phone == sorted(set(on_phone)) and len(on_phone) == 3


class Late(http.server.SimpleHTTPRequestHandler):
    """A server whose fonts come seconds after everything else."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if "source-serif" in self.path:
            time.sleep(LATE)
        super().do_GET()


WIDTH = """() => {
    const words = document.createElement("span");
    words.style = "position: absolute; font-size: 100px; white-space: nowrap";
    words.textContent = "the discriminator";
    document.querySelector(".bd-article").append(words);
    const width = words.getBoundingClientRect().width;
    words.remove();
    return width;
}"""
LOADED = "[...document.fonts].filter((font) => font.family.includes('Source Serif') && font.status === 'loaded').length"


@pytest.mark.parametrize("address", ["book/intro.html", "notebooks/03_minimax.html"])
def test_nothing_jumps_when_the_typeface_comes_late(browser, address):
    """The stand-in is as wide as the typeface, so that lines end where they will end."""
    handler = functools.partial(Late, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{web.server_port}/{address}", wait_until="domcontentloaded")
        page.evaluate(vitals.WATCH_SHIFTS)
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length", timeout=60_000)
        before = page.evaluate(WIDTH)
        assert page.evaluate(LOADED) == 0, "the page was too slow to be seen without its typeface"
        page.wait_for_function(f"{LOADED} >= 2", timeout=60_000)
        page.wait_for_timeout(200)
        assert page.evaluate(WIDTH) != pytest.approx(before, abs=0.5), "it is another typeface"
        assert page.evaluate(WIDTH) == pytest.approx(before, rel=0.05)
        assert page.evaluate("layoutShift") < 0.02
        context.close()
        web.shutdown()


def test_the_text_is_set_in_the_books_typeface_and_what_one_works_with_in_that_of_the_system(visit):
    page = visit("notebooks/10_mode_collapse.html")
    page.wait_for_function(f"{LOADED} >= 2")
    family = "(one) => getComputedStyle(one).fontFamily.split(',')[0]"
    for text in (".bd-article h1", ".bd-article section > p", ".bd-article figcaption p"):
        assert page.locator(text).first.evaluate(family) == '"Source Serif 4"'
    for tool in (".replay", ".bd-article details.hide > summary"):
        assert page.locator(tool).first.evaluate(family) == "system-ui"


def test_links_buttons_and_doors_have_one_colour(visit, reader):
    page = visit("book/intro.html", still=True, **reader)
    colour = "(one) => getComputedStyle(one).color"
    ground = "(one) => getComputedStyle(one).backgroundColor"
    accent = page.locator(".bd-article .promise a").evaluate(colour)
    assert accent == ("rgb(63, 159, 220)" if reader["dark"] else "rgb(0, 114, 178)")
    assert page.locator("a.door:not(.door-main)").first.evaluate(colour) == accent
    assert page.locator("a.door-main").evaluate(ground) == accent
    playground = visit("book/playground.html", still=True, **reader)
    assert playground.locator(".living-main").first.evaluate(ground) == accent


def test_the_landing_page_has_a_picture_of_each_part_that_leads_to_it(visit, reader):
    page = visit("book/intro.html", still=True, **reader)
    parts = page.locator("ul.parts > li")
    assert parts.locator("a").all_inner_texts() == PARTS
    for part in parts.all():
        part.scroll_into_view_if_needed()
        picture = part.locator("img:visible")
        page.wait_for_function("(one) => one.complete && one.naturalWidth > 0", arg=picture.element_handle())
        assert len(picture.get_attribute("alt")) > 30 and picture.get_attribute("loading") == "lazy"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    parts.nth(2).locator(".part-picture").click(force=True, position={"x": 20, "y": 20})
    page.wait_for_url("**/notebooks/03_minimax.html")
