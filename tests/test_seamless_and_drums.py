"""Textures that wrap around, drums as pictures and back, and the short runs that both are trained with."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from scipy.signal import stft
from torch import nn

from dcgan_core.data.drums import DRUMS, NUM_SAMPLES, RATE, render
from dcgan_core.data.pebbles import pebbles
from dcgan_core.laboratory import drum_kit, seamless, short_run
from dcgan_core.laboratory.drum_codec import HOP, SIZE, WINDOW, Codec, magnitudes
from dcgan_core.laboratory.short_run import keep, kept, normal, play, record_seeds
from dcgan_core.laboratory.studies import read_lines
from dcgan_core.models import Discriminator, Generator

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def drums():
    return render(60, seed=3)


@pytest.fixture(scope="module")
def codec(drums):
    return Codec.fit(drums.sounds)


@pytest.fixture
def painter():
    torch.manual_seed(0)
    return seamless.TextureGenerator().eval()


@torch.no_grad()
def test_a_wrapped_picture_moves_with_its_noise_wherever_its_edge_is(painter):
    noise = seamless.cells(6, 2, torch.Generator().manual_seed(0))
    shifted = painter.wrap()(noise.roll((2, 3), dims=(2, 3)))
    assert torch.allclose(shifted, painter(noise).roll((16, 24), dims=(2, 3)), atol=1e-5)
    painter.wrap(False)
    shifted = painter(noise.roll((2, 3), dims=(2, 3)))
    assert not torch.allclose(shifted, painter(noise).roll((16, 24), dims=(2, 3)), atol=1e-2)


@torch.no_grad()
def test_behind_two_cells_of_margin_nothing_is_seen_of_how_the_edge_was_filled_in(painter):
    noise = seamless.cells(8, 2, torch.Generator().manual_seed(0))
    pictures = [seamless.Middle(painter.wrap(wrapped))(noise) for wrapped in (True, False)]
    assert pictures[0].shape == (2, 3, seamless.PATCH, seamless.PATCH)
    assert torch.equal(*pictures)
    whole = [painter.wrap(wrapped)(noise) for wrapped in (True, False)]
    assert not torch.equal(*whole)


def test_the_seam_is_one_where_all_changes_are_alike_and_large_across_a_step():
    stripes = torch.arange(48).remainder(2).float().expand(1, 3, 48, 48)
    assert seamless.seam(stripes + stripes.transpose(2, 3)).item() == pytest.approx(1)
    ramp = torch.arange(48).float().expand(1, 3, 48, 48)
    assert seamless.seam(ramp + ramp.transpose(2, 3)).item() == pytest.approx(47)


def test_pebbles_depend_on_their_seed_and_do_not_tile():
    assert (pebbles(64, seed=1) == pebbles(64, seed=1)).all() and (pebbles(64, seed=1) != pebbles(64, seed=2)).any()
    texture = torch.from_numpy(pebbles(256)).permute(2, 0, 1).float()
    cut = texture.unfold(1, 64, 32).unfold(2, 64, 32).permute(1, 2, 0, 3, 4).flatten(0, 1)
    assert seamless.seam(cut).mean() > 1.3


def test_patches_come_from_everywhere_in_the_texture(monkeypatch):
    places = []

    def watch(generator, discriminator, draw_real, draw_latents, **options):
        drawn = draw_real(400, torch.Generator().manual_seed(0))
        assert drawn.shape == (400, 3, seamless.PATCH, seamless.PATCH)
        assert draw_latents(2, torch.Generator()).shape == (2, seamless.NOISE, 8, 8)
        places.extend(drawn[:, 0, 0, 0].tolist())
        return generator

    monkeypatch.setattr(seamless, "play", watch)
    rows = torch.arange(64.0)[:, None].expand(64, 64).expand(3, 64, 64)
    seamless.train_texture(rows, total_images=64)
    assert set(places) == set(range(33)), "each row in which a patch of 32 fits into 64"


def test_no_two_drums_are_alike_and_each_is_as_loud_as_it_should_be(drums):
    peaks = np.abs(drums.sounds).max(axis=1)
    assert peaks.min() >= 0.6 and peaks.max() <= 1 and np.isfinite(drums.sounds).all()
    assert len(np.unique(drums.sounds, axis=0)) == len(drums.sounds)
    assert (np.abs(drums.sounds[:, -1]) < 1e-6).all(), "faded out"
    assert (render(7, seed=3).sounds == drums.sounds[:7]).all()
    assert np.bincount(drums.labels).tolist() == [12] * len(DRUMS)


def test_kicks_are_low_and_hi_hats_high(drums):
    spectra = np.abs(np.fft.rfft(drums.sounds, axis=1)) ** 2
    middle = (spectra * np.fft.rfftfreq(NUM_SAMPLES, 1 / RATE)).sum(axis=1) / spectra.sum(axis=1)
    by_drum = {name: middle[drums.labels == kind] for kind, name in enumerate(DRUMS)}
    assert by_drum["kick"].max() < 500 < by_drum["clap"].min() and by_drum["hi-hat"].min() > 3_000
    assert by_drum["clap"].max() < by_drum["hi-hat"].min()


def test_magnitudes_are_those_of_scipy(drums):
    sound = drums.sounds[1]
    _, _, found = stft(sound, window="hann", nperseg=WINDOW, noverlap=WINDOW - HOP, boundary="even", padded=False)
    ours = magnitudes(torch.from_numpy(sound)[None])[0].numpy()
    assert ours.shape == (SIZE + 1, SIZE)
    columns = min(found.shape[1], SIZE)
    scale = WINDOW / 2  # scipy divides by the sum of the window
    np.testing.assert_allclose(ours[:, 2 : columns - 2], scale * np.abs(found)[:, 2 : columns - 2], atol=2e-3)


def test_each_frequency_has_mean_zero_and_a_third_of_a_deviation(drums, codec):
    pictures = codec.pictures(drums.sounds)
    assert pictures.shape == (60, 1, SIZE, SIZE) and pictures.abs().max() <= 1
    assert pictures.mean(dim=(0, 1, 3)).abs().max() < 0.02
    assert (pictures.std(dim=(0, 1, 3)) - 1 / 3).abs().max() < 0.02


def test_the_lowest_frequency_is_the_last_row(codec):
    hum = np.sin(2 * np.pi * 50 * np.arange(NUM_SAMPLES) / RATE).astype(np.float32)[None]
    picture = codec.pictures(hum)[0, 0]
    raw = picture.flip(0) * 3 * codec.deviation + codec.mean
    assert raw[:, 30].argmax() <= 1 and picture.shape == (SIZE, SIZE)


def test_sounds_come_back_with_nearly_the_same_spectrogram_and_pictures_of_any_length(drums, codec):
    pictures = codec.pictures(drums.sounds[:20])
    back = codec.sounds(pictures)
    assert back.shape == (20, NUM_SAMPLES) and np.abs(back).max() <= 1
    error = (codec.pictures(back) - pictures).abs().mean()
    others = (pictures.roll(1, dims=0) - pictures).abs().mean()
    assert error < others / 4
    assert (codec.sounds(pictures[:1]) == codec.sounds(pictures[:1])).all()


def test_silence_comes_back_as_silence(codec):
    silent = np.zeros((1, NUM_SAMPLES), np.float32)
    assert np.abs(codec.sounds(codec.pictures(silent))).max() < 0.02


def test_the_ear_counts_rightly(drums, codec):
    ear = drum_kit.Ear.fit(drums, codec)
    found = drum_kit.heard(ear, drums.sounds, drums.labels)
    assert found["right"] == found["num"] == 60 and found["counts"] == [12] * 5 and 0 <= found["sure"] <= 60
    wrong = drum_kit.heard(ear, drums.sounds, (drums.labels + 1) % 5)
    assert wrong["right"] == 0
    assert "right" not in drum_kit.heard(ear, drums.sounds)


def test_distances_are_root_mean_squares_to_the_nearest():
    real = torch.zeros(2, 1, SIZE, SIZE)
    real[1] = 1
    assert drum_kit.distances(torch.full((1, 1, SIZE, SIZE), 0.75), real).item() == pytest.approx(0.25, rel=1e-4)


def tiny() -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    generator = Generator(image_size=8, channels=1, width=4, latent_size=4)
    return generator, Discriminator(image_size=8, channels=1, width=4, norm="none", initialisation="he")


def run(seed: int = 0, total_images: int = 80, **options) -> nn.Module:
    real = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return play(
        *tiny(),
        lambda num, rng: real[torch.randint(30, (num,), generator=rng)],
        normal(4),
        total_images=total_images,
        batch_size=8,
        seed=seed,
        **options,
    )


def values(network: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in network.state_dict().values()])


def test_a_short_run_is_decided_by_its_seed_and_counts_images():
    seen = []
    one = run(every=lambda images, average: seen.append(images))
    assert seen == list(range(8, 81, 8))
    assert torch.equal(values(one), values(run())) and not torch.equal(values(one), values(run(seed=1)))
    assert not one.training and not any(parameter.requires_grad for parameter in one.parameters())


def test_the_average_follows_the_generator():
    history = []
    generator, discriminator = tiny()
    before = copy.deepcopy(generator)
    average = play(
        generator,
        discriminator,
        lambda num, rng: torch.zeros(num, 1, 8, 8),
        normal(4),
        total_images=160,
        batch_size=8,
        every=lambda images, now: history.append(values(now)),
    )
    assert not torch.equal(values(average), values(before)) and not torch.equal(values(average), values(generator))
    assert torch.equal(history[-1], values(average))


def test_what_is_kept_is_the_same_in_half_precision(tmp_path):
    network = run()
    keep(network, tmp_path / "new" / "kept.safetensors")
    again = kept(tiny()[0], tmp_path / "new" / "kept.safetensors")
    assert torch.allclose(values(again), values(network), atol=2e-3) and not again.training


def test_a_record_goes_on_with_the_seeds_that_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(short_run, "GENERATORS", tmp_path / "generators")
    out, played = tmp_path / "out.jsonl", []

    def found(seed):
        played.append(seed)
        return tiny()[0], {"measure": seed * 10}

    record_seeds(out, "tiny", (0, 1), found, total_images=5)
    record_seeds(out, "tiny", (0, 1, 2), found, total_images=5)
    assert played == [0, 1, 2]
    lines = read_lines(out)
    assert [(line["seed"], line["measure"], line["total_images"]) for line in lines] == [
        (0, 0, 5),
        (1, 10, 5),
        (2, 20, 5),
    ]
    assert all({"torch", "device", "started"} <= line["provenance"].keys() for line in lines) and json.dumps(lines)
    assert sorted(path.name for path in (tmp_path / "generators").iterdir()) == [
        f"tiny-{i}.safetensors" for i in range(3)
    ]
