"""A data set is one uint8 tensor on the device; batches are drawn from it reproducibly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcgan_core.config import InvalidInput


@dataclass(frozen=True)
class Dataset:
    """Images in one tensor. Labels, where there are any, are for measuring: the GAN never sees them.

    Raises `InvalidInput` for images of another kind.
    """

    name: str
    images: Tensor  # uint8 (N, C, S, S)
    labels: Tensor | None  # int64 (N,)
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8:
            raise InvalidInput(
                f"the images of the data set {self.name!r} are {str(self.images.dtype).removeprefix('torch.')}, but "
                "must be uint8 pixels from 0 to 255: multiply those from 0 to 1 by 255, and round them."
            )
        shape = tuple(self.images.shape)
        if len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3]:
            raise InvalidInput(
                f"the images of the data set {self.name!r} have the shape {shape}, but must be "
                "(number, channels, size, size) with 1 or 3 channels."
            )
        if self.labels is not None and len(self.labels) != shape[0]:
            raise InvalidInput(f"the data set {self.name!r} has {len(self.labels)} labels for {shape[0]} images.")

    def to(self, device: torch.device) -> Dataset:
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), labels=labels)


def scale(images: Tensor) -> Tensor:
    """Maps uint8 pixels 0 to 255 onto float32 -1 to 1, the exact range of the generator's tanh."""
    return images.float() / 127.5 - 1


def unscale(images: Tensor) -> Tensor:
    """Maps -1 to 1 onto uint8 pixels 0 to 255: the inverse of `scale`, exactly, with clamping."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


class Batches:
    """Batch number `step` of a run, from nothing but (images, batch size, seed, step).

    Every image is shown once per epoch, in an order that depends on the seed and the epoch alone, so that a resumed
    run sees the same batches without any state. The last partial batch of an epoch is dropped. Of several processes,
    each may take `own` rows of every batch alone.
    """

    def __init__(self, images: Tensor, *, batch_size: int, seed: int, own: Sequence[slice] = (slice(None),)) -> None:
        self.steps_per_epoch = len(images) // batch_size
        if self.steps_per_epoch == 0:
            raise InvalidInput(
                f"the data set has {len(images)} images, fewer than one batch of {batch_size}: "
                "choose a smaller one (--batch-size) or add images."
            )
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.own = own
        self._epoch = -1
        self._order = torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """Batch (B, C, S, S) in [-1, 1] of iteration `step`, counted from 0; of it, the own rows."""
        return scale(self.images[self.rows(step)])

    def rows(self, step: int) -> Tensor:
        """Which images these are: (B,), or as many as there are own rows."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            rng = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.images), generator=rng).to(self.images.device)
            self._epoch = epoch
        batch = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        return batch[self.own[0]] if len(self.own) == 1 else torch.cat([batch[part] for part in self.own])
