"""Networks in which one rule of the recipe is altered: each differs from its unaltered pair in that rule alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from dcgan_core.config import RECIPES, Config
from dcgan_core.data import scale
from dcgan_core.laboratory import ablation, altered
from dcgan_core.laboratory.altered import ConstantDropout, UniformLatents
from dcgan_core.models import build, num_parameters
from dcgan_core.state import sample

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = Config(image_size=16, channels=1, generator_width=4, discriminator_width=4, latent_size=6)
OURS = replace(CONFIG, **RECIPES["default"])
ALTERATIONS = {
    name: change.networks for name, change in ablation.CHANGES.items() if change.networks is not None
}  # by the row that plays them
MORE = {  # parameters of generator and discriminator, counted by hand: maps of 4x4 with 8 channels, of 8x8 with 4
    "without_generator_norm": (8 * 16 + 4 - 2 * 8 - 2 * 4, 0),
    "norm_on_output": (2, 0),
    "norm_on_input": (0, 2 * 4),
    "norm_everywhere": (2, 2 * 4),
    "from_0_to_1": (0, 0),
    "without_tanh": (0, 0),
    "leaky_generator": (0, 0),
    "relu_discriminator": (0, 0),
    "uniform_latents": (0, 0),
    "dropout_in_generator": (0, 0),
    "average_pooling": (0, 0),
    "max_pooling": (0, 0),
    "hidden_layers": (6 * 6 + 2 * 6, (8 * 16 + 1) * 100 + 100 - 8 * 16),
    "linear_generator": (
        112 * (6 + 112 + 256) + 2 * 2 * 112 - (6 * 128 + 16 * (8 * 4 + 4 * 1) + 2 * 8 + 2 * 4),
        0,
    ),
    "kernel_3": ((9 - 16) * (8 * 4 + 4 * 1), (9 - 16) * (1 * 4 + 4 * 8)),
    "kernel_5": ((25 - 16) * (8 * 4 + 4 * 1), (25 - 16) * (1 * 4 + 4 * 8)),
}
NEW = {"hidden_layers", "linear_generator", "kernel_3", "kernel_5"}  # which draw weights of other shapes


def pairs(alteration, config=CONFIG):
    """The unaltered and the altered pair of one seed."""
    torch.manual_seed(0)
    plain = build(config)
    torch.manual_seed(0)
    return plain, altered.altered(alteration)(config)


def kinds(network: nn.Module) -> list[type]:
    return [type(layer) for layer in network.layers]


def images(num: int = 8) -> torch.Tensor:
    return torch.rand(num, 1, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_the_list_of_alterations_is_complete():
    assert {alteration.__name__ for alteration in ALTERATIONS.values()} == set(MORE)


@pytest.mark.parametrize("config", [CONFIG, OURS], ids=["paper", "ours"])
@pytest.mark.parametrize("name", MORE)
def test_an_altered_pair_maps_latents_to_images_and_images_to_logits_and_has_so_many_parameters_more(name, config):
    plain, pair = pairs(getattr(altered, name), config)
    assert sample(pair[0], torch.randn(5, 6)).shape == (5, 1, 16, 16)
    assert pair[1](images()).shape == (8,)
    more = [num_parameters(now) - num_parameters(before) for now, before in zip(pair, plain, strict=True)]
    expected = list(MORE[name])
    if name == "hidden_layers" and config is OURS:  # whose last layer has the map of the minibatch, too
        expected[1] += 16 * 100 - 16
    assert more == expected


@pytest.mark.parametrize("name", sorted(set(MORE) - NEW))
def test_every_weight_that_the_rule_does_not_concern_is_that_of_the_unaltered_pair(name):
    for before, now in zip(*pairs(getattr(altered, name)), strict=True):
        own = [value for value in now.parameters() if value.dim() > 1]  # of convolutions and linear layers
        theirs = [value for value in before.parameters() if value.dim() > 1]
        assert len(own) == len(theirs)
        assert all(torch.equal(one, other) for one, other in zip(own, theirs, strict=True))


@pytest.mark.parametrize("name", sorted(set(MORE) - {"norm_everywhere", "from_0_to_1", "hidden_layers"}))
def test_only_one_of_the_two_networks_is_altered_unless_the_rule_is_about_both(name):
    plain, pair = pairs(getattr(altered, name))
    changed = [kinds(now) != kinds(before) for now, before in zip(pair, plain, strict=True)]
    assert sum(changed) == (0 if name.startswith("kernel") else 1)


def test_without_an_alteration_it_is_the_ordinary_pair():
    plain, pair = pairs(None)
    assert all(
        torch.equal(one, other)
        for before, now in zip(plain, pair, strict=True)
        for one, other in zip(before.parameters(), now.parameters(), strict=True)
    )


def test_a_generator_without_batch_norm_can_still_shift_each_of_its_layers_but_the_last():
    _, (generator, _) = pairs(altered.without_generator_norm)
    assert nn.BatchNorm2d not in kinds(generator)
    linear, first, last = (layer for layer in generator.layers if hasattr(layer, "weight"))
    assert linear.bias.shape == (8 * 16,) and first.bias.shape == (4,) and last.bias is None
    assert not linear.bias.any() and not first.bias.any()


@pytest.mark.parametrize("network, name", [(0, "norm_on_output"), (1, "norm_on_input")])
def test_batch_norm_comes_before_the_activation_of_the_layer_that_the_paper_leaves_out(network, name):
    _, pair = pairs(getattr(altered, name))
    place = {0: -2, 1: 1}[network]
    layers = kinds(pair[network])
    assert layers[place] is nn.BatchNorm2d
    assert layers[place + 1] is {0: nn.Tanh, 1: nn.LeakyReLU}[network]
    drawn = pair[network].layers[place].weight
    assert not torch.equal(drawn, torch.ones_like(drawn)) and (drawn - 1).abs().max() < 0.1, "N(1, 0.02)"


def test_with_pixels_from_0_to_1_both_networks_see_what_one_who_scales_images_that_way_would_have():
    plain, pair = pairs(altered.from_0_to_1)
    before_tanh = plain[0].eval().layers[:-1](torch.ones(3, 6))
    assert torch.allclose((pair[0].eval()(torch.ones(3, 6)) + 1) / 2, before_tanh.sigmoid(), atol=1e-6)
    pixels = torch.randint(256, (8, 1, 16, 16), dtype=torch.uint8)
    assert torch.allclose(pair[1](scale(pixels)), plain[1](pixels / 255), atol=1e-5)


def test_without_tanh_pixels_are_what_the_last_convolution_makes():
    plain, pair = pairs(altered.without_tanh)
    assert torch.equal(pair[0].eval()(torch.ones(3, 6)).tanh(), plain[0].eval()(torch.ones(3, 6)))


def test_the_slope_below_zero_is_the_only_thing_that_activations_change():
    plain, pair = pairs(altered.leaky_generator)
    assert [kind for kind in kinds(pair[0]) if kind is not nn.LeakyReLU] == [
        kind for kind in kinds(plain[0]) if kind is not nn.ReLU
    ]
    assert {layer.negative_slope for layer in pair[0].layers if isinstance(layer, nn.LeakyReLU)} == {0.2}
    plain, pair = pairs(altered.relu_discriminator)
    assert kinds(pair[1]) == [nn.ReLU if kind is nn.LeakyReLU else kind for kind in kinds(plain[1])]


def test_uniform_latents_are_uniform_from_minus_1_to_1_and_keep_their_order():
    latents = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    uniform = UniformLatents()(latents)
    assert -1 <= uniform.min() < -0.999 and 0.999 < uniform.max() <= 1
    ranks = uniform.sort().values
    assert (ranks - torch.linspace(-1, 1, 20_000)).abs().max() < 0.03
    assert (uniform[latents.argsort()].diff() >= 0).all()
    assert UniformLatents()(torch.tensor([0.0])) == 0


def test_dropout_in_the_generator_follows_each_activation_and_goes_on_in_eval_mode():
    plain, pair = pairs(altered.dropout_in_generator)
    assert kinds(pair[0]).count(ConstantDropout) == kinds(plain[0]).count(nn.ReLU)
    dropped = ConstantDropout().eval()(torch.ones(10_000))
    assert set(dropped.tolist()) == {0.0, 2.0} and 0.45 < (dropped == 0).float().mean() < 0.55
    latents = torch.randn(2, 6)
    assert not torch.equal(sample(pair[0], latents), sample(pair[0], latents))


@pytest.mark.parametrize("pool", ["average", "max"])
def test_pooling_convolves_at_every_place_and_then_takes_the_mean_or_the_greatest_of_four(pool):
    plain, pair = pairs(getattr(altered, f"{pool}_pooling"))
    first = plain[1].layers[0]
    padded = functional.pad(images(), (1, 2, 1, 2))
    dense = functional.leaky_relu(functional.conv2d(padded, first.weight), 0.2)  # (B, 4, 16, 16)
    four = dense.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)  # (B, 4, 8, 8, 4)
    expected = four.mean(dim=4) if pool == "average" else four.amax(dim=4)
    assert torch.allclose(pair[1].layers[:4](images()), expected, atol=1e-6)
    # at even places it is the strided convolution, so what is changed is what happens to the other three of four
    assert torch.allclose(dense[:, :, ::2, ::2], functional.leaky_relu(first(images()), 0.2), atol=1e-6)


@pytest.mark.parametrize("size", [3, 5])
def test_other_kernels_have_the_same_strides_and_maps(size):
    plain, pair = pairs(getattr(altered, f"kernel_{size}"))
    for before, now in zip(plain, pair, strict=True):
        values = torch.ones(2, 6) if now is pair[0] else images(2)
        for one, other in zip(before.layers, now.layers, strict=True):
            values, expected = other(values), one(values)
            assert values.shape == expected.shape
            if isinstance(one, (nn.Conv2d, nn.ConvTranspose2d)):
                assert other.kernel_size == (size, size) and other.stride == one.stride == (2, 2)


@pytest.mark.parametrize(
    "initialisation, deviation",
    [("paper", 0.02), ("he", math.sqrt(2 / 1.04 / (8 * 9))), ("framework", math.sqrt(1 / 3 / (8 * 9)))],
)
def test_new_kernels_are_drawn_as_the_config_says(initialisation, deviation):
    config = replace(CONFIG, generator_width=8, discriminator_width=8, discriminator_initialisation=initialisation)
    _, (_, discriminator) = pairs(altered.kernel_3, config)
    second = [layer for layer in discriminator.layers if isinstance(layer, nn.Conv2d)][1]
    assert second.weight.shape == (16, 8, 3, 3)
    assert second.weight.std().item() == pytest.approx(deviation, rel=0.1)


def test_hidden_layers_stand_first_in_the_generator_and_before_the_logit_in_the_discriminator():
    plain, (generator, discriminator) = pairs(altered.hidden_layers)
    assert kinds(generator) == [nn.Linear, nn.BatchNorm1d, nn.ReLU, *kinds(plain[0])]
    added = [nn.Linear, nn.LeakyReLU]
    assert kinds(discriminator) == [*kinds(plain[1])[:-2], *added, *kinds(plain[1])[-2:]]
    for layer in (generator.layers[0], discriminator.layers[-4], discriminator.layers[-2]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.35)


def test_a_generator_of_linear_layers_has_about_as_many_weights_in_the_size_of_the_study():
    plain, (generator, _) = pairs(altered.linear_generator, ablation.run_config("paper", "as it is", "letters", 0))
    assert num_parameters(generator) == pytest.approx(num_parameters(plain[0]), rel=0.05)
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds(generator) == [*block, *block, nn.Linear, nn.Unflatten, nn.Tanh]
    assert all(layer.weight.std().item() == pytest.approx(0.02, rel=0.05) for layer in generator.layers[:7:3])


@pytest.mark.parametrize("name", MORE)
def test_gradients_reach_every_weight_of_an_altered_pair(name):
    _, (generator, discriminator) = pairs(getattr(altered, name))
    functional.softplus(-discriminator(generator(torch.randn(4, 6)))).mean().backward()
    for network in (generator, discriminator):
        assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())
