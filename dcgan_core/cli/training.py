"""The commands that train: train, resume."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from tyro.conf import OmitArgPrefixes, Positional

from dcgan_core.capture import settle
from dcgan_core.cli.flags import Computing, Continuing, Run, announce
from dcgan_core.config import Config, Recipe, first_line
from dcgan_core.report import advise, in_proportion, outcome, write_report
from dcgan_core.runs import read_config, read_metrics
from dcgan_core.runs.continuing import same_machine
from dcgan_core.runs.ending import read_evaluation
from dcgan_core.runtime import Device, Machine, choose_machine
from dcgan_core.train import Stopped
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
        recipe: Where the settings start from; each flag overrides it. plain is the DCGAN of the chapters; default adds
            R1 and what goes with it, to keep long runs from getting worse; paper is for photographs and long runs.
    """
    machine = choose_machine(
        computing.device, computing.precision, compiled=computing.compile, capture=computing.capture
    )
    machine = announce(settle(config, machine))
    with _rest_said(out, machine):
        train_run(config, out, machine=machine, tensorboard=computing.tensorboard)
    _finish(out, machine, computing.report)


def resume(
    run: Positional[Run],
    computing: OmitArgPrefixes[Continuing],
    total_images: int | None = None,
    patience: int | None = None,
    data: str | None = None,
    data_root: str | None = None,
) -> None:
    """Continue a run that was stopped, as if it had never stopped; or train a finished one for longer.

    It computes as its last session did, unless a flag says otherwise, or this machine cannot; then it says so.

    Example: python -m dcgan_core resume runs/first --total-images 400000

    Args:
        total_images: New length of the whole run in images; by default the length it was started with.
        patience: New number of images without a better evaluation after which the run ends; 0 waits for ever.
        data: Where the run's images are now, if they have moved.
        data_root: Where downloaded data sets are kept now, if they have moved.
    """
    asked = {name: value for name, value in vars(computing).items() if name not in ("tensorboard", "report")}
    machine = announce(settle(read_config(run), same_machine(run, **asked)))
    with _rest_said(run, machine):
        resume_run(
            run,
            total_images=total_images,
            patience=patience,
            data=data,
            data_root=data_root,
            machine=machine,
            tensorboard=computing.tensorboard,
        )
    _finish(run, machine, computing.report)


@contextmanager
def _rest_said(run: Path, machine: Machine) -> Iterator[None]:
    """If the run is stopped inside, says how long the rest will take, and how to go on."""
    try:
        yield
    except Stopped:
        if machine.rank == 0:
            rest = advise(run, read_config(run), read_metrics(run))[0]
            print(f"{rest.seen} To try: {rest.to_try}.")
        raise


def _finish(run: Path, machine: Machine, with_report: bool) -> None:
    """Says in a few lines what has come of the run, what to try next, and where everything is.

    The page is made by the first of several processes. Whatever goes wrong with it, the run is there.
    """
    if machine.rank != 0:
        return
    config, lines = read_config(run), read_metrics(run)
    page, advice = None, advise(run, config, lines)
    if with_report:
        try:
            page, advice = write_report(run, device=cast(Device, machine.device.type))
        except Exception as error:
            warnings.warn(f"the run is done, but its report is not: {first_line(error)}.", stacklevel=2)
    compared = read_evaluation(run)
    print(f"done: {outcome(lines, compared)}; samples are in {run / 'samples'}")
    if compared and (scale := in_proportion(compared.get("best", compared["last"]))):
        print(f"To read that distance: {scale}.")
    print(f"{advice[0].seen} To try: {advice[0].to_try}.")
    print(f"report: {page}" if page else f"more: python -m dcgan_core report {run}")
