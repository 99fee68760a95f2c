"""Looks at two networks at play, and the tree of questions that names what is wrong with them.

Chapter 08 plays games that are ill on purpose, chose the thresholds on them, and shows how often the tree is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from dcgan_core.state import State
from dcgan_core.steps import frozen

Log = dict[str, list[float]]  # name of a curve to its values, one for each look


def gradient_norm(network: nn.Module) -> float:
    """The length of all gradients of the network taken as one vector; 0 where there are none."""
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))


@torch.no_grad()
def look(state: State, real: Tensor, watched: Tensor, before: Tensor | None) -> tuple[dict[str, float], Tensor]:
    """One line of the log, and the watched images (W, C, S, S); neither network is changed.

    `real` is a batch, `watched` are latents (W, L) that stay the same all along, and `before` are the images of the
    look before.
    """
    generator, discriminator = state.generator, state.discriminator
    was_training = generator.training
    with frozen(generator), frozen(discriminator):
        fake = generator(watched)
        logits = discriminator(real), discriminator(fake)
        other = generator.train(not was_training)(watched)
    generator.train(was_training)
    spread = fake.std(dim=0).mean()
    line = {
        "D(x)": logits[0].sigmoid().mean(),
        "D(G(z))": logits[1].sigmoid().mean(),
        "right on real": (logits[0] > 0).float().mean(),
        "right on fake": (logits[1] < 0).float().mean(),
        "diversity": spread / real.std(dim=0).mean(),
        "motion": torch.tensor(math.nan) if before is None else (fake - before).abs().mean() / spread.clamp(min=1e-6),
        "gap": (fake - other).abs().mean(),
        "darkest": real.min(),
    }
    found = {name: float(value) for name, value in line.items()}
    found |= {"gradient D": gradient_norm(discriminator), "gradient G": gradient_norm(generator)}
    return found, fake


def signs(log: Log) -> dict[str, float]:
    """Each curve as one number: its median over the last third of the looks; nan where it is never a number."""
    last = max(1, math.ceil(len(log["updates"]) / 3))
    found = {}
    for name, values in log.items():
        numbers = [value for value in values[-last:] if math.isfinite(value)]
        found[name] = median(numbers) if numbers else math.nan
    return found


@dataclass(frozen=True)
class Question:
    """A question to the curves; if the answer is yes, the illness has its name."""

    illness: str
    asked: str
    answer: Callable[[Log, dict[str, float]], bool]


DARKEST, GAP, RIGHT, STEEP, DIVERSITY, MOTION = -0.5, 0.08, 0.95, 20.0, 0.5, 0.9
TREE = (
    Question(
        "overflow",
        "Is any loss not finite?",
        lambda log, now: not all(map(math.isfinite, log["loss D"] + log["loss G"])),
    ),
    Question("wrong range", f"Is the darkest real pixel above {DARKEST:g}?", lambda log, now: now["darkest"] > DARKEST),
    Question(
        "dead generator",
        "Is the generator's gradient zero at every look?",
        lambda log, now: max(log["gradient G"]) == 0,
    ),
    Question("wrong mode", f"Do train and eval mode differ by more than {GAP:g}?", lambda log, now: now["gap"] > GAP),
    Question(
        "discriminator too strong",
        f"Is it right on more than {RIGHT:.0%} of both, and the generator's gradient above {STEEP:g}?",
        lambda log, now: min(now["right on real"], now["right on fake"]) > RIGHT and now["gradient G"] > STEEP,
    ),
    Question(
        "collapsed",
        f"Do samples vary less than {DIVERSITY:.0%} as much as real images?",
        lambda log, now: now["diversity"] < DIVERSITY,
    ),
    Question(
        "circling",
        f"Does an image change, from look to look, by more than {MOTION:g} times what samples differ by?",
        lambda log, now: now["motion"] > MOTION,
    ),
)


def diagnose(log: Log) -> str:
    """The illness of the first question that is answered with yes; "healthy" if none is."""
    now = signs(log)
    return next((question.illness for question in TREE if question.answer(log, now)), "healthy")
