"""The parts of the report on a GPU, each a program of its own: python -m dcgan_core.benchmark.gpu_parts PART ...

`gpu_report` starts them one by one, so that one which hangs or fails takes no other with it. Each writes one JSON
object. In the small form everything is so small that a CPU is done within seconds, and the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcgan_core.benchmark.kernels import profile
from dcgan_core.benchmark.ladder import LEARNING_RATE, Row, Step, core_loop, ladder
from dcgan_core.benchmark.timing import measure, pictures
from dcgan_core.capture import Unavailable, settle
from dcgan_core.config import RECIPES, Config
from dcgan_core.runtime import Machine, Switch, choose_machine, provenance

TRAINING_SHARE = 0.6  # of a recording's time, with loading before it; the rest is for measuring what was trained

SPEED = {  # what is timed
    "32": Config(
        channels=1, batch_size=128, generator_learning_rate=LEARNING_RATE, discriminator_learning_rate=LEARNING_RATE
    ),
    "64": Config(
        image_size=64,
        channels=3,
        generator_width=64,
        discriminator_width=64,
        batch_size=128,
        generator_learning_rate=LEARNING_RATE,
        discriminator_learning_rate=LEARNING_RATE,
    ),
}
RECIPE = RECIPES["default"]
RECORDED = {  # what is trained to be kept: name to config
    "glyphs32_gpu": Config(**RECIPE, total_images=600_000),
    "glyphs64_gpu": Config(
        **RECIPE,
        image_size=64,
        channels=3,
        generator_width=64,
        discriminator_width=64,
        batch_size=128,
        generator_learning_rate=5e-4,
        discriminator_learning_rate=5e-4,
        total_images=1_000_000,
    ),
    "mnist32_gpu": Config(**RECIPE, data="mnist", total_images=400_000),
    "fashion32_gpu": Config(**RECIPE, data="fashion-mnist", total_images=400_000),
}


@dataclass(frozen=True)
class Asked:
    """What a part is asked for: whether in the small form, where to leave its files, and where data lie."""

    small: bool
    folder: Path
    data_root: str
    seconds: float  # until it will be killed


def facts(asked: Asked) -> dict[str, Any]:
    """The machine, and the versions of what computes on it."""
    found = provenance(choose_machine()) | {"threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        found |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "capability": [card.major, card.minor],
            "multiprocessors": card.multi_processor_count,
            "memory_bytes": card.total_memory,
        }
    return found


def steps(size: str, asked: Asked, *, compile: Switch) -> dict[str, Any]:
    """The speed ladder."""
    config, images = _timed(size, asked)
    rows = ladder(config, choose_machine(), compile=compile, num_workers=0 if asked.small else 2)
    num_steps, num_repeats = (1, 1) if asked.small else (40, 5)
    return measure(rows, config, images, choose_machine(), num_steps=num_steps, num_repeats=num_repeats)


def precisions(size: str, asked: Asked) -> dict[str, Any]:
    """The iteration as `train` computes it, in float32 and in the lower precision of the chip, in turns."""
    config, images = _timed(size, asked)
    full, low = choose_machine(precision="float32"), choose_machine(precision="bfloat16")
    rows = [Row("float32", core_loop, full), Row("bfloat16", core_loop, low)]
    num_steps, num_repeats = (1, 1) if asked.small else (100, 5)
    return measure(rows, config, images, low, num_steps=num_steps, num_repeats=num_repeats)


def training(size: str, asked: Asked) -> dict[str, Any]:
    """`train` as a whole beside its bare iteration."""
    from dcgan_core.benchmark.whole import whole  # here: only this part and the recordings need tqdm and safetensors

    config, images = _timed(size, asked)
    if asked.small:
        config = replace(
            config,
            log_every_images=40,
            sample_every_images=80,
            checkpoint_every_images=80,
            evaluate_every_images=80,
        )
    step, machine, why_not = as_trained(config, images)
    min_seconds, num_steps = (0, 2) if asked.small else (8, 100)
    with tempfile.TemporaryDirectory() as scratch:
        found = whole(config, images, machine, step, Path(scratch, "run"), min_seconds=min_seconds, num_steps=num_steps)
    return found | _what_happened(machine, why_not)


def kernels(size: str, asked: Asked) -> dict[str, Any]:
    """Where the time of an iteration goes, as `train` computes it and without a recorded graph."""
    config, images = _timed(size, asked)
    step, machine, why_not = as_trained(config, images)
    found = {"as_trained": profile(step, machine.device)}
    del step
    eager = replace(machine, capture="off")
    found["eager"] = profile(core_loop(config, images, eager), machine.device)
    return found | _what_happened(machine, why_not)


def expenses(asked: Asked) -> dict[str, Any]:
    """What each change against a decline in long runs costs: a line for the record of `laboratory.costs`."""
    from dcgan_core.laboratory import costs  # here: it needs the packages of a run

    configs = costs.runs()
    if asked.small:
        configs = {name: _small(config) for name, config in list(configs.items())[:2]}
    images = pictures(next(iter(configs.values())), num_different=50, num_copies=20)
    num_iterations, num_turns = (1, 1) if asked.small else (50, 5)
    return costs.measure(configs, images, choose_machine(), num_iterations, num_turns)


def recording(name: str, asked: Asked) -> dict[str, Any]:
    """Trains a run to keep, or as much of it as the time allows, and exports it."""
    from dcgan_core.recorded import export
    from dcgan_core.train import train

    config = replace(RECORDED[name], data_root=asked.data_root)
    if asked.small:
        config = replace(_small(config), total_images=80, sample_every_images=40, evaluate_every_images=0)
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch, "run")
        alarm = threading.Timer(TRAINING_SHARE * asked.seconds, signal.raise_signal, [signal.SIGINT])
        alarm.daemon = True
        alarm.start()
        with suppress(KeyboardInterrupt):  # it has saved
            train(config, run, machine=training_machine(config))
        alarm.cancel()
        _set_command(run, f"python -m dcgan_core.benchmark.gpu_parts record-{name}")
        export(run, asked.folder / name)
    record = json.loads((asked.folder / name / "record.json").read_text(encoding="utf-8"))
    return {
        "folder": f"{asked.folder.name}/{name}",
        "images": record["metrics"][-1]["images"],
        "asked_images": config.total_images,
        "seconds": record["metrics"][-1]["seconds"],
        "evaluation": record["evaluation"],
        "bytes": {path.name: path.stat().st_size for path in sorted((asked.folder / name).iterdir())},
    }


def training_machine(config: Config) -> Machine:
    """As `train` is used: with the iteration recorded as a graph where there is a card, in what is faster."""
    return settle(config, choose_machine())


def as_trained(config: Config, images: Tensor) -> tuple[Step, Machine, str | None]:
    """The iteration as `train` computes it, on which machine, and why it was not recorded if that failed."""
    machine = training_machine(config)
    if machine.no_graph:
        return core_loop(config, images, machine), machine, machine.failure
    try:
        return core_loop(config, images, replace(machine, capture="on")), replace(machine, capture="on"), None
    except Unavailable as error:
        machine = replace(machine, capture="off")
        return core_loop(config, images, machine), machine, error.cause


def _what_happened(machine: Machine, why_not: str | None) -> dict[str, Any]:
    """The machine's provenance, with whether the iteration was recorded."""
    happened = provenance(machine) | {"captured": machine.no_graph is None}
    return {"machine": happened, "not_captured_because": why_not}


