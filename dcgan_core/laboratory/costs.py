"""What each change of `laboratory.longer` costs: the time of an image as a multiple of the time as it is.

`python -m dcgan_core.laboratory.costs` measures it here and adds a line to the record; `laboratory.lengths` shows it.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcgan_core.capture import ready
from dcgan_core.config import Config
from dcgan_core.data import load
from dcgan_core.data.batches import Batches
from dcgan_core.laboratory.games import ratios_in_turns
from dcgan_core.laboratory.longer import AS_IT_IS, CHANGES, run_config
from dcgan_core.laboratory.studies import command_line, read_lines
from dcgan_core.runs.files import add_line
from dcgan_core.runtime import Device, Machine, Precision, choose_machine, provenance
from dcgan_core.train import start

RECORD = Path(__file__).with_suffix(".jsonl")
DATA = "letters"  # 32 px, grey; the data change the costs only by their size
LENGTH = 200_000  # images; decides what the schedules do


def relative_costs(
    configs: dict[str, Config], images: Tensor, machine: Machine, num_iterations: int, num_turns: int
) -> dict[str, list[float]]:
    """Time per image of each config over that of the first: [median, lowest, highest] of the turns.

    Args:
        configs: Name to config.
        images: Real images, uint8 (N, C, S, S).
        machine: Where to compute. On a GPU that can record iterations, they are recorded, as in `train`.
        num_iterations: Iterations of each in a turn.
        num_turns: Turns that count. One more comes before them, to warm up.
    """
    steps = {name: _step(config, images.to(machine.device), machine) for name, config in configs.items()}
    first = next(iter(configs))
    ratios = ratios_in_turns(steps, first, num_turns, num_iterations, machine.device)
    shares = {name: configs[first].images_per_step / config.images_per_step for name, config in configs.items()}
    return {
        name: [shares[name] * each for each in (statistics.median(found), min(found), max(found))]
        for name, found in ratios.items()
    }


def _step(config: Config, images: Tensor, machine: Machine) -> Callable[[], Tensor]:
    state = start(config, machine)
    batches = Batches(images, batch_size=config.images_per_step, seed=config.seed)
    step, _ = ready(state, machine)
    return lambda: torch.stack(step(state, batches(state.step), machine))


def runs() -> dict[str, Config]:
    """The run of each change, the one as it is first."""
    return {change: run_config(DATA, change, 0, LENGTH) for change in dict.fromkeys((AS_IT_IS, *CHANGES))}


def measure(
    configs: dict[str, Config], images: Tensor, machine: Machine, num_iterations: int, num_turns: int
) -> dict[str, Any]:
    """A line of the record: the costs, and what they were measured on; see `relative_costs`."""
    return {
        "costs": relative_costs(configs, images, machine, num_iterations, num_turns),
        "iterations": num_iterations,
        "turns": num_turns,
        "machine": provenance(machine) | {"threads": torch.get_num_threads()},
    }


def latest(record: Path = RECORD) -> dict[str, dict[str, Any]]:
    """The last measurement of each kind of device: cpu or cuda, to a line of the record."""
    return {line["machine"]["device_kind"]: line for line in read_lines(record)}


def study(
    out: Path = RECORD,
    device: Device = "auto",
    precision: Precision = "auto",
    num_iterations: int = 20,
    num_turns: int = 9,
) -> None:
    """Measures all changes, prints their costs, and adds a line to the record.

    Args:
        out: File of measurements, one JSON object a line; it may exist.
        device: Where to compute; auto takes a GPU if there is one.
        precision: Precision of the convolutions.
        num_iterations: Iterations of each change in a turn.
        num_turns: Turns that count.
    """
    images = load("glyphs", image_size=Config.image_size, split="test").images
    found = measure(runs(), images, choose_machine(device, precision), num_iterations, num_turns)
    for change, spread in found["costs"].items():
        print(f"{change:30}" + "{:.2f} ({:.2f} to {:.2f})".format(*spread), flush=True)
    add_line(out, json.dumps(found))


if __name__ == "__main__":
    command_line(study, "python -m dcgan_core.laboratory.costs")
