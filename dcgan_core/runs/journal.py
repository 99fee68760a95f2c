"""What a run writes down for people: metrics.jsonl, grids of samples, and TensorBoard's files where asked for."""

from __future__ import annotations

import io
import json
import math
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.data import unscale
from dcgan_core.runs.files import add_line, refuse_link, write_whole

METRICS = "metrics.jsonl"


class Journal:
    """Writes into the folder `out` of a run. Raises `InvalidInput` where that is impossible.

    `images` is how many the run has seen: of what TensorBoard was shown beyond, it forgets what will be shown again.
    """

    def __init__(self, out: Path, *, tensorboard: bool = False, images: int = 0) -> None:
        self.out = out
        self.writer: Any = None
        for name in ("samples", "tensorboard"):
            refuse_link(out / name)
        if tensorboard:
            self.writer = check_tensorboard()(str(out / "tensorboard"), purge_step=images)

    def write(self, line: dict[str, Any]) -> None:
        """Appends one line to metrics.jsonl; its "images" is where it belongs."""
        try:
            add_line(self.out / METRICS, json.dumps(line))
        except OSError as error:
            raise _unwritable(self.out, error) from error
        if self.writer:
            for name, value in line.items():
                if name != "images" and isinstance(value, (int, float)):
                    self.writer.add_scalar(name, value, line["images"])
            self.writer.flush()

    def show(self, samples: Tensor, images: int) -> None:
        """Saves samples (N, C, S, S) in [-1, 1] as one grid, samples/IMAGES_SEEN.png."""
        from torchvision.utils import make_grid, save_image  # here: importing it takes as long as PyTorch

        grid = make_grid(unscale(samples).float() / 255, nrow=math.isqrt(len(samples)), padding=0)
        picture = io.BytesIO()
        save_image(grid, picture, format="png")
        try:
            (self.out / "samples").mkdir(exist_ok=True)
            write_whole(self.out / "samples" / f"{images:09d}.png", picture.getvalue())
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
    """The lines of metrics.jsonl so far: each has "images" and "seconds", and numbers or None beside them.

    A last line cut short by a kill is left out, as if it had not been begun; other lines that make no sense are left
    out with a warning that names them.
    """
    path = Path(out) / METRICS
    raw = _raw_lines(path)
    read = [_read(line) for line in raw]
    damaged = [str(number) for number, line in enumerate(read, 1) if line is None]
    if read and read[-1] is None and not raw[-1].endswith(b"\n"):
        damaged.pop()
    if damaged:
        which = f"line {damaged[0]}" if len(damaged) == 1 else f"lines {', '.join(damaged[:5])}"
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        warnings.warn(f"{which}{more} of {str(path)!r} cannot be read: left out.", stacklevel=2)
    return [line for line in read if line is not None]


def _raw_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be read ({error.strerror}): check it, or delete it.") from error


def _read(raw: bytes) -> dict[str, Any] | None:
    """The line, or None if it is none."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict):
        return None
    numbers = (line.get("images"), line.get("seconds"))
    if not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers):
        return None
    if not (isinstance(numbers[0], int) and numbers[0] >= 0 and math.isfinite(line["seconds"])):
        return None
    return line if all(value is None or isinstance(value, (int, float)) for value in line.values()) else None


def forget_after(out: Path, images: int) -> None:
    """Drops the lines of metrics.jsonl that a run resumed at `images` will write again, and one that was cut short.

    Every other line stays as it is, also one that cannot be read. Raises `OSError`.
    """
    path = out / METRICS
    kept = []
    for raw in _raw_lines(path):
        line = _read(raw)
        if line["images"] <= images if line else raw.endswith(b"\n"):
            kept.append(raw if raw.endswith(b"\n") else raw + b"\n")
    write_whole(path, b"".join(kept))
