"""A replay as text: what stands in it without a script, its size, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import math
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from dcgan_core.config import InvalidInput
from dcgan_core.teaching.line_chart import short
from dcgan_core.teaching.replay import replay

GREYS = (0, 60, 120, 180, 240)


def frames(size: tuple[int, int] = (40, 30)) -> list[Image.Image]:
    return [Image.new("L", size, grey) for grey in GREYS]


def made(**changes) -> BeautifulSoup:
    settings = {
        "frames": frames(),
        "at": [0, 10, 20, 30, 40],
        "series": {"loss": ([5, 15, 25, 35], [4.0, 3.0, math.nan, 1.0])},
        "alt": "Grey squares",
        "caption": "From black to white.",
    }
    settings |= changes
    return BeautifulSoup(replay(settings.pop("frames"), **settings).data, "html.parser")


def data(page: BeautifulSoup) -> dict:
    return json.loads(page.select_one("script[type]").string)


def sprite(page: BeautifulSoup) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(page.img["src"].split(",")[1])))


def variables(page: BeautifulSoup) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"--(\w+):(\d+)", page.img["style"])}


def test_every_frame_stands_in_its_field_of_the_sprite_and_the_last_one_is_shown():
    page = made()
    place, picture = variables(page), sprite(page)
    assert picture.size == (40 * place["columns"], 30 * place["rows"])
    assert data(page)["columns"] == place["columns"]
    for number, grey in enumerate(GREYS):
        row, column = divmod(number, place["columns"])
        assert picture.getpixel((40 * column + 20, 30 * row + 15)) == (grey,) * 3
    assert (place["row"], place["column"]) == divmod(len(GREYS) - 1, place["columns"])


def test_numbers_are_the_last_measurement_at_or_before_the_moment_and_gaps_are_dashes():
    page = made()
    (curve,) = data(page)["curves"]
    assert [mark[0] for mark in curve["marks"]] == ["–", "4", "3", "–", "1"]
    assert data(page)["moments"] == ["0 images", "10 images", "20 images", "30 images", "40 images"]
    assert page.output.text == "40 images" and page.b.text == "1"


def test_a_gap_interrupts_the_curve_and_a_value_alone_is_a_dot():
    path = made().select_one("g path")["d"]
    assert [len(piece.split("L")) for piece in path.split("M")[1:]] == [2, 1]
    assert path.endswith("h0")


def test_marks_lie_on_the_curve():
    page = made()
    corners = [tuple(map(float, corner.split())) for corner in re.findall(r"[ML]([\d.]+ [\d.]+)", page.g.path["d"])]
    (curve,) = data(page)["curves"]
    assert {tuple(mark[1:]) for mark in curve["marks"] if len(mark) > 1} == set(corners)


def test_a_linear_axis_is_linear_and_a_logarithmic_one_turns_factors_into_distances():
    values = ([0, 10, 20], [1.0, 10.0, 100.0])

    def heights(**changes):
        (curve,) = data(made(at=[0, 10, 20, 30, 40], series={"distance": values}, **changes))["curves"]
        return [mark[2] for mark in curve["marks"][:3]]

    one, ten, hundred = heights(logarithmic=["distance"])
    assert one - ten == pytest.approx(ten - hundred, abs=0.2)
    one, ten, hundred = heights()
    assert (ten - hundred) / (one - ten) == pytest.approx(10, rel=0.05)


def test_what_is_not_positive_is_a_gap_on_a_logarithmic_axis():
    (curve,) = data(made(series={"distance": ([0, 10], [0.0, 2.0])}, logarithmic=["distance"]))["curves"]
    assert [mark[0] for mark in curve["marks"][:2]] == ["–", "2"]


def test_curves_without_any_number_leave_an_empty_chart():
    page = made(series={"loss": ([0, 40], [math.nan, math.inf])})
    assert page.b.text == "–" and page.circle["visibility"] == "hidden"


def test_a_curve_of_zeros_lies_on_the_bottom_of_its_chart():
    (curve,) = data(made(series={"covered": ([0, 40], [0, 0])}))["curves"]
    assert curve["marks"][-1] == ["0", 270, 116]


def test_one_moment_alone_is_a_picture():
    assert made(frames=frames()[:1], at=[7], series={"loss": ([7], [1.5])}).b.text == "1.50"


def test_names_and_texts_are_escaped_everywhere():
    evil = "</script><b>\"&'"
    page = made(alt=evil, caption=evil, unit=evil, series={evil: ([0], [1.0])})
    assert page.img["alt"] == evil
    assert page.figcaption.text == evil
    assert page.output.text == f"40 {evil}"
    assert page.select_one(".replay-key").text == f"{evil} 1"
    assert data(page)["curves"][0]["name"] == evil
    assert len(page.find_all("script")) == 2 and len(page.find_all("b")) == 1


def test_nothing_is_fetched():
    page = made()
    assert [e for e in page.select("[src], [href], [srcset]") if not e["src"].startswith("data:")] == []
    assert not re.search(r"https?:|@import|url\(", page.style.string + page.find_all("script")[-1].string)


def test_twelve_grids_of_letters_with_their_losses_fit_into_100_kilobytes():
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(12):  # strokes, as compressible as letters are
        strokes = np.kron(random.integers(0, 2, (16, 64)), np.ones((8, 4))) * 255
        pictures.append(Image.fromarray(strokes.astype("uint8")))
    places = list(range(0, 12_000, 50))
    losses = {name: (places, random.random(len(places))) for name in ("discriminator", "generator")}
    size = len(replay(pictures, at=range(0, 12_000, 1_000), series=losses, alt="", caption="").data)
    assert size < 100_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": frames()[:4]}, "4 frames and 5 moments"),
        ({"frames": []}, "0 frames"),
        ({"frames": [*frames()[:4], Image.new("L", (41, 30))]}, r"\(40, 30\), \(41, 30\)"),
        ({"at": [0, 20, 10, 30, 40]}, "ascending"),
        ({"at": [0, 10, 20, 30, math.nan]}, "finite"),
        ({"series": {}}, "no curve"),
        ({"series": [{"loss": ([0], [1.0])}, {}]}, "no curve"),
        ({"series": {"loss": ([], [])}}, "0 places"),
        ({"series": {"loss": ([1, 2], [1.0])}}, "2 places and 1 values"),
        ({"series": {"loss": ([1, math.inf], [1.0, 2.0])}}, "finite"),
        ({"frames": frames((16_000, 2))}, "do not fit"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_sentence(changes, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        made(**changes)
    assert "\n" not in str(caught.value)


def test_numbers_are_short_and_whole_ones_are_whole():
    values = {0: "0", 26: "26", 128_000: "128,000", 3.7: "3.70", 0.655: "0.655", 1490.66: "1,491", -0.5: "−0.500"}
    assert {value: short(value) for value in values} == values
    assert short(1.23456e-7) == "1.23e−07" and short(math.inf) == "–"
