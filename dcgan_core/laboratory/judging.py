"""Which features order known damage rightly: why images without labels are measured with those of `metrics.general`.

`python -m dcgan_core.laboratory.judging` measures and writes the record that ships with the package (a quarter of an
hour on one core). Photographs are those that scikit-learn and scikit-image bring, cut into tiles; drawings are a folder
of pictures whose subfolders are kinds; clothes and letters are the held-out parts of the book's data sets.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from dcgan_core.config import InvalidInput
from dcgan_core.data import load, scale
from dcgan_core.laboratory.damages import NONE, PIXELS, STRENGTHS, fewer_images, fewer_kinds
from dcgan_core.laboratory.outcomes import append, read
from dcgan_core.metrics import Classifier, frechet_distance, kernel_distance, moments, shipped_classifier
from dcgan_core.metrics.copies import copies, thumbnails
from dcgan_core.metrics.general import general
from dcgan_core.metrics.imagenet import imagenet
from dcgan_core.runtime import choose_machine, provenance

RECORD = Path(__file__).with_suffix(".jsonl")
SIZE = 64
NUM_IMAGES, NUM_COMPARED = 900, 300  # of a set, and those of them that are damaged and compared with the others
NUM_SPLITS = 4
PHOTOGRAPHS = (  # of scikit-image; beside them the two of scikit-learn
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png"),
    *("grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg"),
    "rocket.jpg",
)
TILES = 80  # of one photograph at most
COPIED = (("noise", 1), ("noise", 3), ("blur", 1), ("blur", 3), ("dimming", 2))  # what is done to copies


def _tiles(picture: Image.Image, rng: torch.Generator) -> Tensor:
    """Squares (N, 3, 64, 64) that do not overlap, of a picture in its own size."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    tiles = pixels.unfold(1, SIZE, SIZE).unfold(2, SIZE, SIZE).permute(1, 2, 0, 3, 4).flatten(0, 1)
    return tiles[torch.randperm(len(tiles), generator=rng)[:TILES]]


def photographs() -> tuple[Tensor, Tensor]:
    """Tiles of 17 photographs (N, 3, 64, 64), uint8, and of which each is."""
    from sklearn.datasets import load_sample_images

    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise InvalidInput("the photographs of this study need a package: pip install scikit-image.")
    folder, rng = Path(package.origin).parent / "data", torch.Generator().manual_seed(0)
    pictures: list[Image.Image] = [Image.open(folder / name) for name in PHOTOGRAPHS]
    pictures += [Image.fromarray(each) for each in load_sample_images().images]
    tiles = [_tiles(picture, rng) for picture in pictures]
    return torch.cat(tiles), torch.cat([torch.full((len(each),), kind) for kind, each in enumerate(tiles)])


def drawings(folder: Path) -> tuple[Tensor, Tensor]:
    """The PNG files below a folder on white (N, 3, 64, 64), uint8, and which of its subfolders each is from."""
    paths = sorted(folder.rglob("*.png"))
    kinds = sorted({path.parent for path in paths})
    images = []
    for path in paths:
        picture = Image.open(path).convert("RGBA").resize((SIZE, SIZE))
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        images.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    return torch.stack(images), torch.tensor([kinds.index(path.parent) for path in paths])


def image_sets(root: Path, folder: Path | None) -> dict[str, tuple[Tensor, Tensor]]:
    """900 images of each sort at most, in random order, uint8 (N, C, S, S), and their kinds (N,)."""
    found = {"photographs": photographs()}
    if folder is not None:
        found["drawings"] = drawings(folder)
    for name, data in (("clothes", "fashion-mnist"), ("letters", "glyphs")):
        held_out = load(data, root=root, split="test")
        assert held_out.labels is not None
        found[name] = held_out.images, held_out.labels
    for name, (images, kinds) in found.items():
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:NUM_IMAGES]
        found[name] = images[chosen], kinds[chosen]
    return found


def pixels(images: Tensor) -> Tensor:
    """8 x 8 pixels in colour, (N, 192)."""
    return interpolate(images.expand(-1, 3, -1, -1), 8, mode="bilinear", antialias=True).flatten(1)


def pyramid(images: Tensor) -> Tensor:
    """What no network has to learn, (N, 96): 4 x 4 pixels in colour, and in each quarter of the image the logarithm of
    the energy in four bands of detail.

    Source of the bands: Burt, Adelson 1983 (doi:10.1109/TCOM.1983.1095851), the Laplacian pyramid.
    """
    images, found = interpolate(images.expand(-1, 3, -1, -1), SIZE, mode="bilinear", antialias=True), []
    for _ in range(4):
        small = interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)
        band = images - interpolate(small, images.shape[-1], mode="bilinear")
        found.append((adaptive_avg_pool2d(band.square(), 2) + 1e-4).log().flatten(1))
        images = small
    return torch.cat([*found, images.flatten(1)], dim=1)


