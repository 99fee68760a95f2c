"""What to make of a run, and what to try next: from its log, its settings and what was found in it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgan_core.config import Config
from dcgan_core.report.examination import Answer, Nearest

FEW_IMAGES = 1_000
LONG_AGO = 0.75  # of the run: a best that is older is one that was lost again
WORSE = 1.15  # times the best distance: more than what other latents change
BETTER = 0.95  # times the best distance of the first two thirds: still getting better
MANY_COPIES = 0.05  # share of the samples, beyond that of held-out images, that chance does not explain

TREATMENTS = {
    "overflow": "start again with lower learning rates",
    "discriminator too strong": "lower --discriminator-learning-rate, or make its task harder with --augment or "
    "--instance-noise 0.1",
    "collapsed": "start again with both learning rates halved",
    "circling": "bring the two learning rates closer together",
}
WORDS = {
    "overflow": "A loss is no longer finite.",
    "discriminator too strong": "The discriminator is nearly always right, and its gradients are steep.",
    "collapsed": "The samples vary less than half as much as the real images: the generator has collapsed, or is about "
    "to.",
    "circling": "The samples change completely within a few updates: the players run in circles.",
}


@dataclass(frozen=True)
class Advice:
    """What was seen, and what to try."""

    seen: str  # a sentence
    to_try: str  # a phrase that begins with a verb
    is_worry: bool = True


def advise(
    run: str | Path,
    config: Config,
    lines: Sequence[dict[str, Any]],
    *,
    num_images: int | None = None,
    answers: Sequence[Answer] = (),
    nearest: Nearest | None = None,
) -> list[Advice]:
    """What is worth saying of a run, the most important first; never empty.

    `run` is what to type for its folder, `lines` are those of its metrics, `num_images` the images of its data, and
    `answers` those of the tree.
    """
    if not lines:
        return [Advice("The run has no measurements yet.", f"train on: {_resume(run)}")]
    found = [Advice(WORDS[one.illness], treatment(one.illness, config)) for one in answers if one.answer == "yes"]
    seen, seconds = lines[-1]["images"], lines[-1]["seconds"]
    whole = config.total_steps * config.images_per_step
    if seen < whole:
        rest = duration((whole - seen) * seconds / seen) if seen else "unknown time"
        found.append(
            Advice(f"The run was stopped at {seen:,} of {whole:,} images; the rest takes {rest}.", _resume(run))
        )
    if nearest is not None and nearest.copies and nearest.copies.share > nearest.copies.real_share + MANY_COPIES:
        share, real_share = nearest.copies
        found.append(
            Advice(
                f"{share:.0%} of the samples seem to be copies of training images; of held-out images, "
                f"{real_share:.0%} do.",
                "stop earlier, show the discriminator changed images with --augment, or add images",
            )
        )
    found += _from_distances(run, config, lines, whole)
    if num_images is not None and num_images < FEW_IMAGES and not config.augment:
        times = round(seen / num_images)
        found.append(
            Advice(
                f"There are only {num_images:,} images, and each was shown {times:,} times.",
                "add images, or vary them with --augment translation colour (and flip, if mirror images could be real)",
            )
        )
    more = f"draw more samples: python -m dcgan_core sample {shlex.quote(str(run))} --out grid.png"
    nothing = Advice("Nothing looks ill.", more, is_worry=False)
    return found or [nothing]


def treatment(illness: str, config: Config) -> str:
    """What may help against it in the next run, of what this one did not have."""
    if illness == "collapsed" and not config.minibatch_std:
        return f"{TREATMENTS[illness]}, or with --minibatch-std"
    if illness == "circling":
        more = f"raise --r1-gamma from {config.r1_gamma:g}" if config.r1_gamma else "take --recipe default"
        return f"{TREATMENTS[illness]}, or {more}"
    return TREATMENTS[illness]


def _from_distances(run: str | Path, config: Config, lines: Sequence[dict[str, Any]], whole: int) -> list[Advice]:
    """What the Fréchet distances over time say; nothing for a run that was stopped, or measured only twice."""
    measured = [(line["images"], line["frechet_distance"]) for line in evaluated(lines)]
    seen = lines[-1]["images"]
    if not measured:
        if config.evaluate_every_images:
            return []
        return [Advice("The samples were never measured.", "leave --evaluate-every-images as it is")]
    best_at, best = min(measured, key=lambda one: one[1])
    last_at, last = measured[-1]
    if best_at < LONG_AGO * last_at and last > WORSE * best:
        falling = "let the rates fall with --rate-schedule cosine"
        instead = falling if config.r1_gamma else "take --recipe default"
        return [
            Advice(
                f"The best samples came at {best_at:,} images (distance {best:.3g}); at {last_at:,} it was {last:.3g}.",
                f"train only {best_at:,} images, or {instead}; the best is kept",
            )
        ]
    early = [distance for at, distance in measured if at <= 2 / 3 * seen]
    improved = early and min(early) > 0 and best_at > 2 / 3 * seen and best < BETTER * min(early)
    if seen >= whole and improved and last <= WORSE * best:
        seconds = duration(lines[-1]["seconds"])
        return [
            Advice(
                f"The samples were still getting better (distance {min(early):.3g}, then {best:.3g}).",
                f"train twice as long, which takes {seconds} more: {_resume(run)} --total-images {2 * whole}",
                is_worry=False,
            )
        ]
    return []


def evaluated(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of metrics with a Fréchet distance."""
    return [line for line in lines if math.isfinite(line.get("frechet_distance") or math.nan)]


def best_of(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line with the lowest Fréchet distance; of equal ones, the first."""
    return min(measured, key=lambda line: line["frechet_distance"])


def outcome(lines: Sequence[dict[str, Any]], compared: dict[str, Any] | None = None) -> str:
    """What a run has come to, in one phrase: how long, and how good at its best and at last.

    `compared` holds the measures of both with latents that chose neither, where the run has come to its end.
    """
    if not lines:
        return "nothing was trained"
    text = f"{lines[-1]['images']:,} images in {duration(lines[-1]['seconds'])}"
    if compared:
        best, last = compared.get("best", compared["last"]), compared["last"]
        text += f", best at {best['images']:,} (Fréchet distance {best['frechet_distance']:.3g}"
        return text + (")" if best == last else f"; of the last {last['frechet_distance']:.3g})")
    if measured := evaluated(lines):
        best = best_of(measured)
        text += f", best at {best['images']:,} (Fréchet distance {best['frechet_distance']:.3g})"
    return text


def in_proportion(measured: dict[str, Any]) -> str | None:
    """What the measures' distance would be for real images, in a phrase; None if there are too few to tell."""
    values = [measured.get(name) for name in ("num_matched", "real_distance", "matched_distance")]
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        return None
    num, real, matched = values
    return f"{num:,} real images score {real:.3g} against others, and as many samples {matched:.3g}"


def duration(seconds: float) -> str:
    """About how long that is, in words."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {max(1, round(seconds))} seconds" if seconds >= 1.5 else "about a second"


def _resume(run: str | Path) -> str:
    return f"python -m dcgan_core resume {shlex.quote(str(run))}"
