"""Small networks of one shape side by side: what one network does to a batch, each does to its own, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from dcgan_core.laboratory.mixtures import PointDiscriminator, PointGenerator
from dcgan_core.models import MinibatchStd


def stack(networks: Sequence[PointGenerator] | Sequence[PointDiscriminator]) -> nn.Sequential:
    """Networks of one shape as one: (S, B, inputs) to (S, B, outputs), network s sees the batch s.

    Half the time of `torch.func.vmap` over the networks, which the test compares it with.
    """
    return nn.Sequential(*map(_side_by_side, *(network.layers for network in networks)))


def _side_by_side(*layers: nn.Module) -> nn.Module:
    first = layers[0]
    if isinstance(first, nn.Linear):
        return StackedLinear(layers)
    if isinstance(first, MinibatchStd):
        return OfEach(first)
    return first  # an activation


class StackedLinear(nn.Module):
    """Linear layers of one shape side by side: (S, B, inputs) to (S, B, outputs), layer s sees the batch s."""

    def __init__(self, layers: Sequence[Any]) -> None:  # each is a `nn.Linear`
        super().__init__()
        normalised = [layer.parametrizations.weight for layer in layers if is_parametrized(layer)]
        weights = [pair.original for pair in normalised] or [layer.weight for layer in layers]
        self.weight = nn.Parameter(torch.stack([weight.detach() for weight in weights]))  # (S, outputs, inputs)
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))  # (S, outputs)
        if normalised:
            norm = StackedSpectralNorm([pair[0] for pair in normalised])
            register_parametrization(self, "weight", norm, unsafe=True)  # the safe way would iterate once to try it

    def forward(self, batches: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], batches, self.weight.transpose(1, 2))


class StackedSpectralNorm(_SpectralNorm):
    """torch's spectral normalisation of each of S weights (S, outputs, inputs), which goes on where `norms` are.

    It is one of torch's, so that `steps.frozen` finds it.
    """

    def __init__(self, norms: Sequence[_SpectralNorm]) -> None:
        nn.Module.__init__(self)
        self.register_buffer("_u", torch.stack([norm._u for norm in norms]))  # (S, outputs)
        self.register_buffer("_v", torch.stack([norm._v for norm in norms]))  # (S, inputs)

    def forward(self, weight: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self._u.copy_(nn.functional.normalize(torch.einsum("soi,si->so", weight, self._v), dim=1))
                self._v.copy_(nn.functional.normalize(torch.einsum("soi,so->si", weight, self._u), dim=1))
        left, right = self._u.clone(), self._v.clone()  # the next forward pass overwrites them
        return weight / torch.einsum("so,soi,si->s", left, weight, right)[:, None, None]


class OfEach(nn.Module):
    """A layer without weights, applied to the batch of each network alone: (S, B, ...) to (S, B, ...)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, batches: Tensor) -> Tensor:
        return vmap(self.layer)(batches)
