"""What the page about a run says in words and numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from dcgan_core.config import RECIPES, Config
from dcgan_core.report import contents
from dcgan_core.report.contents import curves, numbers, publishing, sessions, settings, summary

CONFIG = Config(data="photos", channels=3, image_size=16)


def line(images: int, **more: float | None) -> dict[str, float | None]:
    return {"images": images, "seconds": images / 100, "discriminator_loss": 1.2, "generator_loss": 0.9} | more


LINES = [
    line(1_000),
    line(2_000, frechet_distance=20.0, recognised=0.5, classes_covered=25),
    line(3_000, frechet_distance=40.0, recognised=0.256, classes_covered=26),
    line(4_000),
]


def test_the_summary_counts_images_pixels_and_speed():
    begin = "A DCGAN trained on 1,200 images of “photos” (16 x 16 pixels, colour)."
    assert summary(CONFIG.to_dict(), [], 1_200) == begin
    assert summary(CONFIG.to_dict(), LINES, 1_200) == (
        f"{begin} It has seen 4,000 images in about 40 seconds, 100 images per second."
    )
    grey = summary(CONFIG.to_dict() | {"channels": 1}, [line(0)], None)
    assert grey == "A DCGAN trained on “photos” (16 x 16 pixels, grey). It has seen 0 images in about a second."


def test_the_last_measured_state_stands_beside_the_best_with_a_sentence_on_each():
    rows = {row["what"]: (row["last"], row["best"]) for row in numbers(LINES, CONFIG)}
    assert rows == {
        "Images seen": ("3,000", "2,000"),
        "Fréchet distance": ("40.0", "20.0"),
        "Samples recognised": ("26%", "50%"),
        "Classes covered": ("26", "25"),
        "Discriminator loss": ("1.20", "1.20"),
        "Generator loss": ("0.900", "0.900"),
    }
    assert numbers([], CONFIG) == []
    assert {row["what"]: row["last"] for row in numbers(LINES[:1], CONFIG)}["Images seen"] == "1,000"
    assert all(row["reading"].endswith(".") for row in numbers(LINES, CONFIG))


def test_real_images_stand_below_the_samples_where_the_run_has_come_to_its_end():
    compared = {"images": 3_000, "frechet_distance": 19.0, "matched_distance": 22.0, "real_distance": 4.5}
    rows = {row["what"]: row["best"] for row in numbers(LINES, CONFIG, {"last": compared, "best": compared})}
    assert list(rows)[1:4] == ["Fréchet distance", "The same, in equal numbers", "Real images, in equal numbers"]
    assert list(rows.values())[1:4] == ["19.0", "22.0", "4.50"]


@pytest.fixture
def drawn(monkeypatch) -> list[dict]:
    """What the charts are asked to draw."""
    found: list[dict] = []
    monkeypatch.setattr(contents, "chart", lambda lines, **options: found.append({"lines": lines, **options}))
    return found


def test_curves_have_the_points_that_are_numbers_and_a_curve_of_one_point_is_none(drawn):
    lines = [*LINES, line(5_000, frechet_distance=math.nan, recognised=None)]
    titles = [one["title"] for one in curves(lines, CONFIG)]
    assert titles == ["Losses", "Fréchet distance", "Samples recognised", "Classes covered"]
    losses, distance, *_ = drawn
    assert losses["lines"]["discriminator"] == ((1_000, 2_000, 3_000, 4_000, 5_000), (1.2,) * 5)
    assert set(losses["lines"]["generator"][1]) == {0.9}
    assert distance["lines"] == {"distance": ((2_000, 3_000), (20.0, 40.0))}
    assert [one["logarithmic"] for one in drawn] == [False, True, False, False]
    assert [one["title"] for one in curves(LINES[:2], CONFIG)] == ["Losses"]


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, True),
        ({"real_label": 0.9}, False),
        ({"loss": "wasserstein-clipping", "discriminator_norm": "layer"}, False),
    ],
)
def test_the_level_of_a_discriminator_that_guesses_is_drawn_where_it_is_2_ln_2(drawn, changes, there):
    config = Config(**{"data": "photos", "channels": 3, "image_size": 16} | changes)
    losses, distance, *_ = curves(LINES, config)
    assert drawn[0]["level"] == (pytest.approx(1.3863, abs=1e-4) if there else None) and drawn[1]["level"] is None
    assert ("dotted line" in losses["reading"]) == there and "dotted line" not in distance["reading"]


def test_settings_that_differ_are_told_from_those_that_do_not_also_after_a_way_through_json():
    config = Config(data="photos", image_size=64, total_images=1_234_567, augment=("flip", "translation"))
    changed, unchanged = settings(config.to_dict() | {"augment": ["flip", "translation"]})
    found = {name: values for name, *values in changed}
    assert found["augment"] == ["flip translation", "none"] and found["total_images"][0] == "1,234,567"
    assert found["data"] == ["photos", Config.data]
    same, _ = settings(Config(**RECIPES["default"]).to_dict() | {"augment": []})
    assert same == [] and not set(found) & {name for name, _ in unchanged}
    assert len(changed) + len(unchanged) == len(config.to_dict())
    assert settings({"seed": 0})[1] == [("seed", "0")], "older runs lack newer settings"


def test_sessions_say_where_they_ran_and_where_they_began():
    first = {"device": "cpu", "precision": "float32", "torch": "2.9", "started": "2026-11-27T10:00", "command": "x y"}
    later = first | {"resumed_at_images": 64_000, "command": None, "compiled": True}
    found = sessions([first, later, {}])
    assert found[0] == {"command": "x y", "where": "on cpu in float32, torch 2.9, 2026-11-27"}
    assert found[1]["command"] == "a program that calls the package"
    assert found[1]["where"] == "on cpu in float32, compiled, torch 2.9, 2026-11-27; from 64,000 images on"
    assert "an unknown device in unknown precision" in found[2]["where"]


def test_what_is_said_on_publishing_depends_on_data_average_and_what_the_page_shows():
    own = dict(publishing(CONFIG.to_dict(), True))
    known = dict(publishing(CONFIG.to_dict() | {"data": "mnist", "ema_halflife_images": 0}, False))
    assert "images of your own" in own["Data"] and "known by its name" in known["Data"]
    assert "by a moving average" in own["Weights"] and "by the generator" in known["Weights"]
    assert "training images" in own["This page"] and "This page" not in known
    assert all(earlier != later for earlier, later in pairwise(own.values()))
