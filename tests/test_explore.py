"""The live explorer for Jupyter and Colab: every control changes what it should, and nothing else."""

from __future__ import annotations

import builtins
import io
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_core.config import InvalidInput
from dcgan_core.data import unscale
from dcgan_core.models import Generator
from dcgan_core.teaching.explore import REACH, STEPS, explore
from dcgan_core.teaching.walks import linear, spherical
from dcgan_core.train import sample

pytest.importorskip("ipywidgets")


def build(channels: int = 1, upsampling="transposed") -> Generator:
    torch.manual_seed(0)
    generator = Generator(image_size=16, channels=channels, width=4, latent_size=6, upsampling=upsampling)
    with torch.no_grad():
        generator.layers[-2].weight.mul_(30) if upsampling == "transposed" else None  # contrast that a byte can show
    return generator


@pytest.fixture
def generator() -> Generator:
    return build()


@pytest.fixture
def explorer(generator):
    return explore(generator)


def pixels(widget) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(widget.value)))


def image_of(generator, latent) -> np.ndarray:
    image = unscale(sample(generator, latent[None]))[0, 0].numpy()
    return image.repeat(192 // 16, axis=0).repeat(192 // 16, axis=1)


def test_the_image_is_what_the_generator_makes_of_the_latent(explorer, generator):
    assert np.array_equal(pixels(explorer.image), image_of(generator, explorer.latent))


def test_every_slider_moves_the_latent_along_its_direction_and_the_image_follows(explorer, generator):
    for name, slider in explorer.sliders.items():
        before, shown = explorer.latent, explorer.image.value
        slider.value = REACH
        assert torch.allclose(explorer.latent, before + REACH * explorer.directions[name], atol=1e-5)
        assert explorer.image.value != shown
        assert np.array_equal(pixels(explorer.image), image_of(generator, explorer.latent))


def test_random_directions_are_at_right_angles_and_of_length_one(explorer):
    vectors = torch.stack(list(explorer.directions.values()))
    assert len(vectors) == 4
    assert torch.allclose(vectors @ vectors.T, torch.eye(4), atol=1e-5)


def test_surprise_draws_another_latent_and_puts_the_sliders_back(explorer, generator):
    slider = next(iter(explorer.sliders.values()))
    slider.value = 2.0
    before = explorer.latent
    explorer.surprise.click()
    assert slider.value == 0 and not torch.equal(explorer.latent, before)
    assert np.array_equal(pixels(explorer.image), image_of(generator, explorer.latent))


def test_back_to_the_middle_undoes_the_sliders(explorer):
    shown, base = explorer.image.value, explorer.latent
    next(iter(explorer.sliders.values())).value = -3.0
    explorer.middle.click()
    assert torch.equal(explorer.latent, base) and explorer.image.value == shown


def test_kept_latents_are_the_ends_of_the_way(explorer):
    for button, end, share in ((explorer.keep_a, "A", 0.0), (explorer.keep_b, "B", 1.0)):
        explorer.surprise.click()
        shown = explorer.strip.value
        button.click()
        assert torch.equal(explorer.ends[end], explorer.latent) and explorer.strip.value != shown
        assert torch.allclose(explorer.between(share), explorer.latent, atol=1e-5)


def test_the_slider_between_and_the_choice_of_the_way_change_the_mixture(explorer):
    assert torch.allclose(explorer.between(0.3), spherical(explorer.ends["A"], explorer.ends["B"], 0.3))
    shown = explorer.mixture.value
    explorer.share.value = 0.25
    assert explorer.mixture.value != shown
    shown, strip = explorer.mixture.value, explorer.strip.value
    explorer.way.value = "linear"
    assert torch.allclose(explorer.between(0.3), linear(explorer.ends["A"], explorer.ends["B"], 0.3))
    assert explorer.mixture.value != shown and explorer.strip.value != strip
    height, width = pixels(explorer.strip).shape
    assert width == STEPS * height


def test_every_control_is_on_the_screen(explorer):
    def inside(box):
        return [box, *(found for child in getattr(box, "children", ()) for found in inside(child))]

    shown = inside(explorer.box)
    buttons = [explorer.surprise, explorer.middle, explorer.keep_a, explorer.keep_b]
    pictures = [explorer.image, explorer.mixture, explorer.strip]
    for control in [*explorer.sliders.values(), *buttons, explorer.way, explorer.share, *pictures]:
        assert control in shown


def test_the_same_seed_gives_the_same_letters_and_the_generator_keeps_its_mode(generator):
    first, second, other = explore(generator, seed=3), explore(generator, seed=3), explore(generator, seed=5)
    assert torch.equal(first.latent, second.latent) and not torch.equal(first.latent, other.latent)
    assert generator.training


@pytest.mark.parametrize(("channels", "upsampling"), [(3, "transposed"), (1, "nearest"), (3, "nearest")])
def test_colour_and_both_ways_of_upsampling_work(channels, upsampling):
    explorer = explore(build(channels, upsampling), num_directions=2)
    assert pixels(explorer.image).shape == ((192, 192, 3) if channels == 3 else (192, 192))


def test_given_directions_are_used_at_length_one(generator):
    explorer = explore(generator, {"bold": torch.tensor([0.0, 2, 0, 0, 0, 0])})
    explorer.sliders["bold"].value = 1.5
    assert (explorer.latent - explorer.base).tolist() == pytest.approx([0, 1.5, 0, 0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("vector", [torch.zeros(6), torch.ones(5), torch.full((6,), torch.nan)])
def test_a_direction_that_is_none_is_one_sentence(generator, vector):
    with pytest.raises(InvalidInput, match="'wrong' must be 6 finite numbers"):
        explore(generator, {"wrong": vector})


@pytest.mark.parametrize("number", [0, 7])
def test_an_impossible_number_of_directions_is_one_sentence(generator, number):
    with pytest.raises(InvalidInput, match="choose 1 to 6"):
        explore(generator, num_directions=number)


def test_without_ipywidgets_one_sentence_says_what_to_do(generator, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.split(".")[0] == "ipywidgets":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match="pip install ipywidgets"):
        explore(generator)


def test_the_cell_of_chapter_07_runs_with_a_trained_state_although_the_site_skips_it(generator):
    chapter = nbformat.read(Path(__file__).parent.parent / "notebooks" / "07_training_loop.ipynb", as_version=4)
    (cell,) = [cell for cell in chapter.cells if cell.cell_type == "code" and "explore(" in cell.source]
    assert "skip-execution" in cell.metadata.tags

    class state:  # as `train` returns it
        sampler = generator

    names = {"state": state}
    statements, shown = cell.source.rsplit("\n", 1)
    exec(statements, names)
    assert isinstance(eval(shown, names), type(explore(generator)))
