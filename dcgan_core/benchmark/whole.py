"""How fast a whole training run is, with all that it logs, draws, saves and measures, beside its bare iteration."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dcgan_core.benchmark.ladder import Step
from dcgan_core.benchmark.timing import spread
from dcgan_core.capture import seconds
from dcgan_core.config import Config
from dcgan_core.data import Dataset, scale
from dcgan_core.metrics import Judge, letter_classifier, moments
from dcgan_core.metrics.examiner import NUM_JUDGED
from dcgan_core.metrics.features import measure
from dcgan_core.runs import Journal, folder
from dcgan_core.runtime import Machine
from dcgan_core.train import NUM_WATCHED, draw_latents, sample, train

NUM_REFERENCES = 2_000
NUM_BLOCKS = 5  # of bare iterations before the run, and as many after it
NUM_PAUSES = 3  # of each kind


@dataclass(frozen=True)
class Clocked(Judge):
    """A judge of letters that notes when each of its reports was done."""

    ends: list[float] = field(default_factory=list)

    def report(self, images: Tensor) -> dict[str, Any]:
        found = super().report(images)
        self.ends.append(time.perf_counter())
        return found


def clocked_judge(images: Tensor) -> Clocked:
    """Judges by the first of the uint8 letters (N, C, S, S): as much work as by those that nobody has trained on."""
    classifier = letter_classifier()
    reference, _ = measure(classifier, scale(images[:NUM_REFERENCES]))
    return Clocked(classifier, "letter classifier", moments(reference), reference, classifier.num_classes)


def whole(
    config: Config, images: Tensor, machine: Machine, step: Step, out: Path, *, min_seconds: float, num_steps: int
) -> dict[str, Any]:
    """Times `train` on uint8 images (N, C, S, S) into the new folder `out`, in turns with `step`, its bare iteration.

    The clock runs from the first evaluation to the last, so that neither loading nor recording counts, and all that
    happens at intervals happens as often as in a long run: the images between are a multiple of every interval, and as
    many as the bare iteration gets through in `min_seconds` or more.
    """
    seconds(step, num_steps, machine.device)  # warms up
    bare = _bare_speeds(config, machine, step, num_steps)
    intervals = (
        config.log_every_images,
        config.sample_every_images,
        config.checkpoint_every_images,
        config.evaluate_every_images,
    )
    period = math.lcm(*intervals)
    num_periods = max(1, math.ceil(min_seconds * statistics.median(bare) / period))
    config = replace(config, total_images=config.evaluate_every_images + num_periods * period + config.images_per_step)
    judge = clocked_judge(images).to(machine.device)
    assert isinstance(judge, Clocked)
    state = train(config, out, machine=machine, dataset=Dataset("letters", images, None, ()), judge=judge)
    at_intervals = config.total_steps * config.images_per_step // config.evaluate_every_images
    ends = judge.ends[:at_intervals]  # without what is measured once more at the end of the run
    assert len(ends) == at_intervals, "the run was not evaluated"
    shown = [_shown(config, number) for number in range(1, len(ends) + 1)]
    speeds = [(shown[i + 1] - shown[i]) / (ends[i + 1] - ends[i]) for i in range(len(ends) - 1)]
    speed = (shown[-1] - shown[0]) / (ends[-1] - ends[0])
    bare += _bare_speeds(config, machine, step, num_steps)

    latents = draw_latents(NUM_JUDGED, config.latent_size, seed=1)
    watched = draw_latents(NUM_WATCHED, config.latent_size, seed=config.seed)
    pauses = {
        "evaluation": lambda: judge.report(sample(state.sampler, latents, device=machine.device)),
        "samples": lambda: Journal(out).show(sample(state.sampler, watched), state.images),
        "checkpoint": lambda: folder.save(state, out, machine, {}),
    }
    return {
        "config": config.to_dict(),
        "images": shown[-1] - shown[0],
        "evaluations": len(speeds),
        "images_per_second": speed,
        "between_evaluations": spread(speeds),
        "bare_images_per_second": spread(bare),
        "ratio": speed / statistics.median(bare),
        "pause_seconds": {name: spread(_times(pause)) for name, pause in pauses.items()},
    }


def _bare_speeds(config: Config, machine: Machine, step: Step, num_steps: int) -> list[float]:
    num_images = num_steps * config.images_per_step
    return [num_images / seconds(step, num_steps, machine.device) for _ in range(NUM_BLOCKS)]


def _shown(config: Config, number: int) -> int:
    """Images shown when the evaluation of this number, from 1, was due."""
    return math.ceil(number * config.evaluate_every_images / config.images_per_step) * config.images_per_step


def _times(pause: Callable[[], object]) -> list[float]:
    """Seconds of each of a few pauses. All of them end on the CPU, so that nothing is left to wait for."""
    times = []
    for _ in range(NUM_PAUSES):
        begin = time.perf_counter()
        pause()
        times.append(time.perf_counter() - begin)
    return times
