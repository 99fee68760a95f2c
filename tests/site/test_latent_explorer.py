"""The latent explorer and the living cover in a real browser: PyTorch's numbers, every control, and their readers."""

from __future__ import annotations

import base64
import io
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_core import recorded
from dcgan_core.data import unscale
from dcgan_core.models import Generator
from dcgan_core.teaching import goals, walks
from dcgan_core.teaching.chapter_05 import layer_outputs
from dcgan_core.train import draw_latents, sample

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import latent_explorer  # noqa: E402

PAGE, COVER = "book/latent_explorer.html", "book/intro.html"
SCRIPTS = ROOT / "book" / "_static" / "latent_explorer"
TOLERANCE = 1e-4  # as the page says
PICTURES = ("letter", "linear-letter", "spherical-letter")


@pytest.fixture(scope="module")
def run():
    return recorded.load(latent_explorer.RUN)


@pytest.fixture
def opened(visit):
    """The explorer with the exact weights, which it fetches at the first touch, and with its map painted."""

    def open_page(touched=True, **reader):
        page = visit(PAGE, **reader)
        page.wait_for_selector("#latent-explorer.le-ready")
        if touched:
            page.press("#le-map", "Shift")
            page.wait_for_function("latentExplorer.state().exact")
        settled(page)
        return page

    return open_page


def state(page):
    return page.evaluate("latentExplorer.state()")


def settled(page):
    """Waits until every picture is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait_for_function("!latentExplorer.state().waiting")


def pixels(page, name) -> np.ndarray:
    """What a canvas shows, grey (H, W)."""
    settled(page)
    data = page.evaluate("(id) => document.getElementById(id).toDataURL()", f"le-{name}")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("L")).astype(int)


def expected(generator, latent) -> np.ndarray:
    return unscale(sample(generator, torch.as_tensor(latent).float()[None]))[0, 0].numpy().astype(int)


def shows(page, run, name, latent) -> bool:
    """Whether the canvas is PyTorch's image of the latent, up to one of 255 levels of grey."""
    return bool(np.abs(pixels(page, name) - expected(run.generator, latent)).max() <= 1)


def press(page, name, by):
    page.click(f"#le-{name}") if by == "mouse" else page.press(f"#le-{name}", "Enter")


def agree(layers, outputs):
    """Every number of every layer, places first and channels last in the page, against PyTorch's (1, C, H, W)."""
    assert len(layers) == len(outputs)
    for layer, output in zip(layers, outputs, strict=True):
        values = torch.tensor(layer["values"], dtype=torch.float32)
        assert layer["shape"] == list(output.shape[1:])
        if output.ndim == 4:
            channels, height, width = layer["shape"]
            values = values.view(height, width, channels).permute(2, 0, 1)
        torch.testing.assert_close(values, output[0], atol=TOLERANCE, rtol=TOLERANCE)


# ------------------------------------------------------------------------------------------------------------- PyTorch


def test_every_number_of_every_layer_agrees_with_pytorch(opened, run):
    page = opened()
    latents = torch.cat([run.latents[:2], draw_latents(4, run.config.latent_size, seed=31), torch.zeros(1, 100)])
    for latent in latents:
        layers = page.evaluate("(z) => latentExplorer.outputs(z)", latent.tolist())
        agree(layers, layer_outputs(run.generator, latent[None]))


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize(("image_size", "channels"), [(16, 1), (32, 3)])
def test_generators_of_other_shapes_agree_with_pytorch_too(browser, tmp_path, upsampling, image_size, channels):
    """Untrained ones, in half precision, with running statistics that are not the usual ones."""
    torch.manual_seed(3)
    generator = Generator(
        image_size=image_size, channels=channels, width=4, latent_size=7, upsampling=upsampling
    ).eval()
    with torch.no_grad():
        for tensor in generator.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_((tensor + 0.3 * torch.rand_like(tensor)).half())
    latents = torch.randn(3, 7)
    config = SimpleNamespace(latent_size=7, image_size=image_size, channels=channels)
    run = SimpleNamespace(generator=generator, config=config, latents=latents)
    (tmp_path / "sketch.js").write_bytes(latent_explorer.sketch_script(run, []))
    (tmp_path / "weights.js").write_bytes(latent_explorer.weights_script(run))
    shutil.copy(SCRIPTS / "generator.js", tmp_path)
    (tmp_path / "page.html").write_text('<!doctype html><meta charset="utf-8"><script src="generator.js"></script>')
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    for latent in latents:
        layers = page.evaluate(
            """async (z) => { const network = await Generator.load(); await Generator.sharpen(network);
            Generator.run(network, z);
            return network.layers.map(({ shape, values }) => ({ shape, values: [...values] })); }""",
            latent.tolist(),
        )
        agree(layers, layer_outputs(generator, latent[None]))
    page.close()


