"""Asks the tree of `diagnosis` about a run, and looks for training images that the generator draws again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from dcgan_core.config import Config
from dcgan_core.data import Batches, Dataset
from dcgan_core.iteration import advance
from dcgan_core.metrics import nearest_neighbours
from dcgan_core.metrics.copies import Copies, copies, thumbnails, thumbnails_of_pixels
from dcgan_core.metrics.evaluation import MAX_TRAINING
from dcgan_core.report.diagnosis import TREE, Log, Question, look, signs
from dcgan_core.runtime import Machine
from dcgan_core.state import State, draw_latents

BETWEEN_LOOKS = 10  # updates, as in chapter 08, whose thresholds these are
NUM_WATCHED = 64
YOUNG = 250  # updates, as the games of chapter 08 have
MOST_SECONDS = 4.0  # that the updates between two looks may take
WITH_A_SIDE = ("non-saturating", "minimax", "hinge")  # losses whose logits are positive for what counts as real
IMPOSSIBLE = ("wrong range", "dead generator", "wrong mode")  # mistakes in code, which a run of the package has not

NUM_PAIRS = 8
NUM_SPREAD = 100  # training images whose distances to one another are the measure


@dataclass(frozen=True)
class Answer:
    """What the tree says to one question about a run."""

    illness: str
    asked: str
    answer: str  # yes, no, or not asked
    why: str = ""  # it was not asked


def ask(state: State, dataset: Dataset, machine: Machine, seconds_per_update: float) -> list[Answer]:
    """Plays the game on for a few updates, between two looks, and asks the tree. Changes `state`.

    `seconds_per_update` is what the run has measured; where it says that so few updates would take long, one of them
    has to do, and the question that needs two looks is not asked.
    """
    config = state.config
    batches = Batches(dataset.images, batch_size=config.images_per_step, seed=config.seed)
    watched = draw_latents(NUM_WATCHED, config.latent_size, seed=config.seed).to(machine.device)
    quick = seconds_per_update * BETWEEN_LOOKS < MOST_SECONDS
    log: Log = {}
    before: Tensor | None = None
    for number in range(BETWEEN_LOOKS + 1 if quick else 1):
        real = batches(state.step).to(machine.device)
        losses = advance(state, real, machine)
        if number % BETWEEN_LOOKS == 0:
            line, before = look(state, real[: config.batch_size], watched, before)
            line |= {"updates": state.step, "loss D": float(losses[0]), "loss G": float(losses[1])}
            for name, value in line.items():
                log.setdefault(name, []).append(value)
    return answers(log, config)


def answers(log: Log, config: Config) -> list[Answer]:
    """The tree's answers, up to the first yes, to the questions that can be asked about a run of the package."""
    now = signs(log)
    found = []
    for question in TREE:
        if question.illness in IMPOSSIBLE:
            continue
        if why := _cannot_ask(question, now, config):
            found.append(Answer(question.illness, question.asked, "not asked", why))
            continue
        yes = question.answer(log, now)
        found.append(Answer(question.illness, question.asked, "yes" if yes else "no"))
        if yes:
            break
    return found


def _cannot_ask(question: Question, now: dict[str, float], config: Config) -> str:
    if question.illness == "discriminator too strong" and config.loss not in WITH_A_SIDE:
        return f"with the loss {config.loss}, the discriminator does not say real or fake"
    if question.illness != "overflow" and now["updates"] < YOUNG:
        return f"in the first {YOUNG} updates, any game looks odd"
    if question.illness == "circling" and not math.isfinite(now["motion"]):
        return "the updates between two looks would take too long on this machine"
    return ""


@dataclass(frozen=True)
class Nearest:
    """Samples, and the training image that is nearest to each of the first."""

    samples: Tensor  # (N, C, S, S) in [-1, 1]
    images: Tensor  # uint8 (N, C, S, S)
    shares: list[float]  # their distance, as a share of that between training images
    num_images: int  # that were searched
    copies: Copies | None  # of all samples, where there are held-out images to judge them by


def nearest(samples: Tensor, dataset: Dataset, held_out: Dataset | None = None) -> Nearest:
    """The nearest training image to each of the first samples (N, C, S, S), and how many of all seem to be copies.

    Images are compared as in `metrics.copies`, whose search it is. Shown beside them is how far they are apart: the
    measure is the median distance of a training image to its nearest neighbour among the others; of several images that
    are equal, one counts.
    """
    order = _some(dataset)
    training = thumbnails_of_pixels(dataset.images, order)
    known = None if held_out is None else thumbnails_of_pixels(held_out.images, _some(held_out))
    drawn = thumbnails(samples)
    found = nearest_neighbours(drawn[:NUM_PAIRS], training)
    two = nearest_neighbours(
        training[:NUM_SPREAD], training, k=min(2, len(training))
    )  # of an image, the first is itself
    to_others = [distance for distance in two.distances[:, -1].tolist() if distance > 0]
    spread = median(to_others) if to_others else 0.0
    return Nearest(
        samples=samples[:NUM_PAIRS],
        images=dataset.images[order[found.indices[:, 0]]],
        shares=[distance / spread if spread > 0 else math.inf for distance in found.distances[:, 0].tolist()],
        num_images=len(training),
        copies=None if known is None else copies(drawn, training, known),
    )


def _some(dataset: Dataset) -> Tensor:
    """Which images are looked at, in random order, always the same: all of them, or `MAX_TRAINING`."""
    return torch.randperm(len(dataset.images), generator=torch.Generator().manual_seed(0))[:MAX_TRAINING]
