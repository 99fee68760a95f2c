"""Pure functions from logits to a scalar: what each player minimises.

A logit is the discriminator's output before the sigmoid: D(x) = sigmoid(logit). Every formula below is written with
softplus(t) = log(1 + exp(t)), because -log D(x) = softplus(-logit) and -log(1 - D(x)) = softplus(logit) exactly, and
softplus stays finite where log(sigmoid(...)) overflows. All logits are (B,), all losses are means over the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))): the discriminator maximises the value V(D, G), so it minimises -V.

    2 log 2 = 1.386 when it cannot tell the two apart. Source: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1.
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def minimax_generator_loss(fake_logits: Tensor) -> Tensor:
    """log(1 - D(G(z))): the generator's own side of the minimax game; its gradient vanishes where D is sure.

    Source: Goodfellow et al. 2014, equation 1.
    """
    return -softplus(fake_logits).mean()


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """-log D(G(z)): same fixed point, strong gradient where D is sure. Source: Goodfellow et al. 2014, section 3."""
    return softplus(-fake_logits).mean()


class Game(NamedTuple):
    """The two losses that are played against each other."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


GAMES = {
    "non-saturating": Game(discriminator_loss, non_saturating_generator_loss),
    "minimax": Game(discriminator_loss, minimax_generator_loss),
}
