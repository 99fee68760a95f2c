"""What a run writes down for people: metrics.jsonl, grids of samples, and TensorBoard's files where asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.utils import make_grid, save_image

from dcgan_core.config import InvalidInput
from dcgan_core.data import unscale
from dcgan_core.runs.checkpoint import write_whole


class Journal:
    """Writes into the folder `out` of a run. Raises `InvalidInput` where that is impossible.

    `images` is how many the run has seen: of what TensorBoard was shown beyond, it forgets what will be shown again.
    """

    def __init__(self, out: Path, *, tensorboard: bool = False, images: int = 0) -> None:
        self.out = out
        self.writer: Any = None
        if tensorboard:
            self.writer = check_tensorboard()(str(out / "tensorboard"), purge_step=images)

    def write(self, line: dict[str, Any]) -> None:
        """Appends one line to metrics.jsonl; its "images" is where it belongs."""
        try:
            with open(self.out / "metrics.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise _unwritable(self.out, error) from error
        if self.writer:
            for name, value in line.items():
                if name != "images" and isinstance(value, (int, float)):
                    self.writer.add_scalar(name, value, line["images"])
            self.writer.flush()

    def show(self, samples: Tensor, images: int) -> None:
        """Saves samples (N, C, S, S) in [-1, 1] as one grid, samples/IMAGES_SEEN.png."""
        grid = make_grid(unscale(samples).float() / 255, nrow=math.isqrt(len(samples)), padding=0)
        try:
            save_image(grid, self.out / "samples" / f"{images:09d}.png")
        except OSError as error:
            raise _unwritable(self.out, error) from error
        if self.writer:
            self.writer.add_image("samples", grid, images)
            self.writer.flush()

    def close(self) -> None:
        if self.writer:
            self.writer.close()


def check_tensorboard() -> Any:
    """TensorBoard's writer class. Raises `InvalidInput` if the package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InvalidInput(
            "tensorboard is asked for but not installed: run pip install 'dcgan-core[tensorboard]', or do without."
        ) from error
    return SummaryWriter


def _unwritable(out: Path, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"cannot write into {str(out)!r} ({error.strerror}): make room and continue from the last checkpoint with "
        "'resume'."
    )


def read_metrics(out: str | Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl so far; a last line cut short by a kill is left out."""
    path = Path(out) / "metrics.jsonl"
    lines = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def forget_after(out: Path, images: int) -> None:
    """Drops the lines of metrics.jsonl that a resumed run will write again."""
    kept = [json.dumps(line) + "\n" for line in read_metrics(out) if line["images"] <= images]
    write_whole(out / "metrics.jsonl", "".join(kept).encode())
