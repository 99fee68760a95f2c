"""Searches in latent space, damages, films of letters, and walks at constant speed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from dcgan_core import recorded
from dcgan_core.data import glyphs, moving, scale
from dcgan_core.laboratory.latent_search import on_sphere, search
from dcgan_core.laboratory.missing_frames import between, looks_like
from dcgan_core.laboratory.restoration import DAMAGES, LENGTH_WEIGHT, known_around_hole, restore, simpler, wanted
from dcgan_core.laboratory.searching import RECORD, SEARCHES, recorded_searching
from dcgan_core.models import Generator
from dcgan_core.teaching.chapter_16 import mean_and_margin, show_applications
from dcgan_core.teaching.film import evenly, step_lengths, unevenness
from dcgan_core.train import draw_latents

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def generator() -> Generator:
    return recorded.load("glyphs32").generator.requires_grad_(False)


def rendered(count: int, **choices) -> torch.Tensor:
    return scale(torch.from_numpy(glyphs.render(count, **choices).images))


def test_each_candidate_is_searched_by_itself(generator):
    """Alone or among others, a start ends in the same place."""
    targets = rendered(2, seed=1)
    starts = draw_latents(6, 100, seed=1).unflatten(0, (2, 3))
    together = search(generator, looks_like(targets), starts, steps=5)
    alone = search(generator, looks_like(targets[1:]), starts[1:, 2:], steps=5)
    assert torch.allclose(together.latents[1, 2], alone.latents[0, 0], atol=1e-3)
    assert torch.allclose(together.losses[1, 2], alone.losses[0, 0], atol=1e-4)


def test_a_search_lowers_its_loss_and_leaves_generator_and_starts_as_they_were(generator):
    targets = rendered(3, seed=2)
    starts = draw_latents(3, 100, seed=2)[:, None]
    kept, weights = starts.clone(), [each.clone() for each in generator.parameters()]
    ends = [search(generator, looks_like(targets), starts, steps=steps).losses for steps in (0, 20)]
    assert bool((ends[1] < 0.85 * ends[0]).all())
    assert torch.equal(starts, kept)
    assert all(torch.equal(a, b) for a, b in zip(weights, generator.parameters(), strict=True))


def test_what_is_returned_belongs_together_and_the_best_is_the_lowest(generator):
    targets = rendered(3, seed=3)
    starts = draw_latents(6, 100, seed=3).unflatten(0, (3, 2))
    found = search(generator, looks_like(targets), starts, steps=4)
    assert torch.allclose(generator(found.latents.flatten(0, 1)), found.images.flatten(0, 1), atol=1e-4)
    assert torch.allclose(looks_like(targets)(found.images, found.latents), found.losses, atol=1e-5)
    for target, losses in enumerate(found.losses.tolist()):
        lowest = losses.index(min(losses))
        assert torch.equal(found.best()[target], found.images[target, lowest])
        assert torch.equal(found.best_latents()[target], found.latents[target, lowest])


def test_a_generator_in_train_mode_is_refused(generator):
    generator.train()
    try:
        with pytest.raises(AssertionError, match="train mode"):
            search(generator, looks_like(rendered(1, seed=0)), draw_latents(1, 100, seed=0)[None], steps=1)
    finally:
        generator.eval()


def test_on_the_sphere_every_latent_keeps_the_length_of_drawn_ones(generator):
    latents = 3 * torch.randn(2, 3, 100, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(on_sphere(latents).norm(dim=2), torch.full((2, 3), 10.0))
    assert torch.allclose(torch.cosine_similarity(on_sphere(latents), latents, dim=2), torch.ones(2, 3))
    found = search(generator, looks_like(rendered(2, seed=4)), latents, steps=6, sphere=True)
    assert torch.allclose(found.latents.norm(dim=2), torch.full((2, 3), 10.0), atol=1e-4)
    assert float((found.latents - on_sphere(latents)).norm()) > 0.1


def test_a_hole_tells_nothing_of_what_was_in_it_and_its_error_nothing_of_what_was_around():
    damage, known = DAMAGES["hole"], known_around_hole()
    images = rendered(4, seed=5)
    other = images.clone()
    other[..., known == 0] *= -1
    assert torch.equal(damage.apply(images), damage.apply(other))
    assert damage.error(other, images).min() > 0
    other = torch.where(known == 1, -images, images)
    assert damage.error(other, images).abs().max() == 0
    white, black = torch.ones(1, 1, 32, 32), -torch.ones(1, 1, 32, 32)
    assert damage.error(white, black).tolist() == [4.0]


@pytest.mark.parametrize("name", DAMAGES)
def test_the_loss_of_a_search_is_the_mean_square_of_what_is_left_and_the_prior(name):
    damage, truth = DAMAGES[name], rendered(2, seed=6)
    left = damage.forward(truth)
    images = torch.stack([truth, torch.zeros_like(truth)], dim=1)
    latents = torch.full((2, 2, 100), 2.0)
    plain = wanted(damage, left)(images, latents)
    assert plain[:, 0].abs().max() < 1e-6, "the truth fits perfectly"
    pixels = {"hole": 1024 - 14 * 14, "lower half": 512, "noise": 1024, "low resolution": 64}[name]
    expected = left.square().flatten(1).sum(dim=1) / pixels
    assert torch.allclose(plain[:, 1], expected, rtol=1e-4)
    assert torch.allclose(wanted(damage, left, "length")(images, latents), plain + 4 * LENGTH_WEIGHT, atol=1e-5)


def test_of_the_lower_half_the_rows_above_are_known_and_those_below_are_measured():
    damage = DAMAGES["lower half"]
    left = damage.apply(torch.ones(1, 1, 32, 32))
    assert bool((left[..., :16, :] == 1).all()) and bool((left[..., 16:, :] == 0).all())
    assert torch.equal(damage.measured, 1 - left[0, 0])


def test_a_small_image_is_the_mean_of_its_squares():
    images = rendered(3, seed=7)
    small = DAMAGES["low resolution"].apply(images)
    assert small.shape == (3, 1, 8, 8)
    assert torch.allclose(small[1, 0, 2, 5], images[1, 0, 8:12, 20:24].mean(), atol=1e-6)
    assert torch.equal(DAMAGES["low resolution"].apply(images[:, None].expand(-1, 2, -1, -1, -1))[:, 1], small)


def test_noise_has_the_deviation_that_it_says_and_repeats_by_its_seed():
    damage, images = DAMAGES["noise"], rendered(20, seed=8)
    assert (damage.apply(images, seed=1) - images).std() == pytest.approx(damage.noise, rel=0.03)
    assert torch.equal(damage.apply(images, seed=1), damage.apply(images, seed=1))
    assert not torch.equal(damage.apply(images, seed=1), damage.apply(images, seed=2))


def test_simpler_means_do_what_their_names_say():
    training, images = rendered(400, seed=0), rendered(5, seed=9, split="test")
    for name, damage in DAMAGES.items():
        left = damage.apply(images, seed=3)
        answers = simpler(damage, left, training)
        assert all(answer.shape == images.shape and answer.abs().max() <= 1 for answer in answers.values())
        if name in ("hole", "lower half"):
            known = damage.measured == 0
            assert all(torch.allclose(answer[..., known], images[..., known]) for answer in answers.values())
            assert torch.allclose(answers["mean image"][2][:, ~known], training.mean(dim=0)[:, ~known])
    inside = simpler(DAMAGES["hole"], DAMAGES["hole"].apply(training[7:8]), training)
    assert torch.allclose(inside["nearest training letter"], training[7:8], atol=1e-6), "it finds the very letter"


def test_regression_is_better_than_the_mean_and_a_blur_than_nothing():
    training, images = rendered(3_000, seed=0), rendered(40, seed=10, split="test")
    for name, damage in DAMAGES.items():
        answers = simpler(damage, damage.apply(images, seed=3), training)
        error = {kind: float(damage.error(answer, images).mean()) for kind, answer in answers.items()}
        assert error["linear regression"] < 0.7 * error["mean image"], name
        assert error.get("blur", 0.0) < error.get("as it is", 1.0)


def test_against_noise_the_best_width_of_a_blur_is_chosen():
    """By the filter of another library, at the narrowest and at the widest."""
    training, images = rendered(300, seed=0), rendered(60, seed=12, split="test")
    noisy = DAMAGES["noise"].apply(images, seed=4)
    ours = (simpler(DAMAGES["noise"], noisy, training)["blur"] - images).square().mean()
    for width in (0.5, 2.0):
        other = gaussian_filter(noisy.numpy(), (0, 0, width, width), mode="nearest").clip(-1, 1)
        assert ours < 0.8 * (torch.from_numpy(other) - images).square().mean()


def test_a_search_returns_one_answer_for_each_start(generator):
    damage = DAMAGES["lower half"]
    found = restore(generator, damage, damage.apply(rendered(2, seed=1)), num_starts=3, steps=2)
    assert found.images.shape == (2, 3, 1, 32, 32) and found.losses.shape == (2, 3)


# Films


@pytest.mark.parametrize("motion", ["leans", "grows bold", "moves"])
def test_the_middle_frame_is_halfway_by_moments_of_the_ink(motion):
    frames, letters = moving.films(40, motion, seed=1)
    assert frames.shape == (40, 3, 1, 32, 32) and letters.shape == (40,)
    ink = frames[:, :, 0] / 255.0
    mass = ink.sum(axis=(2, 3))
    x = np.arange(32) - 15.5
    centre = (ink.sum(axis=2) * x).sum(axis=2) / mass
    lean = -(ink * x[None, None, None] * x[None, None, :, None]).sum(axis=(2, 3)) / (ink.sum(axis=3) * x**2).sum(axis=2)
    measure = {"leans": lean, "grows bold": mass, "moves": centre}[motion]
    first, middle, last = measure.T
    assert np.all(np.sign(last - first) == np.sign((last - first)[0])), "one way"
    share = np.median((middle - first) / (last - first))
    assert share == pytest.approx(0.5, abs=0.12)
    if motion == "leans":
        assert np.median(last - first) == pytest.approx(0.25, abs=0.05)
    if motion == "moves":
        assert np.median(last - first) == pytest.approx(0.18 * 32, abs=0.3)


def test_a_letter_turns_as_far_to_the_middle_as_from_there():
    frames, _ = moving.films(20, "turns", seed=1)
    for first, middle, last in frames[:, :, 0]:
        for start, end in ((first, middle), (middle, last)):
            turned = np.asarray(Image.fromarray(start).rotate(12, Image.Resampling.BILINEAR), float)
            assert np.square(turned - end).mean() < 0.25 * np.square(start - end.astype(float)).mean() + 30


def test_films_repeat_by_their_seed_and_no_two_motions_share_their_letters():
    assert np.array_equal(moving.films(5, "leans", seed=3)[0], moving.films(5, "leans", seed=3)[0])
    assert not np.array_equal(moving.films(9, "leans", seed=3)[1], moving.films(9, "leans", seed=4)[1])
    assert not np.array_equal(moving.films(9, "leans", seed=3)[1], moving.films(9, "turns", seed=3)[1])


def test_a_guess_between_equal_frames_is_that_frame(generator):
    frame = rendered(2, seed=4)
    guesses = between(generator, frame, frame, num_starts=2, steps=15)
    assert torch.equal(guesses["cross-fade"], frame) and torch.equal(guesses["repeated"], frame)
    assert torch.allclose(guesses["together, corrected"], frame, atol=1e-3), "what is missed is added again"


def test_frames_lie_equally_far_apart_along_a_way_of_known_speed():
    """A way whose place at time t is t squared: equal distances are at the roots."""
    times = torch.linspace(0, 1, 2_001).double()
    shares = evenly(times.square().diff(), 11)
    assert torch.allclose(shares, torch.linspace(0, 1, 11).double().sqrt(), atol=1e-3)


def test_unevenness_is_zero_for_equal_steps_and_known_for_two_sorts():
    assert unevenness(torch.full((1, 9), 0.3)).item() == pytest.approx(0, abs=1e-6)
    assert unevenness(torch.tensor([[1.0, 3.0, 1.0, 3.0]])).item() == pytest.approx(0.5)


def test_step_lengths_are_distances_of_neighbours_in_features():
    walks = torch.zeros(2, 4, 1, 8, 8)
    walks[1, 2:] = 1
    found = step_lengths(lambda images: images.flatten(1), walks)
    assert found.tolist() == [[0, 0, 0], [0, 8, 0]]


# What is shown


def test_a_mean_has_the_margin_of_its_standard_error():
    mean, margin = mean_and_margin([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5 and margin == pytest.approx(1.96 * math.sqrt(5 / 3) / 2)


def test_strips_stand_in_the_order_of_the_chapter_and_an_unknown_one_is_refused():
    blank = np.zeros((8, 32), np.uint8)
    figure = show_applications({"restoration": blank, "games": blank, "style shift": np.zeros((8, 16, 3), np.uint8)})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["style shift", "games", "restoration"]
    with pytest.raises(AssertionError, match="cooking"):
        show_applications({"cooking": blank})


def test_the_record_holds_every_search_and_says_who_made_it():
    lines = recorded_searching("search")
    assert {(line["damage"], line["prior"]) for line in lines} == set(SEARCHES)
    for line in lines:
        shape = len(line["letters"]), SEARCHES[line["damage"], line["prior"]]
        for field in ("losses", "errors", "answers"):
            assert np.shape(line[field]) == shape
    assert {line["damage"] for line in recorded_searching("simpler")} == set(DAMAGES)
    assert {line["motion"] for line in recorded_searching("film")} == set(moving.MOTIONS)
    (session,) = recorded_searching("session")
    assert session["torch"] and session["device"] and "/" not in str(session.get("command") or "")
    assert RECORD.stat().st_size < 100_000