def test_before_the_first_touch_weights_are_rounded_and_hardly_a_pixel_shows_it(opened, run):
    page = opened(touched=False)
    assert not state(page)["exact"]
    for latent in draw_latents(5, run.config.latent_size, seed=32):
        values = page.evaluate("(z) => latentExplorer.outputs(z).at(-1).values", latent.tolist())
        difference = (torch.tensor(values) - sample(run.generator, latent[None]).flatten()).abs()
        assert 1e-5 < difference.mean() < 0.005 and difference.max() < 0.25  # of a range of 2
    page.press("#le-map", "ArrowRight")
    page.wait_for_function("latentExplorer.state().exact")
    assert shows(page, run, "letter", state(page)["latent"])
    for name in ("linear", "spherical"):
        assert shows(page, run, f"{name}-letter", getattr(walks, name)(run.latents[0], run.latents[1], 0.5))
    assert np.abs(pixels(page, "mosaic")[128:160, 128:160] - expected(run.generator, run.latents[0])).max() <= 1


def test_ways_between_latents_agree_with_pytorch(opened):
    page = opened()
    first, last = draw_latents(2, 100, seed=8)
    for name in ("linear", "spherical"):
        for share in (0, 0.3, 0.5, 1):
            mixed = page.evaluate(f"([a, b, t]) => Latents.{name}(a, b, t)", [first.tolist(), last.tolist(), share])
            wanted = getattr(walks, name)(first, last, share)
            torch.testing.assert_close(torch.tensor(mixed), wanted, atol=1e-4, rtol=1e-4)


def test_latents_are_drawn_from_the_normal_distribution(opened):
    drawn = opened().evaluate("Latents.draw(40000, Latents.random(5))")
    assert np.mean(drawn) == pytest.approx(0, abs=0.02) and np.std(drawn) == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(drawn) < 1.96) == pytest.approx(0.95, abs=0.01)


def test_every_layer_is_labelled_with_the_name_and_shape_of_chapter_05(opened, run):
    page = opened()
    labels = page.evaluate("[...document.querySelectorAll('#le-layers figcaption b')].map((b) => b.textContent)")
    outputs = layer_outputs(run.generator, run.latents[:1])
    assert labels == [
        f"{number} {type(layer).__name__} {tuple(output.shape[1:])}"
        for number, (layer, output) in enumerate(zip(run.generator.layers, outputs, strict=True))
    ]


def test_layers_on_screen_belong_to_the_latent_on_screen_and_all_of_them_change_with_weight(opened):
    page = opened()
    page.locator("#le-layers").scroll_into_view_if_needed()
    captions = "[...document.querySelectorAll('#le-layers figcaption span')].map((span) => span.textContent)"
    pictures = "[...document.querySelectorAll('#le-layers canvas')].map((canvas) => canvas.toDataURL())"
    settled(page)
    before = page.evaluate(pictures)
    page.press("#le-step-weight", "End")
    page.locator("#le-layers").scroll_into_view_if_needed()
    settled(page)
    assert all(a != b for a, b in zip(before, page.evaluate(pictures), strict=True))
    texts = page.evaluate(captions)
    layers = page.evaluate("latentExplorer.outputs(latentExplorer.state().latent)")
    for text, layer in zip(texts, layers, strict=True):
        low, high = (float(part) for part in text.replace("−", "-").split(",")[0].split(" to "))
        assert low == pytest.approx(min(layer["values"]), abs=0.051)
        assert high == pytest.approx(max(layer["values"]), abs=0.051)
        above = np.mean(np.array(layer["values"]) > 0)
        assert float(text.split(", ")[1].split("%")[0]) == pytest.approx(100 * above, abs=0.6)


