"""Drums from a DCGAN that learns spectrograms, and a classifier that says which drum it hears.

After SpecGAN (Donahue, McAuley, Puckette 2019, arXiv:1802.04208), at a sixteenth of its length.

`python -m dcgan_core.laboratory.drum_kit` trains and measures what the record that ships with the package holds (five
minutes on one core).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from dcgan_core.data.drums import DRUMS, NUM_SAMPLES, Drums, render
from dcgan_core.laboratory.drum_codec import SIZE, Codec
from dcgan_core.laboratory.short_run import GENERATORS, kept, normal, play, record_seeds
from dcgan_core.metrics import nearest_neighbours
from dcgan_core.models import Discriminator, Generator
from dcgan_core.state import draw_latents

LATENT_SIZE = 32
NUM_TRAINING = 2_000
TOTAL_IMAGES = 80_000
SURE = 0.9  # probability from which the classifier counts as sure
RECORD = Path(__file__).with_suffix(".jsonl")


def networks(seed: int, width: int = 10) -> tuple[Generator, Discriminator]:
    """The package's DCGAN for one channel of 64 x 64; no batch normalisation in the discriminator."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {"image_size": SIZE, "channels": 1, "width": width, "initialisation": "he"}
    return Generator(latent_size=LATENT_SIZE, **shape), Discriminator(norm="none", minibatch_std=True, **shape)


def train_drummer(pictures: Tensor, *, total_images: int, seed: int = 0, **options: Any) -> nn.Module:
    """Trains a generator of spectrograms on pictures (N, 1, 64, 64) in [-1, 1]."""
    generator, discriminator = networks(seed)

    def draw_real(num: int, rng: torch.Generator) -> Tensor:
        return pictures[torch.randint(len(pictures), (num,), generator=rng)]

    latents = normal(LATENT_SIZE)
    return play(generator, discriminator, draw_real, latents, total_images=total_images, seed=seed, **options)


@dataclass(frozen=True)
class Ear:
    """Hears which drum a sound is. It is given sounds, not pictures, so that what the codec loses counts."""

    codec: Codec
    model: LogisticRegression

    @classmethod
    def fit(cls, drums: Drums, codec: Codec) -> Ear:
        """Learns from real drums: a linear classifier of their spectrograms, averaged to 16 x 16."""
        model = LogisticRegression(C=0.1, max_iter=1_000)
        return cls(codec, model.fit(_vectors(codec.pictures(drums.sounds)), drums.labels))

    def probabilities(self, sounds: np.ndarray) -> np.ndarray:
        """Of each drum, for sounds (N, 3024): (N, 5)."""
        return self.model.predict_proba(_vectors(self.codec.pictures(sounds)))


def _vectors(pictures: Tensor) -> np.ndarray:
    return adaptive_avg_pool2d(pictures, 16).flatten(1).numpy()


@torch.no_grad()
def played(generator: nn.Module, codec: Codec, num: int, *, seed: int) -> np.ndarray:
    """So many sounds of a generator, (num, 3024)."""
    return codec.sounds(generator(draw_latents(num, LATENT_SIZE, seed=seed)))


def hissed(num: int, *, seed: int) -> np.ndarray:
    """Baseline: white noise that dies away, which is none of the drums. (num, 3024)"""
    rng = np.random.default_rng(seed)
    fading = np.exp(-np.arange(NUM_SAMPLES) / rng.uniform(200, 1_500, (num, 1)))
    sounds = rng.standard_normal((num, NUM_SAMPLES)) * fading
    return (sounds / np.abs(sounds).max(axis=1, keepdims=True)).astype(np.float32)


def heard(ear: Ear, sounds: np.ndarray, labels: np.ndarray | None = None) -> dict[str, Any]:
    """What the ear says of sounds (N, 3024): how many are of each drum, sure, and right, where there are labels."""
    probabilities = ear.probabilities(sounds)
    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(DRUMS))
    found = {"num": len(sounds), "counts": counts.tolist(), "sure": int((probabilities.max(axis=1) >= SURE).sum())}
    return found if labels is None else found | {"right": int((probabilities.argmax(axis=1) == labels).sum())}


def distances(pictures: Tensor, real: Tensor) -> Tensor:
    """The root mean square difference of each picture (N, 1, 64, 64) from the nearest real one: (N,)."""
    return nearest_neighbours(pictures.flatten(1), real.flatten(1)).distances[:, 0] / SIZE


def training_drums() -> Drums:
    """What the recorded generators have learnt from, and the ear, too."""
    return render(NUM_TRAINING, seed=0)


def recorded_drummer(seed: int = 0) -> nn.Module:
    """The generator of drums of that seed that ships with the package."""
    return kept(networks(0)[0], GENERATORS / f"drums-{seed}.safetensors")


def record(seeds: tuple[int, ...] = (0,), out: Path = RECORD, num_sounds: int = 500) -> None:
    """Train and measure the seeds that the file does not hold yet."""
    drums = training_drums()
    codec = Codec.fit(drums.sounds)
    pictures, ear = codec.pictures(drums.sounds), Ear.fit(drums, codec)

    def found(seed: int) -> tuple[nn.Module, dict[str, Any]]:
        generator = train_drummer(pictures, total_images=TOTAL_IMAGES, seed=seed)
        real = render(num_sounds, seed=1_000 + seed)
        sources = {
            "real": (real.sounds, real.labels),
            "codec only": (codec.sounds(codec.pictures(real.sounds)), real.labels),
            "generator": (played(generator, codec, num_sounds, seed=1_000 + seed), None),
            "hiss": (hissed(num_sounds, seed=seed), None),
        }
        hearing = {name: heard(ear, *each) for name, each in sources.items()}
        for name, (sounds, _) in sources.items():
            hearing[name]["to_training"] = float(distances(codec.pictures(sounds), pictures).median())
        return generator, {"heard": hearing}

    record_seeds(out, "drums", seeds, found, total_images=TOTAL_IMAGES)


if __name__ == "__main__":
    tyro.cli(record, description=__doc__)
