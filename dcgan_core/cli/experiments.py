"""The commands that need no run: benchmark, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from dcgan_core.benchmark import measure, pictures, table
from dcgan_core.benchmark.ladder import LEARNING_RATE, ladder
from dcgan_core.cli.flags import announce, check_least, check_parent
from dcgan_core.config import Config
from dcgan_core.laboratory import compare as play_comparison
from dcgan_core.laboratory import outcomes
from dcgan_core.laboratory.protocol import DATA, METHODS
from dcgan_core.runtime import Device, Precision, Switch, choose_machine


def benchmark(
    out: Path | None = None,
    image_size: int = 32,
    channels: Literal[1, 3] = 1,
    generator_width: int = 48,
    discriminator_width: int = 24,
    batch_size: int = 64,
    steps: int = 20,
    repeats: int = 5,
    device: Device = "auto",
    precision: Precision = "auto",
    compile: Switch = "auto",
) -> None:
    """Time the training loop, from the way tutorials write it to the fastest here, one change per row.

    All rows must have the same losses, or nothing is timed and the exit code is not 0. A row that cannot run says why.

    Example: python -m dcgan_core benchmark --image-size 64 --batch-size 128 --steps 200 --out speed.json

    Args:
        out: JSON file to write the result to, in addition to the table.
        image_size: Side of the square images in pixels: 16, 32, 64 or 128.
        channels: Channels of the images: 1 for grey, 3 for colour.
        generator_width: Channels of the generator's widest-resolution block.
        discriminator_width: Channels of the discriminator's first block.
        batch_size: Real images in each iteration.
        steps: Iterations in a block; each row is timed in one block per repeat.
        repeats: Blocks of each row, timed in turns with those of the others.
        device: Where to compute; auto takes a GPU if there is one.
        precision: Precision of the low-precision row and those below it; auto takes the one that suits the chip best.
        compile: Whether to try torch.compile; auto does if there is a compiler.
    """
    check_least("steps", steps)
    check_least("repeats", repeats)
    if out:
        check_parent(out)
    config = Config(
        image_size=image_size,
        channels=channels,
        generator_width=generator_width,
        discriminator_width=discriminator_width,
        batch_size=batch_size,
        generator_learning_rate=LEARNING_RATE,
        discriminator_learning_rate=LEARNING_RATE,
    )
    machine = announce(choose_machine(device, precision))
    rows = ladder(config, machine, compile=compile)
    result = measure(rows, config, pictures(config), machine, num_steps=steps, num_repeats=repeats)
    print(table(result))
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def compare(
    out: Path,
    data: tuple[str, ...] = DATA[:4],
    methods: tuple[str, ...] = tuple(METHODS),
    num_seeds: int | None = None,
    num_updates: int | None = None,
    data_root: str = "data",
    device: Device = "cpu",
    capture: Switch = "auto",
) -> None:
    """Compare seven methods against mode collapse on data sets with known modes, and print a table.

    Runs can be added later: what the file already holds is not played again. The whole takes hours on a CPU.

    Example: python -m dcgan_core compare --data ring --num-seeds 5 --out comparison.jsonl

    Args:
        out: File of outcomes, one JSON object per line; it may already exist.
        data: Some of ring, grid, letters, stacked digits, stacked MNIST. The last two need the rates that pilots on
            letters chose, in the same file.
        methods: Some of minimax, non-saturating, weight clipping, gradient penalty, unrolled, spectral norm and
            minibatch std.
        num_seeds: Seeds of each method; by default 8 on points and 5 on images.
        num_updates: Generator updates; by default 500 on letters and 2,000 on all other data.
        data_root: Folder that downloaded data sets are kept in.
        device: Where to train the networks of images.
        capture: Whether to record their iterations as CUDA graphs; auto does on a GPU. For a fair comparison, it is
            done for all methods or for none, so a failure is an error.
    """
    for name, value in (("num_seeds", num_seeds), ("num_updates", num_updates)):
        if value is not None:
            check_least(name, value)
    check_parent(out)
    play_comparison(
        out,
        data=data,
        methods=methods,
        num_seeds=num_seeds,
        num_updates=num_updates,
        root=data_root,
        machine=choose_machine(device, "float32", capture=capture),
    )
    print(outcomes.table(outcomes.read(out)))
