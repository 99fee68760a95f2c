"""The Dirac game: the smallest GAN, two numbers that follow their gradients in the plane.

The data are one point at 0, the generator is one point at theta, and the discriminator is the line D(x) = psi x. Both
players are content at (0, 0) and nowhere else. Positions are (..., 2), theta first, in float64. The losses and the
penalty are those that images are trained with. Source: Mescheder, Geiger, Nowozin 2018 (arXiv:1801.04406), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.losses import GAMES, slope_penalty

LOSSES = {  # of those with which (0, 0) is an equilibrium
    "minimax": GAMES["minimax"],
    "non-saturating": GAMES["non-saturating"],
    "Wasserstein": GAMES["wasserstein-penalty"],
    "relativistic": GAMES["relativistic"],
}
NUM_NOISE = 64  # points that stand for the normal distribution


@dataclass(frozen=True)
class DiracGame:
    """What is played for. Raises `InvalidInput` for a loss that is none of `LOSSES`, and for numbers below 0."""

    loss: str = "non-saturating"
    r1_gamma: float = 0.0
    """Weight of R1: half of it times the squared slope of D at the real point."""
    r2_gamma: float = 0.0
    """Weight of R2: the same at the fake point."""
    noise: float = 0.0
    """Standard deviation of instance noise, on the real point and on the fake one."""

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise InvalidInput(f"loss is {self.loss!r}, but must be one of {', '.join(LOSSES)}.")
        for name in ("r1_gamma", "r2_gamma", "noise"):
            if not getattr(self, name) >= 0:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}, but must be 0 or more.")


def velocity(game: DiracGame, positions: Tensor) -> Tensor:
    """How fast both players move at each of the positions (..., 2): minus the gradient of each one's own loss.

    The result has the positions' shape, and a graph back to them if they require a gradient.
    """
    wants_graph = positions.requires_grad
    with torch.enable_grad():
        theta, psi = (positions if wants_graph else positions.detach().requires_grad_()).reshape(-1, 2).unbind(dim=1)
        num_positions, shifts = len(theta), game.noise * _normal_points() if game.noise else torch.zeros(1).double()
        slope = psi.repeat_interleave(len(shifts))[:, None]  # (P B, 1)
        real = shifts.repeat(num_positions)[:, None].requires_grad_()
        fake = theta.repeat_interleave(len(shifts))[:, None] + shifts.repeat(num_positions)[:, None]
        real_logits, fake_logits = (slope * points for points in (real, fake))
        played = LOSSES[game.loss]
        of_psi = played.discriminator(real_logits, fake_logits)
        for gamma, logits, points in ((game.r1_gamma, real_logits, real), (game.r2_gamma, fake_logits, fake)):
            if gamma:
                of_psi = of_psi + gamma * slope_penalty(logits, points)
        paired = played.discriminator is GAMES["relativistic"].discriminator
        of_theta = played.generator(fake_logits, real_logits) if paired else played.generator(fake_logits)
        # Losses are means over all points; each position should get the gradient of its own mean.
        (along_theta,) = torch.autograd.grad(num_positions * of_theta, theta, create_graph=True)
        (along_psi,) = torch.autograd.grad(num_positions * of_psi, psi, create_graph=wants_graph)
        moves = -torch.stack([along_theta, along_psi], dim=1).reshape(positions.shape)
    return moves if wants_graph else moves.detach()


def jacobian(game: DiracGame) -> Tensor:
    """Derivative (2, 2) of `velocity` at the equilibrium; row 0 is how theta moves, column 0 the change with theta."""
    origin = torch.zeros(2, dtype=torch.float64)
    return torch.autograd.functional.jacobian(lambda at: velocity(game, at), origin)


def eigenvalues(game: DiracGame) -> Tensor:
    """The two eigenvalues of `jacobian`, complex: a negative real part draws near, an imaginary part turns."""
    return torch.linalg.eigvals(jacobian(game))


def play(game: DiracGame, start: Tensor, *, rate: float, num_steps: int, in_turns: bool) -> Tensor:
    """The path (num_steps + 1, ..., 2) of gradient descent by both from `start` (..., 2).

    At once, both move by what they see now; in turns, the discriminator moves first, as in all training here, and the
    generator answers to the line that has moved.
    """
    path = [start]
    for _ in range(num_steps):
        now = path[-1]
        if in_turns:
            now = now + rate * velocity(game, now) * torch.tensor([0.0, 1.0], dtype=torch.float64)
            path.append(now + rate * velocity(game, now) * torch.tensor([1.0, 0.0], dtype=torch.float64))
        else:
            path.append(now + rate * velocity(game, now))
    return torch.stack(path)


@cache
def _normal_points() -> Tensor:
    """Equally likely points (B,) of mean 0 and variance 1: the middles of as many slices of the normal distribution."""
    points = torch.special.ndtri((torch.arange(NUM_NOISE, dtype=torch.float64) + 0.5) / NUM_NOISE)
    return points / points.square().mean().sqrt()