def test_damaged_weights_and_unknown_layers_are_one_sentence(opened):
    page = opened()
    refuse = "(record) => { try { Generator.network(record()); } catch (error) { return error.message; } }"
    damaged = "The file with the weights was damaged on its way."
    assert page.evaluate(f"({refuse})(() => ({{ ...RECORDED_GENERATOR, pairs: 'abc' }}))") == damaged
    short = "Generator.useExact(Generator.network(RECORDED_GENERATOR), 'abc')"
    assert page.evaluate(f"() => {{ try {{ {short} }} catch (error) {{ return error.message }} }}") == damaged
    unknown = page.evaluate(
        f"""({refuse})(() => ({{ ...RECORDED_GENERATOR,
        layers: [{{ ...RECORDED_GENERATOR.layers[0], kind: 'attention' }}] }}))"""
    )
    assert unknown == "The page cannot compute a layer of the kind attention."


# ---------------------------------------------------------------------------------------------- the classifier's word


def test_what_the_classifier_says_agrees_with_pytorch(opened, run):
    page = opened()
    latents = torch.cat([run.latents[:3], draw_latents(9, run.config.latent_size, seed=33)])
    wanted = goals.judged(run.generator, latents)
    assert (wanted.amax(dim=1) < 0.9).any(), "all of them are easy"
    for latent, expected_ in zip(latents, wanted, strict=True):
        found = torch.tensor(page.evaluate("(z) => latentExplorer.probabilities(z)", latent.tolist()))
        torch.testing.assert_close(found, expected_, atol=0.01, rtol=0)  # half precision


def test_the_classifiers_word_and_its_certainty_stand_beside_the_letter_on_screen(opened, run):
    page = opened()
    for key in ("", "End", "Home"):
        if key:
            page.press("#le-step-weight", key)
            page.press("#le-step-slant", key)
        settled(page)
        now = state(page)
        certainty, letter = goals.judged(run.generator, torch.tensor(now["latent"])[None])[0].max(dim=0)
        assert now["reading"]["name"] == chr(ord("A") + letter)
        assert now["reading"]["certainty"] == pytest.approx(certainty.item(), abs=0.01)
        doubt = "" if now["reading"]["certainty"] >= 0.9 else "?"
        assert page.inner_text("#le-name") == now["reading"]["name"] + doubt
        assert page.inner_text("#le-certainty") == f"{round(100 * now['reading']['certainty'])}% certain"


# --------------------------------------------------------------------------------------------------------------- goals


def test_goals_begin_and_turn_where_the_search_did(opened):
    page = opened()
    for goal in goals.GOALS:
        found = page.evaluate(
            """([seed, size]) => { const { latent, next } = Goals.begin({ seed }, size);
            return [latent, next(), next()]; }""",
            [goal.seed, 100],
        )
        start, moves = goals.opening(goal.seed, 100)
        for mine, wanted in zip(found, (start, next(moves), next(moves)), strict=True):
            torch.testing.assert_close(torch.tensor(mine, dtype=torch.float64), wanted, atol=1e-9, rtol=0)


