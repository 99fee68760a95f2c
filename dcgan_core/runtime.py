"""Device, precision and seed: the only file that looks at the machine."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import warnings
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import Any, Literal

import torch

from dcgan_core.config import InvalidInput

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Machine:
    """Where a run computes, how precisely, by which means, and why."""

    device: torch.device
    precision: torch.dtype  # of the convolutions; weights, losses and statistics are float32 always
    reason: str  # one sentence for the log
    rank: int = 0  # number of this process among those that torchrun started
    num_processes: int = 1
    compiled: bool = False  # torch.compile for the networks
    captured: bool = False  # the whole iteration as one CUDA graph

    def autocast(self) -> torch.autocast:
        """Inside, convolutions and matrix products run in `precision`."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def scaler(self) -> torch.amp.GradScaler | None:
        """What keeps small gradients from becoming 0 in float16; the other precisions do not need it.

        Source: Micikevicius et al. 2018 (arXiv:1710.03740), section 3.2.
        """
        return torch.amp.GradScaler(self.device.type) if self.precision == torch.float16 else None


def process() -> tuple[int, int]:
    """Number of this process, and how many there are, as torchrun says in the environment; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def choose_machine(
    device: Device = "auto", precision: Precision = "auto", *, compiled: bool = False, captured: bool = False
) -> Machine:
    """The fastest device that is here, and bfloat16 only where the chip computes in it.

    `torch.cuda.is_bf16_supported()` also says yes to emulation, so the compute capability decides (8.0 or higher).
    Cards from 7.0 on have tensor cores for float16. On a CPU it is the AVX512-BF16 or AMX instructions. `captured` is
    for one process on CUDA; elsewhere it is a warning. Raises `InvalidInput` if the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    elif not {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device]:
        raise InvalidInput(f"device is {device!r}, but this machine has none that torch can use; try --device auto.")

    native = _native_precisions(device)
    if precision == "auto":
        precision = native[0]
        why = "the chip has it" if precision == "bfloat16" else "the chip has no native bfloat16"
    else:
        why = "as asked" if precision in native else "as asked, though this chip is not made for it"
    rank, num_processes = process()
    where = torch.device(device)
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        if num_processes > 1:
            where = torch.device(device, int(os.environ.get("LOCAL_RANK", rank)))
            torch.cuda.set_device(where)
    can_capture = device == "cuda" and num_processes == 1
    if captured and not can_capture:
        warnings.warn("only one process on a CUDA device can capture the iteration: training without.", stacklevel=2)
    reason = f"{device_name(device)}, convolutions in {precision} ({why})"
    if num_processes > 1:
        reason += f", {num_processes} processes"
    return Machine(
        where,
        getattr(torch, precision),
        reason,
        rank=rank,
        num_processes=num_processes,
        compiled=compiled,
        captured=captured and can_capture,
    )


def _native_precisions(device: str) -> list[Precision]:
    """What the chip computes in at full speed, the best for training first."""
    if device == "cuda":
        capability = torch.cuda.get_device_capability()
        if capability >= (8, 0):
            return ["bfloat16", "float16", "float32"]
        return ["float16", "float32"] if capability >= (7, 0) else ["float32"]
    if device == "cpu" and _cpu_flags() & {"avx512_bf16", "amx_bf16"}:
        return ["bfloat16", "float32"]
    return ["float32"]


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo") as lines:
            return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
    except OSError:  # not Linux
        return frozenset()


def device_name(device: str) -> str:
    """What a reader calls the device: the card's name, or the processor and how many threads torch uses of it."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{platform.machine()} {device} with {threads} thread{'s' if threads > 1 else ''}"


def seed_everything(seed: int) -> None:
    """Seeds torch on every device. Latents and the order of the images have generators of their own."""
    torch.manual_seed(seed)


def provenance(machine: Machine) -> dict[str, Any]:
    """Who made this result: versions, device, command and time, for a file beside every result."""
    import matplotlib
    import numpy
    import PIL
    import torchvision

    from dcgan_core import __version__

    own = os.path.join(os.path.dirname(os.path.realpath(__file__)), "__main__.py")
    by_command = os.path.realpath(sys.argv[0]) == own  # other packages, pytest for one, have a __main__, too
    command = shlex.join(["python", "-m", "dcgan_core", *sys.argv[1:]]) if by_command else None
    return {
        "dcgan_core": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "matplotlib": matplotlib.__version__,
        "pillow": PIL.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_cores": os.cpu_count(),
        "device": device_name(machine.device.type),
        "precision": str(machine.precision).removeprefix("torch."),
        "num_processes": machine.num_processes,
        "compiled": machine.compiled,
        "captured": machine.captured,
        "command": command,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
