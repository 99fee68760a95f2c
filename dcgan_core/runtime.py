"""Device, precision and seed: the only file that looks at the machine."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import Any, Literal

import torch

from dcgan_core.config import InvalidInput


@dataclass(frozen=True)
class Machine:
    """Where a run computes, how precisely, and why."""

    device: torch.device
    precision: torch.dtype  # of the convolutions; weights, losses and statistics are float32 always
    reason: str  # one sentence for the log

    def autocast(self) -> torch.autocast:
        """Inside, convolutions and matrix products run in `precision`."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)


def choose_machine(
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto", precision: Literal["auto", "float32", "bfloat16"] = "auto"
) -> Machine:
    """The fastest device that is here, and bfloat16 only where the chip computes in it.

    `torch.cuda.is_bf16_supported()` also says yes to emulation, so the compute capability decides (8.0 or higher). On
    a CPU it is the AVX512-BF16 or AMX instructions. Raises `InvalidInput` if the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    elif not {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device]:
        raise InvalidInput(f"device is {device!r}, but this machine has none that torch can use; try --device auto.")

    native = _bfloat16_is_native(device)
    if precision == "auto":
        precision = "bfloat16" if native else "float32"
        why = "the chip has it" if native else "the chip has no native bfloat16"
    else:
        why = "as asked" if native or precision == "float32" else "as asked, though this chip only emulates it"
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    reason = f"{device_name(device)}, convolutions in {precision} ({why})"
    return Machine(torch.device(device), getattr(torch, precision), reason)


def _bfloat16_is_native(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return device == "cpu" and bool(_cpu_flags() & {"avx512_bf16", "amx_bf16"})


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
        "command": " ".join(["python -m dcgan_core", *sys.argv[1:]]) if sys.argv[0].endswith("__main__.py") else None,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