def test_the_list_of_goals_says_how_few_moves_are_enough(opened):
    options = opened().evaluate("[...document.querySelectorAll('#le-goal option')].map((one) => one.text)")
    assert options[1:] == [f"{goal.start} to {goal.target} ({goal.fewest} moves)" for goal in goals.GOALS]


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
@pytest.mark.parametrize("place", range(len(goals.GOALS)))
def test_every_goal_is_reached_in_the_fewest_moves_by_the_way_that_the_search_found(opened, by, place):
    page, goal = opened(), goals.GOALS[place]
    page.select_option("#le-goal", str(place))
    settled(page)
    assert state(page)["reading"]["name"] == goal.start
    for moves, (column, row) in enumerate(goal.way):
        assert f"{goal.start} to {goal.target}: {moves} move" in page.inner_text("#le-task")
        if by == "mouse":
            page.locator("#le-map").scroll_into_view_if_needed()
            box = page.locator("#le-map").bounding_box()
            place_ = {"x": (column + 0.4) / 9 * box["width"], "y": (row + 0.6) / 9 * box["height"]}
            page.locator("#le-map").click(position=place_)  # not in the middle of a cell
            page.click("#le-move")
        else:
            page.focus("#le-map")
            across = ("ArrowRight" if column > 4 else "ArrowLeft", abs(column - 4))
            for key, times in (across, ("ArrowDown" if row > 4 else "ArrowUp", abs(row - 4))):
                for _ in range(times):
                    page.keyboard.press(key)
            page.keyboard.press("Enter")
        settled(page)
    now = state(page)
    assert now["goal"]["done"] and now["goal"]["moves"] == goal.fewest
    assert now["reading"]["name"] == goal.target and now["reading"]["certainty"] >= 0.9
    assert page.inner_text("#le-task").startswith(f"There: {goal.target}, ")
    assert f"in {goal.fewest} moves; the fewest are {goal.fewest}" in page.inner_text("#le-task")
    assert page.is_disabled("#le-move")


def test_a_move_to_the_letter_where_one_is_does_not_count_and_again_begins_anew(opened):
    page = opened()
    page.select_option("#le-goal", "0")
    page.click("#le-move")
    assert state(page)["goal"]["moves"] == 0 and "another letter" in page.inner_text("#le-status")
    page.press("#le-map", "ArrowRight")
    page.click("#le-move")
    settled(page)
    assert state(page)["goal"]["moves"] == 1 and "1 move so far" in page.inner_text("#le-task")
    page.click("#le-again")
    assert state(page)["goal"]["moves"] == 0


def test_without_a_goal_the_styles_come_back(opened):
    page = opened()
    before = [direction["name"] for direction in state(page)["directions"]]
    page.select_option("#le-goal", "0")
    assert page.is_hidden("#le-sliders") and page.is_hidden("#le-surprise")
    page.select_option("#le-goal", "")
    settled(page)
    assert [direction["name"] for direction in state(page)["directions"]] == before
    assert page.is_visible("#le-step-weight") and state(page)["goal"] is None
    page.select_option("#le-goal", "1")
    page.locator("#le-shelf button").nth(2).click()  # another latent is no way to the goal
    assert state(page)["goal"] is None and page.input_value("#le-goal") == ""


# ------------------------------------------------------------------------------------------------------------ controls


def test_page_opens_on_a_latent_that_was_watched_in_training(opened, run):
    page = opened()
    assert state(page)["latent"] == pytest.approx(run.latents[0].tolist())
    assert shows(page, run, "letter", run.latents[0])


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_surprise_draws_another_latent_and_back_to_the_middle_undoes_moves(opened, run, by):
    page = opened()
    before = state(page)["latent"]
    press(page, "surprise", by)
    base = state(page)["latent"]
    assert base != before and shows(page, run, "letter", base)
    assert 6 < np.linalg.norm(base) < 14
    page.press("#le-step-slant", "Home")
    assert state(page)["latent"] != base
    press(page, "middle", by)
    assert state(page)["latent"] == base and shows(page, run, "letter", base)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_every_slider_moves_the_latent_along_its_direction(opened, run, by):
    page = opened()
    for direction in state(page)["directions"]:
        name = direction["name"]
        slider = page.locator(f"#le-step-{name.replace(' ', '-')}")
        before = state(page)["latent"]
        if by == "mouse":
            box = slider.bounding_box()
            slider.click(position={"x": 0.85 * box["width"], "y": box["height"] / 2})
        else:
            slider.press("PageUp")
        now = state(page)
        moved = np.array(now["latent"]) - before
        assert now["steps"][name] > 0
        assert moved == pytest.approx(now["steps"][name] * np.array(direction["vector"]), abs=1e-6)
        assert np.linalg.norm(direction["vector"]) == pytest.approx(1, abs=1e-5)
        assert page.inner_text(f"output[for=le-step-{name.replace(' ', '-')}]") == f"+{now['steps'][name]:.2f}"
        assert shows(page, run, "letter", now["latent"])


