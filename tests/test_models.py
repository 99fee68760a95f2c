"""Shapes, pinned parameter counts, initialisation with its known mutants, and the critic's options."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from dcgan_core import models
from dcgan_core.config import RECIPES, Config
from dcgan_core.losses import discriminator_loss, non_saturating_generator_loss, zero_centred_penalty
from dcgan_core.models import (
    Discriminator,
    Generator,
    MinibatchStd,
    build,
    double,
    least_bytes,
    num_blocks,
    num_parameters,
)
from dcgan_core.steps import update_discriminator, update_generator

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


def test_the_papers_recipe_is_the_standard_pair():
    pair, standard = build(Config(**RECIPES["paper"])), standard_pair()
    assert list(map(str, pair)) == list(map(str, standard))


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


def kinds(network: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]


def test_layers_stand_in_the_order_of_the_paper():
    """Each layer is followed by its normalisation and only then by the activation; dropout ends a block."""
    size = {"image_size": 32, "channels": 1, "width": 4}
    middle = ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert kinds(Generator(**size, latent_size=5)) == [
        *("Linear", "Unflatten", "BatchNorm2d", "ReLU"),
        *(middle * 2),
        *("ConvTranspose2d", "Tanh"),
    ]
    judged = ["Flatten", "Linear", "Flatten"]
    block = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds(Discriminator(**size)) == ["Conv2d", "LeakyReLU", *(block * 2), *judged]
    dropped = ["Conv2d", "GroupNorm", "LeakyReLU", "Dropout2d"]
    found = kinds(Discriminator(**size, norm="layer", dropout=0.3, minibatch_std=True))
    assert found == ["Conv2d", "LeakyReLU", "Dropout2d", *(dropped * 2), "MinibatchStd", *judged]


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


def num_inputs(module: nn.Module) -> int:
    """Numbers that a unit's weighted sum is over, as PyTorch counts them (a transposed convolution by its outputs)."""
    return module.weight[0].numel()


def assert_initialised_by_the_framework(network: nn.Module) -> None:
    for module in modules(network, WEIGHTED):
        bound = 1 / math.sqrt(num_inputs(module))
        for values in (module.weight, module.bias):
            if values is not None:
                assert kstest(values.detach().flatten().numpy(), "uniform", (-bound, 2 * bound)).pvalue > 1e-4
    assert all((norm.weight == 1).all() and not norm.bias.any() for norm in modules(network, (NORMS, nn.GroupNorm)))


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_each_network_can_keep_what_the_framework_draws(norm):
    torch.manual_seed(0)
    config = Config(discriminator_norm=norm)
    for player in ("generator", "discriminator"):
        changed = replace(config, **{f"{player}_initialisation": "framework"})
        networks = dict(zip(("generator", "discriminator"), build(changed), strict=True))
        assert_initialised_by_the_framework(networks.pop(player))
        (other,) = networks.values()
        with pytest.raises(AssertionError):
            assert_initialised_by_the_framework(other)


def test_a_narrow_discriminator_without_normalisation_starts_flatter_in_the_papers_way():
    """By (0.58 / 0.02 sqrt n) of each layer: that is 8 for layers of 16, 384, 768 and 1,536 inputs."""
    images = torch.rand(16, 1, 32, 32) * 2 - 1
    slopes = []
    for initialisation in ("paper", "framework"):
        torch.manual_seed(0)
        narrow = Discriminator(image_size=32, channels=1, width=24, norm="none", initialisation=initialisation)
        slopes.append(zero_centred_penalty(narrow, images).sqrt().item())
    assert 4 < slopes[1] / slopes[0] < 16


