"""Every replay on the pages of the chapters: it works there as it does alone, and it fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SITE = Path(os.environ.get("DCGAN_SITE", ROOT / "_build" / "html"))
PAGES = [
    path.relative_to(SITE).as_posix()
    for path in sorted((SITE / "notebooks").glob("*.html"))
    if 'class="replay"' in path.read_text(encoding="utf-8")
]

if not (SITE / "notebooks").is_dir():
    pytest.skip("there is no built site", allow_module_level=True)

CUT_OFF = """() => [...document.querySelectorAll(".replay text")].filter((text) => {
    const [label, chart] = [text, text.closest("svg")].map((one) => one.getBoundingClientRect());
    return label.left < chart.left - 0.5 || label.right > chart.right + 0.5;
}).map((text) => text.textContent)"""
every_page = pytest.mark.parametrize("address", PAGES)


def test_the_training_loop_is_replayed():
    assert "notebooks/07_training_loop.html" in PAGES


@every_page
def test_all_replays_start_and_their_sliders_move_frame_and_text(visit, address):
    page = visit(address)
    for replay in page.locator(".replay").all():
        replay.scroll_into_view_if_needed()
        assert "replay-ready" in replay.get_attribute("class")
        last = replay.locator("output").inner_text()
        field = replay.locator("img").get_attribute("style")
        replay.locator("input").press("Home")
        assert replay.locator("output").inner_text() != last
        assert replay.locator("img").get_attribute("style") != field


@every_page
def test_axe_finds_nothing_and_the_frame_keeps_its_shape(visit, findings, address, reader):
    page = visit(address, **reader)
    assert findings(page, ".replay") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CUT_OFF) == []
    for replay in page.locator(".replay").all():
        screen, frame = replay.locator(".replay-screen").bounding_box(), replay.locator("img").bounding_box()
        columns, rows = replay.locator("img").evaluate(
            "(img) => ['--columns', '--rows'].map((name) => Number(img.style.getPropertyValue(name)))"
        )
        assert frame["width"] == pytest.approx(columns * screen["width"], rel=0.01)  # no style of the theme on it
        assert frame["height"] == pytest.approx(rows * screen["height"], rel=0.01)
        size = [int(replay.locator("img").get_attribute(name)) for name in ("width", "height")]
        assert frame["width"] / frame["height"] == pytest.approx(size[0] / size[1], rel=0.02)