def test_directions_of_chance_are_at_right_angles_to_all_others(opened):
    vectors = np.array([direction["vector"] for direction in state(opened())["directions"]])
    chance = vectors[-2:] @ vectors.T
    assert np.abs(chance - np.eye(len(vectors))[-2:]).max() < 1e-5


def test_the_ring_follows_the_mouse_and_the_letter_follows_the_ring(opened, run):
    page = opened()
    box = page.locator("#le-map").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 7.5 / 9, box["y"] + box["height"] * 1.5 / 9, steps=5)
    page.mouse.up()
    now = state(page)
    assert now["steps"]["weight"] == pytest.approx(2.25, abs=0.05)
    assert now["steps"]["slant"] == pytest.approx(2.25, abs=0.05)
    assert shows(page, run, "letter", now["latent"])
    ring = page.locator("#le-ring").bounding_box()
    assert ring["x"] + ring["width"] / 2 == pytest.approx(box["x"] + box["width"] * 7.5 / 9, abs=3)
    assert ring["y"] + ring["height"] / 2 == pytest.approx(box["y"] + box["height"] * 1.5 / 9, abs=3)
    assert "weight +2.2" in page.inner_text("#le-status")


def test_the_ring_follows_the_arrow_keys_and_stays_on_the_map(opened, run):
    page = opened()
    page.focus("#le-map")
    for key in ("ArrowRight", "Shift+ArrowUp", "ArrowLeft", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    now = state(page)
    assert (now["steps"]["weight"], now["steps"]["slant"]) == (0.25, 0.75)
    assert shows(page, run, "letter", now["latent"])
    assert "weight +0.25, slant +0.75" in page.inner_text("#le-status")
    for _ in range(6):
        page.keyboard.press("Shift+ArrowRight")
    assert state(page)["steps"]["weight"] == 3
    page.keyboard.press("Home")
    assert (state(page)["steps"]["weight"], state(page)["steps"]["slant"]) == (0, 0)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_the_map_shows_the_two_directions_that_are_chosen(opened, run, by):
    page = opened()
    if by == "mouse":
        page.select_option("#le-across", "serif")
        page.select_option("#le-up", "chance A")
    else:
        page.press("#le-across", "ArrowDown")
        page.press("#le-across", "ArrowDown")
        page.press("#le-up", "ArrowDown")
        page.press("#le-up", "ArrowDown")
    now, mosaic = state(page), pixels(page, "mosaic")
    vectors = {direction["name"]: np.array(direction["vector"]) for direction in now["directions"]}
    for column, row, across, up in ((0, 0, -3, 3), (8, 0, 3, 3), (2, 6, -1.5, -1.5), (4, 4, 0, 0)):
        cell = mosaic[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
        latent = np.array(now["base"]) + across * vectors["serif"] + up * vectors["chance A"]
        assert np.abs(cell - expected(run.generator, latent)).max() <= 1


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_letters_are_kept_and_the_way_between_two_of_them_is_drawn(opened, run, by):
    page = opened()
    press(page, "surprise", by)
    kept = state(page)["latent"]
    press(page, "keep", by)
    now = state(page)
    assert now["kept"][-1] == kept and page.locator("#le-shelf button").count() == len(now["kept"]) == 9
    if by == "mouse":
        page.select_option("#le-from", "3")
        page.select_option("#le-to", "5")
    else:
        page.press("#le-from", "Home")
        for _ in range(3):
            page.press("#le-from", "ArrowDown")
        page.press("#le-to", "Home")
        for _ in range(5):
            page.press("#le-to", "ArrowDown")
    page.press("#le-way", "Home")
    if by == "mouse":
        box = page.locator("#le-way").bounding_box()
        page.locator("#le-way").click(position={"x": 0.3 * box["width"], "y": box["height"] / 2})
    else:
        for _ in range(3):
            page.press("#le-way", "PageUp")
    settled(page)
    share = float(page.input_value("#le-way"))
    assert share == pytest.approx(0.3, abs=0.03)
    assert page.inner_text("output[for=le-way]") == f"{round(100 * share)}%"
    first, last = (torch.tensor(now["kept"][place]) for place in (3, 5))
    for name in ("linear", "spherical"):
        way = getattr(walks, name)
        assert shows(page, run, f"{name}-letter", way(first, last, share))
        strip = pixels(page, f"{name}-strip")
        for step in (0, 4, 8):
            wanted = expected(run.generator, way(first, last, step / 8))
            assert np.abs(strip[:, 32 * step : 32 * step + 32] - wanted).max() <= 1
        length = float(page.inner_text(f"#le-{name}-length").rsplit(" ", 1)[1])
        assert length == pytest.approx(way(first, last, share).norm().item(), abs=0.051)
        press(page, f"{name}-go", by)
        assert state(page)["base"] == pytest.approx(way(first, last, share).tolist(), abs=1e-5)
    shelf = page.locator("#le-shelf button").nth(6)
    shelf.click() if by == "mouse" else shelf.press("Enter")
    assert state(page)["base"] == now["kept"][6] and shows(page, run, "letter", now["kept"][6])


def test_the_oldest_letter_makes_room_for_the_thirteenth(opened):
    page = opened()
    second = state(page)["kept"][1]
    for _ in range(5):
        page.click("#le-surprise")
        page.click("#le-keep")
    assert len(state(page)["kept"]) == 12 and state(page)["kept"][0] == second


# ------------------------------------------------------------------------------------------------------------- readers


def test_axe_finds_nothing_critical_or_serious_and_nothing_sticks_out(opened, findings, reader):
    page = opened(**reader)
    assert findings(page, "#latent-explorer") == []
    page.select_option("#le-goal", "0")
    settled(page)
    assert findings(page, "#latent-explorer") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_letter_word_map_and_layers_stand_side_by_side_on_one_screen(opened):
    page = opened()
    page.set_viewport_size({"width": 1280, "height": 800})
    boxes = [
        page.locator(name).first.bounding_box() for name in ("#le-map", "#le-letter", "#le-name", "#le-layers canvas")
    ]
    assert all(box["y"] >= 0 and box["y"] + box["height"] <= 800 for box in boxes), boxes
    assert all(box["x"] > boxes[0]["x"] + boxes[0]["width"] for box in boxes[1:])
    assert page.locator("#le-surprise").bounding_box()["y"] < 760


def test_a_swipe_that_starts_on_the_map_scrolls_the_page_and_moves_nothing(opened):
    page = opened(phone=True)
    page.locator("#le-map").scroll_into_view_if_needed()
    box, at, before = page.locator("#le-map").bounding_box(), page.evaluate("scrollY"), state(page)["steps"]
    session = page.context.new_cdp_session(page)
    x, y = box["x"] + 0.3 * box["width"], box["y"] + 0.8 * box["height"]
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for i in range(1, 11):
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - 20 * i}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") - at > 100 and state(page)["steps"] == before


def test_the_map_is_dragged_with_a_finger(opened):
    page = opened(phone=True)
    page.locator("#le-map").scroll_into_view_if_needed()
    box = page.locator("#le-map").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 1.5 / 9, box["y"] + box["height"] / 2)
    assert state(page)["steps"]["weight"] == pytest.approx(-2.25, abs=0.1)


