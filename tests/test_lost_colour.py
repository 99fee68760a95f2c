"""Lost colour: brightness, what is compared, the search that sees brightness alone, and what the record holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_core import recorded
from dcgan_core.data import glyphs, scale, unscale
from dcgan_core.laboratory import lost_colour
from dcgan_core.laboratory.lost_colour import (
    apart,
    coloured,
    colourfulness,
    error,
    grey,
    of_the_best,
    recolour,
    recorded_colours,
    simpler,
    wanted,
)
from dcgan_core.laboratory.outcomes import read
from dcgan_core.laboratory.restoration import LENGTH_WEIGHT

pytestmark = pytest.mark.usefixtures("one_thread")


def rendered(count: int, **choices) -> torch.Tensor:
    return scale(torch.from_numpy(glyphs.render(count, channels=3, **choices).images))


def test_grey_is_pillows():
    letters = rendered(4, seed=1)
    found = 255 * (grey(letters)[:, 0] + 1) / 2
    for picture, ours in zip(unscale(letters), found, strict=True):
        pillows = np.asarray(Image.fromarray(picture.permute(1, 2, 0).numpy()).convert("L"), float)
        assert np.abs(pillows - ours.numpy()).max() < 0.6


def test_an_image_gets_its_own_colours_back_and_keeps_its_brightness_with_others():
    letters, others = rendered(6, seed=2), rendered(6, seed=3)
    assert torch.allclose(coloured(grey(letters), letters), letters, atol=1e-5)
    left = torch.full((6, 1, 32, 32), 0.1)
    assert torch.allclose(grey(coloured(left, others)), left, atol=1e-3), "in the middle nothing is cut off"
    assert coloured(left + 0.9, others).max() == 1 and not torch.allclose(
        coloured(left, others), left.expand(-1, 3, -1, -1)
    )


def test_errors_and_colourfulness_of_plain_colours():
    red, white = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(3, 8, 8), torch.ones(3, 8, 8)
    assert error(white, -white).item() == 4 and error(red, white).item() == pytest.approx(8 / 3)
    assert colourfulness(white).item() == pytest.approx(0, abs=1e-6)
    brightness = 2 * 0.299 - 1
    expected = ((1 - brightness) ** 2 + 2 * (-1 - brightness) ** 2) / 3
    assert colourfulness(red).item() == pytest.approx(expected, abs=1e-3)


def test_the_loss_cannot_tell_two_colourings_of_the_same_grey_apart_and_knows_the_length():
    letters = rendered(3, seed=4)
    left, other = grey(letters), torch.full((3, 1, 32, 32), 0.2)
    recoloured = left + 0.3 * (letters.roll(1, dims=0) - grey(letters.roll(1, dims=0)))  # nothing is cut off
    images = torch.stack([letters, recoloured, other.expand(-1, 3, -1, -1)], dim=1)
    latents = torch.zeros(3, 3, 100)
    losses = wanted(left)(images, latents)
    assert losses[:, :2].abs().max() < 1e-6
    assert torch.allclose(losses[:, 2], (left - 0.2).square().mean(dim=(1, 2, 3)), atol=1e-4)
    assert torch.allclose(wanted(left)(images, latents + 2), losses + 4 * LENGTH_WEIGHT, atol=1e-5)


def test_simpler_guesses_do_what_their_names_say():
    training, letters = rendered(200, seed=0), rendered(3, seed=5, split="test")
    left = grey(letters)
    guesses = simpler(left, training)
    assert all(guess.shape == letters.shape for guess in guesses.values())
    assert torch.equal(guesses["grey as it is"], left.expand_as(letters))
    distances = torch.cdist(left.flatten(1), grey(training).flatten(1))
    for row, order in enumerate(distances.argsort(dim=1)):
        fifty = training[order[:50]].mean(dim=0)
        expected = (left[row] + fifty - grey(fifty)).clamp(-1, 1)
        assert torch.allclose(guesses["mean of 50 nearest"][row], expected, atol=1e-5)
    inside = simpler(grey(training[7:8]), training)
    assert torch.allclose(inside["nearest training letter"], training[7:8], atol=1e-5), "it finds the very letter"
    assert colourfulness(guesses["mean colour"]).max() < 0.1 * colourfulness(training).mean(), "all colours make grey"


def test_answers_are_apart_by_the_mean_over_all_pairs():
    images = torch.rand(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pairs = [(one, other) for one in range(4) for other in range(one)]
    slow = torch.stack([error(images[:, one], images[:, other]) for one, other in pairs]).mean(dim=0)
    assert torch.allclose(apart(images), slow)
    assert apart(images[:, :1].expand(-1, 4, -1, -1, -1)).abs().max() == 0


def test_a_search_for_colours_sees_the_grey_alone_and_keeps_it():
    generator = recorded.load(lost_colour.RUN).generator.requires_grad_(False)
    left = grey(rendered(2, seed=6, split="test"))
    found = [recolour(generator, left, num_starts=3, steps=steps, seed=1) for steps in (0, 12)]
    assert found[1].images.shape == (2, 3, 3, 32, 32)
    assert bool((found[1].losses < found[0].losses).all())
    kept = grey(found[1].images) - left[:, None]
    assert kept.abs().mean() < 0.02, "what is cut off at black and white is all that changes"
    assert colourfulness(found[1].images).min() > 0


def test_the_record_holds_every_letter_and_start_and_the_letters_that_were_measured():
    shape = lost_colour.NUM_LETTERS, lost_colour.NUM_STARTS
    images, letters = lost_colour.held_out()
    for line in recorded_colours().values():
        assert np.shape(line["losses"]) == np.shape(line["errors"]["search"]) == shape
        assert line["letters"] == letters
        assert line["errors"]["grey as it is"] == pytest.approx(colourfulness(images).tolist(), abs=2e-5)


def test_the_record_tells_the_run_that_ships_by_its_seed_and_share():
    run = recorded.load(lost_colour.RUN)
    assert recorded_colours()[run.config.seed]["recognised"] == run.evaluation["recognised"]


def test_of_a_search_the_answer_with_the_lowest_loss_counts():
    line = {"losses": [[0.3, 0.1], [0.2, 0.4]], "errors": {"search": [[3, 1], [2, 4]], "grey": [5, 6]}}
    found = of_the_best(line | {"colourfulness": {"search": [[7, 8], [9, 10]]}})
    assert found["errors"]["search"].tolist() == [1, 2] and found["errors"]["grey"].tolist() == [5, 6]
    assert found["colourfulness"]["search"].tolist() == [8, 9]


def test_each_run_is_measured_once_under_its_own_seed(tmp_path, monkeypatch):
    calls = []
    ships = recorded.load(lost_colour.RUN)
    other = replace(ships, config=replace(ships.config, seed=5), evaluation={"recognised": 0.25})
    monkeypatch.setattr(recorded, "load", lambda name: {lost_colour.RUN: ships, "elsewhere": other}[name])
    monkeypatch.setattr(lost_colour, "measured", lambda generator: calls.append(generator) or {"letters": [1]})
    out = tmp_path / "colours.jsonl"
    for runs in ((lost_colour.RUN,), (lost_colour.RUN,), (lost_colour.RUN, "elsewhere")):
        lost_colour.record(runs, out)
    assert len(calls) == 2
    assert [line["kind"] for line in read(out)] == ["session", "colour"] * 2
    found = [(line["seed"], line["recognised"]) for line in read(out) if line["kind"] == "colour"]
    assert found == [(0, ships.evaluation["recognised"]), (5, 0.25)]
