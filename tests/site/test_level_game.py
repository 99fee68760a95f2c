"""The game of chapter 16 in a real browser: by keyboard, by touch, by the agent, and by the rules of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from alone import stop_time, write_page
from axe_playwright_python.sync_playwright import Axe

from dcgan_core.data.levels import CRYSTAL, EARTH, HEIGHT, SKY, THORNS, WIDTH, render
from dcgan_core.laboratory.level_rules import moved, start_of, way
from dcgan_core.teaching.chapter_16_audio import sound_table
from dcgan_core.teaching.level_game import level_game

PAGE = "page.html"


def even() -> np.ndarray:
    level = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    level[-3:] = EARTH
    level[HEIGHT - 4, 20] = CRYSTAL
    return level


def levels() -> dict[str, np.ndarray]:
    thorny, split = even(), even()
    thorny[HEIGHT - 4, 3] = THORNS
    split[:, 5:20] = SKY
    return {"even": even(), "thorny": thorny, "split": split, "drawn": render(1, seed=3)[0]}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A page with a game and sounds, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    game = level_game(levels(), alt="Even ground", caption="A game").data
    hum = np.sin(np.arange(3_024) / 5).astype(np.float32)
    sounds = sound_table({"real": {"kick": hum, "tom": hum}, "made": {"kick": hum, "tom": None}}, caption="Hear").data
    write_page(folder / PAGE, "A game", game + sounds)
    return folder


@pytest.fixture
def opened(visit):
    def open_page(**reader):
        page = visit(PAGE, **reader)
        page.wait_for_selector(".level-ready")
        return page

    return open_page


def state(page) -> str:
    return page.locator(".level-game").get_attribute("data-state")


def test_the_page_moves_exactly_as_the_package_does(opened):
    page, rng = opened(), np.random.default_rng(0)
    tangles = rng.integers(0, 8, (3, HEIGHT, WIDTH)) * (rng.random((3, HEIGHT, WIDTH)) < 0.3)  # to bump into
    tangles[:, -2:, 0] = SKY, EARTH
    for level in (*render(3, seed=11), *levels().values(), *tangles):
        place, walks = start_of(level), []
        for _ in range(200):
            direction, jump = int(rng.integers(-1, 2)), bool(rng.random() < 0.4)
            following = moved(level, place, direction, jump)
            walks.append([list(place), direction, int(jump), following and list(following)])
            place = following or start_of(level)
        found = page.evaluate(
            "([tiles, walks]) => walks.map(([place, direction, jump]) => "
            "document.querySelector('.level-game').moved(tiles, place, direction, jump))",
            [level.tolist(), walks],
        )
        assert found == [walk[3] for walk in walks]


def test_held_right_arrow_walks_to_the_end_and_collects(opened):
    page = opened()
    stop_time(page)
    page.locator(".level-stage").focus()
    page.keyboard.down("ArrowRight")
    page.clock.run_for(110 * (WIDTH + 3))
    assert state(page) == "passed"
    assert page.locator(".level-status").inner_text() == f"Passed in {WIDTH - 1} ticks, with 1 crystal."
    page.keyboard.up("ArrowRight")
    page.keyboard.press("Enter")
    assert state(page) == "ready"


def test_thorns_end_the_walk_and_a_jump_saves_it(opened):
    page = opened()
    stop_time(page)
    page.get_by_role("button", name="thorny").click()
    page.locator(".level-stage").focus()
    page.keyboard.down("ArrowRight")
    page.clock.run_for(2_000)
    assert state(page) == "out"
    page.keyboard.up("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.down("ArrowRight")
    page.keyboard.press("Space")
    page.clock.run_for(6_000)
    assert state(page) == "passed"


def test_the_agent_shows_its_way_where_there_is_one(opened):
    page = opened()
    stop_time(page)
    show = page.get_by_role("button", name="Show the agent")
    for name, level in levels().items():
        page.get_by_role("button", name=name, exact=True).click()
        moves = way(level)
        if moves is None:
            assert show.is_disabled() and "finds no way" in page.locator(".level-status").inner_text()
            continue
        show.click()
        page.clock.run_for(110 * (len(moves) + 2))
        assert state(page) == "passed"
        assert f"Passed in {len(moves)} ticks" in page.locator(".level-status").inner_text()


def test_fingers_can_play(opened):
    page = opened(phone=True)
    right = page.get_by_role("button", name="right")
    right.tap()
    page.wait_for_function("Number(document.querySelector('.level-game').dataset.column) >= 1")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_moves_before_the_reader_asks_and_the_clock_stops_again(opened):
    page = opened()
    stop_time(page)
    page.clock.run_for(3_000)
    assert state(page) == "ready"
    page.locator(".level-stage").focus()
    page.keyboard.press("ArrowRight")
    page.clock.run_for(3_000)
    assert page.locator(".level-game").get_attribute("data-column") == "1"


@pytest.mark.parametrize("still", [False, True])
def test_between_two_ticks_the_player_glides_unless_the_reader_wants_no_motion(opened, still):
    page = opened(still=still)
    stop_time(page)
    page.locator(".level-stage").focus()
    page.keyboard.down("ArrowRight")
    page.clock.run_for(110 * 2)
    pictures = set()
    for _ in range(4):
        pictures.add(page.evaluate("document.querySelector('.level-game canvas').toDataURL()"))
        page.clock.run_for(20)
    assert (len(pictures) == 1) == still


def test_arrow_keys_outside_the_game_scroll_the_page_as_ever(opened):
    page = opened()
    page.keyboard.press("ArrowRight")
    assert state(page) == "ready"


def test_without_a_script_the_level_is_a_picture_with_a_text(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{PAGE}")
    picture = page.locator(".level-stage img")
    assert picture.is_visible() and picture.get_attribute("alt") == "Even ground"
    assert not page.locator(".level-game button").first.is_visible()
    assert page.locator("audio").first.is_visible() and not page.locator(".sounds button").first.is_visible()
    context.close()


def test_every_sound_can_be_played_and_says_what_it_is(opened):
    page = opened()
    sounds = page.locator("audio")
    assert [sounds.nth(i).get_attribute("aria-label") for i in range(3)] == ["kick, real", "kick, made", "tom, real"]
    assert page.get_by_text("none heard").is_visible()
    for name in ("kick, real", "tom, real"):
        page.get_by_role("button", name=f"Play: {name}").click()
        page.wait_for_function("(name) => document.querySelector(`[aria-label='${name}']`).played.length", arg=name)
    assert sounds.nth(1).evaluate("(sound) => sound.played.length") == 0
    lengths = page.evaluate(
        "Promise.all([...document.querySelectorAll('audio')].map((one) => new Promise((done) => "
        "one.readyState ? done(one.duration) : one.addEventListener('loadedmetadata', () => done(one.duration)))))"
    )
    assert lengths == pytest.approx([0.252] * 3)


def test_game_and_sounds_are_accessible_to_every_reader(opened, reader):
    page = opened(**reader)
    assert Axe().run(page).response["violations"] == []