def random_convolutions(channels: int) -> Classifier:
    """The book's classifier at random weights, as it measured images without labels before `general`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Classifier(channels=channels, num_classes=1).eval()


def candidates() -> dict[str, Callable[[Tensor], Tensor]]:
    """Features by name: from images (N, C, S, S) in [-1, 1] to vectors (N, F)."""
    ours, clothes, photographic = general(), shipped_classifier("fashion-mnist"), imagenet()
    random = {channels: random_convolutions(channels) for channels in (1, 3)}
    return {
        "general": lambda images: ours.features(images),
        "imagenet": photographic,
        "random convolutions": lambda images: random[images.shape[1]].features(images),
        "classifier of clothes": lambda images: clothes.features(images),
        "Laplacian pyramid": pyramid,
        "pixels": pixels,
        "thumbnails": thumbnails,
    }


@torch.no_grad()
def measured(features: Callable[[Tensor], Tensor], images: Tensor, kinds: Tensor) -> dict[str, Any]:
    """Distances of damaged images from others: of each damage, a list a split, from no damage to the strongest.

    And how many copies are found among 500 training images when they are damaged, too, with 400 held-out ones.
    """
    begin = time.perf_counter()

    def vectors(several: Tensor) -> Tensor:
        return torch.cat([features(part) for part in several.split(100)])

    damages = {name: damage for name, damage in PIXELS.items() if name != "colour cast" or images.shape[1] == 3}
    clean = vectors(images)
    damaged = {(name, s): vectors(damage(images, s)) for name, damage in damages.items() for s in STRENGTHS}
    seconds = time.perf_counter() - begin
    distances: dict[str, list[list[float]]] = {name: [] for name in (*damages, "fewer kinds", "repeats")}
    kernel: dict[str, list[list[float]]] = {name: [] for name in distances}
    for split in range(NUM_SPLITS):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(split))
        rows, others = order[:NUM_COMPARED], clean[order[NUM_COMPARED:]]
        reference = moments(others)
        for name in distances:
            compared = [clean[rows]]
            for strength in STRENGTHS:
                if name in damages:
                    compared.append(damaged[name, strength][rows])
                elif name == "repeats":
                    compared.append(clean[rows][fewer_images(len(rows), strength)])
                else:
                    left = fewer_kinds(kinds[rows], strength)
                    compared.append(clean[rows][left[torch.arange(len(rows)) % len(left)]])
            distances[name].append([frechet_distance(moments(each), reference) for each in compared])
            kernel[name].append([kernel_distance(each, others, num_subsets=5).value for each in compared])
    training, held_out = clean[: len(images) * 5 // 9], clean[len(images) * 5 // 9 :]
    found = {f"{name} {s}": copies(damaged[name, s][:NUM_COMPARED], training, held_out) for name, s in COPIED}
    return {
        "num_features": clean.shape[1],
        "distances": distances,
        "kernel_distances": kernel,
        "copies": {name: each.share if each else 0.0 for name, each in found.items()},  # none is told apart: none found
        "real_copies": max(each.real_share if each else 0.0 for each in found.values()),
        "seconds": seconds,
    }


def record(out: Path = RECORD, root: Path = Path("data"), drawn: Path | None = None) -> None:
    """Measure what the file does not hold yet.

    Args:
        out: File of outcomes, one JSON object a line; it may exist.
        root: Folder that downloaded data sets are kept in.
        drawn: Folder of drawings, whose subfolders are kinds; left out if not given.
    """
    lines = read(out) if out.exists() else []
    append(out, kind="session", **provenance(choose_machine("cpu", "float32")), threads=torch.get_num_threads())
    for name, (images, kinds) in image_sets(root, drawn).items():
        digest = hashlib.sha256(images.numpy().tobytes()).hexdigest()
        if not any(line["kind"] == "images" and line["sort"] == name for line in lines):
            size = {"num_images": len(images), "num_kinds": len(kinds.unique()), "shape": list(images.shape[1:])}
            append(out, kind="images", sort=name, **size, sha256=digest)
        for features, function in candidates().items():
            if not any((line.get("sort"), line.get("features")) == (name, features) for line in lines):
                append(out, kind="outcome", sort=name, features=features, **measured(function, scale(images), kinds))
                print(name, features, flush=True)


def shares(outcome: dict[str, Any], distance: str = "distances") -> dict[str, float]:
    """What a set of images says of one kind of features; all are shares, and 1 is best.

    ordered: steps from one strength to the next at which the distance rises, as it should. seen: damages of which the
    weakest is further away than real images ever are. balanced: pairs of two sorts of damage of which the slightest of
    one sort is nearer than the strongest of the other. copies: found, of those that are damaged.
    """
    found = {name: torch.tensor(each, dtype=torch.float64) for name, each in outcome[distance].items()}
    pairs = [(one, other) for one in found for other in found if one != other]
    real = max(float(each[:, NONE].max()) for each in found.values())

    def mean(truths: Sequence[Tensor]) -> float:
        return float(torch.stack([each.double().mean() for each in truths]).mean())

    return {
        "ordered": mean([each[:, 1:] > each[:, :-1] for each in found.values()]),
        "seen": mean([each[:, STRENGTHS[0]] > real for each in found.values()]),
        "balanced": mean([found[one][:, STRENGTHS[0]] < found[other][:, STRENGTHS[-1]] for one, other in pairs]),
        "copies": sum(outcome["copies"].values()) / len(outcome["copies"]),
    }


def summary(outcomes: Sequence[dict[str, Any]]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Of each kind of features, each of the `shares`: the mean over the sorts of images, the lowest, the highest."""
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for features in dict.fromkeys(outcome["features"] for outcome in outcomes):
        rows = [shares(outcome) for outcome in outcomes if outcome["features"] == features]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        found[features] = {name: (sum(each) / len(each), min(each), max(each)) for name, each in columns.items()}
    return found


def recorded_judging() -> list[dict[str, Any]]:
    """The outcomes of the record that ships with the package."""
    return [line for line in read(RECORD) if line["kind"] == "outcome"]


if __name__ == "__main__":
    tyro.cli(record, description=__doc__)
