"""What a second process is worth: the iteration alone, beside another one that has nothing to do with it, and shared.

`python -m dcgan_core.benchmark.processes` measures it here, in turns, and adds a line to the record. Everything happens
in the same processes, which torchrun starts, each with one thread. In some turns only the first of them works.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dcgan_core import models, parallel
from dcgan_core.benchmark.ladder import LEARNING_RATE, Step
from dcgan_core.benchmark.timing import pictures, spread
from dcgan_core.capture import seconds
from dcgan_core.config import Config
from dcgan_core.data import Batches
from dcgan_core.iteration import advance
from dcgan_core.runs.files import add_line
from dcgan_core.runtime import Machine, choose_machine, provenance
from dcgan_core.state import start

RECORD = Path(__file__).with_suffix(".jsonl")
NUM_PROCESSES = 2
IMAGES = 64  # per process


def iteration(config: Config, machine: Machine) -> Step:
    """The iteration of `train`, in float32; with several processes, each does its share of the config's batch."""
    state = start(config, machine)
    players = {name: state.judge(name) for name in ("generator", "discriminator")}
    state.sharing = parallel.share_gradients(players, machine)
    own = parallel.own_rows(config.images_per_step, config.discriminator_steps, machine)
    images = pictures(config, num_different=500, num_copies=1)
    batches = Batches(images, batch_size=config.images_per_step, seed=config.seed, own=own)
    return lambda: torch.stack(advance(state, batches(state.step), machine))


def work(machine: Machine, num_turns: int, num_steps: int) -> dict[str, Any]:
    """Seconds of an iteration in each way, by turns, as this process sees it; to be called in all of them.

    alone           the first process trains, the others wait
    side by side    each trains a run of its own with as many images; nobody waits for anybody
    shared          all train one run, with as many images each
    split           all train one run, with the images of one
    exchange        no training: one average of as many numbers as both networks have gradients
    """
    config = Config(channels=1, generator_learning_rate=LEARNING_RATE, discriminator_learning_rate=LEARNING_RATE)
    by_itself = replace(machine, rank=0, num_processes=1)
    own = iteration(replace(config, batch_size=IMAGES), by_itself)
    shared = iteration(replace(config, batch_size=IMAGES * machine.num_processes), machine)
    split = iteration(replace(config, batch_size=IMAGES), machine)
    gradients = torch.zeros(sum(map(models.num_parameters, models.build(config))))

    def exchange() -> torch.Tensor:
        parallel.average(gradients, machine)
        return gradients

    steps: dict[str, tuple[Step, bool]] = {  # what, and whether all of them do it
        "alone": (own, False),
        "side by side": (own, True),
        "shared": (shared, True),
        "split": (split, True),
        "exchange": (exchange, True),
    }
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(num_turns + 1):
        for name, (step, by_all) in steps.items():
            dist.barrier()
            took = seconds(step, num_steps, machine.device) / num_steps if by_all or machine.rank == 0 else 0.0
            if turn:  # the first one warms up
                found[name].append(took)
    return {"seconds": found, "gradient_bytes": gradients.nbytes}


def speeds(line: dict[str, Any]) -> dict[str, list[float]]:
    """Of a line of the record: images per second of all processes together, relative to one alone, in the same turn."""
    times, size = line["seconds"], line["num_processes"]
    images = {"alone": 1, "side by side": size, "shared": size, "split": 1}
    return {
        name: spread([num * alone / own for own, alone in zip(times[name], times["alone"], strict=True)])
        for name, num in images.items()
    }


def main() -> None:
    """Starts the processes, or is one of them."""
    parser = argparse.ArgumentParser(prog="python -m dcgan_core.benchmark.processes", description=__doc__)
    parser.add_argument("--out", type=Path, default=RECORD, help="file of measurements, one JSON object a line")
    parser.add_argument("--turns", type=int, default=9, help="turns that count")
    parser.add_argument("--steps", type=int, default=5, help="iterations of each way in a turn")
    given = parser.parse_args()
    if "WORLD_SIZE" not in os.environ:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={NUM_PROCESSES}", "-m"]
        own = ["dcgan_core.benchmark.processes", *sys.argv[1:]]
        once = {"OMP_NUM_THREADS": "1"}
        raise SystemExit(subprocess.run([sys.executable, "-m", *launcher, *own], env=os.environ | once).returncode)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # of what else runs here
    machine = choose_machine("cpu", "float32")
    with parallel.joined(machine):
        found = work(machine, given.turns, given.steps)
        parts = parallel.gather(found["seconds"], machine)
    if machine.rank == 0:
        # a turn has ended when the last process is done
        slowest = {
            name: [max(each) for each in zip(*(part[name] for part in parts), strict=True)] for name in found["seconds"]
        }
        how = {"images_per_process": IMAGES, "steps": given.steps, "load_before": load}
        command = f"python -m dcgan_core.benchmark.processes --turns {given.turns} --steps {given.steps}"
        facts = provenance(machine) | {"threads": torch.get_num_threads(), "command": command}
        line = {"num_processes": machine.num_processes, **how, **found, "seconds": slowest, "machine": facts}
        add_line(given.out, json.dumps(line))
        for name, speed in speeds(line).items():
            print("{:14}{:5.2f} ({:.2f}-{:.2f})".format(name, *speed))


if __name__ == "__main__":
    main()
