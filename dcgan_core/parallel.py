"""Several processes that train one pair of networks, each with its share of every batch.

Started with `torchrun --nproc-per-node=N -m dcgan_core train ...`. Every process holds the same weights, chooses the
same batch and draws the same latents, keeps its share of their rows, and averages its gradients with the others'. So N
processes take the steps of one with the whole batch, but for batch normalisation: its statistics are those of a
process's own rows. Process 0 alone writes and prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dcgan_core.config import Config, InvalidInput
from dcgan_core.runtime import Machine

Result = TypeVar("Result")
PATIENCE = timedelta(hours=1)  # how long the others wait while the first one loads data or evaluates


@contextmanager
def joined(machine: Machine) -> Iterator[None]:
    """Inside, the processes that torchrun started can talk to each other; with one process, nothing happens."""
    if machine.num_processes == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if machine.device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def check(config: Config, machine: Machine) -> None:
    """Raises `InvalidInput` if the config's batch, or its way of updating, cannot be shared among the processes."""
    if config.unrolled_steps and machine.num_processes > 1:
        raise InvalidInput(
            f"unrolled_steps is {config.unrolled_steps}, but the steps ahead are not shared among processes: "
            "use one process, or set it to 0."
        )
    if config.batch_size % machine.num_processes or config.batch_size < 2 * machine.num_processes:
        raise InvalidInput(
            f"batch_size is {config.batch_size}, which {machine.num_processes} processes cannot share in equal parts "
            "of at least 2 images: choose a multiple of the number of processes."
        )


def share(rows: Tensor, machine: Machine, num_parts: int) -> Tensor:
    """This process's rows (num_parts * B / N, ...) of (num_parts * B, ...): of each part, the same share."""
    if machine.num_processes == 1:
        return rows
    return rows.unflatten(0, (num_parts, machine.num_processes, -1))[:, machine.rank].flatten(0, 1)


def average(tensors: list[Tensor], machine: Machine) -> None:
    """Replaces each tensor by its mean over all processes, in one exchange."""
    if machine.num_processes == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= machine.num_processes
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view(tensor.shape))


def anywhere(happened: bool, machine: Machine) -> bool:
    """True in every process if it happened in one of them. Waits for all, and for the device."""
    if machine.num_processes == 1:
        return happened
    flag = torch.tensor(float(happened), device=machine.device)
    dist.all_reduce(flag)
    return bool(flag)


def gather(thing: Any, machine: Machine) -> list[Any]:
    """One small thing from each process, in every process."""
    things = [thing]
    if machine.num_processes > 1:
        things *= machine.num_processes
        dist.all_gather_object(things, thing)
    return things


def by_first(machine: Machine, action: Callable[..., object], *arguments: Any) -> None:
    """Runs `action` in process 0 alone; the others wait for it. An `InvalidInput` in it is raised in all of them."""
    mistake: list[InvalidInput | None] = [None]
    if machine.rank == 0:
        try:
            action(*arguments)
        except InvalidInput as error:
            mistake = [error]
    if machine.num_processes > 1:
        dist.broadcast_object_list(mistake, src=0)
    if mistake[0]:
        raise mistake[0]


def first_then_others(machine: Machine, action: Callable[..., Result], *arguments: Any) -> Result:
    """Runs `action` in process 0, and then, when what it downloads or writes is there, in the others."""
    results: list[Result] = []
    by_first(machine, lambda: results.append(action(*arguments)))
    return results[0] if results else action(*arguments)
