"""What chapter 04 claims, measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core.losses import GAMES, discriminator_loss, non_saturating_generator_loss
from dcgan_core.models import Discriminator, Generator, num_blocks, num_parameters
from dcgan_core.steps import update_discriminator, update_generator

SIZES = (16, 32, 64, 128)
SEEDS = range(5)
WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
Step = tuple[nn.Module, tuple[int, ...], tuple[int, ...]]


def pair(image_size: int = 64, channels: int = 3, width: int = 64, **options) -> tuple[Generator, Discriminator]:
    size = {"image_size": image_size, "channels": channels, "width": width}
    return Generator(**size, latent_size=100, **options), Discriminator(**size)


@torch.no_grad()
def trace(network: nn.Module, inputs: Tensor) -> list[Step]:
    """Every layer with the shapes that go in and come out, without the batch."""
    steps: list[Step] = []
    for layer in network.layers:
        made = layer(inputs)
        steps.append((layer, tuple(inputs.shape[1:]), tuple(made.shape[1:])))
        inputs = made
    return steps


def traces(image_size: int = 64, width: int = 64) -> tuple[list[Step], list[Step]]:
    generator, discriminator = pair(image_size, width=width)
    return trace(generator.eval(), torch.zeros(1, 100)), trace(
        discriminator.eval(), torch.zeros(1, 3, image_size, image_size)
    )


def cost(layer: nn.Module, received: tuple[int, ...], made: tuple[int, ...]) -> tuple[int, int]:
    """Parameters and FLOPs for one image, by the formulae of the chapter's table."""
    if isinstance(layer, nn.BatchNorm2d):
        return 2 * made[0], 0
    if isinstance(layer, nn.Linear):
        return received[0] * made[0], 2 * received[0] * made[0]
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        positions = received if isinstance(layer, nn.ConvTranspose2d) else made
        weights = 16 * received[0] * made[0]
        return weights, 2 * weights * positions[1] * positions[2]
    return 0, 0


def flops(function: Callable[..., object], *arguments: object) -> int:
    with FlopCounterMode(display=False) as counter:
        function(*arguments)
    return counter.get_total_flops()


def changes(steps: list[Step]) -> list[tuple[int, ...]]:
    found = [steps[0][1]]
    for _, _, shape in steps:
        found += [shape] if shape != found[-1] else []
    return found


def test_the_shapes_at_every_arrow_of_64_pixels_are_those_of_the_figure():
    generator, discriminator = traces()
    maps = [(512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32), (3, 64, 64)]
    assert changes(generator) == [(100,), (8192,), *maps]
    assert changes(discriminator) == [*reversed(maps), (8192,), (1,), ()]


@pytest.mark.parametrize("image_size", SIZES)
def test_each_block_doubles_the_side_and_halves_the_maps(image_size):
    maps = [shape for shape in changes(traces(image_size, width=4)[0]) if len(shape) == 3]
    assert len(maps) == num_blocks(image_size) + 1
    assert [shape[1] for shape in maps] == [4 * 2**block for block in range(len(maps))]
    assert [shape[0] for shape in maps[:-1]] == [4 * 2**block for block in reversed(range(len(maps) - 1))]


@pytest.mark.parametrize("image_size", SIZES)
def test_parameters_and_flops_of_every_layer_are_those_of_the_formulae(image_size):
    for steps in traces(image_size, width=8):
        for layer, received, made in steps:
            parameters, work = cost(layer, received, made)
            assert parameters == num_parameters(layer)
            assert work == flops(layer, torch.zeros(1, *received))


def test_counting_a_transposed_convolution_by_its_output_positions_is_wrong_by_four():
    layer = nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False)
    assert 4 * flops(layer, torch.zeros(1, 8, 8, 8)) == 2 * layer.weight.numel() * 16 * 16


def test_three_equal_layers_do_nearly_all_the_work_although_their_parameters_differ_fourfold():
    for steps in traces():
        costs = [cost(*step) for step in steps]
        work = sorted((work for _, work in costs), reverse=True)
        assert work[0] == work[1] == work[2]
        assert sum(work[:3]) > 0.95 * sum(work)
        weights = sorted((parameters for parameters, flops in costs if flops == work[0]), reverse=True)
        assert weights[0] == 4 * weights[1] == 16 * weights[2]


def test_at_the_same_width_a_doubling_costs_three_to_five_times_the_parameters_and_over_five_times_the_work():
    totals = [
        [[sum(column) for column in zip(*(cost(*step) for step in steps), strict=True)] for steps in traces(size)]
        for size in SIZES
    ]
    for smaller, larger in itertools.pairwise(totals):
        for before, after in zip(smaller, larger, strict=True):
            assert 3 < after[0] / before[0] < 5
            assert after[1] / before[1] > 5


