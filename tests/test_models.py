"""Shapes, pinned parameter counts, and the initialisation of the constructed networks, with its known mutants."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from dcgan_core import models
from dcgan_core.config import Config
from dcgan_core.models import Discriminator, Generator, build, double, num_blocks, num_parameters

SIZES = (16, 32, 64, 128)
NORMS = nn.BatchNorm2d
WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def standard_pair(image_size: int = 64, channels: int = 3, **options) -> tuple[Generator, Discriminator]:
    """The networks of the paper: width 64, 100 latents."""
    size = {"image_size": image_size, "channels": channels, "width": 64}
    return Generator(**size, latent_size=100, **options), Discriminator(**size)


def modules(network: nn.Module, kind) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


def assert_drawn_from(values: Tensor, mean: float, deviation: float) -> None:
    """Mean and standard deviation lie within five standard errors."""
    num = values.numel()
    assert abs(values.mean().item() - mean) < 5 * deviation / math.sqrt(num), f"mean {values.mean()}"
    assert abs(values.std().item() - deviation) < 5 * deviation / math.sqrt(2 * num), f"deviation {values.std()}"


def assert_initialised_as_in_the_paper(network: nn.Module) -> None:
    for module in modules(network, WEIGHTED):
        assert_drawn_from(module.weight, 0, 0.02)
    norms = modules(network, NORMS)
    assert_drawn_from(torch.cat([norm.weight for norm in norms]), 1, 0.02)
    assert all(not norm.bias.any() for norm in norms)
    assert all((norm.eps, norm.momentum) == (1e-5, 0.1) for norm in norms)


@pytest.mark.parametrize(
    ("image_size", "channels", "generator_count", "discriminator_count"),
    [(64, 3, 3_576_704, 2_765_568), (32, 3, 1_068_928, 663_296), (32, 1, 1_066_880, 661_248)],
)
def test_standard_pair_has_the_pinned_parameter_counts(image_size, channels, generator_count, discriminator_count):
    generator, discriminator = standard_pair(image_size, channels)
    assert (num_parameters(generator), num_parameters(discriminator)) == (generator_count, discriminator_count)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_size", SIZES)
@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_latents_become_images_and_images_become_logits(image_size, channels, upsampling):
    config = Config(
        image_size=image_size,
        channels=channels,
        upsampling=upsampling,
        latent_size=5,
        generator_width=2,
        discriminator_width=3,
    )
    generator, discriminator = build(config)
    images = generator(torch.randn(4, 5))
    assert images.shape == (4, channels, image_size, image_size)
    assert discriminator(images).shape == (4,)


@pytest.mark.parametrize("image_size", SIZES)
def test_blocks_double_four_pixels_to_the_image(image_size):
    assert 4 * 2 ** num_blocks(image_size) == image_size


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_generator_stays_within_tanh_even_with_huge_latents(upsampling):
    generator = Generator(image_size=16, channels=1, width=4, latent_size=5, upsampling=upsampling)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(100)
    images = generator(1e4 * torch.randn(64, 5))
    assert -1 <= images.min() < -0.9 and 0.9 < images.max() <= 1


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_batch_norm_is_neither_on_the_generators_output_nor_on_the_discriminators_input(upsampling):
    generator, discriminator = standard_pair(upsampling=upsampling)
    assert [norm.num_features for norm in modules(generator, NORMS)] == [512, 256, 128, 64]
    assert isinstance(generator.layers[-1], nn.Tanh) and not modules(generator.layers[-2], NORMS)
    assert [norm.num_features for norm in modules(discriminator, NORMS)] == [128, 256, 512]
    assert isinstance(discriminator.layers[0], nn.Conv2d) and isinstance(discriminator.layers[1], nn.LeakyReLU)


def test_activations_are_those_of_the_paper():
    generator, discriminator = standard_pair()
    assert len(modules(generator, nn.ReLU)) == 4 and not modules(generator, nn.LeakyReLU)
    assert [layer.negative_slope for layer in modules(discriminator, nn.LeakyReLU)] == [0.2] * 4
    assert not modules(discriminator, (nn.ReLU, nn.Sigmoid, nn.MaxPool2d, nn.AvgPool2d))


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_constructed_networks_are_initialised_as_in_the_paper(upsampling):
    torch.manual_seed(0)
    for network in standard_pair(upsampling=upsampling):
        assert_initialised_as_in_the_paper(network)


def test_mutant_initialisation_that_is_never_applied_is_caught(monkeypatch):
    monkeypatch.setattr(models, "initialise", lambda network: None)
    for network in standard_pair():
        with pytest.raises(AssertionError):
            assert_initialised_as_in_the_paper(network)


def scale_around_zero(network: nn.Module) -> None:
    for norm in modules(network, NORMS):
        nn.init.normal_(norm.weight, 0.0, 0.02)


def epsilon_of_another_library(network: nn.Module) -> None:
    for norm in modules(network, NORMS):
        norm.eps = 0.8


def variance_for_deviation(network: nn.Module) -> None:
    for module in modules(network, WEIGHTED):
        nn.init.normal_(module.weight, 0.0, math.sqrt(0.02))


def one_layer_forgotten(network: nn.Module) -> None:
    modules(network, WEIGHTED)[-1].reset_parameters()


@pytest.mark.parametrize(
    "mutant", [scale_around_zero, epsilon_of_another_library, variance_for_deviation, one_layer_forgotten]
)
def test_mutant_initialisation_is_caught(mutant):
    for network in standard_pair():
        mutant(network)
        with pytest.raises(AssertionError):
            assert_initialised_as_in_the_paper(network)


def test_no_layer_but_batch_norm_has_a_bias():
    for network in standard_pair():
        assert all(module.bias is None for module in modules(network, WEIGHTED))


def test_dropout_is_there_only_when_asked_for():
    size = {"image_size": 32, "channels": 1, "width": 4}
    assert not modules(Discriminator(**size), nn.Dropout2d)
    assert [layer.p for layer in modules(Discriminator(**size, dropout=0.3), nn.Dropout2d)] == [0.3] * 3


def test_linear_and_reshape_is_the_first_transposed_convolution_of_the_released_code():
    linear, reshape = standard_pair()[0].layers[:2]
    released = nn.ConvTranspose2d(100, 512, kernel_size=4, bias=False)
    with torch.no_grad():
        released.weight.copy_(linear.weight.T.reshape(100, 512, 4, 4))
    latents = torch.randn(3, 100)
    torch.testing.assert_close(reshape(linear(latents)), released(latents[:, :, None, None]))


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_doubling_reaches_every_inner_pixel_equally_often(upsampling):
    layer = double(1, 1, upsampling)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1)
    reached = layer(torch.ones(1, 1, 8, 8))[0, 0, 2:-2, 2:-2]
    assert reached.unique().numel() == 1


def test_doubling_with_kernel_three_would_draw_a_checkerboard():
    layer = nn.ConvTranspose2d(1, 1, kernel_size=3, stride=2, padding=1, output_padding=1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1)
    assert layer(torch.ones(1, 1, 8, 8))[0, 0, 2:-2, 2:-2].unique().tolist() == [1, 2, 4]


def test_logits_are_float32_under_autocast():
    discriminator = Discriminator(image_size=16, channels=1, width=4)
    with torch.autocast("cpu", torch.bfloat16):
        assert discriminator(torch.randn(2, 1, 16, 16)).dtype == torch.float32


def test_build_follows_the_config():
    config = Config(image_size=64, channels=3, generator_width=64, discriminator_width=32, latent_size=100, dropout=0.1)
    generator, discriminator = build(config)
    assert num_parameters(generator) == 3_576_704
    assert discriminator.layers[0].weight.shape == (32, 3, 4, 4)
    assert len(modules(discriminator, nn.Dropout2d)) == 4


def test_initial_weights_follow_from_torchs_seed_alone():
    def weights() -> list[Tensor]:
        torch.manual_seed(3)
        return [parameter for network in build(Config(image_size=16)) for parameter in network.parameters()]

    assert all(torch.equal(first, second) for first, second in zip(weights(), weights(), strict=True))
