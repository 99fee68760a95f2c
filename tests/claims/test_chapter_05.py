"""What chapter 05 claims, measured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from statistics import median

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core import recorded
from dcgan_core.data import scale
from dcgan_core.data.glyphs import render
from dcgan_core.models import Generator, initialise
from dcgan_core.teaching.chapter_05 import layer_outputs

SEEDS = range(20)
DOUBLING: dict[str, Callable[[int, int], nn.Module]] = {
    "kernel 3": lambda i, o: nn.ConvTranspose2d(i, o, 3, 2, 1, 1, bias=False),
    "kernel 4": lambda i, o: nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False),
    "nearest": lambda i, o: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(i, o, 3, padding=1, bias=False)),
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained() -> Generator:
    return recorded.load("glyphs32").generator


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return torch.randn(64, 100, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def outputs(trained, latents) -> list[Tensor]:
    return layer_outputs(trained, latents)


@pytest.fixture(scope="module")
def letters() -> Tensor:
    """Held-out letters, only as many as are needed."""
    return scale(torch.from_numpy(render(300, split="test").images))


def fresh(seed: int = 0, *, eps: float = 1e-5, norm: bool = True) -> Generator:
    torch.manual_seed(seed)
    network = Generator(image_size=32, channels=1, width=48, latent_size=100)
    for number, layer in enumerate(network.layers):
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = eps
            if not norm:
                network.layers[number] = nn.Identity()
    return network


@torch.no_grad()
def random_output(kind: str, seed: int, maps: Tensor) -> Tensor:
    torch.manual_seed(seed)
    layer = DOUBLING[kind](64, 32)
    initialise(layer)
    return layer(maps)[..., 4:-4, 4:-4]


def checkerboard_share(maps: Tensor) -> float:
    """By summing signs, not by Fourier: the energy of the three patterns of period two, over all energy."""
    signs = (-1.0) ** torch.arange(maps.shape[-1])
    patterns = (signs[:, None].expand(maps.shape[-2:]), signs.expand(maps.shape[-2:]), signs[:, None] * signs)
    fast = sum(float((maps * pattern).mean((-1, -2)).square().sum()) for pattern in patterns)
    return fast / float(maps.square().mean((-1, -2)).sum())


def fastest_share(images: Tensor) -> float:
    images = images - images.mean(dim=(-1, -2), keepdim=True)
    power = torch.fft.fft2(images).abs() ** 2
    half = images.shape[-1] // 2
    fast = power[..., half, :].sum() + power[..., :, half].sum() - power[..., half, half].sum()
    return float(fast / power.sum())


def flops(layer: nn.Module, inputs: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(inputs)
    return counter.get_total_flops()


# Linear and reshape


@torch.no_grad()
def test_the_lower_half_of_the_sketch_leaves_the_first_nine_rows_of_the_image_exactly_as_they_were(trained, outputs):
    sketch = outputs[1]
    mixed = torch.cat([sketch[:, :, :2], sketch.roll(1, 0)[:, :, 2:]], dim=2)
    images = trained.layers[2:](mixed)
    assert torch.equal(images[:, :, :9], outputs[-1][:, :, :9])
    assert not torch.equal(images[:, :, 9], outputs[-1][:, :, 9])


def test_one_position_of_the_sketch_reaches_22_rows_and_columns_of_32(trained, outputs):
    sketch = outputs[1][:1].clone().requires_grad_()
    image = trained.layers[2:-1](sketch)  # without tanh, whose gradient may round to zero
    for row in (4, 5, 15, 26, 27):
        gradient = torch.autograd.grad(image[0, 0, row].sum(), sketch, retain_graph=True)[0]
        assert bool(gradient[0, :, 1].any()) == (1 <= row <= 22)


# Batch normalisation


@torch.no_grad()
def test_the_batch_is_normalised_with_n_and_remembered_with_n_minus_1():
    norm, maps = nn.BatchNorm2d(3).train(), torch.randn(2, 3, 2, 2) * 3 + 1
    out = norm(maps)
    assert torch.allclose(out.var((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-3)
    assert torch.allclose(norm.running_var, 0.9 + 0.1 * maps.var((0, 2, 3), unbiased=True))


@torch.no_grad()
def test_the_smaller_the_batch_in_train_mode_the_further_the_images_are_from_those_in_eval_mode(trained):
    network = copy.deepcopy(trained).train()
    for seed in range(5):
        latents = torch.randn(32, 100, generator=torch.Generator().manual_seed(seed))
        still = trained(latents)
        change = [
            float((torch.cat([network(part) for part in latents.split(n)]) - still).abs().mean()) for n in (32, 8, 2)
        ]
        assert change[0] < change[1] < change[2]


def test_an_image_depends_on_its_neighbours_latent_in_train_mode_and_not_at_all_in_eval_mode(trained, latents):
    for training in (True, False):
        network = copy.deepcopy(trained).train(training)
        two = latents[:2].clone().requires_grad_()
        network(two)[0].square().sum().backward()
        assert bool(two.grad[1].any()) == training


@torch.no_grad()
def test_after_batch_normalisation_the_mean_of_a_batch_is_beta_whatever_was_drawn(outputs):
    norm = nn.BatchNorm2d(1).train()
    norm.bias.data.fill_(0.3)
    for batch in (outputs[10][:32], outputs[10][32:] * 5 - 2):
        assert abs(float(norm(batch).mean()) - 0.3) < 1e-5


def test_a_bias_before_batch_normalisation_has_no_effect_and_no_gradient():
    torch.manual_seed(0)
    layer, norm, pixels = nn.Conv2d(8, 4, 3, padding=1), nn.BatchNorm2d(4), torch.randn(16, 8, 6, 6)
    before = norm(layer(pixels)).detach()
    layer.bias.data += 3
    after = norm(layer(pixels))
    assert torch.allclose(before, after, atol=1e-4)
    (after * torch.randn_like(after)).sum().backward()
    assert layer.bias.grad.abs().max() < 1e-4 * layer.weight.grad.abs().max()


def test_eps_of_eight_tenths_lets_the_signal_of_a_fresh_generator_fade_like_no_normalisation_at_all(latents):
    for seed in range(5):
        right, slip, none = (
            layer_outputs(fresh(seed, **options), latents) for options in ({}, {"eps": 0.8}, {"norm": False})
        )
        assert abs(float(slip[2].std()) - (0.04 / 0.84) ** 0.5) < 0.03
        assert float(right[-1].std()) > 10 * float(slip[-1].std()) > 5 * float(none[-1].std())


def test_without_batch_normalisation_the_first_gradient_of_a_fresh_generator_is_many_times_weaker(latents):
    for seed in range(5):
        norms = []
        for options in ({}, {"eps": 0.8}, {"norm": False}):
            network = fresh(seed, **options)
            (network(latents) * torch.randn(64, 1, 32, 32)).sum().backward()
            norms.append(float(network.layers[0].weight.grad.norm()))
        assert norms[0] > 5 * norms[1] and norms[0] > 5 * norms[2]


def test_trained_early_layers_have_negative_shifts_and_let_a_smaller_part_through_than_later_ones(trained, outputs):
    passed = [float((outputs[number] > 0).float().mean()) for number in (3, 6, 9)]
    assert passed[0] < passed[1] < passed[2] and passed[0] < 0.3
    assert float((trained.layers[2].bias < 0).float().mean()) > 0.9


# Upsampling


def test_a_transposed_convolution_is_the_transpose_and_the_gradient_of_a_convolution():
    kernel, small = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
    direct = F.conv_transpose2d(small, kernel, stride=2, padding=1)
    matrix = F.conv2d(torch.eye(64).reshape(64, 1, 8, 8), kernel, stride=2, padding=1).reshape(64, 16).T
    assert torch.allclose((matrix.T @ small.flatten()).reshape(1, 1, 8, 8), direct, atol=1e-5)
    image = torch.randn(1, 1, 8, 8, requires_grad=True)
    (F.conv2d(image, kernel, stride=2, padding=1) * small).sum().backward()
    assert torch.allclose(image.grad, direct, atol=1e-5)


def test_a_transposed_convolution_does_not_undo_a_convolution():
    kernel, image = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 8, 8)
    there_and_back = F.conv_transpose2d(F.conv2d(image, kernel, stride=2, padding=1), kernel, stride=2, padding=1)
    assert not torch.allclose(there_and_back, image, atol=0.1)


def test_kernel_3_overlaps_unevenly_and_kernel_4_evenly():
    for kernel, expected in ((3, {1, 2, 4}), (4, {4})):
        count = F.conv_transpose2d(torch.ones(1, 1, 5, 5), torch.ones(1, 1, kernel, kernel), stride=2)[0, 0]
        assert set(count[2:-2, 2:-2].flatten().tolist()) == expected


def test_on_a_flat_input_three_quarters_are_checkerboard_with_kernel_3_and_with_kernel_4_and_nothing_with_nearest():
    shares: dict[str, list[float]] = {kind: [] for kind in DOUBLING}
    for kind in DOUBLING:
        for seed in SEEDS:
            torch.manual_seed(1_000 + seed)
            flat = torch.rand(1, 64, 1, 1).expand(1, 64, 16, 16)
            shares[kind].append(checkerboard_share(random_output(kind, seed, flat)))
    assert 0.7 < median(shares["kernel 3"]) < 0.8 and 0.7 < median(shares["kernel 4"]) < 0.8
    assert max(shares["nearest"]) < 1e-9


def test_with_kernel_3_the_best_served_pixels_are_twice_as_strong_and_with_kernel_4_all_are_equal():
    for kind, expected in (("kernel 3", (1, 2**0.5, 2**0.5, 2)), ("kernel 4", (1,) * 4), ("nearest", (1,) * 4)):
        squares = []
        for seed in SEEDS:
            torch.manual_seed(1_000 + seed)
            squares.append(random_output(kind, seed, torch.randn(16, 64, 16, 16)).square().mean((0, 1)))
        kinds = torch.stack(squares).mean(0).reshape(12, 2, 12, 2).mean((0, 2)).flatten().sort().values
        assert torch.allclose((kinds / kinds[0]).sqrt(), torch.tensor(expected).float(), atol=0.1)


def test_training_has_removed_the_grid_from_the_images_and_evened_the_last_layer_out_most(
    trained, outputs, latents, letters
):
    with torch.no_grad():
        untrained = fresh()(latents)
    assert fastest_share(outputs[-1]) < 2 * fastest_share(letters) < 0.1 * fastest_share(untrained)
    flat = []
    for number in (4, 7, 10):
        sums = trained.layers[number].weight.detach().unflatten(3, (2, 2)).unflatten(2, (2, 2)).sum((2, 4))
        flat.append(float(4 * sums.mean((2, 3)).square().sum() / sums.square().sum()))
    assert 0.3 < flat[0] < flat[1] < flat[2]


def test_hidden_layers_of_the_trained_generator_still_have_a_checkerboard_that_the_image_lacks(outputs):
    shares = []
    for number in (4, 7, 10):
        shares.append(checkerboard_share(outputs[number] - outputs[number].mean((-1, -2), keepdim=True)))
    assert shares[2] < 0.5 * min(shares[:2])


def test_nearest_and_3x3_is_a_transposed_convolution_of_kernel_4_whose_sums_agree():
    spread = torch.tensor([[0, 0, 1.0], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
    three, maps = torch.randn(5, 7, 3, 3), torch.randn(2, 7, 6, 6)
    four = torch.einsum("ka,oiab,lb->iokl", spread, three, spread)
    first = F.conv2d(F.interpolate(maps, scale_factor=2), three, padding=1)
    assert torch.allclose(first, F.conv_transpose2d(maps, four, stride=2, padding=1), atol=1e-4)
    sums = four.unflatten(3, (2, 2)).unflatten(2, (2, 2)).sum((2, 4))
    assert torch.allclose(sums, sums[..., :1, :1].expand_as(sums), atol=1e-4)


def test_nearest_and_3x3_costs_nine_sixteenths_of_the_parameters_and_more_than_twice_the_arithmetic():
    maps = torch.randn(1, 8, 4, 4)
    nearest, transposed = DOUBLING["nearest"](8, 4), DOUBLING["kernel 4"](8, 4)
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in (nearest, transposed)]
    assert sizes[0] * 16 == sizes[1] * 9
    assert flops(nearest, maps) * 32 == flops(transposed, maps) * 72


# 3x3 convolution, ReLU, tanh


@torch.no_grad()
def test_a_transposed_convolution_of_kernel_4_is_a_3x3_convolution_with_four_times_the_channels_interleaved(
    trained, outputs
):
    kernels = trained.layers[7].weight.detach()
    before, after = kernels.shape[:2]
    weight = torch.zeros(after, 2, 2, before, 3, 3)
    for r in range(2):
        for c in range(2):
            piece = kernels[:, :, 1 - r :: 2, 1 - c :: 2].flip(2, 3)
            weight[:, r, c, :, r : r + 2, c : c + 2] = piece.transpose(0, 1)
    kinds = F.conv2d(outputs[6], weight.flatten(0, 2), padding=1)
    assert torch.allclose(F.pixel_shuffle(kinds, 2), outputs[7], atol=1e-3)


@torch.no_grad()
def test_without_relu_the_generator_is_one_affine_map_before_the_tanh(trained, latents):
    layers = nn.Sequential(*[layer for layer in trained.layers if not isinstance(layer, (nn.ReLU, nn.Tanh))])
    a, b = latents[:8], latents[8:16]
    mean = (layers(a) + layers(b)) / 2
    assert (layers((a + b) / 2) - mean).abs().max() < 1e-3 * mean.std()
    whole = trained.layers[:-1]
    mean = (whole(a) + whole(b)) / 2
    assert (whole((a + b) / 2) - mean).abs().max() > 0.1 * mean.std()


def test_no_channel_of_the_trained_generator_is_dead(outputs):
    for number in (3, 6, 9):
        assert bool((outputs[number].amax((0, 2, 3)) > 0).all())


def test_tanh_is_a_sigmoid_in_other_units_and_its_gradient_follows_from_its_output():
    x = torch.linspace(-4, 4, 101, requires_grad=True)
    y = torch.tanh(x)
    y.sum().backward()
    assert torch.allclose(2 * torch.sigmoid(2 * x) - 1, y, atol=1e-6)
    assert torch.allclose(x.grad, 1 - y.detach() ** 2, atol=1e-6)


def test_most_pixels_of_the_trained_generator_are_saturated_and_would_lie_outside_the_range_without_tanh(outputs):
    assert float((1 - outputs[11] ** 2 < 0.01).float().mean()) > 0.4
    assert float((outputs[10].abs() > 1).float().mean()) > 0.5


def test_most_pixels_of_letters_are_out_of_the_reach_of_a_sigmoid(letters):
    assert float((letters < 0).float().mean()) > 0.5
