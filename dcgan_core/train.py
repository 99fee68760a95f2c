"""The loop: step; then what is due at intervals: log, evaluate, sample, save. It stands in `_Session.run`."""

from __future__ import annotations

import math
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from dcgan_core import parallel
from dcgan_core.capture import ready, settle
from dcgan_core.config import Config
from dcgan_core.data import Batches, Dataset, load_for
from dcgan_core.data.progress import progress_bar
from dcgan_core.iteration import advance, update_average
from dcgan_core.metrics import Judge
from dcgan_core.metrics.examiner import Examiner
from dcgan_core.runs import BEST, CHECKPOINT, Journal, folder, load_state, read_config, read_metrics
from dcgan_core.runs.continuing import lengthened, moved, same_machine
from dcgan_core.runs.folder import Diverged
from dcgan_core.runs.journal import check_tensorboard
from dcgan_core.runs.lock import locked
from dcgan_core.runs.same_data import note_data
from dcgan_core.runs.stopping import BrokenOff, Stopped, stopping
from dcgan_core.runs.writing import Writer, writes_beside
from dcgan_core.runtime import Machine, choose_machine
from dcgan_core.state import State, draw_latents, random_states, sample, start

__all__ = [
    "BEST",
    "CHECKPOINT",
    "Diverged",
    "State",
    "Stopped",
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
    best.safetensors: the checkpoint with the lowest Fréchet distance; at the end evaluation.json, on both.

    `dataset` replaces loading `config.data` by name, and `judge` the one that belongs to it. Of several processes (see
    `parallel`), process 0 alone writes. Raises `InvalidInput` if `out` already holds something, `Diverged` if a loss is
    no longer finite, and `KeyboardInterrupt`, after saving, when interrupted.
    """
    out = Path(out)
    machine = machine or choose_machine()
    with parallel.joined(machine):
        parallel.check(config, machine)
        parallel.by_first(machine, folder.refuse_used, out, config)
        machine = settle(config, machine)
        images = dataset or parallel.first_then_others(machine, load_for, config, "train", machine.rank == 0)
        config = images.completed(config)
        Batches(images.images, batch_size=config.images_per_step, seed=config.seed)  # too few? say so before writing
        if machine.rank == 0 and (idle := config.without_effect()):
            warnings.warn(f"{' and '.join(idle)} changed, but nothing in this run reads it.", stacklevel=2)
        if tensorboard:
            check_tensorboard()
        state = start(config, machine)
        parallel.by_first(machine, folder.make, out, config, machine)
        with _alone_in(out, machine):
            session = _Session(
                state, images, out, machine, judge=judge, facts={}, progress=progress, tensorboard=tensorboard
            )
            return session.run()


def resume(
    out: str | Path,
    *,
    total_images: int | None = None,
    patience: int | None = None,
    data: str | None = None,
    data_root: str | None = None,
    machine: Machine | None = None,
    dataset: Dataset | None = None,
    judge: Judge | None = None,
    progress: bool = True,
    tensorboard: bool = False,
) -> State:
    """Continues the run in `out` from its last checkpoint, as if it had never stopped; optionally to more images, or
    with another patience.

    `data` and `data_root` say where the data are now, if they have moved; a warning tells of other images than before.
    A run that was stopped before its first checkpoint starts again. The number of processes may be another one; without
    a `machine`, what decides the numbers (device, precision, means) is as it was, see `runs.continuing`.
    """
    out = Path(out)
    machine = machine or same_machine(out)
    with parallel.joined(machine):
        config = parallel.by_all(machine, read_config, out)
        parallel.check(config, machine)
        with _alone_in(out, machine):
            machine = settle(config, machine)
            if (out / CHECKPOINT).exists():
                state, facts = parallel.by_all(machine, folder.load, out, machine, CHECKPOINT)
            else:
                state, facts = start(config, machine), {}
                warnings.warn(f"{str(out)!r} was stopped before its first checkpoint: starting again.", stacklevel=2)
            state.config = lengthened(state.config, total_images, seen=state.images)
            if patience is not None:
                state.config = replace(state.config, patience=patience)
            if dataset is None:
                state.config = moved(state.config, data, data_root)
            images = dataset or parallel.first_then_others(machine, load_for, state.config, "train", machine.rank == 0)
            parallel.by_first(machine, folder.go_back, out, state, facts, machine)
            session = _Session(
                state, images, out, machine, judge=judge, facts=facts, progress=progress, tensorboard=tensorboard
            )
            return session.run()


@contextmanager
def _alone_in(out: Path, machine: Machine) -> Iterator[None]:
    """Inside, no other run writes into the folder: process 0 has it."""
    with ExitStack() as stack:
        parallel.by_first(machine, lambda: stack.enter_context(locked(out)))
        yield


class _Session:
    """One session of training into a folder. `run` is the loop; what it calls can be read one by one.

    `facts` are those of the checkpoint that it goes on from, if there is one: "best" holds the step and the Fréchet
    distance of the best evaluation so far, "line" a line of metrics whose evaluation was broken off.
    """

    def __init__(
        self,
        state: State,
        dataset: Dataset,
        out: Path,
        machine: Machine,
        *,
        judge: Judge | None,
        facts: dict[str, Any],
        progress: bool,
        tensorboard: bool,
    ) -> None:
        config = state.config
        self.state, self.config, self.machine, self.out = state, config, machine, out
        self.best: dict[str, Any] = facts.get("best") or {}
        self.unfinished: dict[str, Any] | None = facts.get("line")
        players = {name: state.judge(name) for name in ("generator", "discriminator")}
        state.sharing = parallel.share_gradients(players, machine)
        parallel.by_first(machine, note_data, out, dataset)
        own = parallel.own_rows(config.images_per_step, config.discriminator_steps, machine)
        self.batches = Batches(
            dataset.images,
            batch_size=config.images_per_step,
            seed=config.seed,
            own=own,
            device=machine.device,
            on_disk=dataset.on_disk,
        )
        if self.batches.note and progress and machine.rank == 0:
            print(self.batches.note, file=sys.stderr)
        self.watched = draw_latents(NUM_WATCHED, config.latent_size, seed=config.seed)
        self.examiner = Examiner(config, judge)
        self.name, self.progress = dataset.name, progress
        self.journal = Journal(out, tensorboard=tensorboard and machine.rank == 0, images=state.images)
        self.writer = Writer(beside=writes_beside(machine))
        self.losses = torch.zeros(2, device=machine.device)  # summed on the device since the last line
        self.num_summed = 0

    def run(self) -> State:
        """Trains to the end: one iteration, then whatever is due after it."""
        state, machine = self.state, self.machine
        with closing(self.journal), closing(self.writer), stopping(machine) as self.asked_to_stop:
            if state.step == 0:
                self.show()
            step, facts = ready(state, machine)
            parallel.by_first(machine, folder.note, self.out, facts | {"images": self.batches.where})
            with self.clock_and_bar():
                self.finish_line()
                while not self.ended():
                    self.add(step(state, self.batches(state.step), machine))
                    due = self.due()
                    found_best = due.line and self.log(due.evaluation)
                    if due.samples or self.ended():
                        self.show()
                    if due.checkpoint or found_best or self.unfinished or self.ended():
                        self.save()
                    self.bar.update(self.config.images_per_step)
                    if due.stop or self.unfinished:
                        parallel.by_first(machine, self.writer.wait)
                        raise Stopped(self.asked_to_stop.number or signal.SIGINT)
            parallel.by_first(machine, self.writer.wait)
            self.compare_best_and_last()
        return state

    def ended(self) -> bool:
        """True after the last iteration, or after an evaluation with which the patience is exhausted."""
        config, every = self.config, self.config.evaluate_every_images
        if self.state.step >= config.total_steps:
            return True
        if not (config.patience and every and self.best):
            return False
        evaluations = self.state.images // every - self.best["step"] * config.images_per_step // every
        return evaluations * every >= config.patience

    def clock_and_bar(self) -> tqdm:
        """Starts counting the seconds of training, and shows the progress bar as long as it is open."""
        self.clock = time.perf_counter() - _seconds_so_far(self.out)  # when it would have begun without any pause
        self.bar = progress_bar(
            f"training on {self.name}",
            total=self.config.total_steps * self.config.images_per_step,
            initial=self.state.images,
            shown=self.progress and self.machine.rank == 0,
        )
        return self.bar

    def add(self, losses: tuple[Tensor, Tensor]) -> None:
        """Takes the losses of one iteration into the next line."""
        self.losses += torch.stack(losses)
        self.num_summed += 1

    def due(self) -> _Due:
        """What has to be done after this iteration. Several processes agree on stopping at each line of the log."""
        config = self.config
        log = self._reached(config.log_every_images)
        at_end = self.state.step == config.total_steps
        evaluation = self._reached(config.evaluate_every_images) or (at_end and config.evaluate_every_images > 0)
        samples = self._reached(config.sample_every_images)
        checkpoint = self._reached(config.checkpoint_every_images)
        stop = bool(self.asked_to_stop)
        if log or self.machine.device.type == "cpu":
            stop = parallel.anywhere(stop, self.machine)  # on a GPU, waits for it
        elif self.machine.num_processes > 1:
            stop = False
        last = stop or at_end
        line = last or log or checkpoint or evaluation
        return _Due(line, evaluation, samples or stop, checkpoint or stop, stop)

    def _reached(self, every_images: int) -> bool:
        """True in the first iteration that reaches or passes a multiple of `every_images`; never for 0."""
        now, before = self.state.images, self.state.images - self.config.images_per_step
        return every_images > 0 and now // every_images > before // every_images

    def log(self, evaluation: bool) -> bool:
        """Writes a line, with measures of samples if asked for; true if this is the best generator so far."""
        self.unfinished = self.describe()
        return self.complete_line(evaluation)

    def complete_line(self, evaluation: bool) -> bool:
        """Measures samples for the line that is unfinished, and writes it; true if it has the best generator so far.

        If a signal breaks the evaluation off, the line stays unfinished, and the next checkpoint holds it.
        """
        assert self.unfinished is not None
        found_best = False
        if evaluation:
            found_best, broken_off = self.evaluate(self.unfinished)
            if broken_off:
                return False
        parallel.by_first(self.machine, self.journal.write, self.unfinished)
        self.unfinished = None
        return found_best

    def finish_line(self) -> None:
        """Makes up for an evaluation that the session before had broken off."""
        if self.unfinished:
            self.complete_line(evaluation=True)
            self.save()
        if self.unfinished:  # broken off again
            raise Stopped(self.asked_to_stop.number or signal.SIGINT)

    def save(self) -> None:
        """Writes the last checkpoint and, if it is the best so far, a copy of it as the best one."""
        folder.save(self.state, self.out, self.machine, self.best, self.unfinished, writer=self.writer)

    def describe(self) -> dict[str, Any]:
        """The line of metrics.jsonl about the iterations since the last one. Waits for the device.

        Raises `Diverged` if a loss is not finite.
        """
        mean = self.losses / self.num_summed
        parallel.average(mean, self.machine)
        discriminator_loss, generator_loss = mean.tolist()
        if not (math.isfinite(discriminator_loss) and math.isfinite(generator_loss)):
            raise Diverged(
                f"a loss is no longer finite at {self.state.images} images: the checkpoint from before is kept; "
                "start again with lower learning rates."
            )
        self.losses.zero_()
        self.num_summed = 0
        self.bar.set_postfix_str(f"loss D {discriminator_loss:.2f}, G {generator_loss:.2f}", refresh=False)
        return {
            "images": self.state.images,
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "seconds": time.perf_counter() - self.clock,
        }

    def evaluate(self, line: dict[str, Any]) -> tuple[bool, bool]:
        """Adds measures of samples to the line. Returns, in every process, whether this is the best generator so far,
        and whether a signal broke the evaluation off.
        """
        begin, broken_off = time.perf_counter(), True

        def examine() -> None:
            nonlocal broken_off
            with suppress(BrokenOff), random_numbers_kept(), self.asked_to_stop.breaking_off():
                self.examiner(self.state, line)
                broken_off = False

        parallel.by_first(self.machine, examine)
        pause = time.perf_counter() - begin
        self.clock += pause  # neither the log nor the bar takes evaluation for training
        if not self.bar.disable:
            self.bar.start_t, self.bar.last_print_t = self.bar.start_t + pause, self.bar.last_print_t + pause
        if parallel.anywhere(self.machine.rank == 0 and broken_off, self.machine):
            return False, True
        distance = line.get("frechet_distance", math.inf)  # only process 0 knows it
        is_best = parallel.anywhere(distance < self.best.get("frechet_distance", math.inf), self.machine)
        if is_best:
            self.best = {"step": self.state.step, "frechet_distance": distance}
        elif not self.bar.disable and (warning := self.examiner.warning(self.best, self.state)):
            tqdm.write(warning, file=sys.stderr)
        return is_best, False

    def compare_best_and_last(self) -> None:
        """Measures both with latents by which neither was chosen, and notes it; a signal breaks that off."""

        def compare() -> None:
            with suppress(BrokenOff), random_numbers_kept(), self.asked_to_stop.breaking_off():
                self.examiner.compare(self.state, self.out, self.machine, self.best)

        parallel.by_first(self.machine, compare)

    def show(self) -> None:
        """Saves a grid of samples from the watched latents."""

        def save_grid() -> None:
            samples, images = sample(self.state.sampler, self.watched), self.state.images
            self.writer(lambda: self.journal.show(samples, images))

        parallel.by_first(self.machine, save_grid)


class _Due(NamedTuple):
    """What has to be done after an iteration."""

    line: bool  # of metrics.jsonl
    evaluation: bool
    samples: bool
    checkpoint: bool
    stop: bool


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Whatever happens inside, a signal too, the random numbers outside go on as if it had not."""
    before = random_states()
    try:
        yield
    finally:
        torch.set_rng_state(before["torch_rng"])
        if "cuda_rng" in before:
            torch.cuda.set_rng_state(before["cuda_rng"])


def _seconds_so_far(out: Path) -> float:
    lines = read_metrics(out)
    return lines[-1]["seconds"] if lines else 0.0
