"""One discriminator update and one generator update; no wait for the device inside.

The alternation: the discriminator first, then the generator against the *updated* discriminator, on the same fake
batch (Goodfellow et al. 2014, algorithm 1). Of several discriminator updates, it is the last one's batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm

from dcgan_core.losses import slope_penalty

FULL_PRECISION = nullcontext()  # or a `torch.autocast`, for the forward passes


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Takes one optimizer step down the gradient of the loss; gradients of earlier steps are dropped."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def update_discriminator(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_function: Callable[[Tensor, Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    penalty: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    r1: Tensor | None = None,
    r2: Tensor | None = None,
    autocast: AbstractContextManager[object] = FULL_PRECISION,
    descend: Callable[[Tensor, torch.optim.Optimizer], None] = descend,
) -> Tensor:
    """Takes one optimizer step on the discriminator and returns the loss before it, a scalar without a graph.

    `real` and `fake` are (B, C, S, S) in [-1, 1]. `fake` is detached here, so nothing flows into the generator. The
    two batches pass separately, so that batch normalisation never mixes their statistics.

    Added to what is minimised, but not to what is returned: `penalty`, of (discriminator, real, fake), in the precision
    of `real`; and `r1` and `r2`, scalars, times the `slope_penalty` at the real and at the fake images, which costs
    no pass of its own and is as precise as the passes are.
    """
    real = real.detach().requires_grad_(r1 is not None)
    fake = fake.detach()
    if r2 is not None:
        fake = fake.to(real.dtype).requires_grad_()
    with autocast:
        real_logits, fake_logits = discriminator(real), discriminator(fake)
        loss = loss_function(real_logits, fake_logits)
    total = loss if penalty is None else loss + penalty(discriminator, real.detach(), fake.detach().to(real.dtype))
    if r1 is not None:
        total = total + r1 * slope_penalty(real_logits, real)
    if r2 is not None:
        total = total + r2 * slope_penalty(fake_logits, fake)
    descend(total, optimizer)
    return loss.detach()


def update_generator(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_function: Callable[[Tensor], Tensor],
    fake: Tensor,
    *,
    autocast: AbstractContextManager[object] = FULL_PRECISION,
    descend: Callable[[Tensor, torch.optim.Optimizer], None] = descend,
) -> Tensor:
    """Takes one optimizer step on the generator that made `fake`, and returns the loss before it.

    `fake` is (B, C, S, S) with its graph. `optimizer` holds the generator's parameters. The discriminator only judges:
    its weights, gradients and buffers (batch-norm statistics, spectral norm) are left exactly as they were.
    """
    with frozen(discriminator):
        with autocast:
            loss = loss_function(discriminator(fake))
        descend(loss, optimizer)
    return loss.detach()


def against(
    real: Tensor,
    discriminator: nn.Module,
    loss_function: Callable[[Tensor, Tensor], Tensor],
    *,
    autocast: AbstractContextManager[object] = FULL_PRECISION,
) -> Callable[[Tensor], Tensor]:
    """A paired game's loss of (fake_logits, real_logits) as a loss of fake_logits alone, for `update_generator`.

    The real images (B, C, S, S) are judged by the discriminator as it is now, which is left exactly as it was. They do
    not depend on the generator, so no gradient is kept.
    """
    with torch.no_grad(), frozen(discriminator), autocast:
        real_logits = discriminator(real)
    return lambda fake_logits: loss_function(fake_logits, real_logits)


@torch.no_grad()
def clip_weights(critic: nn.Module, limit: float) -> None:
    """Moves every weight of the critic into [-limit, limit]. Source: Arjovsky et al. 2017, algorithm 1, line 7."""
    for parameter in critic.parameters():
        parameter.clamp_(-limit, limit)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Inside, gradients flow through the network but not into it, and its buffers stand still.

    Batch normalisation still uses the statistics of the batch if the network is in train mode; it only does not
    remember them. Spectral normalisation keeps its estimate. Skipping the weight gradients also saves 8% of the
    arithmetic of an iteration.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    spectra = [module for module in network.modules() if isinstance(module, _SpectralNorm) and module.training]
    for parameter in parameters:
        parameter.requires_grad_(False)
    for norm in norms:
        norm.track_running_stats = False
    for spectrum in spectra:
        spectrum.training = False
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for norm in norms:
            norm.track_running_stats = True
        for spectrum in spectra:
            spectrum.training = True
