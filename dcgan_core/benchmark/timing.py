"""How fast the rows of the ladder are, what they compute, and how much of the machine they use."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core.benchmark.ladder import NUM_COMPARED, Row, prepare
from dcgan_core.capture import seconds
from dcgan_core.config import Config
from dcgan_core.data import glyphs
from dcgan_core.runtime import Machine, name_of, provenance


def pictures(config: Config, num_different: int = 2_000, num_copies: int = 10) -> Tensor:
    """As many images (N, C, S, S) as a small data set has; copies, since drawing them takes longer than training."""
    num_different = max(num_different, config.batch_size)
    letters = glyphs.render(num_different, image_size=config.image_size, channels=config.num_channels, seed=config.seed)
    return torch.from_numpy(letters.images).repeat(num_copies, 1, 1, 1)


class _Traffic(TorchDispatchMode):
    """Bytes, as if every operation read its inputs from memory and wrote its results there; views move nothing."""

    num_bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        result = function(*arguments, **(keywords or {}))
        given, made = ([leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)] for tree in (arguments, result))
        known = {tensor.untyped_storage().data_ptr() for tensor in given}
        is_view = not function._schema.is_mutable and all(new.untyped_storage().data_ptr() in known for new in made)
        if not is_view and "empty" not in str(function):
            self.num_bytes += sum(tensor.nbytes for tensor in [*given, *made])
        return result


def work(row: Row, config: Config, images: Tensor) -> tuple[float, float]:
    """FLOP (of convolutions and matrix products, 2 per multiply-add) and bytes of an iteration, per real image."""
    step = row.build(config, images, replace(row.machine, compiled=False, capture="off"))
    step()  # Adam's moments are made
    with FlopCounterMode(display=False) as flop, _Traffic() as traffic:
        step()
    return flop.get_total_flops() / config.batch_size, traffic.num_bytes / config.batch_size


def matrix_speed(precision: torch.dtype, device: torch.device, num_calls: int = 5) -> float:
    """FLOP per second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 1024
    matrix = torch.ones(side, side, device=device, dtype=precision)
    return num_calls * 2 * side**3 / seconds(lambda: matrix @ matrix, num_calls, device)


def copy_speed(device: torch.device, num_calls: int = 5) -> float:
    """Bytes, read and written, per second of a copy that is larger than the caches."""
    source = torch.ones(2 ** (28 if device.type == "cuda" else 25), device=device)  # 1 GiB, or 128 MiB
    target = torch.zeros_like(source)
    return num_calls * 2 * source.nbytes / seconds(lambda: target.copy_(source), num_calls, device)


def measure(
    rows: list[Row], config: Config, images: Tensor, machine: Machine, *, num_steps: int, num_repeats: int
) -> dict[str, Any]:
    """Checks the rows, then times them in turns (A B C A B C ...), so that what slows the machine slows them all.

    Speeds are [median, lowest, highest] of the repeats; a ratio is that of two blocks of the same repeat. The machine's
    own speeds are taken in the same turns. Raises `LossesDiffer` before anything is timed.
    """
    running = prepare(rows, config, images)
    speeds: dict[str, list[float]] = {row.change: [] for row, _ in running}
    matrix: dict[torch.dtype, list[float]] = {torch.float32: [], machine.precision: []}
    copies: list[float] = []
    for _ in range(num_repeats):
        for row, step in running:
            step()  # not timed: the caches still hold what the row before used
            speeds[row.change].append(num_steps * config.batch_size / seconds(step, num_steps, machine.device))
        for precision, found in matrix.items():
            found.append(matrix_speed(precision, machine.device))
        copies.append(copy_speed(machine.device))

    def describe(row: Row) -> dict[str, Any]:
        if row.skipped:
            return {"change": row.change, "skipped": row.skipped}
        flop, num_bytes = work(row, config, images)
        speed = spread(speeds[row.change])
        ratios = [new / old for new, old in zip(speeds[row.change], speeds[rows[0].change], strict=True)]
        return {
            "change": row.change,
            "skipped": None,
            "precision": name_of(row.machine.precision),
            "compiled": row.machine.compiled,
            "captured": row.machine.no_graph is None,
            "images_per_second": speed,
            "ratio": spread(ratios),
            "largest_deviation": row.largest_deviation,
            "tolerance": row.tolerance,
            "flop_per_image": flop,
            "bytes_per_image": num_bytes,
            "share_of_matrix_speed": speed[0] * flop / spread(matrix[row.machine.precision])[0],
            "share_of_copy_speed": speed[0] * num_bytes / spread(copies)[0],
        }

    return {
        "config": config.to_dict(),
        "machine": provenance(machine) | {"threads": torch.get_num_threads()},
        "counts": {"steps": num_steps, "repeats": num_repeats, "compared_steps": NUM_COMPARED},
        "matrix_flop_per_second": {name_of(precision): spread(found) for precision, found in matrix.items()},
        "copy_bytes_per_second": spread(copies),
        "rows": [describe(row) for row in rows],
    }


def spread(values: list[float]) -> list[float]:
    """Median, lowest, highest."""
    return [statistics.median(values), min(values), max(values)]


def table(result: dict[str, Any]) -> str:
    """The result as lines for a terminal."""
    lines = [f"{'one change per row':30}{'images/s':>22}{'ratio':>18}{'deviation':>11}{'matrix':>8}{'copy':>6}"]
    for row in result["rows"]:
        if row["skipped"]:
            lines.append(f"{row['change']:30}  skipped: {row['skipped']}")
            continue
        speed = "{:,.0f} ({:,.0f}-{:,.0f})".format(*row["images_per_second"])
        ratio = "{:.2f} ({:.2f}-{:.2f})".format(*row["ratio"])
        shares = f"{row['share_of_matrix_speed']:8.0%}{row['share_of_copy_speed']:6.0%}"
        lines.append(f"{row['change']:30}{speed:>22}{ratio:>18}{row['largest_deviation']:11.1e}{shares}")
    speeds = (f"{name} {values[0] / 1e9:,.0f} GFLOP/s" for name, values in result["matrix_flop_per_second"].items())
    counts, machine = result["counts"], result["machine"]
    return "\n".join(
        [
            *lines,
            f"Median (lowest-highest) of {counts['repeats']} blocks of {counts['steps']} iterations, in turns.",
            f"Deviation: largest of a loss from the first row's, in {counts['compared_steps']} iterations.",
            f"Matrix, copy: share of what this machine did in the same minutes: {', '.join(speeds)}; "
            f"copying {result['copy_bytes_per_second'][0] / 1e9:,.1f} GB/s.",
            f"{machine['device']}, torch {machine['torch']}, {machine['threads']} CPU threads.",
        ]
    )
