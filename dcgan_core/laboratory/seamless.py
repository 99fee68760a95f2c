"""A texture that tiles without a seam: a generator of convolutions only, whose noise wraps around.

After the spatial GAN (Jetchev, Bergmann, Vollgraf 2016, arXiv:1611.08207): noise is a field, of any size, and each cell
of it becomes eight by eight pixels. Where the convolutions fill in beyond the edge from the opposite edge, no place of
the picture is an edge.

`python -m dcgan_core.laboratory.seamless` trains and measures what the record that ships with the package holds (about
eleven minutes on one core).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from dcgan_core.data import scale
from dcgan_core.data.pebbles import pebbles
from dcgan_core.laboratory.short_run import GENERATORS, kept, play, record_seeds
from dcgan_core.models import Discriminator, double

NOISE = 8  # channels of the noise
CELL = 8  # pixels that a cell of noise becomes, in each direction
PATCH = 32  # pixels of what the discriminator sees
MARGIN = 2  # cells around it, so that the discriminator never sees what the edge was filled in with
RECORD = Path(__file__).with_suffix(".jsonl")
TOTAL_IMAGES = 150_000


class TextureGenerator(nn.Module):
    """Noise (B, 8, h, w) to pictures (B, 3, 8h, 8w) in [-1, 1]: three doublings, and no layer that knows a place.

    `wrapped` is how the convolutions fill in beyond the edge: from the opposite edge, or with zeros.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = [4 * width, 2 * width, width]
        layers: list[nn.Module] = [nn.Conv2d(NOISE, widths[0], 3, padding=1), nn.ReLU()]
        for before, after in ((widths[0], widths[1]), (widths[1], widths[2])):
            layers += [double(before, after, "nearest"), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [double(widths[2], 3, "nearest"), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, noise: Tensor) -> Tensor:
        return self.layers(noise)

    def wrap(self, wrapped: bool = True) -> TextureGenerator:
        """Fills in from the opposite edge from now on, or with zeros; returns the generator."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.padding_mode = "circular" if wrapped else "zeros"
        return self


class Middle(nn.Module):
    """A generator of textures as the discriminator sees it: without the margin, (B, 3, 32, 32)."""

    def __init__(self, generator: TextureGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, noise: Tensor) -> Tensor:
        edge = MARGIN * CELL
        return self.generator(noise)[:, :, edge:-edge, edge:-edge]


def cells(side: int, num: int, rng: torch.Generator) -> Tensor:
    """Noise for `num` square pictures of `side` cells: (num, 8, side, side)."""
    return torch.randn(num, NOISE, side, side, generator=rng)


def train_texture(texture: Tensor, *, total_images: int, seed: int = 0, **options: Any) -> TextureGenerator:
    """Trains a generator on patches of one picture (3, H, W) in [-1, 1], from anywhere in it."""
    torch.manual_seed(seed)
    generator = TextureGenerator()
    discriminator = Discriminator(
        image_size=PATCH, channels=3, width=16, norm="none", minibatch_std=True, initialisation="he"
    )
    patches = texture.unfold(1, PATCH, 1).unfold(2, PATCH, 1)  # (3, rows, columns, 32, 32), all of them, not copied

    def draw_real(num: int, rng: torch.Generator) -> Tensor:
        rows, columns = (torch.randint(patches.shape[axis], (num,), generator=rng) for axis in (1, 2))
        return patches[:, rows, columns].transpose(0, 1)

    def draw_noise(num: int, rng: torch.Generator) -> Tensor:
        return cells(PATCH // CELL + 2 * MARGIN, num, rng)

    average = play(
        Middle(generator), discriminator, draw_real, draw_noise, total_images=total_images, seed=seed, **options
    )
    assert isinstance(average, Middle)
    return average.generator


def seam(pictures: Tensor) -> Tensor:
    """How much stronger the change is across the seam than inside, for each picture (B, 3, S, S), laid side by side.

    The mean difference between a pixel and its neighbour across the edge, left to right and top to bottom, divided by
    that between neighbours at the borders of cells inside: 1 where nobody could find the seam. At borders of cells,
    because the networks know these from the pixels between, and every edge lies at one.
    """
    across, inside = torch.zeros(len(pictures)), torch.zeros(len(pictures))
    for turned in (pictures, pictures.transpose(2, 3)):
        change = (turned.roll(-1, dims=3) - turned).abs().mean(dim=(1, 2))  # (B, S)
        borders = change[:, CELL - 1 :: CELL]
        across += borders[:, -1]
        inside += borders[:, :-1].mean(dim=1)
    return across / inside


@torch.no_grad()
def measure(generator: TextureGenerator, texture: Tensor, num: int = 400) -> dict[str, Any]:
    """`seam` of pictures of 64 pixels: with wrapped edges, with edges that are not, and cut out of the texture."""
    noise = cells(8, num, torch.Generator().manual_seed(1))
    found = {name: seam(generator.wrap(name == "wrapped")(noise)) for name in ("wrapped", "not wrapped")}
    found["cut out"] = seam(texture.unfold(1, 64, 24).unfold(2, 64, 24).permute(1, 2, 0, 3, 4).flatten(0, 1)[:num])
    return {
        name: {"num": len(values), "mean": float(values.mean()), "deviation": float(values.std())}
        for name, values in found.items()
    }


def training_texture() -> Tensor:
    """The one picture that the recorded generators have learnt from, (3, 512, 512)."""
    return scale(torch.from_numpy(pebbles(512)).permute(2, 0, 1)[None])[0]


def recorded_texture(seed: int = 0) -> TextureGenerator:
    """The generator of that seed that ships with the package."""
    return kept(TextureGenerator(), GENERATORS / f"pebbles-{seed}.safetensors")


def record(seeds: tuple[int, ...] = (0,), out: Path = RECORD) -> None:
    """Train and measure the seeds that the file does not hold yet."""
    texture = training_texture()

    def found(seed: int) -> tuple[nn.Module, dict[str, Any]]:
        generator = train_texture(texture, total_images=TOTAL_IMAGES, seed=seed)
        return generator, {"seam": measure(generator, texture)}

    record_seeds(out, "pebbles", seeds, found, total_images=TOTAL_IMAGES)


if __name__ == "__main__":
    tyro.cli(record, description=__doc__)
