"""Which parts the report on a GPU has, in which order and for how long, and what each needs."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

MINUTES = 8.0  # for everything together
FILES = {"mnist": "mnist/MNIST/raw", "fashion-mnist": "fashion-mnist/FashionMNIST/raw"}  # below the data's root
ITERATIONS = ("torchvision",)  # packages that timing needs, beside those that the report itself starts with
RUNS = (*ITERATIONS, "tqdm", "safetensors")  # packages that a run needs


@dataclass(frozen=True)
class Part:
    """What runs as a program of its own."""

    name: str
    seconds: float  # its time limit
    needs: tuple[str, ...] = ITERATIONS  # packages
    data: str | None = None  # set whose files must be there
    small: bool = True  # has a small form


# One after the other, the most important first; those in one row side by side. On an H100 they take about 6 minutes.
ORDER: tuple[tuple[Part, ...], ...] = (
    (Part("machine", 45),),
    (Part("tests", 120, ("pytest", *RUNS)),),
    (Part("ladder-64", 75),),
    (Part("ladder-32", 60),),
    (Part("precision-64", 45),),
    (Part("train-64", 60, RUNS),),
    (Part("train-32", 60, RUNS),),
    (
        Part("record-glyphs32_gpu", 150, RUNS),
        Part("record-glyphs64_gpu", 150, RUNS, small=False),
        Part("record-mnist32_gpu", 150, RUNS, "mnist", small=False),
        Part("record-fashion32_gpu", 150, RUNS, "fashion-mnist", small=False),
    ),
    (Part("profile-64", 45),),
    (Part("costs-32", 75, RUNS),),
    (Part("ladder-64-compiled", 150, small=False),),
)


def is_missing(package: str) -> bool:
    """True if the package is not installed here."""
    return importlib.util.find_spec(package) is None


def missing(order: tuple[tuple[Part, ...], ...]) -> dict[str, list[str]]:
    """The packages that are not installed here, and the parts that need them."""
    parts = [part for row in order for part in row]
    packages = sorted({package for part in parts for package in part.needs})
    return {
        package: [part.name for part in parts if package in part.needs] for package in packages if is_missing(package)
    }
