"""Style shift: what is scored, what is chosen, and that the judge that measures is another one."""

from __future__ import annotations

import pytest
import torch

from dcgan_core import recorded
from dcgan_core.data import glyphs, scale
from dcgan_core.teaching.directions import StyleJudge, styles_of
from dcgan_core.teaching.style import DETOURS, FACTORS, LETTER_WEIGHT, Outsider, chosen, missed, shift, towards
from dcgan_core.train import draw_latents, sample

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def judge() -> StyleJudge:
    return StyleJudge(500)


@pytest.fixture(scope="module")
def letters() -> glyphs.Glyphs:
    return glyphs.render(30, seed=77, split="test")


def images_of(letters: glyphs.Glyphs) -> torch.Tensor:
    return scale(torch.from_numpy(letters.images))


def test_an_outsider_says_the_same_of_bytes_and_of_scaled_images(letters):
    outsider = Outsider(400)
    pixels = torch.from_numpy(letters.images)
    assert torch.equal(outsider(pixels), outsider(images_of(letters)))
    assert torch.equal(outsider.letters(pixels), outsider.letters(images_of(letters)))
    right = (outsider(pixels) == styles_of(letters)).double().mean(dim=0)
    assert outsider.accuracy["letter"] > 0.9 and bool((right > 0.7).all())


def test_what_is_missed_is_the_mean_square_of_the_scores_and_the_letter(judge, letters):
    images, own = images_of(letters), torch.from_numpy(letters.letter)
    scores = judge(images).clamp(-1.5, 1.5)
    right = missed(judge, images, own, scores).diagonal()
    assert right.median() < 0.02, "letters that are what is wished for"
    off = missed(judge, images, own, scores + 1).diagonal()
    assert torch.allclose(off - right, torch.ones(30).double(), atol=1e-5)
    other = missed(judge, images, (own + 1) % 26, scores).diagonal()
    assert (other - right).median() > 20 * LETTER_WEIGHT * 0.1


def test_the_row_that_misses_least_is_chosen_for_each_wish(judge, letters):
    images = images_of(letters)
    wishes = torch.tensor([3, 17, 8])
    found = chosen(judge, images, torch.from_numpy(letters.letter)[wishes], judge(images)[wishes].clamp(-1.5, 1.5))
    table = missed(judge, images, torch.from_numpy(letters.letter)[wishes], judge(images)[wishes].clamp(-1.5, 1.5))
    assert table.shape == (30, 3)
    assert found.tolist() == [column.argmin().item() for column in table.T]
    assert (found == wishes).sum() >= 2, "most wishes describe one letter of the pool"


def test_a_style_that_is_right_adds_no_direction_and_one_that_lacks_two_adds_it_whole(judge, letters):
    images, directions = images_of(letters), torch.eye(3)
    assert towards(judge, images, judge(images), directions).abs().max() < 1e-6
    aim = judge(images)
    aim[:, 1] -= 2
    assert torch.allclose(towards(judge, images, aim, directions), torch.tensor([0.0, -1.0, 0.0]).expand(30, 3))


def test_a_shift_never_misses_by_more_than_the_latents_that_it_began_with(judge):
    generator = recorded.load("glyphs32").generator.requires_grad_(False)
    latents = draw_latents(6, 100, seed=5)
    images = sample(generator, latents)
    aim = -judge(images).clamp(-1, 1)
    own = judge.letters(images)
    directions = torch.nn.functional.normalize(torch.randn(3, 100, generator=torch.Generator().manual_seed(0)), dim=1)
    moved = shift(generator, judge, latents, own, aim, directions)
    before, after = (missed(judge, each, own, aim).diagonal() for each in (images, sample(generator, moved)))
    assert moved.shape == latents.shape and bool((after <= before + 1e-6).all()) and after.mean() < before.mean()
    assert len(FACTORS) * DETOURS == 28
