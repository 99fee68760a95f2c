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
from dcgan_core.metrics import RECOGNISED_AT, letter_classifier
from dcgan_core.models import Generator
from dcgan_core.teaching.directions import Direction
from dcgan_core.teaching.goals import GOALS

sys.path.insert(0, str(Path(__file__).parent.parent / "book" / "_ext"))

import latent_explorer


@pytest.fixture(scope="module")
def run():
    return recorded.load(latent_explorer.RUN)


def direction(name="weight", change=0.8):
    return Direction(name, ("a", "b"), torch.ones(100) / 10, 50, (0.1, 0.5, 0.1 + change), change, 0.05, 0.5, 0.6)


def read(script: bytes) -> tuple[dict, str]:
    """The record, if there is one, and the string of characters in a script, as JavaScript would read them."""
    text = script.decode("utf-16").removesuffix(";\n")  # takes the byte order mark off
    if text.startswith("globalThis.RECORDED_WEIGHTS = "):
        return {}, "".join(unescaped(text.split(" = ", 1)[1][1:-1]))
    about, rest = text.removeprefix("globalThis.RECORDED_GENERATOR = {...").split(", pairs: ", 1)
    return json.loads(about), "".join(unescaped(rest.removesuffix("}")[1:-1]))


def unescaped(text):
    codes = {"\\\\": "\\", '\\"': '"', "\\n": "\n", "\\r": "\r", "\\u0000": "\0"}
    at = 0
    while at < len(text):
        code = next((code for code in codes if text.startswith(code, at)), text[at])
        yield codes.get(code, code)
        at += len(code)


def is_matrix(name, value):
    return name.startswith("generator.") and value.ndim > 1


@pytest.fixture
def matrices(run):
    """The matrices and kernels of the recorded generator as the file has them, in the order of the layers."""
    stored = load_file(recorded.FOLDER / latent_explorer.RUN / "weights.safetensors")
    layers = {int(name.split(".")[2]): value for name, value in stored.items() if is_matrix(name, value)}
    return [layers[number] for number in sorted(layers)]


def test_script_holds_the_recorded_weights_bit_for_bit(run, matrices):
    _, text = read(latent_explorer.weights_script(run))
    expected = np.concatenate([value.ravel() for value in matrices])
    assert expected.dtype == np.float16 and expected.size == len(text)
    assert np.array_equal(np.array([ord(character) for character in text], np.uint16), expected.view(np.uint16))