def growth(layer: nn.Module) -> float:
    """How much larger the mean square of a layer's output is than that of its input, away from the edges."""
    if isinstance(layer, nn.Linear):
        return layer(torch.randn(512, layer.in_features)).square().mean().item()
    images = torch.randn(64, layer.in_channels, 16, 16)
    return layer(images)[:, :, 1:-1, 1:-1].square().mean().item()


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_networks_drawn_as_by_he_make_up_for_what_each_activation_takes_away(upsampling):
    """ReLU halves a mean square; LeakyReLU leaves (1 + 0.04) / 2 of it; nothing follows the last layer."""
    torch.manual_seed(0)
    settings = {"upsampling": upsampling, "discriminator_norm": "none", "minibatch_std": True}
    he = {"generator_initialisation": "he", "discriminator_initialisation": "he"}
    for network, hidden in zip(build(Config(**settings, **he)), (2.0, 2 / 1.04), strict=True):
        *found, last = [growth(layer) for layer in modules(network, WEIGHTED)]
        assert found == pytest.approx([hidden] * len(found), rel=0.15)
        assert last == pytest.approx(1, rel=0.2)
        assert all(not module.bias.any() for module in modules(network, WEIGHTED) if module.bias is not None)


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


def test_nearest_doubling_repeats_every_pixel_before_its_convolution():
    layer = double(1, 1, "nearest")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()[..., 1, 1] = 1  # the convolution leaves everything as it is
    pixels = torch.randn(1, 1, 5, 5)
    expected = pixels.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.equal(layer(pixels), expected)


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


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_the_generator_doubles_in_the_way_that_the_config_names(upsampling):
    generator, _ = build(Config(image_size=32, generator_width=4, upsampling=upsampling))
    assert len(modules(generator, nn.ConvTranspose2d)) == (3 if upsampling == "transposed" else 0)


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize("image_size", SIZES)
def test_the_least_memory_is_a_little_less_than_what_weights_gradients_and_moments_take(image_size, upsampling):
    """Four bytes for each number: a weight, its gradient and two moments, and the generator's average."""
    config = Config(
        image_size=image_size, channels=3, generator_width=64, discriminator_width=48, upsampling=upsampling
    )
    generator, discriminator = build(config)
    taken = 4 * (5 * num_parameters(generator) + 4 * num_parameters(discriminator))
    assert 0.95 * taken < least_bytes(config) <= taken


def test_initial_weights_follow_from_torchs_seed_alone():
    def weights() -> list[Tensor]:
        torch.manual_seed(3)
        return [parameter for network in build(Config(image_size=16)) for parameter in network.parameters()]

    assert all(torch.equal(first, second) for first, second in zip(weights(), weights(), strict=True))


SMALL = {"image_size": 32, "channels": 1, "width": 8}


@pytest.mark.parametrize(
    ("options", "count"),
    [
        # 3 convolutions of 4x4 (1-8-16-32), 4x4x32 inputs of the linear layer, scale and shift of the last two blocks
        ({}, 16 * (1 * 8 + 8 * 16 + 16 * 32) + 512 + 2 * (16 + 32)),
        ({"norm": "layer"}, 16 * (1 * 8 + 8 * 16 + 16 * 32) + 512 + 2 * (16 + 32)),
        ({"norm": "none"}, 16 * (1 * 8 + 8 * 16 + 16 * 32) + 512 + (8 + 16 + 32)),  # biases in place of both
        ({"spectral_norm": True}, 16 * (1 * 8 + 8 * 16 + 16 * 32) + 512 + 2 * (16 + 32)),
        ({"minibatch_std": True}, 16 * (1 * 8 + 8 * 16 + 16 * 32) + 528 + 2 * (16 + 32)),
        ({"dropout": 0.3}, 16 * (1 * 8 + 8 * 16 + 16 * 32) + 512 + 2 * (16 + 32)),
    ],
)
def test_options_change_the_parameter_count_as_by_hand(options, count):
    assert num_parameters(Discriminator(**SMALL, **options)) == count


def test_options_reach_the_discriminator_from_the_config():
    options = {"discriminator_norm": "layer", "spectral_norm": True, "minibatch_std": True}
    discriminator = build(Config(image_size=32, discriminator_width=8, **options))[1]
    assert len(modules(discriminator, nn.GroupNorm)) == 2 and not modules(discriminator, NORMS)
    assert len(modules(discriminator, MinibatchStd)) == 1
    assert all(torch.nn.utils.parametrize.is_parametrized(layer) for layer in modules(discriminator, WEIGHTED))
    plain = build(Config(image_size=32, discriminator_width=8))[1]
    assert not modules(plain, (nn.GroupNorm, MinibatchStd))
    assert not any(torch.nn.utils.parametrize.is_parametrized(layer) for layer in modules(plain, WEIGHTED))


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_discriminator_without_batch_norm_is_initialised_as_in_the_paper(norm):
    torch.manual_seed(0)
    discriminator = Discriminator(image_size=64, channels=3, width=64, norm=norm)
    for module in modules(discriminator, WEIGHTED):
        assert_drawn_from(module.weight, 0, 0.02)
        assert module.bias is None or not module.bias.any()
    norms = modules(discriminator, nn.GroupNorm)
    assert len(norms) == (3 if norm == "layer" else 0)
    if norms:
        assert_drawn_from(torch.cat([module.weight for module in norms]), 1, 0.02)
        assert all(not module.bias.any() and module.eps == 1e-5 for module in norms)


