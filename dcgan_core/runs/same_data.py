"""Whether a run that goes on still sees the images that it saw before."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import xxhash

from dcgan_core.config import InvalidInput
from dcgan_core.data import Dataset
from dcgan_core.runs.folder import note, read_provenance

CHUNK = 1_000  # images that are copied at a time


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """How many images there are, and a checksum (XXH3) of all their pixels; a gigabyte takes a fraction of a second."""
    total = xxhash.xxh3_64()
    for part in dataset.images.split(CHUNK):
        total.update(part.cpu().contiguous().numpy().data)
    return {"num_images": len(dataset.images), "pixels": total.hexdigest()}


def note_data(out: Path, dataset: Dataset) -> None:
    """Writes the fingerprint of the images into the session of the run that begins, and warns if the session before saw
    other ones. Sessions of older versions have none.
    """
    found = fingerprint(dataset)
    sessions = read_provenance(out)
    before: Any = sessions[-2].get("data") if len(sessions) > 1 else None
    with suppress(InvalidInput):
        note(out, {"data": found})
    if isinstance(before, dict) and before != found:
        num_before = before.get("num_images")
        how = f"{num_before} images then, {found['num_images']} now"
        if num_before == found["num_images"]:
            how = f"as many, {num_before}, but other pixels"
        warnings.warn(f"the data are not those of the session before: {how}; the run goes on with them.", stacklevel=2)
