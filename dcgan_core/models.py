"""Generator and discriminator as stacks derived from (image size, channels, width), and their initialisation.

Shapes at the end of a line are (B, channels, height, width); w is the network's width, S the image size.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as normalise_spectrum

from dcgan_core.config import Config, Initialisation, Norm, Upsampling

FIRST_SIZE = 4  # pixels; every generator starts, and every discriminator ends, with maps of 4x4
LEAK = 0.2  # slope of the discriminator's activation below 0
STD_GROUP_SIZE = 4  # images whose differences are shown to the discriminator together


def num_blocks(image_size: int) -> int:
    """How many doublings lead from 4x4 to the image: 2 for 16 pixels, 3 for 32, 4 for 64, 5 for 128."""
    return (image_size // FIRST_SIZE).bit_length() - 1


class Generator(nn.Module):
    """Latents (B, latent_size) to images (B, channels, S, S) in [-1, 1].

    Linear and reshape to 4x4, then one block for each doubling. Batch normalisation and ReLU follow every layer but
    the last, which ends in tanh without batch normalisation. Layers followed by batch normalisation have no bias: the
    normalisation would subtract it again.

    Source: Radford, Metz, Chintala 2016 (arXiv:1511.06434), section 3 and figure 1.
    """

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        width: int,
        latent_size: int,
        upsampling: Upsampling = "transposed",
        initialisation: Initialisation = "paper",
    ) -> None:
        super().__init__()
        self.latent_size = latent_size
        blocks = num_blocks(image_size)
        widths = [width * 2**i for i in reversed(range(blocks))]  # 64 pixels: 8w, 4w, 2w, w
        layers: list[nn.Module] = [
            nn.Linear(latent_size, widths[0] * FIRST_SIZE**2, bias=False),
            nn.Unflatten(1, (widths[0], FIRST_SIZE, FIRST_SIZE)),  # (B, widths[0], 4, 4)
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for before, after in itertools.pairwise(widths):
            layers += [double(before, after, upsampling), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]  # twice as wide
        layers += [double(widths[-1], channels, upsampling), nn.Tanh()]  # (B, channels, S, S)
        self.layers = nn.Sequential(*layers)
        redraw(self, initialisation, slope=0.0)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)


class Discriminator(nn.Module):
    """Images (B, channels, S, S) in [-1, 1] to logits (B,): positive means "real".

    One strided convolution for each halving down to 4x4, then one linear layer. LeakyReLU 0.2 everywhere; batch
    normalisation everywhere but after the first convolution. There is no sigmoid: it belongs in the loss, where it
    can be computed without overflow. Source: Radford, Metz, Chintala 2016 (arXiv:1511.06434), section 3.

    Four options are not a part of that recipe. `dropout` zeroes whole channels after each block. `norm` is "batch",
    "layer" (over all of one image, as Gulrajani et al. 2017 recommend beside their penalty, section 4) or "none".
    `spectral_norm` divides every weight by its largest singular value, estimated by one power iteration per forward
    pass in train mode (Miyato et al. 2018, arXiv:1802.05957, algorithm 1); a convolution's weight counts as the matrix
    (after, before * 16), as in that paper. `minibatch_std` adds the feature map of
    `MinibatchStd` before the linear layer.
    """

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        width: int,
        dropout: float = 0.0,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        minibatch_std: bool = False,
        initialisation: Initialisation = "paper",
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(num_blocks(image_size))]  # 64 pixels: w, 2w, 4w, 8w
        layers: list[nn.Module] = []
        for block, after in enumerate(widths):
            before = widths[block - 1] if block else channels
            layers.append(nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1, bias=norm == "none"))  # H/2, W/2
            if block and norm != "none":
                layers.append(nn.BatchNorm2d(after) if norm == "batch" else nn.GroupNorm(1, after))
            layers.append(nn.LeakyReLU(LEAK, inplace=True))
            if dropout:
                layers.append(nn.Dropout2d(dropout))
        features = widths[-1] * FIRST_SIZE**2
        if minibatch_std:
            layers.append(MinibatchStd())  # (B, widths[-1] + 1, 4, 4)
            features += FIRST_SIZE**2
        layers += [nn.Flatten(), nn.Linear(features, 1, bias=False), nn.Flatten(0)]  # (B,)
        self.layers = nn.Sequential(*layers)
        redraw(self, initialisation, slope=LEAK)
        if spectral_norm:
            for layer in self.layers:
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    normalise_spectrum(layer)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).float()  # losses are computed in float32, whatever the layers are


class MinibatchStd(nn.Module):
    """Appends to (B, C, H, W) one map that says how much the images of a group differ: (B, C + 1, H, W).

    Features (B, C) without places, as of points, are fine, too: (B, C + 1).

    The map holds, for every image of a group of 4 (or of the whole batch, if 4 does not divide it), the standard
    deviation over the group, averaged over channels and places. Images that look alike give themselves away.
    Source: Karras et al. 2018 (arXiv:1710.10196), section 3; groups of 4 as in its released code, here of neighbours.
    """

    def forward(self, maps: Tensor) -> Tensor:
        size = STD_GROUP_SIZE if len(maps) % STD_GROUP_SIZE == 0 else len(maps)
        groups = maps.to(torch.promote_types(maps.dtype, torch.float32)).unflatten(0, (-1, size))  # (B / 4, 4, C, H, W)
        variance = groups.var(dim=1, unbiased=False)
        deviation = (variance + 1e-8).sqrt().flatten(1).mean(dim=1)  # (B / 4,); the root of 0 has no gradient
        extra = deviation.repeat_interleave(size).to(maps.dtype)  # (B,)
        return torch.cat([maps, extra.view(-1, *[1] * (maps.dim() - 1)).expand_as(maps[:, :1])], dim=1)


def double(before: int, after: int, upsampling: Upsampling) -> nn.Module:
    """Maps (B, before, H, W) to (B, after, 2H, 2W), learning how to fill in the new pixels.

    The transposed convolution has kernel 4 and stride 2, so every output pixel is reached by the same number of input
    pixels; with kernel 3 it would not be (Odena, Dumoulin, Olah 2016, doi:10.23915/distill.00003).
    """
    if upsampling == "transposed":
        return nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1, bias=False)
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
    )


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Draws every weight from N(0, 0.02), every normalisation's scale from N(1, 0.02), and sets every shift to 0.

    Source for N(0, 0.02): Radford et al. 2016, section 4. The paper says "all weights"; that a batch-norm scale is
    drawn around 1 is what its released code does (a scale around 0 would switch the layer off).

    A layer whose units have n inputs then makes a signal 0.02 sqrt(n) times as large: 0.4 for n = 384 (24 channels),
    1.3 for n = 4,096. Normalisation makes up for that; narrow networks without it start with slopes close to 0.
    What PyTorch draws of itself when a layer is made, and initialisation="framework" keeps, is U(-b, b) with
    b = 1 / sqrt(n), which makes it 1 / sqrt(3) = 0.58 for every n (a variant of He et al. 2015, arXiv:1502.01852).
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def redraw(network: nn.Module, initialisation: Initialisation, slope: float) -> None:
    """Draws the weights of a network whose activations have that slope below 0, or keeps what the framework drew."""
    if initialisation == "paper":
        initialise(network)
    elif initialisation == "he":
        keep_signal(network, slope)


@torch.no_grad()
def keep_signal(network: nn.Module, slope: float) -> None:
    """Draws weights with which a signal is as large behind every layer as before it, without any normalisation.

    A layer whose units have n inputs gets weights from N(0, g / sqrt(n)), where g^2 = 2 / (1 + slope^2) makes up for
    what the activation behind it takes away; behind the last layer there is none, and g is 1. Every shift is set to 0.
    Source: He et al. 2015 (arXiv:1502.01852), section 2.2.
    """
    *hidden, last = (
        layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    )
    for layer in (*hidden, last):
        keep_signal_of(layer, 1.0 if layer is last else nn.init.calculate_gain("leaky_relu", slope))


@torch.no_grad()
def keep_signal_of(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, gain: float) -> None:
    """The same for one layer: weights from N(0, gain / sqrt(n))."""
    num_inputs = layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):  # an output pixel meets one in stride^2 of the kernel's places
        num_inputs = layer.weight[:, 0].numel() // math.prod(layer.stride)
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(num_inputs))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def build(config: Config) -> tuple[Generator, Discriminator]:
    """The two freshly initialised networks that a config describes, on the CPU."""
    generator = Generator(
        image_size=config.image_size,
        channels=config.num_channels,
        width=config.generator_width,
        latent_size=config.latent_size,
        upsampling=config.upsampling,
        initialisation=config.generator_initialisation,
    )
    discriminator = Discriminator(
        image_size=config.image_size,
        channels=config.num_channels,
        width=config.discriminator_width,
        dropout=config.dropout,
        norm=config.discriminator_norm,
        spectral_norm=config.spectral_norm,
        minibatch_std=config.minibatch_std,
        initialisation=config.discriminator_initialisation,
    )
    return generator, discriminator


def least_bytes(config: Config) -> int:
    """Memory that training the two networks takes at least, from their convolutions' weights, without making them.

    Each weight has a gradient and two moments beside it, and the generator's are there twice, for the moving average.
    """
    blocks = num_blocks(config.image_size)

    def convolutions(width: int, kernel: int) -> int:
        return kernel**2 * (width * config.num_channels + sum(width**2 * 2 ** (2 * i + 1) for i in range(blocks - 1)))

    first = FIRST_SIZE**2 * config.latent_size * config.generator_width * 2 ** (blocks - 1)
    generator = first + convolutions(config.generator_width, 4 if config.upsampling == "transposed" else 3)
    return 4 * (5 * generator + 4 * convolutions(config.discriminator_width, 4))


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
