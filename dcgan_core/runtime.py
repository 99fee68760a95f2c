"""Device, precision and seed: the only file that looks at the machine."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import Any, Literal

import torch

from dcgan_core.config import InvalidInput

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Switch = Literal["auto", "on", "off"]
NOT_MADE_FOR_IT = "though this chip is not made for it"


@dataclass(frozen=True)
class Machine:
    """Where a run computes, how precisely, by which means, and why: what it is asked to do.

    Whether recording or compiling succeeds is known only once it is tried: `capture.ready` says what happened.
    """

    device: torch.device
    precision: torch.dtype  # of the convolutions; weights, losses and statistics are float32 always
    why: str  # this precision
    rank: int = 0  # number of this process among those that torchrun started
    local_rank: int = 0  # its number among those on the same computer
    num_processes: int = 1
    compiled: bool = False  # torch.compile for the networks
    capture: Switch = "auto"  # the whole iteration as one CUDA graph; auto does it where it is possible
    undecided: bool = False  # nobody asked for this precision: `capture.settle` may find float32 faster
    failure: str | None = None  # why an earlier recording in this process failed
    changed: str | None = None  # what could not stay as in the session before, and why

    @property
    def no_graph(self) -> str | None:
        """Why the iteration is not recorded as a CUDA graph; None where it is."""
        if self.capture == "off":
            return "switched off"
        if self.device.type != "cuda":
            return "CUDA graphs need a CUDA device"
        if self.num_processes > 1:
            return "a CUDA graph holds the work of one process"
        return self.failure

    @property
    def convolutions(self) -> str:
        """How precisely the convolutions are computed, and why."""
        return f"convolutions in {name_of(self.precision)} ({self.why})"

    @property
    def reason(self) -> str:
        """One sentence for the log."""
        means = [device_name(self.device.type), self.convolutions]
        if self.num_processes > 1:
            shared = (
                "the whole batch" if self.device.type == "cuda" else "each one's own rows, since only GPUs share them"
            )
            means.append(f"{self.num_processes} processes, batch statistics of {shared}")
        means += ["compiled"] * self.compiled + ["iterations as a CUDA graph"] * (self.no_graph is None)
        return ", ".join(means)

    def autocast(self) -> torch.autocast:
        """Inside, convolutions and matrix products run in `precision`."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def scaler(self) -> torch.amp.GradScaler | None:
        """What keeps small gradients from becoming 0 in float16; the other precisions do not need it.

        Source: Micikevicius et al. 2018 (arXiv:1710.03740), section 3.2.
        """
        return torch.amp.GradScaler(self.device.type) if self.precision == torch.float16 else None


def process() -> tuple[int, int]:
    """Number of this process, and how many there are, as torchrun says in the environment; (0, 1) without it.

    Raises `InvalidInput` if what the environment says makes no sense: a process that takes itself for another than the
    first of one would train without a word, and write nothing.
    """
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    numbers = rank.isdecimal() and size.isdecimal()
    if not (numbers and int(rank) < int(size)) or ("RANK" not in os.environ and int(size) > 1):
        said = [f"{name}={os.environ[name]}" for name in ("RANK", "WORLD_SIZE") if name in os.environ]
        raise InvalidInput(
            f"the environment says {' and '.join(said)}, but of several processes, each needs both numbers, with "
            "0 <= RANK < WORLD_SIZE: start them with torchrun, which sets both, or unset both for one process."
        )
    return int(rank), int(size)


def _local_rank(rank: int) -> int:
    """Number of this process among those on the same computer."""
    said = os.environ.get("LOCAL_RANK", str(rank))
    if not said.isdecimal():
        raise InvalidInput(f"the environment says LOCAL_RANK={said}, which is no number: let torchrun set it.")
    return int(said)


