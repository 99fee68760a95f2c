"""The network for images without labels: small, for any size and colour, and it sees damage of every sort."""

from __future__ import annotations

import json
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dcgan_core.data import Dataset, glyphs, scale
from dcgan_core.laboratory.damages import PIXELS, STRENGTHS
from dcgan_core.metrics import frechet_distance, moments
from dcgan_core.metrics import make_general as room
from dcgan_core.metrics.features import measure
from dcgan_core.metrics.general import CHANNELS, FILE, NUM_GENERAL_FEATURES, General, general
from dcgan_core.metrics.make_general import coloured, contrastive_loss, crop, leaves, make_general, projected


def letters(num_images: int, seed: int, **options) -> torch.Tensor:
    return scale(torch.from_numpy(glyphs.render(num_images, seed=seed, split="test", **options).images))


def test_it_ships_small_and_with_a_report():
    report = json.loads(FILE.with_suffix(".json").read_text())
    assert FILE.stat().st_size < 250_000
    assert report["num_parameters"] == sum(parameter.numel() for parameter in general().parameters())
    assert report["command"] == "python -m dcgan_core.metrics.make_general"
    assert {tensor.dtype for name, tensor in load_file(FILE).items() if "num_batches" not in name} == {torch.float16}


@pytest.mark.parametrize("image_size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_every_size_have_as_many_features_each_by_itself(image_size, channels):
    images = torch.rand(5, channels, image_size, image_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together, probabilities = measure(general(), images)
    alone = torch.cat([measure(general(), image[None])[0] for image in images])
    assert together.shape == (5, NUM_GENERAL_FEATURES)
    torch.testing.assert_close(together, alone)
    assert torch.equal(probabilities, torch.ones(5, 1))


def test_a_grey_image_is_one_in_colour_whose_channels_are_alike():
    grey = letters(10, 1)
    assert torch.equal(measure(general(), grey)[0], measure(general(), grey.expand(-1, 3, -1, -1))[0])


def test_features_are_means_of_channels_so_that_the_first_stage_does_not_care_where_things_are():
    images = letters(10, 1, image_size=64)
    here, there = (measure(general(), each)[0][:, :16] for each in (images, images.roll((8, 8), (2, 3))))
    torch.testing.assert_close(here, there, rtol=0.05, atol=0.05)


def test_every_stage_sees_what_is_in_every_corner():
    black = torch.full((1, 1, 64, 64), -1.0)
    before = measure(general(), black)[0]
    for rows, columns in product((slice(0, 16), slice(48, 64)), repeat=2):
        image = black.clone()
        image[:, :, rows, columns] = letters(1, 1, image_size=16)
        after = measure(general(), image)[0]
        changed = [
            (one != other).any() for one, other in zip(before.split(CHANNELS, 1), after.split(CHANNELS, 1), strict=True)
        ]
        assert all(changed), changed


def test_larger_images_are_shrunk_to_means_of_their_pixels():
    grain = torch.rand(4, 1, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    resized = [Image.fromarray(image[0].numpy()).resize((64, 64), Image.Resampling.BILINEAR) for image in grain]
    expected = measure(general(), torch.from_numpy(np.stack(resized))[:, None])[0]
    torch.testing.assert_close(measure(general(), grain)[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("damage", PIXELS)
def test_letters_in_colour_are_the_further_away_the_more_they_are_damaged(damage):
    """Letters of the held-out part in colours that no letter had in its training."""
    tones = torch.tensor([0.9, 0.2, -0.4])[:, None, None]
    real = letters(600, 7, channels=3).mul(tones).clamp(-1, 1)
    reference = moments(measure(general(), real[300:])[0])
    found = [real[:300], *(PIXELS[damage](real[:300], strength) for strength in STRENGTHS)]
    distances = [frechet_distance(moments(measure(general(), each)[0]), reference) for each in found]
    assert all(weaker < stronger for weaker, stronger in pairwise(distances)), distances
    assert distances[-1] > 2 * distances[0]


def test_scenes_hide_what_lies_below_and_are_never_alike():
    torch.manual_seed(0)
    scenes = leaves(20)
    assert scenes.shape == (20, 3, 64, 64) and scenes.dtype == torch.uint8
    steps = (scenes[..., 1:].float() - scenes[..., :-1].float()).abs()
    assert (steps > 20).float().mean() < 0.2 and (steps > 60).any(dim=3).any(dim=2).any(dim=1).float().mean() > 0.8
    assert all(not torch.equal(one, other) for one, other in zip(scenes, scenes.roll(1, 0), strict=True))


def test_coloured_images_keep_their_shapes_and_some_their_greys():
    torch.manual_seed(0)
    pixels = torch.from_numpy(glyphs.render(100, seed=1, image_size=64).images)
    found = coloured(pixels)
    as_it_is = (found == pixels).flatten(1).all(dim=1).float().mean()
    assert 0.25 < as_it_is < 0.55
    for image, original in zip(found[:20], pixels[:20], strict=True):
        channel = image[image.flatten(1).float().std(dim=1).argmax()]
        assert abs(np.corrcoef(channel.flatten(), original.flatten())[0, 1]) > 0.99


def test_two_crops_show_the_same_image_in_nearly_the_same_colours():
    torch.manual_seed(0)
    images = scale(leaves(60))
    one, other = crop(images), crop(images)
    assert one.shape == images.shape and one.min() >= -1 and one.max() <= 1 and not torch.equal(one, other)
    means = [each.mean((2, 3)) for each in (one, other)]
    assert (means[0] - means[1]).abs().mean() < (means[0] - means[1].roll(1, 0)).abs().mean() / 2


def test_the_loss_is_that_of_a_slow_loop():
    torch.manual_seed(0)
    points = torch.randn(10, 64, dtype=torch.float64)
    places = points / points.square().sum(dim=1, keepdim=True).sqrt()
    slow = 0.0
    for row in range(10):
        likeness = [float(places[row] @ places[other]) / room.TEMPERATURE for other in range(10)]
        others = sum(np.exp(likeness[other]) for other in range(10) if other != row)
        slow -= np.log(np.exp(likeness[(row + 5) % 10]) / others) / 10
    assert float(contrastive_loss(points)) == pytest.approx(slow)


def test_training_writes_what_general_reads_and_learns_something(tmp_path, monkeypatch):
    for name, number in (("NUM_LEAVES", 500), ("NUM_CLOTHES", 50), ("NUM_LETTERS", 50), ("BATCH_SIZE", 16)):
        monkeypatch.setattr(room, name, number)
    drawn = torch.from_numpy(glyphs.render(100, seed=1).images)
    monkeypatch.setattr(room, "load", lambda name, **options: Dataset(name, drawn, None, ()))
    report = make_general(out=tmp_path / "made.safetensors", steps=40)
    torch.manual_seed(0)
    with torch.no_grad():
        batch, untrained, points = scale(leaves(16)), General(), projected()
        pairs = [torch.cat([crop(batch), crop(batch)]) for _ in range(5)]
        before = [contrastive_loss(points(untrained.features(pair))) for pair in pairs]
    assert report["loss_of_the_last_100_batches"] < float(min(before)) - 0.2
    monkeypatch.setattr("dcgan_core.metrics.general.FILE", tmp_path / "made.safetensors")
    assert measure(general(), letters(3, 1))[0].isfinite().all()
    assert json.loads((tmp_path / "made.json").read_text())["num_images"] == 600
