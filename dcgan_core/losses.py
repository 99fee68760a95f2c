"""Pure functions from logits to a scalar: what each player minimises; and two penalties on the discriminator's slope.

A logit is the discriminator's output before the sigmoid: D(x) = sigmoid(logit). The formulae of the first game are
written with softplus(t) = log(1 + exp(t)), because -log D(x) = softplus(-logit) and -log(1 - D(x)) = softplus(logit)
exactly, and softplus stays finite where log(sigmoid(...)) overflows. The other games use the logit as it is. All logits
are (B,), all losses are means over the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus
from torch.nn.modules.batchnorm import _BatchNorm

from dcgan_core.config import InvalidInput


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))): the discriminator maximises the value V(D, G), so it minimises -V.

    2 log 2 = 1.386 when it cannot tell the two apart. Source: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1.
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def smoothed_discriminator_loss(real_logits: Tensor, fake_logits: Tensor, *, real_label: float) -> Tensor:
    """-a log D(x) - (1 - a) log(1 - D(x)) - log(1 - D(G(z))): a real image counts as real in part, a = `real_label`.

    A fake one counts as fake in full; otherwise fakes that lie far from all data would have no reason to move. The best
    discriminator then says a p / (p + q) where the densities of real and fake are p and q.
    Source: Salimans et al. 2016 (arXiv:1606.03498), section 3.4, with 0.9.
    """
    return discriminator_loss(real_logits, fake_logits) + (1 - real_label) * real_logits.mean()


def minimax_generator_loss(fake_logits: Tensor) -> Tensor:
    """log(1 - D(G(z))): the generator's own side of the minimax game; its gradient vanishes where D is sure.

    Source: Goodfellow et al. 2014, equation 1.
    """
    return -softplus(fake_logits).mean()


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """-log D(G(z)): same fixed point, strong gradient where D is sure. Source: Goodfellow et al. 2014, section 3."""
    return softplus(-fake_logits).mean()


def critic_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean score of the fakes minus that of the real images; minus it, at its best, is the Wasserstein-1 distance.

    That holds for a critic that is 1-Lipschitz, which needs clipping or the penalty beside this loss; alone, it has no
    minimum. Source: Arjovsky, Chintala, Bottou 2017 (arXiv:1701.07875), equation 2 and algorithm 1.
    """
    return fake_logits.mean() - real_logits.mean()


def critic_generator_loss(fake_logits: Tensor) -> Tensor:
    """Minus the mean score of the fakes: what a critic's generator and the hinge game's generator minimise.

    Source: Arjovsky et al. 2017, algorithm 1; Miyato et al. 2018 (arXiv:1802.05957), equation 17, for the hinge game.
    """
    return -fake_logits.mean()


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """max(0, 1 - real) + max(0, 1 + fake): scores beyond a margin of 1 are good enough. Not a Wasserstein loss.

    It has a minimum without any limit on the critic's slope: 2 (1 - total variation distance), at the scores 1 and -1.
    Source: Lim, Ye 2017 (arXiv:1705.02894); Miyato et al. 2018 (arXiv:1802.05957), equation 16.
    """
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


def least_squares_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Half the squared distance of the real scores from 1 and of the fake scores from 0.

    Source: Mao et al. 2017 (arXiv:1611.04076), equation 9.
    """
    return 0.5 * (real_logits - 1).square().mean() + 0.5 * fake_logits.square().mean()


def least_squares_generator_loss(fake_logits: Tensor) -> Tensor:
    """Half the squared distance of the fake scores from 1. Source: Mao et al. 2017, equation 9."""
    return 0.5 * (fake_logits - 1).square().mean()


def relativistic_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log sigmoid(D(x) - D(G(z))), D being the logit: a real image should look more real than the fake one beside it.

    Row i of the real logits is paired with row i of the fake ones. Only differences count, so the logits have no zero
    of their own: a logit of 0 does not mean undecided. log 2 = 0.693 when it cannot tell the two apart.
    Source: Jolicoeur-Martineau 2018 (arXiv:1807.00734), RSGAN; as the main loss of R3GAN (arXiv:2501.05441).
    """
    return softplus(_differences(fake_logits, real_logits)).mean()