def test_width_128_is_the_generator_of_the_papers_first_figure():
    generator, _ = traces(width=128)
    assert changes(generator)[2:] == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]


@pytest.mark.parametrize("image_size", SIZES)
def test_an_iteration_costs_three_passes_of_the_generator_and_eight_of_the_discriminator_less_two_savings(image_size):
    generator, discriminator = pair(image_size, width=4)
    generator_steps, discriminator_steps = (
        trace(generator, torch.randn(2, 100)),
        trace(discriminator, torch.randn(2, 3, image_size, image_size)),
    )
    g, d = (sum(cost(*step)[1] for step in steps) for steps in (generator_steps, discriminator_steps))
    saved = cost(*generator_steps[0])[1] + 2 * cost(*discriminator_steps[0])[1]
    adams = [torch.optim.Adam(network.parameters()) for network in (generator, discriminator)]
    real = torch.randn(2, 3, image_size, image_size)

    def iteration() -> None:
        fake = generator(torch.randn(2, 100))
        update_discriminator(discriminator, adams[1], discriminator_loss, real, fake)
        update_generator(discriminator, adams[0], non_saturating_generator_loss, fake)

    assert flops(iteration) == 2 * (3 * g + 8 * d - saved)


def test_one_s_loss_is_the_other_s_gain_in_the_minimax_game_only():
    fake_logits = torch.linspace(-6, 6, 13, requires_grad=True)
    real_logits = torch.zeros(13)

    def pull(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, fake_logits)[0] * len(fake_logits)

    judge = pull(discriminator_loss(real_logits, fake_logits))
    assert torch.allclose(judge, -pull(GAMES["minimax"].generator(fake_logits)))
    practice = pull(GAMES["non-saturating"].generator(fake_logits))
    assert (judge * practice < 0).all()  # opposite directions
    assert judge[0] < 0.01 and practice[0] < -0.99  # confident: hardly a pull against nearly full force


def test_with_the_losses_in_use_both_players_can_lose_at_once():
    def losses(real_logit: float, fake_logit: float) -> tuple[Tensor, Tensor]:
        real, fake = torch.tensor([real_logit]), torch.tensor([fake_logit])
        return discriminator_loss(real, fake), non_saturating_generator_loss(fake)

    calm, worse = losses(1.0, -1.0), losses(-3.0, -1.5)
    assert worse[0] > calm[0] and worse[1] > calm[1]


def assert_guidelines_hold(generator: nn.Module, discriminator: nn.Module) -> None:
    """The five guidelines of Radford et al. 2016, section 3, on networks that have been built."""
    parts = [*generator.modules(), *discriminator.modules()]
    assert not any("Pool" in type(part).__name__ for part in parts)  # 1
    generator_names, discriminator_names = followers(generator), followers(discriminator)
    *hidden, output = generator_names
    assert all(names == ["BatchNorm2d", "ReLU"] for names in hidden) and output == ["Tanh"]  # 2, 4
    first, *hidden, verdict = discriminator_names
    assert first == ["LeakyReLU"] and verdict == []  # 2, 5
    assert all(names == ["BatchNorm2d", "LeakyReLU"] for names in hidden)
    assert {part.negative_slope for part in parts if isinstance(part, nn.LeakyReLU)} == {0.2}
    linear = [part for part in parts if isinstance(part, nn.Linear)]
    assert len(linear) == 2 and linear[1].out_features == 1  # 3


def followers(network: nn.Module) -> list[list[str]]:
    found: list[list[str]] = []
    for layer in network.layers:
        if isinstance(layer, (*WEIGHTED, nn.Sequential)):
            found.append([])
        elif not isinstance(layer, (nn.Flatten, nn.Unflatten)):
            found[-1].append(type(layer).__name__)
    return found


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize("image_size", SIZES)
def test_the_five_guidelines_hold_on_the_constructed_networks(image_size, upsampling):
    assert_guidelines_hold(*pair(image_size, width=2, upsampling=upsampling))


@pytest.mark.parametrize(
    ("which", "edit"),
    [
        (1, lambda layers: layers.insert(2, nn.AvgPool2d(2))),
        (0, lambda layers: layers.insert(-1, nn.BatchNorm2d(3))),
        (1, lambda layers: layers.insert(1, nn.BatchNorm2d(2))),
        (1, lambda layers: layers.insert(-2, nn.Linear(64, 64))),
        (0, lambda layers: layers.__setitem__(3, nn.LeakyReLU(0.2))),
        (0, lambda layers: layers.__setitem__(-1, nn.Sigmoid())),
        (1, lambda layers: layers.__setitem__(1, nn.ReLU())),
        (1, lambda layers: layers.__setitem__(1, nn.LeakyReLU())),
    ],
)
def test_a_network_that_breaks_one_guideline_is_found_out(which, edit):
    networks = pair(32, width=2)
    layers = list(networks[which].layers)
    edit(layers)
    networks[which].layers = nn.Sequential(*layers)
    with pytest.raises(AssertionError):
        assert_guidelines_hold(*networks)