def test_without_normalisation_convolutions_have_a_bias_and_otherwise_not():
    for norm, has_bias in (("none", True), ("layer", False), ("batch", False)):
        convolutions = modules(Discriminator(**SMALL, norm=norm), nn.Conv2d)
        assert [layer.bias is not None for layer in convolutions] == [has_bias] * 3


def test_layer_norm_is_over_all_of_one_image():
    """Mean 0 and deviation 1 over channels, rows and columns; then scale and shift of each channel."""
    torch.manual_seed(0)
    discriminator = Discriminator(**SMALL, norm="layer")
    norm = modules(discriminator, nn.GroupNorm)[0]
    maps = torch.randn(3, 16, 8, 8) * torch.tensor([1.0, 5.0, 0.1]).view(3, 1, 1, 1) + 2
    expected = torch.empty_like(maps)
    for i, image in enumerate(maps):
        standard = (image - image.mean()) / (image.var(unbiased=False) + 1e-5).sqrt()
        expected[i] = standard * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    torch.testing.assert_close(norm(maps), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("options", "is_own"), [({"norm": "layer"}, True), ({"norm": "none"}, True), ({}, False)])
def test_only_with_batch_norm_a_logit_depends_on_the_other_images(options, is_own):
    torch.manual_seed(0)
    discriminator = Discriminator(**SMALL, **options)
    images = torch.randn(4, 1, 32, 32)
    alone = torch.cat([discriminator(images[:2])[:1], discriminator(images[[0, 3]])[:1]])
    assert torch.isclose(*alone, rtol=1e-4).item() == is_own


def largest_singular_values(discriminator: Discriminator) -> list[float]:
    return [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in modules(discriminator, WEIGHTED)]


def assert_largest_singular_values_are_one(discriminator: Discriminator) -> None:
    for value in largest_singular_values(discriminator):
        assert 1 - 1e-4 < value < 1.1, f"largest singular value {value}"


def grown(discriminator: Discriminator) -> Discriminator:
    """With other and larger weights than those that the norm was first estimated from; then 20 passes."""
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        for _ in range(20):
            discriminator(torch.randn(4, 1, 32, 32))
    return discriminator


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_spectral_norm_makes_the_largest_singular_value_one_after_a_few_passes(norm, seed):
    torch.manual_seed(seed)
    assert_largest_singular_values_are_one(grown(Discriminator(**SMALL, norm=norm, spectral_norm=True)))


def test_mutants_without_spectral_norm_or_with_a_norm_that_is_never_updated_are_caught():
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match="largest singular value"):
        assert_largest_singular_values_are_one(grown(Discriminator(**SMALL)))
    with pytest.raises(AssertionError, match="largest singular value"):
        assert_largest_singular_values_are_one(grown(Discriminator(**SMALL, spectral_norm=True).eval()))


def spectral_state(discriminator: Discriminator) -> dict[str, Tensor]:
    vectors = {name: value.clone() for name, value in discriminator.state_dict().items() if name[-2:] in ("_u", "_v")}
    assert len(vectors) == 8
    return vectors


def assert_generator_leaves_spectral_norm_alone(update) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(**SMALL, norm="none", spectral_norm=True)
    generator = Generator(**SMALL, latent_size=4)
    with torch.no_grad():
        discriminator.layers[0].parametrizations.weight.original.add_(0.1 * torch.randn(8, 1, 4, 4))
    before, values = spectral_state(discriminator), largest_singular_values(discriminator.eval())
    discriminator.train()
    update(
        discriminator,
        torch.optim.SGD(generator.parameters(), 0.1),
        non_saturating_generator_loss,
        generator(torch.randn(4, 4)),
    )
    torch.testing.assert_close(spectral_state(discriminator), before, rtol=0, atol=0)
    assert largest_singular_values(discriminator.eval()) == values