def test_nothing_moves_by_itself(opened):
    page = opened(still=True)
    before = [pixels(page, name) for name in PICTURES]
    page.wait_for_timeout(400)
    assert all(np.array_equal(a, pixels(page, name)) for a, name in zip(before, PICTURES, strict=True))


def loaded(page) -> dict[str, int]:
    """Every file that the page has loaded, by address, and its bytes."""
    return dict(
        page.evaluate(
            """["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type))
            .map((entry) => [entry.name, entry.decodedBodySize])"""
        )
    )


def test_page_works_from_a_server_and_weighs_less_than_1_7_megabytes_before_the_first_touch(visit):
    page = visit(PAGE, http=True)
    page.wait_for_selector("#latent-explorer.le-ready")
    page.wait_for_load_state("networkidle")
    assert any("sketch.js" in name for name in loaded(page)) and not any("/weights.js" in name for name in loaded(page))
    assert sum(loaded(page).values()) < 1_700_000  # a tenth of them reads the letter; 62 kB are the typeface


def test_explorer_weighs_less_than_three_megabytes_in_all(visit):
    page = visit(PAGE, http=True)
    page.wait_for_selector("#latent-explorer.le-ready")
    page.click("#le-surprise")
    page.wait_for_function("latentExplorer.state().exact")
    assert any("/weights.js" in name for name in loaded(page))
    assert sum(loaded(page).values()) < 3_000_000


