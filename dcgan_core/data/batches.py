"""A data set is one uint8 tensor on the device; batches are drawn from it reproducibly."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from dcgan_core.config import Config, InvalidInput
from dcgan_core.runtime import host_memory


@dataclass(frozen=True)
class Dataset:
    """Images in one tensor. Labels, where there are any, are for measuring: the GAN never sees them.

    Raises `InvalidInput` for images of another kind.
    """

    name: str
    images: Tensor  # uint8 (N, C, S, S)
    labels: Tensor | None  # int64 (N,)
    class_names: tuple[str, ...]
    on_disk: bool = False  # the images are a map of a file, as they are too many for the memory

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

    def completed(self, config: Config) -> Config:
        """The config with the channels of these images where it leaves them open. It may differ from them otherwise."""
        found: Literal[1, 3] = 1 if self.images.shape[1] == 1 else 3
        return replace(config, channels=config.channels or found)

    def without_labels(self) -> Dataset:
        """The images alone."""
        return replace(self, labels=None, class_names=())

    def to(self, device: torch.device) -> Dataset:
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), labels=labels)


def scale(images: Tensor) -> Tensor:
    """Maps uint8 pixels 0 to 255 onto float32 -1 to 1, the exact range of the generator's tanh."""
    return images.float() / 127.5 - 1


def unscale(images: Tensor) -> Tensor:
    """Maps -1 to 1 onto uint8 pixels 0 to 255: the inverse of `scale`, exactly, with clamping."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _placed(images: Tensor, device: torch.device, limit: float | None, on_disk: bool) -> tuple[Tensor, str]:
    """The images on the device, or, if they would take more than `limit` bytes there, as they are; and why, if so."""
    if limit is None:
        limit = torch.cuda.mem_get_info(device)[0] / 2 if device.type == "cuda" else host_memory()
    if images.numel() <= limit and not (on_disk and device.type == "cpu"):
        return images.to(device), ""
    where = "on the computer's disk" if on_disk else "in the computer's memory"
    limited = "" if device.type == "cpu" else f", as they may take {limit / 1e9:,.3g} GB on {device.type}"
    return (
        images,
        f"the images take {images.numel() / 1e9:,.3g} GB and stay {where}{limited}: each batch is read ahead.",
    )


class Batches:
    """Batch number `step` of a run, from nothing but (images, batch size, seed, step).

    Every image is shown once per epoch, in an order that depends on the seed and the epoch alone, so that a resumed
    run sees the same batches without any state. The last partial batch of an epoch is dropped. Of several processes,
    each may take `own` rows of every batch alone.

    The images are moved to the `device` if they take at most `limit` bytes there: by default half of the memory that is
    free on a GPU, or all that the computer has. Otherwise, or if they are `on_disk`, they stay in the computer's memory
    or on its disk, which `note` says, and while a batch is used, a thread collects the next one.
    """

    def __init__(
        self,
        images: Tensor,
        *,
        batch_size: int,
        seed: int,
        own: Sequence[slice] = (slice(None),),
        device: torch.device | None = None,
        limit: float | None = None,
        on_disk: bool = False,
    ) -> None:
        self.steps_per_epoch = len(images) // batch_size
        if self.steps_per_epoch == 0:
            raise InvalidInput(
                f"the data set has {len(images)} images, fewer than one batch of {batch_size}: "
                "choose a smaller one (--batch-size) or add images."
            )
        self.device = device or images.device
        self.images, self.note = _placed(images, self.device, limit, on_disk)
        at_home = "on the disk" if on_disk else "in memory"
        self.where = f"on {self.device.type}" if self.images.device.type != "cpu" else at_home
        self.batch_size = batch_size
        self.seed = seed
        self.own = own
        self._epoch = -1
        self._order = torch.empty(0)
        self._thread = ThreadPoolExecutor(1) if self.note else None
        self._next: tuple[int, Future[Tensor]] | None = None  # a step, and its batch to be

    def __call__(self, step: int) -> Tensor:
        """Batch (B, C, S, S) in [-1, 1] of iteration `step`, counted from 0; of it, the own rows."""
        if self._thread is None:
            return scale(self.images[self.rows(step)])
        found = self._next[1] if self._next and self._next[0] == step else self._thread.submit(self._collect, step)
        batch = found.result()
        self._next = step + 1, self._thread.submit(self._collect, step + 1)
        return scale(batch.to(self.device, non_blocking=True))

    def _collect(self, step: int) -> Tensor:
        """The uint8 images of a batch, in memory from which a copy to the device need not wait."""
        batch = self.images[self.rows(step)]
        return batch.pin_memory() if self.device.type == "cuda" else batch

    def rows(self, step: int) -> Tensor:
        """Which images these are: (B,), or as many as there are own rows."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            rng = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.images), generator=rng).to(self.images.device)
            self._epoch = epoch
        batch = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        return batch[self.own[0]] if len(self.own) == 1 else torch.cat([batch[part] for part in self.own])
