"""People's own images on their way through a run: channels, the held-out part, classes, memory, and `inspect`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_core.cli import main
from dcgan_core.config import CHANNELS, LATER, Config, InvalidInput
from dcgan_core.data import NAMES, Batches, load, load_folder
from dcgan_core.data.contact_sheet import COLUMNS, GAP, contact_sheet
from dcgan_core.data.folder import read_images
from dcgan_core.metrics import judge_for
from dcgan_core.metrics.classifiers import Classifier
from dcgan_core.models import build
from dcgan_core.train import draw_latents, sample, train


def small(folder: Path, **changes: object) -> Config:
    """A run of two iterations on a folder."""
    sizes = {"image_size": 16, "latent_size": 4, "generator_width": 4, "discriminator_width": 4, "batch_size": 4}
    return Config(data=str(folder), **(sizes | {"total_images": 8, "evaluate_every_images": 0} | changes))


@pytest.fixture
def coloured_folder(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_channels_that_are_not_given_are_those_of_the_images_and_the_run_holds_them(coloured_folder, tmp_path, cpu):
    """With the README's own command, photographs stay in colour."""
    for channels, expected in ((None, 3), (1, 1), (3, 3)):
        out = tmp_path / f"run{channels}"
        state = train(small(coloured_folder, channels=channels), out, machine=cpu, progress=False)
        assert state.config.channels == expected
        assert json.loads((out / "config.json").read_text())["channels"] == expected
        assert sample(state.sampler, draw_latents(2, 4, seed=0)).shape == (2, expected, 16, 16)
    with pytest.raises(InvalidInput, match="already holds a run:"):
        train(small(coloured_folder), tmp_path / "runNone", machine=cpu, progress=False)


def test_the_held_out_images_are_not_trained_on(coloured_folder, tmp_path, cpu, monkeypatch):
    seen = []

    class Watched(Batches):
        def __init__(self, images: torch.Tensor, **options: object) -> None:
            super().__init__(images, **options)
            seen.append({image.numpy().tobytes() for image in images})

    monkeypatch.setattr("dcgan_core.train.Batches", Watched)
    train(small(coloured_folder), tmp_path / "run", machine=cpu, progress=False)
    train(small(coloured_folder, held_out=0.0), tmp_path / "all", machine=cpu, progress=False)
    held_out = {image.numpy().tobytes() for image in load(str(coloured_folder), image_size=16, split="test").images}
    assert len(held_out) == 2 and all(len(images) == 22 and not images & held_out for images in seen[:2])
    assert all(len(images) == 24 for images in seen[2:])