def choose_machine(
    device: Device = "auto",
    precision: Precision = "auto",
    *,
    compiled: bool = False,
    capture: Switch = "auto",
    why: str = "as asked",
) -> Machine:
    """The fastest device that is here, and bfloat16 only where the chip computes in it; `why` explains a `precision`.

    `torch.cuda.is_bf16_supported()` also says yes to emulation, so the compute capability decides (8.0 or higher).
    Cards from 7.0 on have tensor cores for float16. On a CPU it is the AVX512-BF16 or AMX instructions. Raises
    `InvalidInput` if the device is not there, or `capture` is "on" where no iteration can be recorded.
    """
    if device == "auto":
        device = next(kind for kind in KINDS if is_here(kind))
    elif not is_here(device):
        raise InvalidInput(f"device is {device!r}, but this machine has none that torch can use; try --device auto.")

    rank, num_processes = process()
    local_rank = _local_rank(rank)
    native = native_precisions(device)
    undecided = False
    if precision == "auto":
        precision = native[0]
        why = "the chip has it" if precision == "bfloat16" else "the chip has no native bfloat16"
        undecided = device == "cuda" and precision == "bfloat16" and num_processes == 1 and not compiled
    elif precision not in native:
        why += f", {NOT_MADE_FOR_IT}"
    where = torch.device(device)
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        if num_processes > 1:
            if local_rank >= torch.cuda.device_count():
                raise InvalidInput(
                    f"process {local_rank} of this computer (counted from 0) has no card of its own, because there are "
                    f"{torch.cuda.device_count()}: lower --nproc-per-node."
                )
            where = torch.device(device, local_rank)
            torch.cuda.set_device(where)
    machine = Machine(
        where,
        getattr(torch, precision),
        why,
        rank=rank,
        local_rank=local_rank,
        num_processes=num_processes,
        compiled=compiled,
        capture=capture,
        undecided=undecided,
    )
    if capture == "on" and machine.no_graph:
        raise InvalidInput(f"capture is 'on', but {machine.no_graph}: set it to auto or off.")
    return machine


KINDS: tuple[Device, ...] = ("cuda", "mps", "cpu")  # the fastest first


def is_here(device: Device) -> bool:
    """Whether torch can use a device of this kind."""
    if device == "cuda":
        return torch.cuda.is_available()
    return device != "mps" or torch.backends.mps.is_available()


def native_precisions(device: Device) -> list[Precision]:
    """What the chip computes in at full speed, the best for training first."""
    if device == "cuda":
        capability = torch.cuda.get_device_capability()
        if capability >= (8, 0):
            return ["bfloat16", "float16", "float32"]
        return ["float16", "float32"] if capability >= (7, 0) else ["float32"]
    if device == "cpu" and _cpu_flags() & {"avx512_bf16", "amx_bf16"}:
        return ["bfloat16", "float32"]
    return ["float32"]


def name_of(precision: torch.dtype) -> str:
    """Of torch.float32, float32."""
    return str(precision).removeprefix("torch.")


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


def refuse_too_large(what: str, num_bytes: float, device: torch.device) -> None:
    """Raises `InvalidInput` if `what` would need more than all the memory that the device has."""
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else host_memory()
    if num_bytes > memory:
        raise InvalidInput(
            f"{what}, which would need about {num_bytes / 1e9:,.0f} GB of memory, but {device.type} has "
            f"{memory / 1e9:,.0f}: choose a smaller number."
        )


def host_memory() -> int:
    """Bytes of memory that the computer has."""
    if hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(os.sysconf_names):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 2**40  # Windows does not say


def seed_everything(seed: int) -> None:
    """Seeds torch on every device. Latents and the order of the images have generators of their own."""
    torch.manual_seed(seed)


def provenance(machine: Machine) -> dict[str, Any]:
    """Who made this result: versions, device, command and time, for a file beside every result.

    "capture" is what was asked for, "captured" what happened: None as long as nobody has tried.
    """
    import matplotlib
    import numpy
    import PIL
    import torchvision

    from dcgan_core import __version__

    own = os.path.join(os.path.dirname(os.path.realpath(__file__)), "__main__.py")
    by_command = os.path.realpath(sys.argv[0]) == own  # other packages, pytest for one, have a __main__, too
    command = shlex.join(["python", "-m", "dcgan_core", *sys.argv[1:]]) if by_command else None
    facts = {
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
        "device_kind": machine.device.type,
        "precision": name_of(machine.precision),
        "precision_because": machine.why,
        "num_processes": machine.num_processes,
        "compiled": machine.compiled,
        "capture": machine.capture,
        "captured": False if machine.no_graph else None,
        "command": command,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if machine.no_graph and machine.device.type == "cuda" and machine.capture != "off":
        facts["not_captured_because"] = machine.no_graph
    return facts | ({"changed": machine.changed} if machine.changed else {})
