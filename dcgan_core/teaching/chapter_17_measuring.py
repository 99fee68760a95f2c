"""What chapter 17 measures in the page: layers one by one, an iteration as the profiler sees it, sources of images."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core.capture import seconds
from dcgan_core.data import scale

KINDS = {  # of work, and what the names of its operations hold; the first that fits
    "convolutions": ("conv2d", "conv_transpose2d", "convolution", "Convolution"),
    "matrix products": ("linear", "aten::mm", "MmBackward", "addmm", "matmul"),
    "batch normalisation": ("batch_norm", "BatchNorm"),
    "activations": ("relu", "Relu", "threshold_backward", "tanh", "Tanh"),
    "Adam": ("Optimizer.step", "_fused_adam"),
    "moving average": ("_foreach_",),
}
OTHERS = "everything else"
PART = "part: "  # what the names of marked parts begin with, so that they are not taken for operations


class LayerCost(NamedTuple):
    """What one layer does in a forward pass of a batch."""

    name: str
    flop: int  # 2 per multiply-add; of convolutions and matrix products alone
    num_bytes: int  # input and weights are read, the output is written, each once
    seconds: float  # see `fastest`


class Stretch(NamedTuple):
    """A stretch of time in a profile, in milliseconds since its beginning."""

    kind: str
    begin: float
    end: float


def fastest(action: Callable[[], Tensor], device: torch.device, num_calls: int) -> float:
    """Seconds of the fastest of several calls, after one that warms up.

    On a CPU they are seconds of processor time, in which whatever else runs there does not count; with one thread of
    torch, that is the time that an idle machine would take.
    """
    action()
    return min(_one_call(action, device) for _ in range(num_calls))


def _one_call(action: Callable[[], Tensor], device: torch.device) -> float:
    if device.type == "cuda":
        return seconds(action, 1, device)
    begin = time.process_time()
    action()
    return time.process_time() - begin


def layer_costs(network: nn.Module, inputs: Tensor, *, num_calls: int = 5) -> list[LayerCost]:
    """The layers of a network of one stack, `network.layers`, on a batch of its inputs; without a gradient.

    Layers that only reshape, and move nothing, are left out.
    """
    found = []
    with torch.no_grad():
        for layer in network.layers:  # type: ignore[union-attr]
            if isinstance(layer, (nn.Flatten, nn.Unflatten)):
                inputs = layer(inputs)
                continue
            with FlopCounterMode(display=False) as counter:
                outputs = layer(inputs.clone())  # activations work in place
            weights = sum(weight.nbytes for weight in layer.parameters())
            took = fastest(partial(layer, inputs), inputs.device, num_calls)
            num_bytes = inputs.nbytes + weights + outputs.nbytes
            found.append(LayerCost(_name(layer), counter.get_total_flops(), num_bytes, took))
            inputs = outputs
    return found


def _name(layer: nn.Module) -> str:
    short = {"ConvTranspose2d": "transposed convolution", "Conv2d": "convolution", "BatchNorm2d": "batch norm"}
    kind = type(layer).__name__
    return short.get(kind, kind)


def timeline(step: Callable[[], Any]) -> tuple[list[Stretch], list[Stretch]]:
    """One call of `step` as PyTorch's profiler sees it on the CPU: marked parts, and operations by their kind.

    Parts are what `torch.profiler.record_function` marked. Of operations that call others, the outermost counts. What
    happens between them, Python above all, is in no stretch.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or PyTorch 2.14 writes into the page when it begins and ends
    with profile() as found:
        step()
    events = sorted(found.function_events or [], key=lambda event: event.time_range.start)
    origin = events[0].time_range.start

    def stretch(kind: str, event: Any) -> Stretch:
        return Stretch(kind, (event.time_range.start - origin) / 1e3, (event.time_range.end - origin) / 1e3)

    parts, operations, covered = [], [], 0.0
    for event in events:
        if event.name.startswith(PART):
            parts.append(stretch(event.name.removeprefix(PART), event))
        elif event.time_range.start >= covered and (kind := kind_of(event.name)):
            operations.append(stretch(kind, event))
            covered = event.time_range.end
    return parts, operations


def part(name: str) -> torch.profiler.record_function:
    """Inside, a profile notes that this part is running."""
    return torch.profiler.record_function(PART + name)


def kind_of(operation: str) -> str | None:
    """The kind of work of an operation that the profiler names; None for other ones."""
    return next((kind for kind, marks in KINDS.items() if any(mark in operation for mark in marks)), None)


def shares(operations: Sequence[Stretch], total: float) -> dict[str, float]:
    """The share of `total` milliseconds that each kind of work takes, the largest first, and what is left."""
    sums = {kind: sum(each.end - each.begin for each in operations if each.kind == kind) for kind in KINDS}
    sums[OTHERS] = total - sum(sums.values())
    return {kind: sums[kind] / total for kind in sorted(sums, key=lambda kind: -sums[kind]) if sums[kind] > 0}


def queue(launch: float, kernels: Sequence[float], *, together: bool = False) -> tuple[list[float], list[Stretch]]:
    """When a CPU has launched each kernel, and when a card runs it: kernels of some durations, one after the other.

    A launch keeps the CPU busy for `launch`, and a kernel begins once it is launched and the one before has ended.
    `together`, as a recorded graph, all are launched at once.
    """
    launches = [launch * (1 if together else 1 + place) for place in range(len(kernels))]
    ran: list[Stretch] = []
    for launched, kernel in zip(launches, kernels, strict=True):
        begin = max(launched, ran[-1].end if ran else 0.0)
        ran.append(Stretch("kernel", begin, begin + kernel))
    return launches[:1] if together else launches, ran


def rate(step: Callable[[], Tensor], num_images: int, device: torch.device, *, num_calls: int = 3) -> float:
    """Images per second of calls that each handle `num_images`; see `fastest`."""
    return num_images / fastest(step, device, num_calls)


class Drawer:
    """The same few pictures as files in memory, in the way that a folder would hold them, and as one tensor."""

    def __init__(self, images: np.ndarray, large: np.ndarray, size: int) -> None:
        """From `images`, uint8 (N, 3, S, S), and the same pictures larger, as a camera would store them."""
        self.pngs = [_encoded(image, "PNG") for image in images]
        self.jpegs = [_encoded(image, "JPEG") for image in large]
        self.tensor, self.size = torch.from_numpy(images), size

    def decode(self, file: bytes) -> Tensor:
        """A picture as training needs it: (3, S, S) in [-1, 1]."""
        with Image.open(io.BytesIO(file)) as picture:
            small = picture.convert("RGB").resize((self.size, self.size), Image.Resampling.BICUBIC)
        return scale(torch.from_numpy(np.array(small)).permute(2, 0, 1))


def _encoded(image: np.ndarray, form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, form, quality=90)
    return file.getvalue()