def test_convolution_and_pooling_costs_four_times_the_work_of_a_stride():
    maps = torch.zeros(1, 16, 32, 32)
    pooled = nn.Sequential(nn.Conv2d(16, 32, 3, 1, 1), nn.MaxPool2d(2))
    strided = nn.Conv2d(16, 32, 3, 2, 1)
    assert pooled(maps).shape == strided(maps).shape
    assert num_parameters(pooled) == num_parameters(strided)
    assert flops(pooled, maps) == 4 * flops(strided, maps)


def test_one_hidden_fully_connected_layer_outweighs_the_whole_discriminator():
    _, discriminator = pair()
    features = discriminator.layers[-2].in_features
    assert num_parameters(nn.Linear(features, 1024)) > 3 * num_parameters(discriminator)


def test_the_two_linear_layers_are_convolutions_with_kernels_as_large_as_their_maps():
    generator, discriminator = pair(32, width=4)
    linear, unflatten = generator.layers[:2]
    latents = torch.randn(3, 100)
    maps = unflatten(linear(latents))
    stamp = nn.ConvTranspose2d(100, maps.shape[1], kernel_size=4, bias=False)
    stamp.weight.data = linear.weight.data.T.reshape(stamp.weight.shape)
    assert torch.allclose(maps, stamp(latents[:, :, None, None]), atol=1e-5)
    flatten, verdict, _ = discriminator.layers[-3:]
    kernel = verdict.weight.reshape(1, -1, 4, 4)
    maps = torch.randn(3, kernel.shape[1], 4, 4)
    assert torch.allclose(verdict(flatten(maps)), conv2d(maps, kernel).flatten(1), atol=1e-5)


def gradient_of_a_middle_unit(discriminator: Discriminator, blocks: int, images: Tensor) -> Tensor:
    ends = [at + 1 for at, layer in enumerate(discriminator.layers) if isinstance(layer, nn.Conv2d)]
    maps = discriminator.layers[: ends[blocks - 1]](images)
    middle = maps.shape[-1] // 2
    return torch.autograd.grad(maps[0, :, middle, middle].sum(), images)[0].sum(1)  # (B, S, S)


def field(blocks: int, unit: int) -> tuple[int, int]:
    """First and last pixel, by the chapter's formula."""
    first = 2**blocks * unit - (2**blocks - 1)
    return first, first + 3 * 2**blocks - 3


@pytest.fixture(scope="module")
def gradients() -> Tensor:
    """Size of the gradient of a middle unit by each pixel: (seeds, blocks, S, S)."""
    found = []
    image = torch.randn(1, 3, 64, 64, requires_grad=True)
    for seed in range(20):
        torch.manual_seed(seed)
        discriminator = pair(width=8)[1].eval()
        found.append([gradient_of_a_middle_unit(discriminator, n, image)[0].abs() for n in (1, 2, 3, 4)])
    return torch.stack([torch.stack(blocks) for blocks in found])


def test_gradients_reach_exactly_the_receptive_field(gradients):
    for blocks, side in ((1, 4), (2, 10), (3, 22), (4, 46)):
        first, last = field(blocks, 64 // 2**blocks // 2)
        inside = torch.zeros(64, 64, dtype=torch.bool)
        inside[first : last + 1, first : last + 1] = True
        assert last - first + 1 == side
        assert all(torch.equal(gradient != 0, inside) for gradient in gradients[:, blocks - 1])


def test_on_average_the_middle_has_its_share_after_one_block_and_more_of_it_with_every_further_one(gradients):
    favoured = []
    for blocks, side in ((1, 4), (2, 10), (3, 22), (4, 46)):
        first, last = field(blocks, 64 // 2**blocks // 2)
        near = slice(round(first + side / 4), round(last + 1 - side / 4))
        mean = gradients[:, blocks - 1].mean(0)
        favoured.append(float(mean[near, near].sum() / mean.sum()) * side**2 / mean[near, near].numel())
    assert 0.85 < favoured[0] < 1.15
    assert all(share > 1.15 for share in favoured[1:]), favoured


@pytest.mark.parametrize("seed", SEEDS)
def test_with_batch_norm_in_train_mode_a_unit_depends_on_every_pixel_of_every_image_of_the_batch(seed):
    torch.manual_seed(seed)
    discriminator = pair(width=8)[1].train()
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    gradient = gradient_of_a_middle_unit(discriminator, 3, images)
    assert all((image != 0).float().mean() > 0.95 for image in gradient)
    discriminator.eval()
    assert not gradient_of_a_middle_unit(discriminator, 3, images)[1].any()
