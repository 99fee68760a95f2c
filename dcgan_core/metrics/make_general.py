"""Makes the network of `general` that ships with the package: `python -m dcgan_core.metrics.make_general`.

No photograph is needed. Most of what it is shown are drawn scenes of the kind that are called dead leaves: opaque
shapes of all sizes, one over the other, as objects hide each other in the world. That networks can learn good features
from images that are far from realistic is the finding of Baradad et al. 2021 (arXiv:2106.05963, abstract). Beside them
are clothes and letters in random colours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import tyro
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate, normalize
from tqdm import tqdm

from dcgan_core.data import load, scale
from dcgan_core.metrics.general import FILE, NUM_GENERAL_FEATURES, SIZE, General
from dcgan_core.runtime import choose_machine, provenance

NUM_LEAVES, NUM_CLOTHES, NUM_LETTERS = 6_000, 2_500, 1_500
NUM_SHAPES = 32  # of a drawn scene, the later ones over the earlier ones, and smaller
BATCH_SIZE = 64  # images, of each of which two crops are shown
STEPS = 1_000
TEMPERATURE = 0.2


def leaves(num_images: int) -> Tensor:
    """Scenes of discs and rectangles, plain, shaded or striped, in related colours: uint8 (N, 3, 64, 64)."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="xy")

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(num_images, 1, 1).uniform_(low, high)

    main, spread = torch.rand(num_images, 3, 1, 1), torch.rand(num_images, 1, 1, 1)
    images = torch.rand(num_images, 3, 1, 1).repeat(1, 1, SIZE, SIZE)
    for number in range(NUM_SHAPES):
        radius = (0.06 * uniform(0.004, 1) ** -0.6).clamp(max=1.2) * (1 - 0.6 * number / NUM_SHAPES)
        angle, right, down = uniform(0, torch.pi), x - uniform(-1.1, 1.1), y - uniform(-1.1, 1.1)
        along = (right * angle.cos() + down * angle.sin()) / radius
        across = (down * angle.cos() - right * angle.sin()) / (radius * uniform(0.3, 1))
        disc, box = along**2 + across**2 < 1, torch.maximum(along.abs(), across.abs()) < 0.8
        inside = torch.where(uniform(0, 1) < 0.6, disc, box)
        shade = along.clamp(-1, 1) * uniform(-0.3, 0.3)
        stripes = uniform(-0.4, 0.4).clamp(min=0) * torch.sin(uniform(2, 32) * (x * angle.sin() + y * angle.cos()))
        colour = (main + (torch.rand(num_images, 3, 1, 1) * 2 - 1) * spread).clamp(0, 1)
        painted = (colour + (shade + stripes)[:, None]).clamp(0, 1)
        images = torch.where(inside[:, None], painted, images)
    return (images * 255).round().to(torch.uint8)


def coloured(images: Tensor) -> Tensor:
    """Grey uint8 images (N, 1, S, S) in two random colours instead of black and white, two in five as they are."""
    bright, dark = torch.rand(2, len(images), 3, 1, 1)
    as_it_is = torch.rand(len(images), 1, 1, 1) < 0.4
    bright, dark = torch.where(as_it_is, 1, bright), torch.where(as_it_is, 0, dark)
    grey = interpolate(images.float() / 255, SIZE, mode="bilinear", antialias=True, align_corners=False)
    return ((grey * bright + (1 - grey) * dark) * 255).round().clamp(0, 255).to(torch.uint8)


def crop(images: Tensor) -> Tensor:
    """A random crop of each of the images (B, 3, S, S), mirrored or not, in a slightly other light.

    Blur, noise and strong casts are left out, although they are usual (SimCLR: Chen et al. 2020, arXiv:2002.05709,
    section 3): the network must not learn that they do not matter.
    """
    num_images = len(images)
    side = torch.empty(num_images).uniform_(0.45, 1)
    where = torch.zeros(num_images, 2, 3)
    where[:, 0, 0], where[:, 1, 1] = side * (torch.randint(2, (num_images,)) * 2 - 1), side
    where[:, :, 2] = (torch.rand(num_images, 2) * 2 - 1) * (1 - side)[:, None]
    grid = affine_grid(where, list(images.shape), align_corners=False)
    cropped = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    contrast = torch.empty(num_images, 1, 1, 1).uniform_(0.7, 1.1)
    return (cropped * contrast + torch.empty(num_images, 3, 1, 1).uniform_(-0.15, 0.15)).clamp(-1, 1)


def projected() -> nn.Sequential:
    """What takes features to points where they are compared: for the training only, it does not ship."""
    return nn.Sequential(nn.Linear(NUM_GENERAL_FEATURES, 256), nn.ReLU(), nn.Linear(256, 64))


def contrastive_loss(points: Tensor) -> Tensor:
    """How well each of the points (2B, 64) tells its partner, B rows further on, from all others by their angle.

    Source: Chen et al. 2020 (arXiv:2002.05709), equation 1.
    """
    points = normalize(points, dim=1)
    likeness = (points @ points.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    partners = (torch.arange(len(points)) + len(points) // 2) % len(points)
    return cross_entropy(likeness, partners)


def make_general(root: Path = Path("data"), out: Path = FILE, steps: int = STEPS) -> dict[str, Any]:
    """Trains the network and writes it as float16 with a report beside it; 5 minutes on one core.

    Args:
        root: Folder that downloaded data sets are kept in.
        out: File of the weights.
        steps: Batches to show.
    """
    torch.manual_seed(0)
    clothes, letters = load("fashion-mnist", root=root).images, load("glyphs").images
    shown = [leaves(500) for _ in range(NUM_LEAVES // 500)]
    for images, number in ((clothes, NUM_CLOTHES), (letters, NUM_LETTERS)):
        shown.append(coloured(images[torch.randperm(len(images))[:number]]))
    images = torch.cat(shown)
    network, projection = General().train(), projected()
    optimizer = torch.optim.AdamW([*network.parameters(), *projection.parameters()], weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    losses = []
    for _ in tqdm(range(steps), desc="training the network", unit="batch"):
        batch = scale(images[torch.randint(len(images), (BATCH_SIZE,))])
        loss = contrastive_loss(projection(network.features(torch.cat([crop(batch), crop(batch)]))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    tensors = network.state_dict().items()
    save_file({name: value.half() if value.is_floating_point() else value for name, value in tensors}, out)
    report = {
        "loss_of_the_last_100_batches": float(torch.stack(losses[-100:]).mean()),
        "num_images": len(images),
        "steps": steps,
        "num_parameters": sum(parameter.numel() for parameter in network.parameters()),
    } | provenance(choose_machine("cpu", "float32"))
    report["command"] = "python -m dcgan_core.metrics.make_general"
    out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    return report


if __name__ == "__main__":
    print(json.dumps(tyro.cli(make_general, prog="python -m dcgan_core.metrics.make_general"), indent=2))