def test_page_holds_the_measurements_of_this_build(opened):
    text = opened().inner_text("article")
    assert "The judge is right about held-out letters in so many cases: weight" in text
    assert "Halfway between two latents" in text
    assert f"they agree within {TOLERANCE:.4f}" in text


def test_both_pages_say_what_they_lack_without_javascript(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{PAGE}")
    assert page.is_visible("#le-fallback") and page.is_hidden("#le-apparatus")
    page.goto(f"{site.as_uri()}/{COVER}")
    assert page.is_hidden("#cover") and page.is_visible("#fig-cover img")
    context.close()


# --------------------------------------------------------------------------------------------------------------- cover


@pytest.fixture
def cover(visit):
    def open_page(**reader):
        page = visit(COVER, **reader)
        page.locator("#cover").scroll_into_view_if_needed()  # nothing of it is loaded before
        page.wait_for_selector("#cover.cover-ready")
        return page

    return open_page


def letter(page) -> str:
    return page.evaluate("document.getElementById('cover-letter').toDataURL()")


def changes(page, milliseconds=600) -> bool:
    before = letter(page)
    page.wait_for_timeout(milliseconds)
    return letter(page) != before


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_cover_is_alive_until_it_is_paused(cover, by):
    page = cover()
    page.mouse.move(1, 1)
    assert changes(page)
    for name, alive in (("Pause", False), ("Play", True)):
        assert page.inner_text("#cover-play") == name
        page.click("#cover-play") if by == "mouse" else page.press("#cover-play", "Enter")
        assert changes(page) == alive


def test_cover_stands_still_for_readers_who_prefer_less_motion_but_follows_them(cover):
    page = cover(still=True)
    assert page.inner_text("#cover-play") == "Play" and not changes(page)
    before = letter(page)
    page.press("#cover-letter", "ArrowRight")
    assert letter(page) != before
    assert page.evaluate("cover.state().pull") == pytest.approx([0.2, 0])
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "ArrowDown"):
        page.press("#cover-letter", key)
    assert page.evaluate("cover.state().pull") == pytest.approx([0, 0.2])
    before = letter(page)
    box = page.locator("#cover-letter").bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])
    assert page.evaluate("cover.state().pull") == pytest.approx([0.8, 0], abs=0.02)
    assert letter(page) != before
    page.mouse.move(1, 1)
    assert page.evaluate("cover.state().pull") == [0, 0]


def test_cover_rests_out_of_sight(cover):
    page = cover()
    page.evaluate("scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    page.wait_for_function("!cover.state().seen")
    page.wait_for_timeout(100)
    assert not changes(page)
    page.locator("#cover").scroll_into_view_if_needed()
    page.wait_for_function("cover.state().seen")
    assert changes(page)


def test_cover_draws_the_recorded_letter_first_and_leads_to_the_explorer(cover, run):
    page = cover(still=True)
    data = base64.b64decode(letter(page).split(",")[1])
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)
    difference = np.abs(shown - expected(run.generator, run.latents[0]))
    assert difference.mean() < 1 and difference.max() < 32  # rounded weights
    page.click("#cover a")
    page.wait_for_selector("#latent-explorer.le-ready")


def test_axe_finds_nothing_critical_or_serious_in_the_cover_and_nothing_sticks_out(cover, findings, reader):
    page = cover(**reader)
    assert findings(page, "#cover") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
