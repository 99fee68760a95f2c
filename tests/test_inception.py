"""The weights of Inception: the published ones reach the network, and no other file is loaded or runs anything."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from types import ModuleType
from typing import ClassVar
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn

from dcgan_core.config import InvalidInput
from dcgan_core.metrics import inception as room
from dcgan_core.metrics.inception import checked_weights, inception


class Network(nn.Module):
    """In the place of torch-fidelity's network: one number a channel; it unpickles what it is given."""

    given: object = None
    seen: ClassVar[list[Tensor]] = []

    def __init__(self, name: str, features: list[str], feature_extractor_weights_path: object) -> None:
        super().__init__()
        assert (name, features) == ("inception-v3-compat", ["2048"])
        type(self).given = feature_extractor_weights_path
        self.weight = nn.Parameter(torch.zeros(3), requires_grad=False)
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        assert images.dtype == torch.uint8
        return images.float().mean((2, 3)) * self.weight


@pytest.fixture(autouse=True)
def network(monkeypatch) -> type[Network]:
    monkeypatch.setattr(Network, "given", None)
    monkeypatch.setattr(Network, "seen", [])
    module = ModuleType("torchmetrics.image.fid")
    module.NoTrainInceptionV3 = Network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", module)
    for name in ("torchmetrics", "torchmetrics.image", "torch_fidelity"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    return Network


@pytest.fixture(autouse=True)
def cached(tmp_path, monkeypatch) -> Path:
    """Where torch keeps the weights. There is no network: what is not there cannot be downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder / "weights-inception-2015-12-05-6726825d.pth"


def saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


WEIGHTS = saved({"weight": torch.tensor([1.0, 10.0, 100.0])})


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return (Path.touch, (self.proof,))


def old_format(value: object) -> bytes:
    """As torch saved before 1.6, and as the published file is still read."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


TRAPS = {
    "a pickle": lambda trap: pickle.dumps(trap, protocol=2),
    "saved by torch": saved,
    "beside good weights": lambda trap: saved({"weight": torch.ones(3), "trap": trap}),
    "in the old format": lambda trap: old_format({"weight": torch.ones(3), "trap": trap}),
}


@pytest.fixture(params=list(TRAPS))
def trap(request, tmp_path) -> tuple[bytes, Path]:
    """A file that runs code as soon as it is unpickled, and the file that would prove it."""
    proof = tmp_path / "proof"
    return TRAPS[request.param](Trap(proof)), proof


def test_a_trap_works(trap):
    content, proof = trap
    with suppress(AttributeError, RuntimeError):  # too late
        torch.load(io.BytesIO(content), weights_only=False)
    assert proof.exists()


def test_a_file_that_is_not_the_published_one_is_refused_before_anything_is_loaded(trap, cached, network):
    content, proof = trap
    cached.write_bytes(content)
    with pytest.raises(InvalidInput, match="not the published file") as caught:
        inception()
    assert not proof.exists() and network.given is None
    assert str(cached) in str(caught.value) and "delete it" in str(caught.value)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_even_a_file_with_the_right_sum_runs_nothing(trap, cached, network, monkeypatch):
    content, proof = trap
    cached.write_bytes(content)
    monkeypatch.setattr(room, "SHA256", sha256(content))
    with pytest.raises(pickle.UnpicklingError):
        inception()
    assert not proof.exists() and network.given is None


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_weights_cut_short_are_refused(share, cached, monkeypatch):
    cached.write_bytes(WEIGHTS[: int(share * len(WEIGHTS))])
    monkeypatch.setattr(room, "SHA256", sha256(WEIGHTS))
    with pytest.raises(InvalidInput, match="not the published file"):
        inception()


@pytest.mark.parametrize("save", [saved, old_format])
def test_the_right_weights_are_read_whole(save, tmp_path):
    expected = {"one": torch.randn(2, 3), "two": torch.arange(4), "three.bias": torch.tensor(0.5)}
    (tmp_path / "file").write_bytes(save(expected))
    found = checked_weights(tmp_path / "file", sha256((tmp_path / "file").read_bytes()))
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype for name in found)


def test_what_is_loaded_are_the_bytes_that_were_checked(cached, monkeypatch, tmp_path):
    """Another program may replace the file between the check and the loading."""
    cached.write_bytes(WEIGHTS)
    monkeypatch.setattr(room, "SHA256", sha256(WEIGHTS))
    proof, own_load = tmp_path / "proof", torch.load

    def replaced_first(*arguments, **options):
        cached.write_bytes(saved(Trap(proof)))
        return own_load(*arguments, **options)

    monkeypatch.setattr(torch, "load", replaced_first)
    assert inception()(torch.zeros(1, 1, 8, 8)).shape == (1, 3)
    assert not proof.exists()


