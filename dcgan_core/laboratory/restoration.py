"""Damaged images, and ways to guess what was there: by a search in latent space, and by four simpler means.

A damage is known to whoever repairs it: which pixels are missing, by how much an image was shrunk. A search asks which
image of the generator, damaged in the same way, looks like what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, softplus

from dcgan_core.laboratory.latent_search import Found, Loss, search
from dcgan_core.metrics import nearest_neighbours
from dcgan_core.models import Discriminator, Generator
from dcgan_core.train import draw_latents

SIZE = 32
NOISE = 0.75  # standard deviation, where ink and paper are 2 apart
PRIORS = ("none", "length", "sphere", "discriminator")
LENGTH_WEIGHT, JUDGE_WEIGHT = 0.03, 0.001  # chosen on letters of a seed of their own
RIDGE = 10.0


def known_around_hole() -> Tensor:
    """1 for known pixels, 0 in a square of 14 by 14 in the middle, (32, 32)."""
    known = torch.ones(SIZE, SIZE)
    known[9:23, 9:23] = 0
    return known


def known_above() -> Tensor:
    """1 in the upper half, 0 in the lower one, (32, 32)."""
    known = torch.zeros(SIZE, SIZE)
    known[: SIZE // 2] = 1
    return known


@dataclass(frozen=True)
class Damage:
    """What happens to an image, and where its repair is measured."""

    name: str
    forward: Callable[[Tensor], Tensor]  # (..., 1, 32, 32) to what is left of it; also of the generator's images
    measured: Tensor  # (32, 32), 1 where the error is measured
    noise: float = 0.0

    def apply(self, images: Tensor, seed: int = 0) -> Tensor:
        """What is left of images (..., 1, 32, 32)."""
        left = self.forward(images)
        return left + self.noise * torch.randn(left.shape, generator=torch.Generator().manual_seed(seed))

    def error(self, restored: Tensor, images: Tensor) -> Tensor:
        """Mean square error where it is measured, of (..., 1, 32, 32): (...)."""
        return ((restored - images).square() * self.measured).sum(dim=(-3, -2, -1)) / self.measured.sum()


def _hole(name: str, known: Tensor) -> Damage:
    return Damage(name, lambda images: images * known, 1 - known)


def _shrunk(images: Tensor) -> Tensor:
    return avg_pool2d(images.flatten(0, -4), 4).unflatten(0, images.shape[:-3])


EVERYWHERE = torch.ones(SIZE, SIZE)
DAMAGES = {
    damage.name: damage
    for damage in (
        _hole("hole", known_around_hole()),
        _hole("lower half", known_above()),
        Damage("noise", lambda images: images, EVERYWHERE, NOISE),
        Damage("low resolution", _shrunk, EVERYWHERE),
    )
}


def wanted(damage: Damage, left: Tensor, prior: str = "none", discriminator: Discriminator | None = None) -> Loss:
    """The loss of a search: the mean square of what differs in `left` (T, ...), and how improbable the answer is.

    The priors: "length" adds the squared length of the latent, "discriminator" what Yeh et al. 2017 (arXiv:1607.07539,
    equation 5) add, log(1 - D(G(z))). "sphere" is a matter of the search and adds nothing.
    """
    share = left[0].numel() / max(1.0, float(damage.forward(torch.ones(1, 1, SIZE, SIZE)).count_nonzero()))

    def loss(images: Tensor, latents: Tensor) -> Tensor:
        apart = (damage.forward(images) - left[:, None]).square().flatten(2).mean(dim=2) * share
        if prior == "length":
            return apart + LENGTH_WEIGHT * latents.square().mean(dim=2)
        if prior == "discriminator":
            assert discriminator is not None
            logits = discriminator(images.flatten(0, 1)).unflatten(0, images.shape[:2])
            return apart - JUDGE_WEIGHT * softplus(logits.reshape(images.shape[:2]))
        return apart

    return loss


def restore(
    generator: Generator,
    damage: Damage,
    left: Tensor,
    *,
    prior: str = "length",
    discriminator: Discriminator | None = None,
    num_starts: int = 4,
    steps: int = 150,
    seed: int = 0,
) -> Found:
    """Searches an answer for what is left of each image, from several starts."""
    starts = draw_latents(len(left) * num_starts, generator.latent_size, seed=seed)
    starts = starts.unflatten(0, (len(left), num_starts))
    loss = wanted(damage, left, prior, discriminator)
    return search(generator, loss, starts, steps=steps, sphere=prior == "sphere")


def simpler(damage: Damage, left: Tensor, training: Tensor) -> dict[str, Tensor]:
    """What simpler means make of it, (T, 1, 32, 32) each, given undamaged training images (N, 1, 32, 32).

    The mean training image; the training image that is nearest after the same damage; a linear regression from what is
    left to the whole image; and the usual filter: a blur of the best width against noise, bicubic enlargement.
    """
    damaged = damage.apply(training, seed=1)
    nearest = nearest_neighbours(left.flatten(1), damaged.flatten(1)).indices[:, 0]
    answers = {
        "mean image": training.mean(dim=0).expand(len(left), -1, -1, -1),
        "nearest training letter": training[nearest],
        "linear regression": _regression(damaged.flatten(1), training.flatten(1), left.flatten(1)),
    }
    if damage.name == "noise":
        answers["as it is"] = left.clamp(-1, 1)
        answers["blur"] = _blurred(left, _best_width(damaged[:200], training[:200]))
    if damage.name == "low resolution":
        answers["enlarged"] = interpolate(left, SIZE, mode="bicubic", align_corners=False).clamp(-1, 1)
    if damage.name in ("hole", "lower half"):  # what is known stays
        known = 1 - damage.measured
        answers = {name: known * left + (1 - known) * answer for name, answer in answers.items()}
    return answers


def _regression(inputs: Tensor, outputs: Tensor, new: Tensor) -> Tensor:
    """Ridge regression, in float64; from (N, F) and (N, 1024) to (T, 1, 32, 32)."""
    model = Ridge(alpha=RIDGE).fit(inputs.double().numpy(), outputs.double().numpy())
    found = torch.from_numpy(model.predict(new.double().numpy()))
    return found.float().clamp(-1, 1).reshape(-1, 1, SIZE, SIZE)


def _blurred(images: Tensor, width: float) -> Tensor:
    blurred = gaussian_filter(images.numpy(), width, mode="nearest", radius=6, axes=(-2, -1))
    return torch.from_numpy(blurred).clamp(-1, 1)


def _best_width(damaged: Tensor, clean: Tensor) -> float:
    widths = [0.5 + 0.1 * step for step in range(16)]
    return min(widths, key=lambda width: float((_blurred(damaged, width) - clean).square().mean()))
