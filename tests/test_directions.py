"""Style directions: the judge is right, the directions do what their names say, and what does nothing is left out."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from dcgan_core import recorded
from dcgan_core.data import glyphs, scale
from dcgan_core.teaching.directions import STEP, STYLES, StyleJudge, find_directions, measure, styles_of
from dcgan_core.train import draw_latents, sample

RUN = "glyphs32"


@pytest.fixture(scope="module")
def judge(one_thread) -> StyleJudge:
    return StyleJudge()


@pytest.fixture(scope="module")
def generator():
    return recorded.load(RUN).generator


@pytest.fixture(scope="module")
def directions(generator, judge):
    return {direction.name: direction for direction in find_directions(generator, judge)}


def test_styles_are_those_of_the_fonts():
    letters = glyphs.render(300)
    for font, styles in zip(letters.font, styles_of(letters).tolist(), strict=True):
        name, bold, slanted = glyphs.FONTS[font]
        serif = name not in {"cmss10"} and "Sans" not in name
        assert styles == [1 if factor else -1 for factor in (bold, slanted, serif)]


@pytest.mark.slow
def test_judge_is_right_about_nine_in_ten_letters_of_another_seed_too(judge):
    letters = glyphs.render(1_000, seed=9, split="test")
    right = judge(scale(torch.from_numpy(letters.images))).sign() == styles_of(letters)
    for style, share in zip(STYLES, right.double().mean(dim=0).tolist(), strict=True):
        assert share > 0.9
        assert judge.accuracy[style] == pytest.approx(share, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", STYLES)
def test_each_direction_of_the_recorded_run_changes_the_style_of_at_least_a_third_of_the_letters(directions, name):
    direction = directions[name]
    assert direction.works and direction.change - direction.margin > 1 / 3
    assert direction.shares[0] < direction.shares[1] < direction.shares[2]
    assert direction.vector.norm().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_letters_are_kept_less_often_than_by_steps_of_the_same_length_in_random_directions(directions):
    for direction in directions.values():
        assert 1 / 26 < direction.letter_kept < direction.letter_kept_by_chance < 1


@pytest.fixture(scope="module")
def moved(generator, directions):
    """Images of 400 latents that neither found nor measured a direction, moved back and forward along it."""

    def images(name):
        latents = draw_latents(400, generator.latent_size, seed=77)
        return [sample(generator, latents + way * STEP * directions[name].vector) for way in (-1, 1)]

    return images


@pytest.mark.slow
def test_weight_adds_ink_and_slant_leans_letters_to_the_right_by_measures_that_the_judge_does_not_know(moved):
    thin, bold = (images.add(1).mean().item() for images in moved("weight"))
    assert bold > 1.3 * thin
    upright, slanted = (lean(images).mean().item() for images in moved("slant"))
    assert slanted > upright + 0.15  # a slant of 0.15 is some 8 degrees


def lean(images: torch.Tensor) -> torch.Tensor:
    """How far a letter leans to the right for each pixel upwards, (N,), from the second moments of its ink."""
    ink = (images[:, 0] + 1) / 2
    place = torch.arange(images.shape[-1]).float()
    total = ink.sum(dim=(1, 2))
    across = place - ((ink.sum(dim=1) * place).sum(dim=1) / total)[:, None]  # (N, W)
    down = place - ((ink.sum(dim=2) * place).sum(dim=1) / total)[:, None]  # (N, H)
    mixed = (ink * across[:, None, :] * down[:, :, None]).sum(dim=(1, 2))
    return -mixed / (ink * (down**2)[:, :, None]).sum(dim=(1, 2))


def test_lean_of_a_line_is_its_slope():
    image = torch.full((1, 1, 21, 21), -1.0)
    for row in range(21):
        image[0, 0, row, 15 - row // 2] = 1
    assert lean(image).item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.slow
def test_random_directions_are_left_out(generator, judge):
    vectors = normalize(draw_latents(3, generator.latent_size, seed=5), dim=1)
    assert not any(direction.works for direction in measure(generator, judge, vectors, num_latents=200))


@pytest.mark.slow
def test_a_direction_that_points_the_wrong_way_is_left_out(generator, judge, directions):
    vectors = -torch.stack([direction.vector for direction in directions.values()])
    assert not any(direction.works for direction in measure(generator, judge, vectors, num_latents=200))
