"""The study of features: damage is damage, the measures say what they should, and so does the record that ships."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image
from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.data import glyphs, scale
from dcgan_core.laboratory import judging
from dcgan_core.laboratory.damages import PIXELS, STRENGTHS, fewer_images, fewer_kinds
from dcgan_core.laboratory.judging import drawings, measured, pixels, pyramid, recorded_judging, shares, summary


@pytest.fixture(scope="module")
def colourful() -> Tensor:
    return torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9


@pytest.mark.parametrize("name", PIXELS)
def test_damage_grows_with_its_strength_stays_in_range_and_is_the_same_every_time(name, colourful):
    before = colourful.clone()
    sizes = []
    for strength in STRENGTHS:
        found = PIXELS[name](colourful, strength)
        assert found.shape == colourful.shape and found.min() >= -1 and found.max() <= 1
        assert torch.equal(found, PIXELS[name](colourful, strength))
        sizes.append(float((found - colourful).square().mean()))
    assert 0 < sizes[0] < sizes[1] < sizes[2] and torch.equal(colourful, before)


def test_damage_has_the_size_that_it_says():
    grey = torch.zeros(200, 3, 32, 32)
    assert [float(PIXELS["noise"](grey, s).std()) * 127.5 for s in STRENGTHS] == pytest.approx([4, 8, 16], rel=0.02)
    assert [float(PIXELS["dimming"](grey, s).mean()) + 1 for s in STRENGTHS] == pytest.approx([0.9, 0.8, 0.6])
    red, green, blue = PIXELS["colour cast"](grey, 3).mean((0, 2, 3)) * 127.5
    assert (float(red), float(green), float(blue)) == pytest.approx((25.5, 0, -25.5), abs=0.01)
    point = torch.full((1, 1, 65, 65), -1.0)
    point[..., 32, 32] = 1
    blur = (PIXELS["blur"](point, 3) + 1)[0, 0] / 2
    away = torch.arange(65) - 32
    assert float((blur.sum(0) * away**2).sum().sqrt()) == pytest.approx(65 / 32, rel=0.05)


def test_kinds_and_images_get_fewer():
    kinds = torch.arange(8).repeat(10)
    assert [len(kinds[fewer_kinds(kinds, s)].unique()) for s in STRENGTHS] == [6, 4, 2]
    assert len(fewer_kinds(kinds, 1)) == 60
    assert [len(fewer_images(320, s).unique()) for s in STRENGTHS] == [80, 20, 5]
    assert len(fewer_images(320, 3)) == 320


def test_the_measures_of_a_study_are_those_of_its_definition():
    perfect = [[1.0, 2.0, 3.0, 4.0], [1.1, 2.0, 3.0, 4.0]]
    swapped = [[1.0, 2.0, 1.5, 9.0], [1.1, 1.05, 3.0, 9.0]]  # 2 steps of 6 fall; one slight damage is not seen
    outcome = {"distances": {"blur": perfect, "noise": swapped}, "copies": {"noise 1": 0.5, "blur 1": 1.0}}
    found = shares(outcome)
    assert found["ordered"] == pytest.approx((6 / 6 + 4 / 6) / 2)
    assert found["seen"] == pytest.approx((2 / 2 + 1 / 2) / 2)
    assert (found["balanced"], found["copies"]) == (1, 0.75)
    outcome["distances"]["noise"] = [[1.0, 5.0, 6.0, 7.0]] * 2  # the slightest noise counts for more than any blur
    assert shares(outcome)["balanced"] == 0.5
    table = summary([outcome | {"features": "a"}, outcome | {"features": "a", "copies": {"noise 1": 0.25}}])
    assert table["a"]["copies"] == (0.5, 0.25, 0.75)


def test_features_that_see_everything_are_perfect_and_blind_ones_are_not(monkeypatch):
    monkeypatch.setattr(judging, "NUM_COMPARED", 100)
    drawn = glyphs.render(300, seed=1, split="test")
    images, kinds = scale(torch.from_numpy(drawn.images)), torch.from_numpy(drawn.letter)
    seeing, blind = (measured(each, images, kinds) for each in (pixels, lambda images: images[:, 0, :2, :2].flatten(1)))
    assert set(seeing["distances"]) == {"blur", "noise", "dimming", "fewer kinds", "repeats"}, (
        "grey images have no cast"
    )
    assert {len(each) for each in seeing["distances"].values()} == {judging.NUM_SPLITS}
    assert shares(seeing)["ordered"] > 0.75 > 0.6 > shares(blind)["ordered"]
    assert seeing["copies"]["noise 1"] > 0.9 and seeing["real_copies"] < 0.1
    assert set(blind["copies"].values()) == {0.0}, "features that take all images for one find no copies"
    assert all(math.isfinite(value) for rows in seeing["kernel_distances"].values() for row in rows for value in row)


def test_the_pyramid_sees_detail_at_each_scale(colourful):
    vectors = pyramid(colourful)
    assert vectors.shape == (40, 96)
    assert (pyramid(PIXELS["blur"](colourful, 2)) - vectors)[:, :12].mean() < -1, "the finest band has lost its energy"


def test_drawings_are_read_on_white_and_their_folders_are_kinds(tmp_path):
    for number, kind in enumerate(("a", "a", "b")):
        (tmp_path / kind).mkdir(exist_ok=True)
        Image.new("RGBA", (20, 20), (255, 0, 0, 0 if number else 255)).save(tmp_path / kind / f"{number}.png")
    images, kinds = drawings(tmp_path)
    assert kinds.tolist() == [0, 0, 1] and images.shape == (3, 3, 64, 64)
    assert images[0, :, 5, 5].tolist() == [255, 0, 0] and images[1].min() == 255


def test_a_missing_package_of_photographs_is_one_sentence(monkeypatch):
    monkeypatch.setattr(judging, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install scikit-image\.$"):
        judging.photographs()


def test_the_record_holds_every_candidate_on_every_sort_of_images():
    outcomes = recorded_judging()
    sorts, features = ({outcome[key] for outcome in outcomes} for key in ("sort", "features"))
    assert sorts == {"photographs", "drawings", "clothes", "letters"}
    assert {"general", "imagenet", "random convolutions", "pixels", "thumbnails"} <= features
    assert len(outcomes) == len(sorts) * len(features)
