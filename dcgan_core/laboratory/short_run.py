"""A short run of any two networks on tensors of any shape, in memory: the default recipe's game.

Beside it, how generators that were trained in this way are kept, and what was measured of them, seed by seed.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dcgan_core.iteration import AVERAGE_WARMUP, update_average
from dcgan_core.laboratory.studies import read_lines
from dcgan_core.losses import GAMES
from dcgan_core.runs.files import add_line
from dcgan_core.runtime import choose_machine, provenance
from dcgan_core.steps import update_discriminator, update_generator

GENERATORS = Path(__file__).parent / "generators"
Network = TypeVar("Network", bound=nn.Module)
Draw = Callable[[int, torch.Generator], Tensor]  # so many rows, and where the random numbers come from


def play(
    generator: nn.Module,
    discriminator: nn.Module,
    draw_real: Draw,
    draw_latents: Draw,
    *,
    total_images: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    r1_gamma: float = 0.5,
    ema_halflife_images: int = 5_000,
    seed: int = 0,
    every: Callable[[int, nn.Module], None] | None = None,
) -> nn.Module:
    """Trains the two networks on the non-saturating game with R1, and returns the generator's moving average.

    Not as in the default recipe are the rate, which is the same for both, and Adam's second beta, 0.99.
    `draw_real` and `draw_latents` give a batch. The discriminator must judge each sample alone, without batch
    normalisation. `every` is called after each iteration with the images seen and the average. The average is in eval
    mode.
    """
    game, rng = GAMES["non-saturating"], torch.Generator().manual_seed(seed)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.5, 0.99))
        for network in (generator, discriminator)
    ]
    average = copy.deepcopy(generator).requires_grad_(False)
    gamma = torch.tensor(r1_gamma)
    for images in range(batch_size, total_images + 1, batch_size):
        fake = generator(draw_latents(batch_size, rng))
        real = draw_real(batch_size, rng)
        update_discriminator(discriminator, optimizers[1], game.discriminator, real, fake, r1=gamma)
        update_generator(discriminator, optimizers[0], game.generator, fake)
        halflife = min(ema_halflife_images, AVERAGE_WARMUP * images)
        update_average(average, generator, 0.5 ** (batch_size / halflife))
        if every is not None:
            every(images, average)
    return average.eval()


def normal(size: int) -> Draw:
    """Latents (B, size) from the normal distribution."""
    return lambda num, rng: torch.randn(num, size, generator=rng)


def keep(network: nn.Module, path: Path) -> None:
    """Writes the weights of a network, in float16."""
    path.parent.mkdir(exist_ok=True)
    weights = network.state_dict().items()
    save_file({name: value.half() if value.is_floating_point() else value for name, value in weights}, path)


def kept(network: Network, path: Path) -> Network:
    """The network with the weights that `keep` wrote, in float32 and eval mode."""
    network.load_state_dict(load_file(path))
    return network.eval().requires_grad_(False)


def record_seeds(
    out: Path,
    name: str,
    seeds: Sequence[int],
    found: Callable[[int], tuple[nn.Module, dict[str, Any]]],
    **settings: Any,
) -> None:
    """Adds a line to `out` for each seed that it does not hold yet, and keeps its generator beside it.

    `found` trains the generator of a seed and measures it.
    """
    done = {line["seed"] for line in read_lines(out)}
    for seed in seeds:
        if seed not in done:
            begin, threads = time.perf_counter(), torch.get_num_threads()
            generator, measured = found(seed)
            keep(generator, GENERATORS / f"{name}-{seed}.safetensors")
            seconds = round(time.perf_counter() - begin)
            line = {"seed": seed, **settings, **measured, "seconds": seconds, "threads": threads}
            add_line(out, json.dumps(line | {"provenance": provenance(choose_machine("cpu", "float32"))}))
