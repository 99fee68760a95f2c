"""Flags that several commands share, and the first line that a command prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from dcgan_core.config import InvalidInput
from dcgan_core.runs.continuing import AsBefore
from dcgan_core.runtime import Device, Machine, Precision, Switch

Which = Literal["auto", "best", "last"]
Opened = Annotated[Path, arg(metavar="RUN", help="Folder of the run, or of a copy that 'export' has written.")]
Run = Annotated[Path, arg(metavar="RUN", help="Folder of the run, as given to 'train --out'.")]


@dataclass(frozen=True, kw_only=True)
class Computing:
    """Where and by which means a run computes; no part of its config."""

    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    precision: Precision = "auto"
    """Precision of the convolutions. On a GPU with bfloat16, auto measures whether it is faster than float32; on a CPU,
    auto uses it if the chip computes in it; older GPUs with tensor cores compute in float16."""

    compile: bool = False
    """Compile the networks with torch.compile first; it takes a minute."""

    capture: Switch = "auto"
    """Record the whole iteration as one CUDA graph and replay it, which saves most of the waiting between operations.
    auto does so for one process on a GPU, and trains without it if it fails; with on, a failure is an error."""

    tensorboard: bool = False
    """Also write curves and samples for TensorBoard."""

    report: bool = True
    """Write a page about the run, report.html, when it is done."""


@dataclass(frozen=True, kw_only=True)
class Continuing:
    """What a run that goes on computes with; by default, with what its last session did."""

    device: Device | AsBefore = "as-before"
    """Where to compute."""

    precision: Precision | AsBefore = "as-before"
    """Precision of the convolutions."""

    compile: Literal["on", "off"] | AsBefore = "as-before"
    """Compile the networks with torch.compile first; it takes a minute."""

    capture: Switch | AsBefore = "as-before"
    """Record the whole iteration as one CUDA graph and replay it."""

    tensorboard: bool = False
    """Also write curves and samples for TensorBoard."""

    report: bool = True
    """Write a page about the run, report.html, when it is done."""


def announce(machine: Machine) -> Machine:
    """Says what will compute and why, of several processes once; returns the machine as it is."""
    if machine.rank == 0:
        print(machine.reason)
    return machine


def check_least(name: str, value: int, least: int = 1) -> None:
    """Raises `InvalidInput` if the flag's value is below `least`."""
    if value < least:
        raise InvalidInput(f"{name} is {value}, but must be {least} or more.")


def check_seed(seed: int) -> None:
    """Raises `InvalidInput` unless it is a seed."""
    if not 0 <= seed < 2**32:
        raise InvalidInput(f"seed is {seed}, but must be from 0 to 4294967295.")


def check_parent(out: Path) -> None:
    """Raises `InvalidInput` unless the folder that `out` is to be in exists."""
    if not out.absolute().parent.is_dir():
        raise InvalidInput(f"out is {str(out)!r}, but the folder it is to be in does not exist: create it first.")
