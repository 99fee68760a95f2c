"""The checks of chapter 17's exercises."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core.teaching.chapter_17_measuring import queue, timeline
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.slow_loop import NUM_FILES, Bench, slow_loop

PARTS = ("read", "update", "losses", "evaluate", "draw")
WAITS = {
    "read": "the same files are opened and decoded again in every step",
    "evaluate": "a distance is computed in every step, and only the last one is returned",
    "draw": "a picture is drawn in every step, and only the last one is looked at",
}
NUM_STEPS = 6
Loop = Callable[[Bench, int], tuple[Sequence[Any], float]]


@check
def check_flop(flop: Callable[[int, int, int, int, int], float]) -> str:
    """Exercise 17.1: FLOP of a convolution, from batch, channels in and out, side of its kernel and of its output."""
    for batch, received, made, kernel, stride, side in ((1, 1, 1, 1, 1, 4), (5, 7, 16, 3, 1, 8), (2, 24, 48, 4, 2, 12)):
        layer = nn.Conv2d(received, made, kernel, stride, padding=(kernel - 1) // 2, bias=False)
        with FlopCounterMode(display=False) as counter:
            out = layer(torch.zeros(batch, received, side, side))
        expected, size = counter.get_total_flops(), out.shape[-1]
        found = flop(batch, received, made, kernel, size)
        causes = {
            "a multiplication and an addition count as two": 2 * found,
            "the kernel has two sides": kernel * found,
            "the output has two sides": size * found,
            "each image of the batch costs as much": batch * found,
            "each output channel looks at all input channels": received * found,
            "the kernel slides over the output's pixels, not over the input's": found / stride**2,
        }
        hint = next((cause for cause, mended in causes.items() if mended == expected and found != expected), "")
        require(
            found == expected,
            f"A convolution of {batch} images, {received} to {made} channels, kernel {kernel}, output {size}x{size}, "
            f"costs {expected:,} FLOP and not {found:,.0f}{': ' + hint if hint else ''}.",
        )
    return "That is what PyTorch's counter says of three convolutions, and why wide inner layers cost the most."


@check
def check_least_seconds(least: Callable[[float, float, float, float], float]) -> str:
    """Exercise 17.2: the least time of some work, from FLOP, bytes, and what a machine does of each in a second."""
    cases = [
        (4e9, 1e9, 2e9, 1e9, "computing takes 2 s and moving 1 s, and a good program does both at once"),
        (1e9, 8e9, 2e9, 1e9, "moving takes 8 s, however fast the machine computes"),
        (3e9, 3e9, 1e9, 1e9, "both take 3 s, side by side"),
    ]
    for flop, num_bytes, flop_rate, byte_rate, why in cases:
        expected = max(flop / flop_rate, num_bytes / byte_rate)
        found = float(least(flop, num_bytes, flop_rate, byte_rate))
        require(
            abs(found - expected) < 1e-9 * expected,
            f"For {flop:.0e} FLOP and {num_bytes:.0e} bytes, on a machine with {flop_rate:.0e} and {byte_rate:.0e} of "
            f"them per second, yours is {found:.3g} s and not {expected:.3g} s: {why}.",
        )
    return "FLOP divided by this time, over FLOP per byte, is the roof of the figure."


@check
def check_finish(finish: Callable[[float, Sequence[float]], float]) -> str:
    """Exercise 17.3: when a card has run kernels of some durations, each launched when the launch before is over."""
    cases = [
        (5.0, [1.0], "the only kernel is launched after 5, and takes 1"),
        (5.0, [1.0, 1.0, 1.0], "every kernel is over before the next one is launched, so the last launch decides"),
        (1.0, [5.0, 5.0, 5.0], "the launches are ahead: the card begins after 1 and is busy from then on"),
        (2.0, [9.0, 1.0, 1.0, 1.0, 1.0, 1.0], "a long kernel lets the launches get ahead, and short ones use that up"),
    ]
    for launch, kernels, why in cases:
        expected = queue(launch, kernels)[1][-1].end
        found = float(finish(launch, list(kernels)))
        require(
            abs(found - expected) < 1e-9,
            f"With launches of {launch:g} and kernels of {', '.join(f'{each:g}' for each in kernels)}, the card is "
            f"done after {expected:g} and not {found:g}: {why}.",
        )
    return "So a loop is bound by launches if its kernels are on average shorter than a launch, else by them."


@check
def check_waits(waits: Collection[str]) -> str:
    """Exercise 17.4: which parts of the slow loop are waits that nobody needs."""
    require(not isinstance(waits, str), "Name them in a set, such as {'read', 'update'}.")
    named = set(waits)
    if not named:
        raise NotImplementedError
    unknown = named - set(PARTS)
    require(not unknown, f"{', '.join(map(repr, sorted(unknown)))} is no part: the parts are {', '.join(PARTS)}.")
    took = _milliseconds()
    require("update" not in named, "The update is the training itself, and no wait: what is left when all waits go.")
    require(
        "losses" not in named,
        f"On a CPU, the losses are there when the update is over: reading them took {took['losses']:.2f} ms per step. "
        "(On a card, the same line would wait for all that was launched.)",
    )
    missing = [name for name in WAITS if name not in named]
    require(
        not missing,
        f"There is one more, or several: look at a part that takes {took[(missing or PARTS)[0]]:.0f} ms in every step, "
        "and whose result is the same every time, or is not used.",
    )
    return "; ".join(f"{name}: {why} ({took[name]:.0f} ms)" for name, why in WAITS.items()) + "."


@cache
def _milliseconds() -> dict[str, float]:
    """What each part of the slow loop takes per step, on this machine."""
    parts, _ = timeline(lambda: slow_loop(Bench(), 3))
    return {name: sum(each.end - each.begin for each in parts if each.kind == name) / 3 for name in PARTS}


@cache
def _slowly() -> tuple[list[list[float]], float, float]:
    """What the slow loop returns, and the seconds that it takes."""
    bench = Bench()
    begin = time.perf_counter()
    losses, score = slow_loop(bench, NUM_STEPS)
    return losses, score, time.perf_counter() - begin


@check
def check_loop(loop: Loop) -> str:
    """Exercise 17.5: a loop that does what the slow one does, without its three waits."""
    mended = Bench()
    begin = time.perf_counter()
    losses, score = loop(mended, NUM_STEPS)
    took = time.perf_counter() - begin
    expected, expected_score, slow_seconds = _slowly()
    require(len(losses) == NUM_STEPS, f"{NUM_STEPS} steps have as many pairs of losses; yours returns {len(losses)}.")
    found = torch.stack([torch.as_tensor(each) for each in losses])
    apart = (found - torch.tensor(expected)).abs().max().item()
    require(
        apart < 1e-5,
        f"The losses differ by up to {apart:.2g}, so this is another training: each step has to see the same images in "
        "the same order, `bench.rows(step)`.",
    )
    count, used_at = mended.count, mended.used_at
    require(
        count["decode"] <= NUM_FILES,
        f"The losses are right, but {count['decode']} files were decoded, of {NUM_FILES} that there are: keep what was "
        "decoded.",
    )
    for tool, result in (("evaluate", "distance"), ("draw", "picture")):
        require(count[tool] > 0, f"The {result} at the end is missing: call bench.{tool}() once.")
        require(count[tool] == 1, f"bench.{tool}() was called {count[tool]} times, and only the last {result} counts.")
        require(used_at[tool] == NUM_STEPS, f"The {result} has to be that after the last update.")
    require(abs(score - expected_score) < 1e-3, f"The distance is {expected_score:.4g}, and yours returns {score:.4g}.")
    return (
        f"The same losses and the same distance; {NUM_STEPS} steps took {1000 * took:,.0f} ms instead of "
        f"{1000 * slow_seconds:,.0f}."
    )
