"""Chapter 07, the training loop: checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from dcgan_core.losses import discriminator_loss
from dcgan_core.models import Discriminator, Generator
from dcgan_core.teaching.exercises import check, require


@check
def check_discriminator_loss(loss: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Exercise 07.1: the discriminator's loss from logits (B,), finite for every logit."""
    nothing = torch.zeros(4)
    value = loss(nothing, nothing)
    require(isinstance(value, Tensor) and value.ndim == 0, "Return one number (a scalar tensor): take the mean.")
    sure = torch.full((4,), 3.0)
    right, wrong = float(loss(sure, -sure)), float(loss(-sure, sure))
    require(
        right < wrong,
        "Your loss is lower when the discriminator is wrong than when it is right: it maximises log D(x), so its loss "
        "has the opposite sign.",
    )
    real, fake = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    require(
        float(loss(real, fake)) != float(loss(real, -fake)), "Your loss does not depend on the fake logits: add them."
    )
    require(
        float(loss(real, fake)) != float(loss(-real, fake)), "Your loss does not depend on the real logits: add them."
    )
    require(
        torch.allclose(loss(real, fake), discriminator_loss(real, fake), atol=1e-5),
        f"For real logits {real.tolist()} and fake logits {fake.tolist()} the loss is "
        f"{float(discriminator_loss(real, fake)):.4f}, but yours is {float(loss(real, fake)):.4f}. It is the sum of "
        "two means, one over the real logits and one over the fake ones.",
    )
    extreme = torch.tensor([1e4, -1e4])
    require(
        bool(torch.isfinite(loss(extreme, extreme))),
        "The formula is right, but a logit of 10,000 makes it infinite: the sigmoid rounds to exactly 0 or 1, and its "
        "logarithm overflows. softplus(t) = log(1 + exp(t)) does the two in one step.",
    )
    return "It agrees with the formula, and stays finite where sigmoid and logarithm one after the other overflow."


@check
def check_generator_turn(turn: Callable[[nn.Module, nn.Module, torch.optim.Optimizer, Tensor], object]) -> str:
    """Exercise 07.2: one update of the generator that leaves no trace on the discriminator's weights and gradients."""
    torch.manual_seed(0)
    generator = Generator(image_size=16, channels=1, width=4, latent_size=8)
    discriminator = Discriminator(image_size=16, channels=1, width=4)
    for parameter in discriminator.parameters():
        parameter.data *= 5  # an opinion strong enough to follow
    optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    judge_before = [parameter.clone() for parameter in discriminator.parameters()]
    latents = torch.randn(32, 8)
    with torch.no_grad():
        before = float(discriminator(generator(latents)).mean())
    weights_before = [parameter.clone() for parameter in generator.parameters()]

    turn(generator, discriminator, optimizer, latents)
    moved = any(not torch.equal(old, new) for old, new in zip(weights_before, generator.parameters(), strict=True))
    require(
        moved,
        "The generator did not change. If you detached the fake images, no gradient can reach it; if not, look for the "
        "call of optimizer.step().",
    )
    untouched = all(torch.equal(old, new) for old, new in zip(judge_before, discriminator.parameters(), strict=True))
    require(untouched, "The discriminator's weights changed: in this turn only the generator's optimizer may step.")
    stale = any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in discriminator.parameters())
    require(
        not stale,
        "The discriminator is left with gradients that do not belong to its own loss; forget one zero_grad later, and "
        "they are applied. Freeze it with requires_grad_(False) during the turn, or clear them afterwards.",
    )
    frozen = any(not parameter.requires_grad for parameter in discriminator.parameters())
    require(not frozen, "The discriminator is still frozen after the turn, so it can never learn again: unfreeze it.")
    for _ in range(20):
        turn(generator, discriminator, optimizer, latents)
    with torch.no_grad():
        after = float(discriminator(generator(latents)).mean())
    require(
        after > before,
        f"After 21 turns the mean logit of the fakes went from {before:.3f} to {after:.3f}: the generator is helping "
        "the discriminator. Its loss must fall when the logits of the fakes rise.",
    )
    return f"In 21 turns the mean logit of the fakes rose from {before:.3f} to {after:.3f}; the judge kept still."


@check
def check_decay(decay: Callable[[int, int], float]) -> str:
    """Exercise 07.3: the decay per iteration that gives a moving average the wanted half-life in images."""
    for batch_size, halflife in ((64, 64), (64, 10_000), (256, 10_000)):
        value = float(decay(batch_size, halflife))
        require(
            0 < value < 1,
            f"decay({batch_size}, {halflife}) is {value:.4f}, but a moving average needs a number between 0 and 1.",
        )
        left = value ** (halflife / batch_size)
        hint = ""
        if abs(value - (1 - batch_size / halflife)) < 1e-6:
            hint = " 1 - batch/halflife is the share per image of another clock: it leaves 1/e, not 1/2."
        elif abs(value - 0.5 ** (halflife / batch_size)) < 1e-6:
            hint = " The exponent is upside down: one iteration is only a small part of the half-life."
        require(
            abs(left - 0.5) < 1e-3,
            f"After {halflife} images in batches of {batch_size}, {left:.3f} of the old weights are left, but it "
            f"should be one half.{hint}",
        )
    return "After one half-life half of the old weights are left, whatever the batch size."


@check
def check_what_to_save(names: set[str]) -> str:
    """Exercise 07.4: what a checkpoint must hold so that resuming equals never having stopped."""
    needed = {
        "generator": "the generator, the point of it all",
        "discriminator": "the discriminator: a fresh one would have to learn everything again",
        "generator_optimizer": "the generator's Adam moments: without them the first steps have another size",
        "discriminator_optimizer": "the discriminator's Adam moments: without them the first steps have another size",
        "latent_rng": "the state of the random numbers: otherwise the run sees the same latents twice",
        "step": "the position in the data: otherwise the run sees the first batches twice",
    }
    needless = {
        "fake": "fake images can be made again",
        "real": "real images can be read again",
        "gradients": "gradients are computed anew in every step",
        "order": "the order of the images follows from the seed, the epoch and the step",
    }
    names = set(names)
    unknown = names - set(needed) - set(needless)
    require(not unknown, f"There is no {', '.join(sorted(unknown))} in the list.")
    for name, why in needed.items():
        require(name in names, f"Something is missing: {why}.")
    for name, why in needless.items():
        require(name not in names, f"There is something you can do without: {why}.")
    return "Nothing missing, nothing too much."


def explain_overflow(logit: float) -> tuple[float, float]:
    """-log(1 - sigmoid(logit)) in two steps and in one, in float32: the first overflows where the second does not."""
    value = torch.tensor(logit)
    return float(-torch.log(1 - torch.sigmoid(value))), float(softplus(value))
