"""Networks in which one rule of the recipe is altered and nothing else: for the rules that no field of `Config` holds.

Each function alters a pair that `models.build` has made, so all parameters that the rule does not concern are those of
the unaltered pair of the same seed. New layers are drawn as the config says of their network.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcgan_core.config import Config, Initialisation
from dcgan_core.models import LEAK, Discriminator, Generator, build, keep_signal_of

HIDDEN_UNITS = 100  # of the discriminator's hidden layer; the generator's has as many as there are latents
LINEAR_UNITS = 112  # of each hidden layer of a generator without convolutions
DROPPED = 0.5  # share of the generator's values
Alteration = Callable[[Config, Generator, Discriminator], None]
Hidden = (nn.ReLU, nn.LeakyReLU)


class Line(nn.Module):
    """Values times `slope`, plus `shift`; nothing is learnt."""

    def __init__(self, slope: float, shift: float) -> None:
        super().__init__()
        self.slope, self.shift = slope, shift

    def forward(self, values: Tensor) -> Tensor:
        return self.slope * values + self.shift


class UniformLatents(nn.Module):
    """Latents from N(0, 1) to latents from U(-1, 1), of the same shape: each becomes its own rank."""

    def forward(self, latents: Tensor) -> Tensor:
        return 2 * torch.special.ndtr(latents) - 1


class ConstantDropout(nn.Module):
    """Dropout that goes on when samples are made. Source: Isola et al. 2017 (arXiv:1611.07004), section 3.2.1."""

    def forward(self, values: Tensor) -> Tensor:
        return functional.dropout(values, DROPPED, training=True)


def altered(alteration: Alteration | None) -> Callable[[Config], tuple[Generator, Discriminator]]:
    """What builds the two networks of a config and then alters them; without an alteration, `models.build`."""

    def build_altered(config: Config) -> tuple[Generator, Discriminator]:
        generator, discriminator = build(config)
        if alteration is not None:
            alteration(config, generator, discriminator)
        return generator, discriminator

    return build_altered


def without_generator_norm(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """No batch normalisation in the generator; its layers get the shifts that the normalisation had."""
    layers = list(generator.layers)
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.BatchNorm2d):
            before = next(one for one in reversed(layers[:place]) if hasattr(one, "weight"))
            before.bias = nn.Parameter(torch.zeros(_num_outputs(before)))
    generator.layers = nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.BatchNorm2d)))


def _num_outputs(layer: nn.Module) -> int:
    if isinstance(layer, nn.Linear):
        return layer.out_features
    assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    return layer.out_channels


def norm_on_output(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Batch normalisation on the generator's last layer, too, before the tanh."""
    *layers, last = generator.layers
    generator.layers = nn.Sequential(*layers, _norm(config.num_channels), last)


