"""What is compared: seven methods against mode collapse, data sets with known modes, rates, seeds and budgets.

Every run is measured twice: after as many generator updates as every other (`updates`), and where the time of the plain
game was used up (`time`), which methods that cost more per update reach earlier. The plain game goes on until it has
had the time of the gradient penalty (`longer`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dcgan_core.config import Config
from dcgan_core.laboratory import ensemble
from dcgan_core.laboratory.ensemble import PointConfig

PLAIN, COSTLY = "non-saturating", "gradient penalty"
CRITIC = {"discriminator_steps": 5}
METHODS: dict[str, dict[str, Any]] = {  # fields of PointConfig and Config alike
    "minimax": {"loss": "minimax"},
    PLAIN: {},
    "weight clipping": {"loss": "wasserstein-clipping", **CRITIC},
    COSTLY: {"loss": "wasserstein-penalty", **CRITIC, "beta1": 0.0, "beta2": 0.9},
    "unrolled": {"unrolled_steps": 5},
    "spectral norm": {"spectral_norm": True},
    "minibatch std": {"minibatch_std": True},
}
ON_IMAGES: dict[str, dict[str, Any]] = {  # what else their papers do with images, and looking ahead 3 steps, not 5
    COSTLY: {"discriminator_norm": "layer"},
    "spectral norm": {"discriminator_norm": "none"},
    "unrolled": {"unrolled_steps": 3},
}
NUM_UPDATES = {"ring": 2_000, "grid": 2_000, "letters": 500, "stacked digits": 2_000, "stacked MNIST": 2_000}
POINTS = replace(ensemble.COLLAPSES, total_steps=NUM_UPDATES["ring"])
IMAGES = Config(
    image_size=16,
    generator_width=16,
    discriminator_width=16,
    ema_halflife_images=0,  # what is compared are the players, not the average
)
IMAGE_DATA: dict[str, dict[str, Any]] = {
    "letters": {"data": "glyphs"},
    "stacked digits": {"data": "stacked-digits", "channels": 3},
    "stacked MNIST": {"data": "stacked-mnist", "channels": 3},
}
DATA = (*ensemble.MIXTURES, *IMAGE_DATA)
RATES = {"points": (1e-4, 1e-3, 3e-3), "images": (3e-4, 1e-3)}  # discriminator's for points, both players' for images
SEEDS = {"points": tuple(range(8)), "images": tuple(range(5))}
PILOTS = {"points": (100, 101, 102), "images": (100,)}  # seeds that only choose the rate, and are not reported
NUM_SAMPLES = {"points": 2_500, "letters": 2_000}  # as in the literature on points
NUM_STACKED_SAMPLES = 25_600  # as in the literature on stacked MNIST
HARDLY_DEARER = 1.15  # times the plain game's cost: not worth a measurement of its own


def kind(data: str) -> str:
    """ "points" or "images"."""
    return "points" if data in ensemble.MIXTURES else "images"


def point_config(data: str, method: str, rate: float) -> PointConfig:
    """The point GAN that is trained with a method; `rate` is its discriminator's learning rate."""
    return replace(POINTS, mixture=data, discriminator_learning_rate=rate, **METHODS[method])  # type: ignore[arg-type]


def image_config(data: str, method: str, rate: float, seed: int, root: str = "data") -> Config:
    """The run that is trained with a method; `rate` is both players' learning rate."""
    changes = {**IMAGE_DATA[data], **METHODS[method], **ON_IMAGES.get(method, {}), "data_root": root, "seed": seed}
    shown = NUM_UPDATES[data] * IMAGES.batch_size * changes.get("discriminator_steps", 1)
    rates = {"generator_learning_rate": rate, "discriminator_learning_rate": rate}
    return replace(IMAGES, total_images=shown, **rates, **changes)  # type: ignore[arg-type]


def marks(method: str, num_updates: int, costs: dict[str, float]) -> dict[str, int]:
    """After how many generator updates a method is measured, for each budget."""
    found = {"updates": num_updates, "time": num_updates}
    if costs[method] > HARDLY_DEARER:
        found["time"] = max(1, round(num_updates / costs[method]))
    if method == PLAIN:
        found["longer"] = round(num_updates * max(1, costs[COSTLY]))
    return found
