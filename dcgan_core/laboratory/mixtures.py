"""Two-dimensional data with known modes, how well a set of points covers them, and small networks for such points."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as normalise_spectrum

from dcgan_core.models import MinibatchStd

Activation = Literal["relu", "tanh"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
GOOD_SIGMAS = 3.0  # a sample is good within so many standard deviations of the nearest mode


@dataclass(frozen=True)
class Mixture:
    """Equally frequent round Gaussians in the plane: each sample belongs to one of the modes."""

    centres: Tensor  # float64 (M, 2)
    sigma: float  # standard deviation of each mode, along each axis

    @property
    def num_modes(self) -> int:
        return len(self.centres)

    def sample(self, num_samples: int, *, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
        """Points (N, 2) from `rng` alone, which lives on the device: first which mode, then how far from its centre."""
        mode = torch.randint(self.num_modes, (num_samples,), generator=rng, device=rng.device)
        return self.points(mode, torch.randn(num_samples, 2, generator=rng, dtype=dtype, device=rng.device))

    def points(self, mode: Tensor, noise: Tensor) -> Tensor:
        """The points (..., 2) of these modes (...), moved off the centre by noise (..., 2) from N(0, 1)."""
        return self.centres.to(noise)[mode] + self.sigma * noise

    def log_density(self, points: Tensor) -> Tensor:
        """Natural logarithm of the density at points (..., 2), as (...); finite far away, where the density is 0."""
        exponents = -0.5 * self._squared_distances(points) / self.sigma**2  # (..., M)
        return exponents.logsumexp(dim=-1) - math.log(2 * math.pi * self.sigma**2 * self.num_modes)

    def density(self, points: Tensor) -> Tensor:
        """Probability per unit of area at points (..., 2), as (...)."""
        return self.log_density(points).exp()

    def nearest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest mode of points (..., 2), and the distance to its centre in units of sigma, both (...)."""
        distance, mode = self._squared_distances(points).min(dim=-1)
        return mode, distance.sqrt() / self.sigma

    def _squared_distances(self, points: Tensor) -> Tensor:
        return (points[..., None, :] - self.centres.to(points)).square().sum(dim=-1)  # (..., M)


def ring(num_modes: int = 8, radius: float = 2.0, sigma: float = 0.02) -> Mixture:
    """Modes at equal angles on a circle, the first at (radius, 0). Source: Metz et al. 2017 (arXiv:1611.02163)."""
    angle = torch.arange(num_modes, dtype=torch.float64) * (2 * math.pi / num_modes)
    return Mixture(radius * torch.stack([angle.cos(), angle.sin()], dim=1), sigma)


def grid(side: int = 5, spacing: float = 2.0, sigma: float = 0.05) -> Mixture:
    """Modes on a square grid around 0, row by row. Source: Srivastava et al. 2017 (arXiv:1705.07761)."""
    line = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * spacing
    return Mixture(torch.cartesian_prod(line, line), sigma)


@dataclass(frozen=True)
class ModeStatistics:
    """How samples hit the modes of a mixture. No single one of these numbers is enough."""

    counts: Tensor  # int64 (..., M): good samples whose nearest mode this is
    covered: Tensor  # int64 (...): modes with enough good samples
    good: Tensor  # float64 (...): share of the samples that are good; 0.989 for the mixture itself
    kl: Tensor  # float64 (...): KL(counts / sum || uniform) in nats; 0 when even, log M at the worst


