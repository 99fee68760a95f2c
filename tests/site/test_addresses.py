"""What a reader can find and share on the built site: addresses, search, and links into the playground's story."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import expect

ROOT = Path(__file__).parent.parent.parent
SITE = Path(os.environ.get("DCGAN_SITE", ROOT / "_build" / "html"))
CHAPTERS = sorted(path.relative_to(SITE).as_posix() for path in (SITE / "notebooks").glob("*.html"))
PAGES = [*CHAPTERS, "book/intro.html", "book/architecture.html"]  # those with figures
PHONE = {"width": 390, "height": 844}

if not CHAPTERS:
    pytest.skip("there is no built site", allow_module_level=True)


@cache
def parse(address: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / address).read_text(encoding="utf-8"), "html.parser")


def names(page: BeautifulSoup) -> list[str]:
    return [element["id"] for element in page.find_all(id=True)]


def led_to(element: Tag) -> list[str]:
    """The addresses to which the signs in an element lead."""
    return [sign["href"] for sign in element.select("a.headerlink")]


@pytest.mark.parametrize("address", [*PAGES, "book/claims.html"])
def test_every_name_stands_once(address):
    found = names(parse(address))
    assert [name for name in set(found) if found.count(name) > 1] == []


@pytest.mark.parametrize("address", CHAPTERS)
def test_every_exercise_has_the_address_of_its_number_and_a_link_to_it(address):
    page, chapter = parse(address), int(Path(address).stem[:2])
    headings = [one for one in page.select(".bd-article h3") if one.text.startswith("Exercise ")]
    wanted = [f"exercise-{chapter}-{place}" for place in range(1, len(headings) + 1)]
    assert [heading.get("id") for heading in headings] == wanted
    assert [led_to(heading) for heading in headings] == [[f"#{name}"] for name in wanted]
    assert len(headings) >= 3 or chapter == 0


@pytest.mark.parametrize("address", PAGES)
def test_every_figure_has_an_address_that_is_no_mere_number_and_a_link_to_it(address):
    figures = parse(address).select(".bd-article figure")
    assert figures
    assert [str(one)[:90] for one in figures if not re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", one.get("id", ""))] == []
    assert [one["id"] for one in figures if led_to(one) != [f"#{one['id']}"]] == []


def test_every_claim_has_an_address_and_a_link_to_it():
    claims = [one for one in parse("book/claims.html").select(".bd-article li") if one.find("a", string="test")]
    assert len(claims) > 500
    assert [claim.text[:60] for claim in claims if not claim.get("id")] == []
    assert [claim["id"] for claim in claims if led_to(claim) != [f"#{claim['id']}"]] == []


OPACITY = "(sign) => Number(getComputedStyle(sign).opacity)"


@pytest.mark.parametrize(
    "address, owner",
    [
        ("notebooks/10_mode_collapse.html", "#exercise-10-1"),
        ("notebooks/10_mode_collapse.html", "#fig-10-moments"),
        ("notebooks/10_mode_collapse.html", "#replay-10-1"),
        ("book/claims.html", ".bd-article li[id]"),
    ],
)
def test_the_sign_is_seen_under_the_mouse_and_at_the_keyboard_and_puts_the_address_into_the_bar(visit, address, owner):
    page = visit(address, still=True)
    owned = page.locator(owner).first
    sign = owned.locator("a.headerlink")
    page.mouse.move(1, 1)
    assert sign.evaluate(OPACITY) == 0
    owned.hover()
    assert sign.evaluate(OPACITY) == 1
    page.mouse.move(1, 1)
    assert sign.evaluate(OPACITY) == 0
    sign.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert sign.evaluate("(sign) => document.activeElement === sign") and sign.evaluate(OPACITY) == 1
    page.keyboard.press("Enter")
    assert urlsplit(page.url).fragment == owned.get_attribute("id")


def test_on_a_phone_where_there_is_no_mouse_the_sign_is_seen(visit):
    page = visit("notebooks/10_mode_collapse.html", phone=True, still=True)
    if page.evaluate("matchMedia('(hover: none)').matches"):
        assert page.locator("#exercise-10-1 a.headerlink").evaluate(OPACITY) > 0.5
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


# -------------------------------------------------------------------------------------------------------------- search

HOMES = {
    "WGAN": ("notebooks/11_wasserstein.html", "#wasserstein"),
    "wasserstein gan": ("notebooks/11_wasserstein.html", "#wasserstein"),
    "WGAN-GP": ("notebooks/11_wasserstein.html", "#second-limit-the-penalty"),
    "FID": ("notebooks/09_evaluation.html", "#the-frechet-distance-from-its-definition"),
    "Fréchet distance": ("notebooks/09_evaluation.html", "#the-frechet-distance-from-its-definition"),
    "KID": ("notebooks/09_evaluation.html", "#the-kernel-distance-right-on-average"),
    "BatchNorm": ("notebooks/05_generator.html", "#batch-normalisation"),
    "batch normalisation": ("notebooks/05_generator.html", "#batch-normalisation"),
    "mode collapse": ("notebooks/10_mode_collapse.html", "#mode-collapse"),
    "R1": ("notebooks/21_modern_gan.html", "#r1-and-r2-by-hand"),
    "EMA": ("notebooks/07_training_loop.html", "#the-recipe-of-the-command-line"),
}


@pytest.mark.parametrize("typed", HOMES)
def test_the_first_that_the_search_finds_is_the_home_of_the_term(visit, typed):
    page = visit("book/intro.html", http=True, still=True)
    page.keyboard.press("Control+k")
    page.keyboard.type(typed)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?*")
    first = page.locator("#search-results li a").first
    expect(first).to_be_visible()
    expect(page.locator(".search-summary")).to_contain_text("found")
    found = urlsplit(first.evaluate("(link) => link.href"))
    assert found.path.endswith(HOMES[typed][0]) and f"#{unquote(found.fragment)}" == HOMES[typed][1]
    first.click()
    page.wait_for_url(f"**/{HOMES[typed][0]}*")
    assert page.locator(HOMES[typed][1]).first.bounding_box()["y"] < 300


# ------------------------------------------------------------------------------------------- links into the playground

STORY = {
    "notebooks/03_minimax.html": ["discriminator", "generator"],
    "notebooks/10_mode_collapse.html": ["collapse", "faster"],
    "notebooks/11_wasserstein.html": ["critic"],
    "notebooks/12_unrolled.html": ["ahead"],
}


@pytest.mark.parametrize("address", STORY)
def test_a_chapter_leads_to_the_step_of_which_it_speaks(address):
    links = parse(address).select('.bd-article a[href*="playground.html#"]')
    assert [link["href"].split("#step=")[1] for link in links] == STORY[address]
    assert all(re.fullmatch(r"[Ss]tep \d of the playground", " ".join(link.text.split())) for link in links)


@pytest.mark.parametrize("address, step", [(address, step) for address, steps in STORY.items() for step in steps])
def test_the_link_opens_the_playground_on_that_step(visit, address, step):
    page = visit(address, http=True, still=True)
    page.locator(f'.bd-article a[href$="#step={step}"]').click()
    page.wait_for_function("window.playground && playground.state")
    state = page.evaluate("playground.state()")
    assert state["told"] == step and state["round"] == 0 and not state["playing"]
    assert page.locator("[data-step][aria-pressed=true]").get_attribute("data-step") == step
    assert page.is_visible(f"[data-of={step}]") and page.is_hidden("#pg-ignored")
    assert page.locator(f"[data-of={step}]").evaluate("(text) => getComputedStyle(text).visibility") == "visible"


def test_a_link_to_a_step_plays_it_and_a_step_that_is_none_is_named(visit):
    page = visit("book/playground.html#step=collapse")
    page.wait_for_function("playground.state && playground.state().playing && playground.state().round > 0")
    page.evaluate("location.hash = 'step=poker'")
    expect(page.locator("#pg-ignored")).to_contain_text("step=poker")
    assert page.evaluate("playground.state().told") == "collapse"
    page.evaluate("location.hash = 'step=ahead'")
    page.wait_for_function("playground.state().told === 'ahead'")
    assert page.is_hidden("#pg-ignored")
    page.evaluate("location.hash = 'step=critic&seed=3'")
    page.wait_for_function("playground.state().settings.seed === 3")
    expect(page.locator("#pg-ignored")).to_contain_text("step=critic")
