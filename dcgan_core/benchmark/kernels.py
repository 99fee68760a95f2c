"""Where the time of an iteration goes: the kernels that take longest, and what the CPU spends on launching them."""

from __future__ import annotations

from typing import Any

import torch
from torch.profiler import ProfilerActivity

from dcgan_core.benchmark.ladder import Step
from dcgan_core.capture import seconds

NUM_WARMUPS = 3
LAUNCHES = ("LaunchKernel", "GraphLaunch", "MemcpyAsync", "MemsetAsync")  # in the names of calls to the CUDA libraries


def profile(step: Step, device: torch.device, *, num_steps: int = 20, num_top: int = 12) -> dict[str, Any]:
    """What PyTorch's profiler sees of `num_steps` iterations: kernels on a CUDA device, elsewhere operations.

    `busy` is the share of an iteration's time in which the device computes. It combines the kernels' own times with the
    time of iterations that nobody watches. `launch_share` is the share of the watched time that the CPU spends in calls
    that launch something; watching makes these calls slower.
    """
    seconds(step, NUM_WARMUPS, device)
    alone = seconds(step, num_steps, device) / num_steps
    on_card = device.type == "cuda"
    with torch.profiler.profile(
        activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_card else [])]
    ) as found:
        watched = seconds(step, num_steps, device) / num_steps
    events = [event for event in found.key_averages() if not getattr(event, "is_user_annotation", False)]
    launches = [event for event in events if event.key.startswith("cu") and any(name in event.key for name in LAUNCHES)]
    if on_card:
        work = {event.key: event.self_device_time_total for event in events if event.device_type.name == "CUDA"}
    else:
        work = {event.key: event.self_cpu_time_total for event in events}
    counts = {event.key: event.count for event in events}
    total = sum(work.values()) / 1e6  # from microseconds
    top = sorted(work, key=lambda name: work[name], reverse=True)[:num_top]
    return {
        "steps": num_steps,
        "seconds_per_step": alone,
        "watched_seconds_per_step": watched,
        "busy": total / num_steps / alone if on_card else None,
        "kernels_per_step": sum(counts[name] for name in work) / num_steps,
        "launches_per_step": sum(event.count for event in launches) / num_steps,
        "launch_share": sum(event.self_cpu_time_total for event in launches) / 1e6 / num_steps / watched,
        "top": [
            {"name": name, "share": work[name] / 1e6 / total, "calls_per_step": counts[name] / num_steps}
            for name in top
        ],
    }