def mode_statistics(mixture: Mixture, samples: Tensor, *, min_samples: int = 1) -> ModeStatistics:
    """Counts which modes are hit by `samples` (..., N, 2); leading dimensions (seeds, steps) are kept.

    A sample is good within 3 sigma of the nearest mode, and a mode is covered when it is the nearest one to at least
    `min_samples` good samples. With `min_samples` = 1 that is the definition of VEEGAN (Srivastava et al. 2017,
    arXiv:1705.07761, synthetic data sets; there of 2,500 samples), which PacGAN (Lin et al. 2018, arXiv:1712.04086)
    took over. It grows with the number of samples: state N beside it. A sample that is not finite is not good.

    The divergence is of the good samples only. An empty mode adds nothing (0 log 0 = 0), so it stays finite: with k
    modes hit evenly it is log(M / k). Without any good sample there is no histogram; that counts as log M, the worst.
    """
    mode, sigmas = mixture.nearest(samples)  # (..., N)
    is_good = sigmas <= GOOD_SIGMAS  # false for NaN
    hits = torch.nn.functional.one_hot(mode, mixture.num_modes) * is_good[..., None]  # (..., N, M)
    counts = hits.sum(dim=-2)  # (..., M)
    shares = counts.double() / counts.sum(dim=-1, keepdim=True)
    entropy = -torch.xlogy(shares, shares).sum(dim=-1)
    entropy = entropy.nan_to_num(nan=0.0)  # no good sample at all: 0 / 0
    return ModeStatistics(
        counts=counts,
        covered=(counts >= min_samples).sum(dim=-1),
        good=is_good.double().mean(dim=-1),
        kl=(math.log(mixture.num_modes) - entropy).clamp(min=0),
    )


class PointGenerator(nn.Module):
    """Latents (B, latent_size) to points (B, 2), anywhere in the plane: `depth` hidden layers of `width` units."""

    def __init__(
        self,
        *,
        latent_size: int = 256,
        depth: int = 2,
        width: int = 128,
        activation: Activation = "relu",
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.layers = _perceptron([latent_size, *[width] * depth, 2], activation, rng)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)


class PointDiscriminator(nn.Module):
    """Points (B, 2) to logits (B,): positive means "real". `depth` hidden layers of `width` units; also a critic.

    `spectral_norm` and `minibatch_std` are what they are in `models.Discriminator`, the latter before the last layer.
    """

    def __init__(
        self,
        *,
        depth: int = 2,
        width: int = 128,
        activation: Activation = "relu",
        spectral_norm: bool = False,
        minibatch_std: bool = False,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.layers = _perceptron([2, *[width] * depth, 1], activation, rng)
        if minibatch_std:
            self.layers[-1] = _linear(width + 1, 1, rng)
            self.layers.insert(len(self.layers) - 1, MinibatchStd())
        if spectral_norm:
            for layer in self.layers:
                if isinstance(layer, nn.Linear):
                    _normalise_spectrum(layer, rng)

    def forward(self, points: Tensor) -> Tensor:
        return self.layers(points).squeeze(-1)


def _perceptron(sizes: list[int], activation: Activation, rng: torch.Generator | None) -> nn.Sequential:
    """Linear layers with the activation between them; weights and biases from U(-b, b), b = 1 / sqrt(inputs).

    That is what `nn.Linear` does of itself, so a network that readers write down without a thought starts alike; here
    the numbers come from `rng`. (N(0, 0.02), which suits the images' networks, would need batch normalisation.)
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [_linear(inputs, outputs, rng), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def _linear(inputs: int, outputs: int, rng: torch.Generator | None) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # draws no number of its own
    bound = 1 / math.sqrt(inputs)
    for parameter in (linear.weight, linear.bias):
        nn.init.uniform_(parameter, -bound, bound, generator=rng)
    return linear


def _normalise_spectrum(linear: Any, rng: torch.Generator | None) -> None:
    """Spectral normalisation, with the first guess at the singular vectors from `rng`."""
    weight = linear.weight.detach()
    with torch.random.fork_rng([]):  # it draws a guess of its own
        normalise_spectrum(linear)
    (spectrum,) = linear.parametrizations.weight
    for name, size in (("_u", weight.shape[0]), ("_v", weight.shape[1])):
        guess = torch.randn(size, generator=rng)
        setattr(spectrum, name, nn.functional.normalize(guess, dim=0))
    spectrum._power_method(weight, 15)  # as many as torch takes at this place