def _timed(size: str, asked: Asked) -> tuple[Config, Tensor]:
    if asked.small:
        config = _small(SPEED[size])
        return config, pictures(config, num_different=50, num_copies=2)
    return SPEED[size], pictures(SPEED[size])


def _small(config: Config) -> Config:
    return replace(config, image_size=16, latent_size=8, generator_width=4, discriminator_width=4, batch_size=8)


def _set_command(run: Path, command: str) -> None:
    """Says in the run's provenance how to make it again, which the run cannot know."""
    path = run / "provenance.json"
    history = json.loads(path.read_text(encoding="utf-8"))
    history[-1]["command"] = command
    path.write_text(json.dumps(history, indent=2) + "\n", encoding="utf-8")


PARTS: dict[str, Callable[[Asked], dict[str, Any]]] = {
    "machine": facts,
    "ladder-64": partial(steps, "64", compile="off"),
    "ladder-32": partial(steps, "32", compile="off"),
    "precision-64": partial(precisions, "64"),
    "train-64": partial(training, "64"),
    "train-32": partial(training, "32"),
    "profile-64": partial(kernels, "64"),
    "costs-32": expenses,
    **{f"record-{name}": partial(recording, name) for name in RECORDED},
    "ladder-64-compiled": partial(steps, "64", compile="on"),
}


def main() -> None:
    """Runs one part and writes what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--folder", type=Path, required=True, help="folder for what the part leaves beside it")
    parser.add_argument("--small", action="store_true", help="the small form")
    parser.add_argument("--data-root", default="data", help="folder of the data sets")
    parser.add_argument("--seconds", type=float, default=600, help="time limit that a recording should respect")
    given = parser.parse_args()
    result = PARTS[given.part](
        Asked(small=given.small, folder=given.folder, data_root=given.data_root, seconds=given.seconds)
    )
    on_card = torch.cuda.is_available()
    result |= {"peak_memory_bytes": torch.cuda.max_memory_allocated() if on_card else None}
    given.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