def test_generator_step_leaves_spectral_norm_unchanged():
    assert_generator_leaves_spectral_norm_alone(update_generator)


def test_mutant_generator_step_that_goes_on_estimating_is_caught():
    def without_freezing(discriminator, optimizer, loss_function, fake):
        optimizer.zero_grad()
        loss_function(discriminator(fake)).backward()
        optimizer.step()

    with pytest.raises(AssertionError):
        assert_generator_leaves_spectral_norm_alone(without_freezing)


def test_discriminator_step_goes_on_estimating_the_spectral_norm():
    torch.manual_seed(0)
    discriminator = Discriminator(**SMALL, norm="none", spectral_norm=True)
    before = spectral_state(discriminator)
    real, fake = torch.randn(2, 4, 1, 32, 32)
    update_discriminator(
        discriminator, torch.optim.SGD(discriminator.parameters(), 0.1), discriminator_loss, real, fake
    )
    after = spectral_state(discriminator)
    estimated = [name for name in before if name[-1] == "u" and len(before[name]) > 1]  # a single row has no choice
    assert len(estimated) == 3 and all(not torch.equal(before[name], after[name]) for name in estimated)


def deviations_by_hand(maps: Tensor, size: int) -> list[float]:
    """For each image: the standard deviations over its group at each channel and place, averaged; number by number."""
    found = []
    for start in range(0, len(maps), size):
        group = maps[start : start + size].double()
        deviations = []
        for channel in range(maps.shape[1]):
            for row in range(maps.shape[2]):
                for column in range(maps.shape[3]):
                    values = group[:, channel, row, column].tolist()
                    centre = sum(values) / size
                    deviations.append(math.sqrt(sum((value - centre) ** 2 for value in values) / size))
        found += [sum(deviations) / len(deviations)] * size
    return found


@pytest.mark.parametrize(("num_images", "size"), [(4, 4), (8, 4), (12, 4), (6, 6), (3, 3)])
def test_minibatch_deviation_is_that_of_a_slow_loop(num_images, size):
    torch.manual_seed(0)
    maps = torch.randn(num_images, 3, 2, 5) * torch.rand(num_images, 1, 1, 1)
    found = MinibatchStd()(maps)
    assert found.shape == (num_images, 4, 2, 5)
    torch.testing.assert_close(found[:, :3], maps, rtol=0, atol=0)
    expected = torch.tensor(deviations_by_hand(maps, size)).view(-1, 1, 1).expand(-1, 2, 5)
    torch.testing.assert_close(found[:, 3], expected)


def test_minibatch_deviation_of_equal_images_is_zero_with_a_finite_gradient():
    maps = torch.ones(4, 2, 3, 3, requires_grad=True)
    found = MinibatchStd()(maps)
    torch.testing.assert_close(found[:, 2], torch.full((4, 3, 3), 1e-4))  # the root of the 1e-8 that guards it
    found.sum().backward()
    assert maps.grad.isfinite().all()


def test_minibatch_deviation_keeps_the_type_of_its_maps():
    assert MinibatchStd()(torch.randn(4, 2, 3, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_minibatch_deviation_shows_images_that_are_all_alike():
    """With it, the same image gets another logit among its copies than among others; without it, the same one."""
    torch.manual_seed(0)
    image, others = torch.randn(1, 1, 32, 32), torch.randn(3, 1, 32, 32)
    for minibatch_std in (True, False):
        discriminator = Discriminator(**SMALL, norm="none", minibatch_std=minibatch_std)
        with torch.no_grad():
            discriminator.layers[-2].weight.fill_(0.1)  # a freshly drawn weight might be close to 0
            collapsed = discriminator(image.expand(4, -1, -1, -1))[0]
            varied = discriminator(torch.cat([image, others]))[0]
        assert torch.isclose(collapsed, varied, rtol=1e-4) != minibatch_std
