"""The commands that train: train, resume."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from dcgan_core.capture import settle
from dcgan_core.cli.flags import Computing, Continuing, Run, announce
from dcgan_core.config import Config, Recipe
from dcgan_core.runs import read_config
from dcgan_core.runs.continuing import same_machine
from dcgan_core.runtime import Machine, choose_machine
from dcgan_core.train import resume as resume_run
from dcgan_core.train import train as train_run


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
    machine = announce(settle(config, machine))
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
    machine = announce(settle(read_config(run), same_machine(run, **asked)))
    resume_run(run, total_images=total_images, machine=machine, tensorboard=computing.tensorboard)
    _say_done(run, machine)


def _say_done(run: Path, machine: Machine) -> None:
    if machine.rank == 0:
        print(f"done: see {run / 'samples'}, or run: python -m dcgan_core evaluate {run}")
