"""Images are checked once, where they come in, so that a wrong range is one sentence and no wrong number."""

from __future__ import annotations

from torch import Tensor

from dcgan_core.config import InvalidInput

TOLERANCE = 0.01  # beyond -1 and 1: what resizing may add to images whose pixels reach them


def check_images(images: Tensor, *, at_least: int = 1) -> None:
    """Raises `InvalidInput` unless these are `at_least` images (N, C, S, S), C 1 or 3, of floats in [-1, 1].

    One pass over the pixels, without a copy of them. Waits for the device.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3] or 0 in shape[2:]:
        raise InvalidInput(
            f"images have the shape {shape}, but must be (number, channels, size, size) with 1 or 3 channels."
        )
    if shape[0] < at_least:
        raise InvalidInput(f"{shape[0]} image{'s' * (shape[0] != 1)} cannot be measured: give at least {at_least}.")
    if not images.is_floating_point():
        raise InvalidInput(
            f"images are {str(images.dtype).removeprefix('torch.')}, but must be floats from -1 to 1: "
            "dcgan_core.data.scale maps pixels from 0 to 255 onto these."
        )
    low, high = (float(value) for value in images.detach().aminmax())  # nan if any pixel is
    if not -1 - TOLERANCE <= low <= high <= 1 + TOLERANCE:
        raise InvalidInput(
            f"images have values from {low:.4g} to {high:.4g}, but must lie between -1 and 1"
            + (": some are not a number." if low != low else ", as a generator makes them and scale() does.")
        )