def test_a_run_whose_images_do_not_fit_says_so_and_is_the_same(coloured_folder, tmp_path, cpu, monkeypatch, capsys):
    whole = train(small(coloured_folder), tmp_path / "whole", machine=cpu)
    assert "stay in the computer's memory" not in capsys.readouterr().err
    monkeypatch.setattr("dcgan_core.data.batches.host_memory", lambda: 1)
    parts = train(small(coloured_folder), tmp_path / "parts", machine=cpu)
    assert "stay in the computer's memory: each batch is read ahead." in capsys.readouterr().err
    pairs = zip(whole.generator.state_dict().values(), parts.generator.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


# Channels


def test_the_channels_of_a_data_set_with_a_name_are_known_before_it_is_loaded(monkeypatch):
    monkeypatch.setattr("dcgan_core.data.named.NUM_GLYPHS", {"train": 5, "test": 5})
    monkeypatch.setattr("dcgan_core.data.named.NUM_STACKED", {"train": 5, "test": 5})
    assert set(CHANNELS) == set(NAMES)
    for name in ("glyphs", "digits", "stacked-digits"):
        config = Config(data=name, image_size=16, generator_width=4, discriminator_width=4)
        generator, _ = build(config)
        assert config.channels is None
        expected = load(name, image_size=16).images.shape[1]
        assert generator(torch.zeros(2, 100)).shape[1] == config.num_channels == expected
    assert Config(data="cifar10").num_channels == 3 and Config(data="cifar10", channels=1).num_channels == 1


def test_the_channels_of_a_folder_are_not_guessed():
    with pytest.raises(InvalidInput, match="channels is None, as 'photos' has, which has to be read first"):
        _ = Config(data="photos").num_channels


def test_an_older_config_means_what_it_meant():
    """All of a folder's images were cropped and trained on, whatever its subfolders were called."""
    old = {name: value for name, value in Config(data="photos", channels=1).to_dict().items() if name not in LATER}
    found = Config.from_dict(old)
    assert (found.fit, found.held_out, found.channels) == ("crop", 0.0, 1)


# Classes


def labelled(folder: Path, per_class: int) -> Path:
    """Two classes that anybody can tell apart: dark noise and bright noise."""
    for label, kind in enumerate(("dark", "bright")):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            rng = np.random.default_rng([label, number])
            pixels = rng.integers(128 * label, 128 * label + 128, (16, 16), np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    return folder


def test_a_folder_with_few_images_of_each_class_is_measured_without_classes(tmp_path):
    config = Config(data=str(labelled(tmp_path / "few", 30)), image_size=16, data_root=str(tmp_path / "data"))
    with pytest.warns(UserWarning, match="a class of .* has 2[0-9] images to learn from, fewer than 100"):
        judge = judge_for(config)
    assert judge.num_classes == 0 and judge.num_reference == 6
    assert judge.report(torch.rand(10, 1, 16, 16))["classes_covered"] is None


@pytest.mark.filterwarnings("ignore:a class of")
def test_images_that_were_trained_on_are_never_called_held_out(tmp_path):
    """With nothing held out, a generator that copies scores best, which is said whatever the numbers are."""
    folder = labelled(tmp_path / "images", 30)
    cautions = {}
    for share in (0.0, 0.1):
        config = Config(data=str(folder), image_size=16, held_out=share, data_root=str(tmp_path / "data"))
        cautions[share] = judge_for(config).report(torch.rand(1_500, 1, 16, 16))["caution"]
    assert "60 images that the generator was trained on" in cautions[0.0] and "held-out images" not in cautions[0.0]
    assert "6 held-out images" in cautions[0.1]


def test_a_folder_with_many_images_of_each_class_gets_a_classifier_of_its_own_content(tmp_path, monkeypatch):
    taught = []

    def train_classifier(images: torch.Tensor, labels: torch.Tensor, *, num_classes: int) -> Classifier:
        taught.append((len(images), len(labels), num_classes))
        return Classifier(channels=1, num_classes=num_classes)

    monkeypatch.setattr("dcgan_core.metrics.features.train_classifier", train_classifier)
    folder = labelled(tmp_path / "many", 130)
    config = Config(data=str(folder), image_size=16, data_root=str(tmp_path / "data"))
    for _ in range(2):
        judge = judge_for(config)
    assert judge.num_classes == 2 and judge.num_reference == 26 and taught == [(234, 234, 2)]
    names = [path.name for path in (tmp_path / "data" / "classifiers").iterdir()]
    assert len(names) == 1 and "/" not in names[0].removesuffix("-16x1.safetensors").removeprefix("classifier-")
    Image.new("L", (16, 16), 7).save(folder / "dark" / "new.png")
    judge_for(config)
    assert len(taught) == 2, "other images have another classifier"


# Inspect


@pytest.fixture
def inspect(monkeypatch, capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dcgan_core", "inspect", *map(str, arguments)])
        return main(), *capsys.readouterr()

    return call


@pytest.mark.filterwarnings("always")
def test_inspect_says_what_is_there_and_draws_it(inspect, tmp_path):
    folder = labelled(tmp_path / "images", 12)
    (folder / "dark" / "notes.txt").write_text("no image")
    code, output, errors = inspect(folder, "--image-size", 16, "--out", tmp_path / "sheet.png")
    assert code == 0 and errors == ""
    lines = output.splitlines()
    assert lines[0].startswith(f"read 24 of 25 files in {folder}") and "2 classes (bright, dark)" in lines[0]
    assert lines[1] == "sizes of the pictures: 16x16 (24)."
    assert "class dark: 12" in lines and "left out 1 file (notes.txt): not readable as an image." in lines
    assert any(line.startswith("note: 24 different images are few") for line in lines)
    assert lines[-1] == str(tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert sheet.shape == (GAP + 2 * (16 + GAP), GAP + COLUMNS * (16 + GAP))
    assert sheet[GAP : GAP + 16, GAP : GAP + 16].min() >= 128 > sheet[-GAP - 16 : -GAP, GAP : GAP + 16].max(), "in rows"


def test_a_contact_sheet_shows_the_very_squares_that_training_sees(coloured_folder):
    for channels in (1, 3):
        sheet = np.asarray(contact_sheet(read_images(coloured_folder, image_size=16), channels)).transpose(2, 0, 1)
        images = load_folder(coloured_folder, image_size=16, channels=channels).images
        for number, image in enumerate(images):
            y, x = (GAP + place * (16 + GAP) for place in divmod(number, COLUMNS))
            assert np.array_equal(sheet[:, y : y + 16, x : x + 16], image.expand(3, -1, -1))


def test_inspect_explains_what_it_cannot_do(inspect, tmp_path):
    folder = labelled(tmp_path / "images", 2)
    for arguments, words in (
        ((tmp_path / "nowhere",), "nor a folder that exists"),
        ((folder, "--image-size", 20), "image_size is 20"),
        ((folder, "--image-size", 16, "--out", tmp_path / "missing" / "x.png"), "cannot write the picture"),
        ((folder, "--image-size", 16, "--out", tmp_path / "x.nonsense"), "use a name such as sheet.png"),
    ):
        code, _, errors = inspect(*arguments)
        assert code == 2 and words in errors and "Traceback" not in errors
