"""What a run is: frozen keyword-only dataclasses, checked on construction; no torch.

Every field of `Config` is a flag of `python -m dcgan_core train`, and the string below a field is its
help text. Progress is counted in images, so that changing the batch size keeps the meaning of every duration.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

IMAGE_SIZES = (16, 32, 64, 128)


class InvalidInput(Exception):
    """The user's mistake: the message is one sentence that says what to do. The command line prints it alone.

    Not a ValueError: other libraries raise and catch those, and their mistakes must keep their tracebacks.
    """


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the outcome of a training run, except the machine it runs on."""

    data: str = "glyphs"
    """Data set: glyphs, mnist, fashion-mnist, cifar10, or the path of a folder of images."""

    data_root: str = "data"
    """Folder that downloaded data sets are kept in."""

    image_size: int = 32
    """Side of the square images in pixels: 16, 32, 64 or 128."""

    channels: Literal[1, 3] = 1
    """Channels of the images: 1 for grey, 3 for colour. The data set is converted."""

    latent_size: int = 100
    """Length of a latent vector, drawn from N(0, 1)."""

    generator_width: int = 48
    """Channels of the generator's widest-resolution block; each earlier block has twice as many."""

    discriminator_width: int = 24
    """Channels of the discriminator's first block; each later block has twice as many."""

    upsampling: Literal["transposed", "nearest"] = "transposed"
    """How the generator doubles the resolution: transposed convolution (paper), or nearest + 3x3 convolution."""

    dropout: float = 0.0
    """Probability of zeroing a whole channel after each discriminator block; not a part of the paper's recipe."""

    loss: Literal["non-saturating", "minimax"] = "non-saturating"
    """The generator's loss: non-saturating (what everyone trains with), or the minimax game's own."""

    batch_size: int = 64
    """Real images per iteration, and as many fake ones."""

    total_images: int = 200_000
    """Real images shown in the whole run; one data set may be shown many times."""

    learning_rate: float = 2e-3
    """Adam's step size for both networks. The paper's 0.0002 suits wider networks and much longer runs."""

    beta1: float = 0.5
    """Adam's decay rate of the mean gradient; the DCGAN paper found 0.9 unstable."""

    beta2: float = 0.999
    """Adam's decay rate of the mean squared gradient."""

    ema_halflife_images: int = 20_000
    """Half-life of the moving average of the generator's weights, in images; 0 samples from the raw weights."""

    seed: int = 0
    """Seed of everything random: data, initial weights, order of the images, latents, dropout."""

    log_every_images: int = 6_400
    """Images between two lines of metrics.jsonl; the only regular wait for the device."""

    sample_every_images: int = 32_000
    """Images between two grids of samples from the same fixed latents."""

    checkpoint_every_images: int = 32_000
    """Images between two checkpoints."""

    def __post_init__(self) -> None:
        _require(self.image_size in IMAGE_SIZES, "image_size", self.image_size, "16, 32, 64 or 128")
        _require(self.channels in (1, 3), "channels", self.channels, "1 (grey) or 3 (colour)")
        _require(self.upsampling in ("transposed", "nearest"), "upsampling", self.upsampling, "transposed or nearest")
        _require(self.loss in ("non-saturating", "minimax"), "loss", self.loss, "non-saturating or minimax")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and less than 1")
        _require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2 (batch normalisation needs two)")
        _require(0 < self.learning_rate < 1, "learning_rate", self.learning_rate, "between 0 and 1")
        _require(0 <= self.beta1 < 1, "beta1", self.beta1, "at least 0 and less than 1")
        _require(0 <= self.beta2 < 1, "beta2", self.beta2, "at least 0 and less than 1")
        _require(self.ema_halflife_images >= 0, "ema_halflife_images", self.ema_halflife_images, "0 or more")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 4294967295")
        for name in (
            *("latent_size", "generator_width", "discriminator_width", "total_images"),
            *("log_every_images", "sample_every_images", "checkpoint_every_images"),
        ):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        _require(
            self.total_images >= self.batch_size, "total_images", self.total_images, "at least one batch (batch_size)"
        )

    @property
    def total_steps(self) -> int:
        """Iterations (one update of each network) in the whole run; the last partial batch is dropped."""
        return self.total_images // self.batch_size

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """The config that `to_dict` described. Unknown or missing fields raise `InvalidInput` and are named."""
        known = {field.name for field in dataclasses.fields(cls)}
        if wrong := sorted(known ^ set(values)):
            raise InvalidInput(
                f"the config has unknown or missing fields ({', '.join(wrong)}): it was written by another "
                "version of dcgan_core; use that version, or start a new run."
            )
        return cls(**values)


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise InvalidInput(f"{name} is {value!r}, but must be {allowed}.")
