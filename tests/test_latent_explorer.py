"""What the build writes for the latent explorer: the recorded generator, exactly, and the measurements as a text."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from dcgan_core import recorded
from dcgan_core.models import Generator
from dcgan_core.teaching.directions import Direction

sys.path.insert(0, str(Path(__file__).parent.parent / "book" / "_ext"))

import latent_explorer


@pytest.fixture(scope="module")
def run():
    return recorded.load(latent_explorer.RUN)


def direction(name="weight", change=0.8):
    return Direction(name, ("a", "b"), torch.ones(100) / 10, 50, (0.1, 0.5, 0.1 + change), change, 0.05, 0.5, 0.6)


def read(script: bytes) -> tuple[dict, str]:
    """The record and the string of weights in a script, as JavaScript would read them."""
    text = script.decode("utf-16")  # takes the byte order mark off
    about, rest = text.removeprefix("globalThis.RECORDED_GENERATOR = {...").split(", weights: ", 1)
    inside = rest.removesuffix("};\n")[1:-1]
    return json.loads(about), "".join(unescaped(inside))


def unescaped(text):
    codes = {"\\\\": "\\", '\\"': '"', "\\n": "\n", "\\r": "\r", "\\u0000": "\0"}
    at = 0
    while at < len(text):
        code = next((code for code in codes if text.startswith(code, at)), text[at])
        yield codes.get(code, code)
        at += len(code)


def is_matrix(name, value):
    return name.startswith("generator.") and value.ndim > 1


def test_script_holds_the_recorded_weights_bit_for_bit(run):
    about, text = read(latent_explorer.script(run, [direction()]))
    stored = load_file(recorded.FOLDER / latent_explorer.RUN / "weights.safetensors")
    layers = {int(name.split(".")[2]): value for name, value in stored.items() if is_matrix(name, value)}
    matrices = [layers[number] for number in sorted(layers)]
    expected = np.concatenate([value.ravel() for value in matrices])
    assert expected.dtype == np.float16 and about["numWeights"] == expected.size == len(text)
    assert np.array_equal(np.array([ord(character) for character in text], np.uint16), expected.view(np.uint16))
    assert about["latentSize"] == run.config.latent_size and len(about["watched"]) == latent_explorer.NUM_WATCHED
    assert about["watched"][0] == pytest.approx(run.latents[0].tolist())


def test_any_sixteen_bits_that_are_a_number_survive(run):
    bits = np.arange(2**16, dtype=np.uint16)
    values = bits.view(np.float16)
    possible = np.isfinite(values) & ((bits & 0xF800) != 0xD800)
    text = latent_explorer.characters(values[possible])
    written = ('globalThis.RECORDED_GENERATOR = {...{}, weights: "' + text + '"};\n').encode("utf-16")
    assert [ord(character) for character in read(written)[1]] == bits[possible].tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -128.0, -200.0, -511.0])
def test_a_weight_that_is_no_character_is_refused(value):
    with pytest.raises(ValueError, match="cannot be written as a text"):
        latent_explorer.characters(np.array([1.0, value], np.float16))


def test_factor_and_summand_are_batch_normalisation_in_eval_mode():
    norm = nn.BatchNorm2d(5)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.uniform_(0.1, 3)
    norm.eval()
    maps = torch.randn(2, 5, 3, 3)
    folded = latent_explorer.factor_and_summand(norm)
    factor, summand = (torch.tensor(folded[name]).view(1, 5, 1, 1) for name in ("factor", "summand"))
    assert torch.allclose(norm(maps), factor * maps + summand, atol=1e-5)


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_layers_have_the_names_and_shapes_of_the_generator(upsampling):
    generator = Generator(image_size=16, channels=3, width=4, latent_size=6, upsampling=upsampling).eval()
    layers, weights = latent_explorer.layers_of(generator)
    assert [layer["name"] for layer in layers] == [type(layer).__name__ for layer in generator.layers]
    assert layers[0]["shape"] == [8 * 16] and layers[-1]["shape"] == [3, 16, 16]
    assert [layer["kind"] for layer in layers].count(upsampling) == 2
    assert weights.size == sum(p.numel() for p in generator.parameters() if p.ndim > 1)


@pytest.mark.parametrize("layer", [nn.Linear(6, 6), nn.Dropout(), nn.LeakyReLU()])
def test_a_layer_that_the_page_cannot_compute_is_named(layer):
    generator = Generator(image_size=16, channels=1, width=4, latent_size=6).eval()
    generator.layers = nn.Sequential(layer, nn.Tanh())
    with pytest.raises(ValueError, match="cannot compute this layer"):
        latent_explorer.layers_of(generator)


def test_text_states_what_was_measured_and_what_was_left_out(run):
    judge = SimpleNamespace(accuracy={"weight": 0.9876})
    halfway = {
        name: torch.tensor([True] * good + [False] * (10 - good))
        for name, good in (("drawn", 7), ("linear", 5), ("spherical", 7), ("pixels", 1))
    }
    text = latent_explorer.describe(run, judge, [direction(), replace(direction("serif", 0.2))], halfway)
    assert run.caption() in text
    assert "weight 98.8%" in text
    assert "| weight | a to b | 10% | 90% | +80 ± 5 | 50% |" in text
    assert "| serif |" not in text and "Left out, because fewer than 33% of the letters follow: serif." in text
    assert "recognises 50% of the letters" in text and "+20 ±" in text