def test_a_name_that_is_no_file_is_one_sentence(cached):
    cached.mkdir()
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        inception()
    assert "delete" in str(caught.value) and "\n" not in str(caught.value)


def test_the_sum_agrees_with_the_one_in_the_published_name():
    """torch.hub's convention: a name ends with the first digits of the file's SHA-256."""
    assert len(room.SHA256) == 64 and room.URL.endswith(f"-{room.SHA256[:8]}.pth")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Publishes content under the name of the weights, for torch to download."""
    import urllib.request

    (tmp_path / "published").mkdir()
    path = tmp_path / "published" / "weights-inception-2015-12-05-6726825d.pth"
    monkeypatch.setattr("torch.hub.urlopen", urllib.request.urlopen)
    monkeypatch.setattr(room, "URL", path.as_uri())
    monkeypatch.setattr(room, "SHA256", sha256(WEIGHTS))
    return path.write_bytes


def test_missing_weights_are_downloaded_once(published, cached, network):
    published(WEIGHTS)
    images = torch.ones(1, 1, 8, 8)
    assert inception()(images).tolist() == [[255, 2550, 25500]]
    assert cached.read_bytes() == WEIGHTS
    published(b"gone")
    assert inception()(images).tolist() == [[255, 2550, 25500]]


def test_a_download_with_another_content_is_refused_and_not_kept(published, cached, trap, network):
    content, proof = trap
    published(content)
    with pytest.raises(InvalidInput, match="could not be downloaded") as caught:
        inception()
    assert "\n" not in str(caught.value)
    assert list(cached.parent.iterdir()) == [] and not proof.exists() and network.given is None


@pytest.mark.parametrize(
    "error", [URLError("no route to host"), RuntimeError("invalid hash value"), IncompleteRead(b""), TimeoutError()]
)
def test_weights_that_cannot_be_downloaded_are_one_sentence(error, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torch.hub.urlopen", fail)
    with pytest.raises(InvalidInput, match="'inception'") as caught:
        inception()
    assert "check the network" in str(caught.value)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["torchmetrics.image.fid", "torch_fidelity"])
def test_a_missing_package_is_one_sentence_and_nothing_is_downloaded(missing, monkeypatch, published, cached):
    published(WEIGHTS)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InvalidInput, match="pip install 'dcgan-core\\[metrics\\]'") as caught:
        inception()
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert not cached.exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_inception_is_shown_bytes_in_colour(channels, cached, network, monkeypatch):
    cached.write_bytes(WEIGHTS)
    monkeypatch.setattr(room, "SHA256", sha256(WEIGHTS))
    images = torch.linspace(-1, 1, 120)[:, None, None, None].expand(-1, channels, 8, 8)
    found = inception()(images)
    shown = torch.cat(network.seen).cpu()
    assert shown.dtype == torch.uint8 and shown.shape == (120, 3, 8, 8)
    assert (shown.min(), shown.max()) == (0, 255)
    assert found.shape == (120, 3) and found.device.type == "cpu"
    assert not found.requires_grad


@pytest.mark.slow
def test_torch_fidelity_takes_the_checked_weights(cached, monkeypatch):
    """The network itself, with weights drawn by this test: which names and shapes it has, only its package knows."""
    for name in ("torch_fidelity", "torchmetrics", "torchmetrics.image", "torchmetrics.image.fid"):
        monkeypatch.delitem(sys.modules, name)
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    empty = cached.with_name("empty.pth")
    empty.write_bytes(saved({}))
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "load_state_dict", lambda *_: None)
        weights = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(empty)).state_dict()
    cached.write_bytes(saved(weights))
    monkeypatch.setattr(room, "SHA256", sha256(cached.read_bytes()))
    found = inception()(torch.rand(2, 1, 16, 16) * 2 - 1)
    assert found.shape == (2, room.NUM_INCEPTION_FEATURES) and found.isfinite().all()
    assert not torch.equal(found[0], found[1])


def test_a_file_whose_sum_only_begins_as_the_published_one_is_refused(tmp_path):
    """Eight digits can be made to agree in minutes."""
    path = tmp_path / "weights.pth"
    path.write_bytes(WEIGHTS)
    with pytest.raises(InvalidInput, match="is not the published file"):
        checked_weights(path, sha256(WEIGHTS)[:8] + 56 * "0")