def norm_on_input(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Batch normalisation on the discriminator's first layer, too, before its activation."""
    first, *layers = discriminator.layers
    discriminator.layers = nn.Sequential(first, _norm(_num_outputs(first)), *layers)


def norm_everywhere(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Batch normalisation on all layers of both; only the discriminator's single output has none."""
    norm_on_output(config, generator, discriminator)
    norm_on_input(config, generator, discriminator)


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight, 1.0, 0.02)
    return norm


def from_0_to_1(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Sigmoid and images from 0 to 1, as the discriminator sees them; outside, they still go from -1 to 1.

    So do the units in which a penalty takes the slope: R1 with the same gamma is as heavy as before for the same change
    of an image.
    """
    *layers, _ = generator.layers
    generator.layers = nn.Sequential(*layers, nn.Sigmoid(), Line(2, -1))
    discriminator.layers = nn.Sequential(Line(0.5, 0.5), *discriminator.layers)


def without_tanh(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Nothing limits the generator's pixels."""
    generator.layers = generator.layers[:-1]


def leaky_generator(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """LeakyReLU in the generator, with the discriminator's slope."""
    _replace(generator, nn.ReLU, lambda: nn.LeakyReLU(LEAK, inplace=True))


def relu_discriminator(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """ReLU in the discriminator."""
    _replace(discriminator, nn.LeakyReLU, lambda: nn.ReLU(inplace=True))


def _replace(network: Generator | Discriminator, old: type[nn.Module], new: Callable[[], nn.Module]) -> None:
    network.layers = nn.Sequential(*(new() if isinstance(layer, old) else layer for layer in network.layers))


def uniform_latents(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Latents from U(-1, 1), as the paper draws them (section 4)."""
    generator.layers = nn.Sequential(UniformLatents(), *generator.layers)


def dropout_in_generator(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Half of the values are dropped after each of the generator's activations, also when samples are made."""
    layers: list[nn.Module] = []
    for layer in generator.layers:
        layers += [layer, ConstantDropout()] if isinstance(layer, Hidden) else [layer]
    generator.layers = nn.Sequential(*layers)


def average_pooling(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """The discriminator's convolutions keep the size, and means of 2x2 pixels halve it after the activation."""
    _pool(discriminator, lambda: nn.AvgPool2d(2))


def max_pooling(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """The same with the greatest of 2x2 pixels."""
    _pool(discriminator, lambda: nn.MaxPool2d(2))


def _pool(discriminator: Discriminator, pool: Callable[[], nn.Module]) -> None:
    layers: list[nn.Module] = []
    for layer in discriminator.layers:
        if isinstance(layer, nn.Conv2d):
            dense = nn.Conv2d(layer.in_channels, layer.out_channels, kernel_size=4, bias=layer.bias is not None)
            dense.load_state_dict(layer.state_dict())
            layers += [nn.ZeroPad2d((1, 2, 1, 2)), dense]  # (B, after, H, W)
        else:
            layers += [layer, pool()] if isinstance(layer, Hidden) else [layer]
    discriminator.layers = nn.Sequential(*layers)


def hidden_layers(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """A hidden fully-connected layer in each: first in the generator, last but one in the discriminator."""
    size = config.latent_size
    first = nn.Linear(size, size, bias=False)
    _draw(first, config.generator_initialisation, slope=0.0)
    generator.layers = nn.Sequential(first, nn.BatchNorm1d(size), nn.ReLU(inplace=True), *generator.layers)
    *layers, logit, flat = discriminator.layers
    assert isinstance(logit, nn.Linear)
    hidden = nn.Linear(logit.in_features, HIDDEN_UNITS)
    logit = nn.Linear(HIDDEN_UNITS, 1, bias=False)
    _draw(hidden, config.discriminator_initialisation, slope=LEAK)
    _draw(logit, config.discriminator_initialisation, slope=1.0)
    discriminator.layers = nn.Sequential(*layers, hidden, nn.LeakyReLU(LEAK, inplace=True), logit, flat)


def linear_generator(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Linear layers alone in the generator, with batch normalisation and ReLU between them as before.

    The hidden ones are so wide that there are about as many weights as in the convolutions.
    """
    pixels = config.num_channels * config.image_size**2
    layers: list[nn.Module] = []
    before = config.latent_size
    for after in (LINEAR_UNITS, LINEAR_UNITS, pixels):
        linear = nn.Linear(before, after, bias=False)
        _draw(linear, config.generator_initialisation, slope=0.0)
        layers += [linear, nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        before = after
    shape = (config.num_channels, config.image_size, config.image_size)
    generator.layers = nn.Sequential(*layers[:-2], nn.Unflatten(1, shape), nn.Tanh())


def kernel_3(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Kernels of 3x3 in both networks."""
    _resize_kernels(config, generator, discriminator, 3)


def kernel_5(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """Kernels of 5x5 in both networks."""
    _resize_kernels(config, generator, discriminator, 5)


def _resize_kernels(config: Config, generator: Generator, discriminator: Discriminator, size: int) -> None:
    """New kernels in place of those of 4x4, with the same stride and the same sizes of maps."""

    def resized(layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.ConvTranspose2d):
            doubling = nn.ConvTranspose2d(
                layer.in_channels, layer.out_channels, size, 2, size // 2, output_padding=1, bias=False
            )
            _draw(doubling, config.generator_initialisation, slope=0.0)
            return doubling
        if isinstance(layer, nn.Conv2d):
            has_bias = layer.bias is not None
            halving = nn.Conv2d(layer.in_channels, layer.out_channels, size, 2, size // 2, bias=has_bias)
            _draw(halving, config.discriminator_initialisation, slope=LEAK)
            return halving
        return layer

    generator.layers = nn.Sequential(*map(resized, generator.layers))
    discriminator.layers = nn.Sequential(*map(resized, discriminator.layers))


@torch.no_grad()
def _draw(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, initialisation: Initialisation, slope: float) -> None:
    """First weights as `models.redraw` draws them, of one layer; `slope` is the activation's, 1 without any."""
    if initialisation == "framework":
        return
    if initialisation == "he":
        keep_signal_of(layer, nn.init.calculate_gain("leaky_relu", slope))
        return
    nn.init.normal_(layer.weight, 0.0, 0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