def relativistic_generator_loss(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """-log sigmoid(D(G(z)) - D(x)): the fake image should look more real than the real one beside it.

    Source: Jolicoeur-Martineau 2018 (arXiv:1807.00734), RSGAN.
    """
    return softplus(_differences(real_logits, fake_logits)).mean()


def _differences(first: Tensor, second: Tensor) -> Tensor:
    """Row by row. (B,) and (B, 1) would broadcast to all pairs (B, B), which is another loss."""
    if first.shape != second.shape:
        raise InvalidInput(
            f"a relativistic loss pairs real and fake logits row by row, but their shapes are {tuple(first.shape)} and "
            f"{tuple(second.shape)}: give it as many of each, in the same shape."
        )
    return first - second


def gradient_penalty(
    critic: nn.Module | Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    rng: torch.Generator | None = None,
    mix: Tensor | None = None,
) -> Tensor:
    """Mean of (slope - 1)^2 of the critic, at one uniformly random point between each real image and its fake one.

    `real` and `fake` are (B, ...) of any shape; `fake` is detached. The slope is the norm of the gradient over the
    whole sample; slopes below 1 cost as much as slopes above. The square root in it has an infinite derivative at 0,
    so a slope of 0 counts as a tiny one, and pulls the critic nowhere instead of to NaN. The result carries a graph
    through the gradient (second order) to the critic's weights; multiply it by the weight lambda (10 in the paper).
    `mix` (B, 1, ...) gives the points between by hand instead of drawing them: 0 is the fake image, 1 the real one.

    Raises `InvalidInput` for a critic with batch normalisation that uses the batch: the gradient at one sample would
    then depend on all others. Source: Gulrajani et al. 2017 (arXiv:1704.00028), equation 3, algorithm 1 and section 4.
    """
    if mix is None:
        mix = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype, generator=rng)
    between = torch.lerp(fake.detach(), real, mix)  # (B, ...), 0 is fake, 1 is real
    between = between.requires_grad_()
    slope = _squared_slopes(_judged_one_by_one(critic, between), between).clamp(min=1e-12).sqrt()  # (B,)
    return (slope - 1).square().mean()


def zero_centred_penalty(discriminator: nn.Module | Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """Half the mean squared slope of the discriminator's logit at `samples`: R1 at real ones, R2 at fake ones.

    `samples` are (B, ...) of any shape; they are detached. The square is summed over each whole sample (all channels
    and pixels), and the mean is over the batch; multiply it by gamma. The result carries a graph through the gradient
    (second order) to the discriminator's weights. It has its minimum where the discriminator is flat, as it should be
    where real and fake cannot be told apart; `gradient_penalty` wants a slope of 1 everywhere.

    Compare gammas with care. Here, in the paper, in StyleGAN2 and in R3GAN (Huang et al. 2024, arXiv:2501.05441) it is
    gamma / 2 times the sum; the paper's own repository leaves out the 1/2, so that its `reg_param` 10 is gamma 20 here.
    StyleGAN2-ADA starts its search at gamma = 0.0002 resolution^2 / batch size, which is 0.0032 for batches of 64
    images of 32 pixels; R3GAN goes from 0.05 down to 0.005 on CIFAR-10. A mean over the pixels instead of the sum would
    make the same gamma 1,024 times as weak for grey images of 32 pixels.

    Raises `InvalidInput` as `gradient_penalty` does. Source: Mescheder, Geiger, Nowozin 2018 (arXiv:1801.04406), the
    "simplified gradient penalties".
    """
    samples = samples.detach().requires_grad_()
    return slope_penalty(_judged_one_by_one(discriminator, samples), samples)


def slope_penalty(logits: Tensor, samples: Tensor) -> Tensor:
    """The same from logits (B,) that a discriminator has already given to the samples (B, ...), which need a gradient.

    The logit of a sample must not depend on the other samples of the batch, as it does behind batch normalisation.
    """
    return _squared_slopes(logits, samples).mean() / 2


def _judged_one_by_one(critic: nn.Module | Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """The critic's logits. Raises `InvalidInput` if it has batch normalisation that uses the batch."""
    if isinstance(critic, nn.Module) and any(
        isinstance(part, _BatchNorm) and (part.training or part.running_mean is None) for part in critic.modules()
    ):
        raise InvalidInput(
            "the gradient penalty is defined at each sample alone, but this critic has batch normalisation, which ties "
            "the samples of a batch together: build it with norm='layer' or norm='none'."
        )
    return critic(samples)


def _squared_slopes(logits: Tensor, samples: Tensor) -> Tensor:
    """|gradient of the logit|^2 at each sample (B, ...): summed over the whole sample, (B,), with its graph."""
    (gradient,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1)


class Game(NamedTuple):
    """The two losses that are played against each other.

    The discriminator's is a function of (real_logits, fake_logits), the generator's of fake_logits; in a game that is
    `PAIRED`, of (fake_logits, real_logits).
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[..., Tensor]


GAMES = {
    "non-saturating": Game(discriminator_loss, non_saturating_generator_loss),
    "minimax": Game(discriminator_loss, minimax_generator_loss),
    "wasserstein-clipping": Game(critic_loss, critic_generator_loss),
    "wasserstein-penalty": Game(critic_loss, critic_generator_loss),
    "hinge": Game(hinge_discriminator_loss, critic_generator_loss),
    "least-squares": Game(least_squares_discriminator_loss, least_squares_generator_loss),
    "relativistic": Game(relativistic_discriminator_loss, relativistic_generator_loss),
}
PAIRED = {"relativistic"}
