"""Several processes that train one pair of networks, each with its share of every batch.

Started with `torchrun --nproc-per-node=N -m dcgan_core train ...`, on one computer or several. Every process holds the
same weights, takes its own rows of the batch and of the latents, and PyTorch's `DistributedDataParallel` averages the
gradients while they are computed. So N processes take the steps of one with the whole batch, but for what each draws by
itself (dropout, the points of a gradient penalty). On GPUs, they also share the statistics of batch normalisation; on
CPUs, where PyTorch cannot, each normalises by its own rows. Process 0 alone writes and prints.
"""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dcgan_core.config import Config, InvalidInput, first_line
from dcgan_core.runtime import Machine

if TYPE_CHECKING:  # there are builds of torch without it, which train in one process
    from torch.distributed.distributed_c10d import Store

Result = TypeVar("Result")
JOINING = timedelta(minutes=5)  # how long a process waits for all others to start
PATIENCE = timedelta(hours=1)  # how long the others wait while the first one loads data or evaluates


class NotJoined(InvalidInput):
    """The processes did not find each other, so that each has to speak for itself."""


@contextmanager
def joined(machine: Machine) -> Iterator[None]:
    """Inside, the processes that torchrun started can talk to each other; with one process, nothing happens.

    Raises `NotJoined` if they are not all there within `JOINING`.
    """
    if machine.num_processes == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group(
        "nccl" if machine.device.type == "cuda" else "gloo",
        store=_meet(machine),
        rank=machine.rank,
        world_size=machine.num_processes,
        timeout=PATIENCE,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _meet(machine: Machine) -> Store:
    """The common store of all processes, once each has signed in there."""
    from torch.distributed.rendezvous import rendezvous

    who = f"process {machine.rank} of {machine.num_processes} (counted from 0)"
    address, port = (os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
    if not address or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise NotJoined(
            f"{who} does not know where to meet the others (MASTER_ADDR is {address!r}, MASTER_PORT is {port!r}): "
            "start all of them with torchrun, which sets both, or set them to process 0's address and a free port."
        )
    minutes = f"{JOINING.total_seconds() / 60:g} minutes"
    deadline = time.monotonic() + JOINING.total_seconds()
    try:
        while machine.rank > 0 and not _answers(address, int(port), time.monotonic() > deadline):
            time.sleep(0.5)
        # The store itself would wait for all, but only say how many are missing: so it is told that one is enough.
        store, _, _ = next(rendezvous(f"env://?rank={machine.rank}&world_size=1", timeout=JOINING))
        signatures = [f"dcgan_core/{rank}" for rank in range(machine.num_processes)]
        store.set(signatures[machine.rank], socket.gethostname())
        try:
            store.wait(signatures, JOINING)
        except dist.DistStoreError:
            missing = [str(rank) for rank, name in enumerate(signatures) if not store.check([name])]
            raise NotJoined(
                f"{who} waited {minutes} for {', '.join(missing)}: look whether they were started, on every computer "
                "with the same --nnodes and --nproc-per-node, and why they ended if they did."
            ) from None
    except (OSError, dist.DistError) as error:
        raise NotJoined(
            f"{who} lost or never found the meeting point {address}:{port}, for which it has {minutes} "
            f"({first_line(error)}): "
            "look whether process 0, or torchrun on the first computer, is running, and whether its address and port "
            "can be reached from here and are free."
        ) from error
    return store


def _answers(address: str, port: int, last_try: bool) -> bool:
    """Whether somebody listens there. Raises `OSError` if not, in the last try. The store would print its traces."""
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        if last_try:
            raise
        return False
    return True


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


def own_rows(num_rows: int, num_parts: int, machine: Machine) -> list[slice]:
    """Which of `num_rows` rows are this process's: of each of `num_parts` equal parts, the same share."""
    if machine.num_processes == 1:
        return [slice(0, num_rows)]
    part = num_rows // num_parts
    share = part // machine.num_processes
    assert share * machine.num_processes * num_parts == num_rows, "`check` refuses what cannot be shared"
    starts = (number * part + machine.rank * share for number in range(num_parts))
    return [slice(start, start + share) for start in starts]


def share_gradients(networks: dict[str, nn.Module], machine: Machine) -> dict[str, nn.Module]:
    """The same networks, under the same names, so called that a backward pass averages gradients over all processes.

    All processes have to make this call, and then play, in the same order. Parameters stay where they are, and the
    networks themselves can still be called where there is nothing to share: by an opponent, or to draw samples. With
    one process, there are none. Source: Li et al. 2020 (arXiv:2006.15704), which describes the engine.
    """
    if machine.num_processes == 1:
        return {}
    # One stride of a weight for a single channel means nothing, and may differ from its gradient's: no reason to warn.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    sharing: dict[str, nn.Module] = {}
    for name, network in networks.items():
        wrapped = DistributedDataParallel(network, gradient_as_bucket_view=True)  # gradients need no copy of their own
        # Buffers would be copied from process 0 before each pass, and so between the two passes of one update, whose
        # graph may need them as they were (pytorch issue 175024). The argument's name depends on the version of torch.
        wrapped.broadcast_buffers = False
        sharing[name] = wrapped
    return sharing


def share_statistics(network: nn.Module, machine: Machine) -> nn.Module:
    """The network with batch statistics of all processes' rows, where PyTorch has that: on CUDA.

    Its layers of batch normalisation are replaced, in place, by ones that hold the same parameters and buffers under
    the same names, and exchange their sums in train mode only.
    """
    if machine.num_processes == 1 or machine.device.type != "cuda":
        return network
    return nn.SyncBatchNorm.convert_sync_batchnorm(network)


def average(tensor: Tensor, machine: Machine) -> None:
    """Replaces the tensor by its mean over all processes."""
    if machine.num_processes > 1:
        dist.all_reduce(tensor)
        tensor /= machine.num_processes


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


def by_all(machine: Machine, action: Callable[..., Result], *arguments: Any) -> Result:
    """Runs `action` in every process and waits for all. An `InvalidInput` in one of them is raised in all."""
    results: list[Result] = []
    mistake: InvalidInput | None = None
    try:
        results.append(action(*arguments))
    except InvalidInput as error:
        mistake = error
    for found in gather(mistake, machine):
        if found:
            raise found
    return results[0]


def by_first(machine: Machine, action: Callable[..., object], *arguments: Any) -> None:
    """Runs `action` in process 0 alone; the others wait for it. An `InvalidInput` in it is raised in all of them."""
    by_all(machine, lambda: action(*arguments) if machine.rank == 0 else None)


def first_then_others(machine: Machine, action: Callable[..., Result], *arguments: Any) -> Result:
    """Runs `action` in the first process of each computer, and, when what it downloads is there, in the others."""
    results: list[Result] = []
    for turn in (machine.local_rank == 0, machine.local_rank != 0):
        by_all(machine, lambda: results.append(action(*arguments)) if turn else None)  # noqa: B023 (called at once)
    return results[0]
