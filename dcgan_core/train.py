"""The loop: step; then once per interval log, evaluate, sample, save."""

from __future__ import annotations

import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dcgan_core import parallel
from dcgan_core.capture import capture
from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import Batches, Dataset, load
from dcgan_core.metrics import Judge, judge_for
from dcgan_core.runs import BEST, CHECKPOINT, Journal, folder, load_state, read_config, read_metrics
from dcgan_core.runs.journal import check_tensorboard
from dcgan_core.runtime import Machine, choose_machine
from dcgan_core.state import State, advance, draw_latents, sample, start, update_average

__all__ = [
    "BEST",
    "CHECKPOINT",
    "Diverged",
    "State",
    "advance",
    "draw_latents",
    "load_state",
    "read_config",
    "read_metrics",
    "resume",
    "sample",
    "start",
    "train",
    "update_average",
]

NUM_WATCHED = 64  # fixed latents whose samples are saved again and again
NUM_JUDGED = 2_000  # fixed latents whose samples are measured again and again
OTHER_LATENTS = 1_000_000  # added to the seed: the best is not chosen by the latents that `evaluate` draws


class Diverged(RuntimeError):
    """A loss is no longer finite. The last checkpoint from before is kept."""


def train(
    config: Config,
    out: str | Path,
    *,
    machine: Machine | None = None,
    dataset: Dataset | None = None,
    judge: Judge | None = None,
    progress: bool = True,
    tensorboard: bool = False,
) -> State:
    """Trains a new run into the folder `out` and returns its final state.

    `out` receives config.json, provenance.json, metrics.jsonl, samples/, checkpoint.safetensors and, once evaluated,
    best.safetensors: the checkpoint with the lowest Fréchet distance. `dataset` replaces loading `config.data` by name,
    and `judge` the one that belongs to it. Of several processes (see `parallel`), process 0 alone writes. Raises
    `InvalidInput` if `out` already holds something, `Diverged` if a loss is no longer finite, and `KeyboardInterrupt`,
    after saving, when interrupted.
    """
    out = Path(out)
    machine = machine or choose_machine()
    with parallel.joined(machine):
        parallel.check(config, machine)
        parallel.by_first(machine, folder.refuse_used, out, config)
        images = dataset or parallel.first_then_others(machine, _load_data, config)
        Batches(images.images, batch_size=config.images_per_step, seed=config.seed)  # too few? say so before writing
        if machine.rank == 0 and (idle := config.without_effect()):
            warnings.warn(f"{' and '.join(idle)} changed, but nothing in this run reads it.", stacklevel=2)
        if tensorboard:
            check_tensorboard()
        parallel.by_first(machine, folder.make, out, config, machine)
        return _run(start(config, machine), images, out, machine, judge, {}, progress, tensorboard)


def resume(
    out: str | Path,
    *,
    total_images: int | None = None,
    machine: Machine | None = None,
    dataset: Dataset | None = None,
    judge: Judge | None = None,
    progress: bool = True,
    tensorboard: bool = False,
) -> State:
    """Continues the run in `out` from its last checkpoint, as if it had never stopped; optionally to more images.

    A run that was stopped before its first checkpoint starts again. The number of processes may be another one.
    """
    out = Path(out)
    machine = machine or choose_machine()
    with parallel.joined(machine):
        config = read_config(out)
        parallel.check(config, machine)
        if (out / CHECKPOINT).exists():
            state, facts = folder.load(out, machine, CHECKPOINT)
        else:
            state, facts = start(config, machine), {}
            warnings.warn(f"{str(out)!r} was stopped before its first checkpoint: starting again.", stacklevel=2)
        if total_images is not None:
            if total_images < state.images:
                raise InvalidInput(
                    f"total_images is {total_images}, but the run has already seen {state.images} images."
                )
            state.config = replace(state.config, total_images=total_images)
        images = dataset or parallel.first_then_others(machine, _load_data, state.config)
        parallel.by_first(machine, folder.go_back, out, state, facts, machine)
        return _run(state, images, out, machine, judge, facts.get("best") or {}, progress, tensorboard)


