"""Data from strangers: nothing in a folder of images or in a downloaded data set runs, or unpacks without end."""

from __future__ import annotations

import pickle
import struct
import urllib.error
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import EpsImagePlugin, Image

from dcgan_core.config import InvalidInput
from dcgan_core.data import load, load_folder


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return (Path.touch, (self.proof,))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with one good image, of value 77."""
    path = tmp_path / "images"
    path.mkdir()
    Image.new("L", (20, 20), 77).save(path / "good.png")
    return path


def used(folder: Path) -> list[int]:
    with pytest.warns(UserWarning, match=r"left out 1 file \(bad"):
        images = load_folder(folder, image_size=16, channels=1).images
    return images.unique().tolist()


@pytest.mark.parametrize("name", ["bad.eps", "bad.jpg", "bad"])
def test_a_picture_that_is_a_program_is_given_to_no_interpreter(folder, monkeypatch, name):
    started = []

    def ghostscript(*arguments: object) -> object:
        started.append(arguments)
        return Image.new("L", (20, 20)).im

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)
    Image.new("L", (20, 20), 5).save(folder / name, format="EPS")
    assert used(folder) == [77]
    assert started == []
    with Image.open(folder / name) as image:
        image.load()
    assert started, "Pillow by itself would have started it"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_that_would_unpack_to_gigabytes_is_left_out(folder, suffix):
    Image.new("L", (20, 20), 5).save(folder / "bad.png")
    content = bytearray((folder / "bad.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)  # the size, in the first chunk, and then the chunk's sum
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (folder / "bad.png").unlink()
    (folder / f"bad{suffix}").write_bytes(content)
    assert used(folder) == [77]


@pytest.mark.parametrize("write", [pickle.dumps, None])
def test_a_pickle_among_images_is_left_out_and_not_unpickled(folder, tmp_path, write):
    proof = tmp_path / "proof"
    if write:
        (folder / "bad.png").write_bytes(write(Trap(proof)))
    else:
        torch.save(Trap(proof), folder / "bad.png")
    assert used(folder) == [77]
    assert not proof.exists()


def test_cifar10_that_is_not_the_published_one_is_not_unpickled(tmp_path, monkeypatch):
    """Its files are pickles, which torchvision opens only if their sums are those of the published ones."""
    proof, asked = tmp_path / "proof", []
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Trap(proof)))

    def unreachable(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", unreachable)
    with pytest.raises(InvalidInput, match="cifar10"):
        load("cifar10", channels=3, root=tmp_path)
    assert asked and not proof.exists()
    pickle.loads((folder / "test_batch").read_bytes())
    assert proof.exists(), "the trap works"


def test_the_old_cache_of_mnist_is_not_unpickled(tmp_path, monkeypatch):
    """torchvision reads files of torch.save, if it finds them, in the place of the raw ones."""
    proof = tmp_path / "proof"
    folder = tmp_path / "mnist" / "MNIST" / "processed"
    folder.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        torch.save(Trap(proof), folder / name)
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", lambda self: None)
    with pytest.raises((InvalidInput, pickle.UnpicklingError)):
        load("mnist", root=tmp_path)
    assert not proof.exists()


def test_reading_a_folder_writes_nothing_into_it(folder):
    (folder / "elsewhere.png").symlink_to(folder / "good.png")
    before = {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()}
    images = load_folder(folder, image_size=16, channels=1).images
    assert np.unique(images).tolist() == [77]
    assert {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()} == before
