"""The generator update that looks k discriminator steps ahead, differentiably (unrolled GAN).

The ordinary generator step treats the discriminator as fixed. Here the discriminator of k steps later judges, and the
gradient knows that those steps depend on the fake images, too. Nothing happens to the real discriminator: the steps
are computed out of place, on copies. Source: Metz, Poole, Pfau, Sohl-Dickstein 2017 (arXiv:1611.02163), section 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dcgan_core.config import InvalidInput
from dcgan_core.steps import FULL_PRECISION, against, descend, frozen, update_generator

Memory = dict[str, Any]  # what an optimizer keeps for one parameter
SMALLEST_SQUARE = 1e-30  # the square root of it is far below Adam's eps, so the guard changes no step


def update_generator_unrolled(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_function: Callable[..., Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    num_steps: int,
    discriminator_optimizer: torch.optim.Optimizer,
    discriminator_loss_function: Callable[[Tensor, Tensor], Tensor],
    zero_sum: bool = False,
    paired: bool = False,
    autocast: AbstractContextManager[object] = FULL_PRECISION,
    descend: Callable[[Tensor, torch.optim.Optimizer], None] = descend,
) -> Tensor:
    """Takes one step on the generator that made `fake`, against the discriminator of `num_steps` steps later.

    As `steps.update_generator`, which 0 steps are the same as; `real` and `discriminator_optimizer` are what the
    discriminator is trained with. In a zero-sum game (minimax), minus the discriminator's whole loss is minimised: its
    term of the real images also depends on the generator, through the steps ahead (section 2.2). In a paired game
    (relativistic), `loss_function` is one of (fake_logits, real_logits), and both depend on the generator for the same
    reason. What is returned is `loss_function`, in every game. The discriminator's weights, gradients, buffers and
    optimizer state are left exactly as they were. Raises `InvalidInput` as `look_ahead` does.
    """
    if num_steps == 0:
        if paired:
            loss_function = against(real, discriminator, loss_function, autocast=autocast)
        return update_generator(discriminator, optimizer, loss_function, fake, autocast=autocast, descend=descend)
    ahead = look_ahead(
        discriminator=discriminator,
        optimizer=discriminator_optimizer,
        loss_function=discriminator_loss_function,
        real=real,
        fake=fake,
        num_steps=num_steps,
        autocast=autocast,
    )
    with frozen(discriminator):
        with autocast:
            fake_logits = functional_call(discriminator, ahead, fake)
            if zero_sum or paired:
                real_logits = functional_call(discriminator, ahead, real)
            loss = objective = loss_function(fake_logits, real_logits) if paired else loss_function(fake_logits)
            if zero_sum:
                objective = -discriminator_loss_function(real_logits, fake_logits)
        descend(objective, optimizer)
    return loss.detach()


def look_ahead(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_function: Callable[[Tensor, Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    num_steps: int,
    autocast: AbstractContextManager[object] = FULL_PRECISION,
) -> dict[str, Tensor]:
    """The discriminator's parameters and buffers after `num_steps` steps on the batches `real` and `fake`, by name.

    `optimizer` is the discriminator's: its rule, learning rate and state are where the steps start from. The result is
    for `torch.func.functional_call` and carries the graph through all steps back to `fake`, which is not detached.
    Memory and time grow with `num_steps`. Spectral normalisation's singular vectors count as constants of the
    gradient, as they do in its own backward pass.

    Raises `InvalidInput` for an optimizer other than plain `torch.optim.SGD` (momentum is fine) and `Adam`, or one
    that does not hold the discriminator's parameters. Source: Metz et al. 2017, sections 2.2 to 2.4.
    """
    take_step = STEPS.get(type(optimizer))
    groups = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    learning = {name: p for name, p in discriminator.named_parameters() if p in groups and p.requires_grad}
    extras = ("weight_decay", "dampening", "nesterov", "amsgrad", "maximize")
    used = [extra for extra in extras if any(group.get(extra) for group in optimizer.param_groups)]
    if take_step is None or used:
        raise InvalidInput(
            f"looking ahead repeats the steps of plain SGD and Adam, but the discriminator's optimizer is "
            f"{type(optimizer).__name__}{' with ' if used else ''}{', '.join(used)}: use one of the two, or 0 steps."
        )
    if not learning:
        raise InvalidInput(
            "discriminator_optimizer holds no parameter of the discriminator: is it perhaps the generator's?"
        )
    everything = [*discriminator.named_parameters(), *discriminator.named_buffers()]
    ahead = {name: value.detach().clone() for name, value in everything}  # buffers change in place, in the copies
    ahead |= {name: ahead[name].requires_grad_() for name in learning}
    memories: dict[str, Memory] = {name: optimizer.state.get(parameter, {}) for name, parameter in learning.items()}

    for _ in range(num_steps):
        with autocast:
            logits = [functional_call(discriminator, ahead, batch) for batch in (real, fake)]
            loss = loss_function(*logits)
        gradients = torch.autograd.grad(loss, [ahead[name] for name in learning], create_graph=True)
        for (name, parameter), gradient in zip(learning.items(), gradients, strict=True):
            ahead[name], memories[name] = take_step(ahead[name], gradient, memories[name], groups[parameter])
    return ahead


def _sgd_step(weight: Tensor, gradient: Tensor, memory: Memory, group: dict[str, Any]) -> tuple[Tensor, Memory]:
    """Gradient descent, with momentum where there is some."""
    if group["momentum"]:
        before = memory.get("momentum_buffer")
        gradient = gradient if before is None else group["momentum"] * before + gradient
        memory = {"momentum_buffer": gradient}
    return weight - group["lr"] * gradient, memory


def _adam_step(weight: Tensor, gradient: Tensor, memory: Memory, group: dict[str, Any]) -> tuple[Tensor, Memory]:
    """Kingma, Ba 2015 (arXiv:1412.6980), algorithm 1; the derivative of the root is guarded where it is infinite."""
    beta1, beta2 = group["betas"]
    count = (memory["step"].to(weight) if memory else weight.new_zeros(())) + 1
    mean = beta1 * memory.get("exp_avg", 0.0) + (1 - beta1) * gradient
    square = beta2 * memory.get("exp_avg_sq", 0.0) + (1 - beta2) * gradient.square()
    root = (square / _one_minus_power(beta2, count)).clamp(min=SMALLEST_SQUARE).sqrt()
    weight = weight - group["lr"] * mean / _one_minus_power(beta1, count) / (root + group["eps"])
    return weight, {"step": count, "exp_avg": mean, "exp_avg_sq": square}


def _one_minus_power(base: float, exponent: Tensor) -> Tensor:
    """1 - base ** exponent, which in float32 would lose four digits to 0.999 in Adam's first steps."""
    return -torch.expm1(exponent * (math.log(base) if base else -math.inf))


STEPS: dict[type, Callable[[Tensor, Tensor, Memory, dict[str, Any]], tuple[Tensor, Memory]]] = {
    torch.optim.SGD: _sgd_step,
    torch.optim.Adam: _adam_step,
}
