"""Measures a run while it trains, and its best and last generators at the end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dcgan_core.config import Config, InvalidInput, first_line
from dcgan_core.metrics.evaluation import Judge, judge_for
from dcgan_core.models import Generator
from dcgan_core.runs.ending import EVALUATION
from dcgan_core.runs.files import write_json
from dcgan_core.runs.folder import BEST, load_state
from dcgan_core.runtime import Machine
from dcgan_core.state import State, draw_latents, sample

NUM_JUDGED = 2_000  # fixed latents whose samples are measured again and again
OTHER_LATENTS = 1_000_000  # added to the seed: the best is not chosen by the latents that it is measured with at last
VALUES_AT_ONCE = 2**25  # of all pixels of the samples that are measured together: 128 MB
REPORTED = ("frechet_distance", "classes_covered", "recognised", "num_samples")
SCALE = ("matched_distance", "real_distance", "num_matched")  # by which a distance can be read
LONG_AGO = 5  # evaluations since the best one; and at least as many images as had led to it


class Examiner:
    """Adds measures of samples, from fixed latents, to a line of metrics; warns once where that is impossible."""

    def __init__(self, config: Config, judge: Judge | None) -> None:
        self.judge = judge
        self.possible = True
        self.told_of = -1  # the step of the best evaluation of which it was said that it is long ago
        self.latents = draw_latents(NUM_JUDGED, config.latent_size, seed=config.seed + OTHER_LATENTS)

    def __call__(self, state: State, line: dict[str, Any]) -> None:
        if self.possible:
            with self.or_never_again():
                report = self.report(state.sampler, state.config, self.latents)
                line |= {name: report[name] for name in REPORTED}

    @contextmanager
    def or_never_again(self) -> Iterator[None]:
        """If what is inside fails, no more is measured; the run goes on."""
        try:
            yield
        except (InvalidInput, RuntimeError, OSError, ValueError) as error:
            self.possible = False
            why = first_line(error)
            warnings.warn(f"the run goes on without evaluation, which is impossible here: {why}.", stacklevel=4)

    def report(self, generator: Generator, config: Config, latents: torch.Tensor) -> dict[str, Any]:
        """What the judge says of the samples of these latents."""
        device = next(generator.parameters()).device
        if device.type == "mps":  # lacks the antialiased resizing that the classifier begins with
            device = torch.device("cpu")
        if self.judge is None:  # a classifier may have to be trained first
            self.judge = judge_for(config, device=device)
        self.judge = self.judge.to(device)
        values = config.num_channels * config.image_size**2
        parts = latents.split(max(1, VALUES_AT_ONCE // values))
        if len(parts) == 1:
            return self.judge.report(sample(generator, latents, device=device))
        return self.judge.report_of_parts(sample(generator, part, device=device) for part in parts)

    def warning(self, best: dict[str, Any], state: State) -> str | None:
        """What to say if the best evaluation is long ago, once for each best one."""
        config = state.config
        since, until = state.step - best.get("step", state.step), best.get("step", 0)
        long_ago = since >= until and since * config.images_per_step >= LONG_AGO * config.evaluate_every_images
        if not long_ago or until == self.told_of:
            return None
        self.told_of = until
        return (
            f"the best evaluation was {since * config.images_per_step:,} images ago, at "
            f"{until * config.images_per_step:,} (Fréchet distance {best['frechet_distance']:.1f}); it is kept. With "
            "--patience, a run ends by itself."
        )

    def compare(self, state: State, out: Path, machine: Machine, best: dict[str, Any]) -> None:
        """Writes evaluation.json: the same measures of the best and of the last generator, with latents of their own.

        The lowest of many measured distances is too low, since chance had a part in it; these are not. Nothing is
        written for a run without evaluations.
        """
        if self.possible and best:
            with self.or_never_again():
                write_json(out / EVALUATION, self.both(state, out, machine, best))

    def both(self, state: State, out: Path, machine: Machine, best: dict[str, Any]) -> dict[str, Any]:
        """The measures of the best and of the last generator, by these names, with the scale to read them by."""
        config = state.config
        latents = draw_latents(NUM_JUDGED, config.latent_size, seed=config.seed)

        def measured(one: State) -> dict[str, Any]:
            report = self.report(one.sampler, config, latents)
            return {"images": one.images, **{name: report.get(name) for name in REPORTED + SCALE}}

        found = {"last": measured(state)}
        if best["step"] == state.step:
            found["best"] = found["last"]
        elif (out / BEST).exists():
            alone = replace(machine, rank=0, local_rank=0, num_processes=1, compiled=False)
            found["best"] = measured(load_state(out, alone, checkpoint="best"))
        return found