def test_sketch_holds_every_weight_to_half_a_level_of_its_channel(run, matrices):
    about, text = read(latent_explorer.sketch_script(run, [direction()]))
    pairs = np.array([ord(character) for character in text])
    levels = np.stack([pairs // 235, pairs % 235], axis=1).ravel()[: about["numWeights"]] - 117
    assert about["numLevels"] == 235 and levels.min() == -117 and levels.max() == 117
    at = 0
    for layer in (layer for layer in about["layers"] if "weights" in layer):
        exact = matrices.pop(0).astype(np.float64)
        rounded = levels[at : (at := at + exact.size)].reshape(exact.shape)
        channel = np.indices(exact.shape)[1 if layer["kind"] == "transposed" else 0]
        scales = np.array(layer["scales"])[channel // 16 if layer["kind"] == "linear" else channel]
        assert np.abs(rounded * scales - exact).max() <= 0.5001 * scales.max()
        assert (np.abs(rounded * scales - exact) <= 0.5001 * scales).all()
    assert at == about["numWeights"] and matrices == []
    assert about["latentSize"] == run.config.latent_size and len(about["watched"]) == latent_explorer.NUM_WATCHED
    assert about["watched"][0] == pytest.approx(run.latents[0].tolist())


def test_the_classifiers_script_holds_its_weights_in_half_precision_and_all_of_its_layers():
    classifier = letter_classifier()
    text = latent_explorer.classifier_script(classifier).decode("utf-16").removesuffix(";\n")
    about, rest = text.removeprefix("globalThis.RECORDED_CLASSIFIER = {...").split(", weights: ", 1)
    about, found = json.loads(about), "".join(unescaped(rest.removesuffix("}")[1:-1]))
    matrices = [value for value in classifier.parameters() if value.ndim > 1]
    expected = torch.cat([value.detach().half().flatten() for value in matrices]).numpy()
    assert np.array_equal(np.array([ord(character) for character in found], np.uint16), expected.view(np.uint16))
    assert [layer["kind"] for layer in about["layers"]] == ["convolution"] * 3 + ["linear"] * 2
    assert [layer["after"] for layer in about["layers"]] == [len(value) for value in matrices]
    assert about["layers"][3]["places"] == 16 and about["names"][0] == "A" and len(about["names"]) == 26


def test_a_classifier_that_the_page_cannot_compute_is_refused():
    odd = SimpleNamespace(body=nn.Sequential(nn.Sigmoid()), head=nn.Linear(2, 2), num_classes=2)
    with pytest.raises(ValueError, match="cannot compute this layer"):
        latent_explorer.classifier_script(odd)


def test_the_sketch_names_the_goals_and_how_certain_the_classifier_must_be(run):
    about, _ = read(latent_explorer.sketch_script(run, [direction()]))
    wanted = [{"seed": g.seed, "start": g.start, "target": g.target, "fewest": len(g.way)} for g in GOALS]
    assert about["goals"] == wanted and about["recognisedAt"] == RECOGNISED_AT


def test_any_sixteen_bits_that_are_a_number_survive():
    bits = np.arange(2**16, dtype=np.uint16)
    values = bits.view(np.float16)
    possible = np.isfinite(values) & ((bits & 0xF800) != 0xD800)
    text = latent_explorer.quoted(latent_explorer.characters(values[possible]))
    script = latent_explorer.as_file(f"globalThis.RECORDED_WEIGHTS = {text};\n")
    assert [ord(character) for character in read(script)[1]] == bits[possible].tolist()


def test_two_levels_make_a_character_that_can_stand_alone():
    assert latent_explorer.LEVELS**2 <= 0xD800


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
    assert sum(value.size for value in weights) == sum(p.numel() for p in generator.parameters() if p.ndim > 1)


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
    assert "| weight: a to b | 10% | 90% | +80&nbsp;±&nbsp;5 | 50% |" in text
    assert "| serif:" not in text and "Left out, because fewer than 33% of the letters follow: serif." in text
    assert "recognises 50% of the letters" in text and "+20 ±" in text


def test_build_writes_the_files_once_and_again_when_what_they_depend_on_has_changed(tmp_path, monkeypatch):
    halfway = dict.fromkeys(("drawn", "linear", "spherical", "pixels"), torch.tensor([True, False]))
    monkeypatch.setattr(latent_explorer, "StyleJudge", lambda: SimpleNamespace(accuracy={"weight": 0.9}))
    monkeypatch.setattr(
        latent_explorer, "find_directions", lambda generator, judge: [direction(), direction("serif", 0.1)]
    )
    monkeypatch.setattr(latent_explorer, "recognised_halfway", lambda generator: halfway)
    stamps = iter(["first", "first", "second"])
    monkeypatch.setattr(latent_explorer.fresh_outputs, "fingerprint", lambda *_: next(stamps))
    folder = tmp_path / "_static" / "latent_explorer"

    def build(format="html"):
        latent_explorer.write_explorer(SimpleNamespace(builder=SimpleNamespace(format=format), outdir=str(tmp_path)))

    build("latex")
    assert not folder.exists()
    build()
    about, _ = read((folder / "sketch.js").read_bytes())
    assert read((folder / "weights.js").read_bytes())[1]
    assert [entry["name"] for entry in about["directions"]] == ["weight"]  # what does not work stays out of the page
    (folder / "weights.js").write_bytes(b"seen")
    build()
    assert (folder / "weights.js").read_bytes() == b"seen"
    build()
    assert (folder / "weights.js").read_bytes() != b"seen"