def _run(
    state: State,
    dataset: Dataset,
    out: Path,
    machine: Machine,
    judge: Judge | None,
    best: dict[str, Any],
    progress: bool,
    tensorboard: bool,
) -> State:
    """Trains to the end; `best` holds the step and the Fréchet distance of the best evaluation so far, or nothing."""
    config, first = state.config, machine.rank == 0
    batches = Batches(dataset.to(machine.device).images, batch_size=config.images_per_step, seed=config.seed)
    watched = draw_latents(NUM_WATCHED, config.latent_size, seed=config.seed)
    journal = Journal(out, tensorboard=tensorboard and first, images=state.images)
    examine = _Examiner(config, judge)

    def show() -> None:
        journal.show(sample(state.sampler, watched), state.images)

    if state.step == 0:
        parallel.by_first(machine, show)
    step = capture(state, machine) if machine.captured else advance
    losses = torch.zeros(2, device=machine.device)  # summed on the device since the last log
    summed = 0
    clock = time.perf_counter() - _seconds_so_far(out)
    bar = tqdm(
        desc=f"training on {dataset.name}",
        total=config.total_steps * config.images_per_step,
        initial=state.images,
        unit="img",
        unit_scale=True,
        disable=not (progress and first),
    )
    with closing(journal), _interruption(machine) as interrupted, bar:
        while state.step < config.total_steps:
            losses += torch.stack(step(state, batches(state.step), machine))
            summed += 1
            stop, line = interrupted.is_set(), {}
            if machine.device.type == "cpu" or _due(state, config.log_every_images):
                stop = parallel.anywhere(stop, machine)  # on a GPU, waits for it
            elif machine.num_processes > 1:
                stop = False  # the processes agree at the next log
            last = state.step == config.total_steps or stop
            saving = last or _due(state, config.checkpoint_every_images)
            evaluating = config.evaluate_every_images > 0 and _due(state, config.evaluate_every_images)
            if saving or evaluating or _due(state, config.log_every_images):
                losses /= summed
                parallel.average([losses], machine)
                line = _describe(state, losses.tolist(), time.perf_counter() - clock)  # waits for the device
                bar.set_postfix_str(
                    f"loss D {line['discriminator_loss']:.2f}, G {line['generator_loss']:.2f}", refresh=False
                )
                losses.zero_()
                summed = 0
            if evaluating:
                begin = time.perf_counter()
                parallel.by_first(machine, examine, state, line)
                pause = time.perf_counter() - begin
                clock += pause  # neither the log nor the bar takes evaluation for training
                if not bar.disable:
                    bar.start_t, bar.last_print_t = bar.start_t + pause, bar.last_print_t + pause
                distance = line.get("frechet_distance", math.inf)  # only process 0 knows it
                if parallel.anywhere(distance < best.get("frechet_distance", math.inf), machine):
                    best = {"step": state.step, "frechet_distance": distance}
                    saving = True
            if line:
                parallel.by_first(machine, journal.write, line)
            if last or _due(state, config.sample_every_images):
                parallel.by_first(machine, show)
            if saving:
                folder.save(state, out, machine, best)
            bar.update(config.images_per_step)
            if stop:
                raise KeyboardInterrupt
    return state


class _Examiner:
    """Adds measures of samples, from fixed latents, to a line of metrics; warns once where that is impossible."""

    def __init__(self, config: Config, judge: Judge | None) -> None:
        self.judge = judge
        self.possible = True
        self.latents = draw_latents(NUM_JUDGED, config.latent_size, seed=config.seed + OTHER_LATENTS)

    def __call__(self, state: State, line: dict[str, Any]) -> None:
        if not self.possible:
            return
        devices = [torch.cuda.current_device()] if state.latent_rng.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices):  # a classifier may have to be trained first
                self.judge = self.judge or judge_for(state.config)
                report = self.judge.report(sample(state.sampler, self.latents))
        except (InvalidInput, RuntimeError, OSError, ValueError) as error:
            self.possible = False
            reason = str(error).strip().splitlines()[0].rstrip(".")
            warnings.warn(f"the run goes on without evaluation, which is impossible here: {reason}.", stacklevel=2)
            return
        line |= {name: report[name] for name in ("frechet_distance", "classes_covered", "recognised", "num_samples")}


def _describe(state: State, losses: list[float], seconds: float) -> dict[str, Any]:
    """One line of metrics.jsonl. Raises `Diverged` if a loss is not finite."""
    if not all(map(math.isfinite, losses)):
        raise Diverged(
            f"a loss is no longer finite at {state.images} images: the checkpoint from before is kept; "
            "start again with lower learning rates."
        )
    names = ("discriminator_loss", "generator_loss")
    return {"images": state.images, **dict(zip(names, losses, strict=True)), "seconds": seconds}


def _due(state: State, every_images: int) -> bool:
    """True in the first iteration that reaches or passes a multiple of `every_images`."""
    return state.images // every_images > (state.images - state.config.images_per_step) // every_images


def _load_data(config: Config) -> Dataset:
    return load(
        config.data,
        image_size=config.image_size,
        channels=config.channels,
        root=config.data_root,
        seed=config.seed,
    )


def _seconds_so_far(out: Path) -> float:
    lines = read_metrics(out)
    return lines[-1]["seconds"] if lines else 0.0


@contextmanager
def _interruption(machine: Machine) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that the loop can finish its iteration and save; a second one stops.

    With several processes, torchrun passes signals on, so that one Ctrl-C may arrive twice: then none of them stops.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    several = machine.num_processes > 1
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)[: 1 + several]}

    def note(number: int, frame: object) -> None:
        event.set()
        if not several:
            signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
