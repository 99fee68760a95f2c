"""Directions in latent space that change the style of a letter: found with the help of a judge, and then measured.

The generator never saw a label. The judge did: it learnt three styles from letters that were drawn with known ones. It
scores samples, a linear regression from latents to scores gives the directions, and fresh latents that are moved along
them show what each direction does and what it does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import normalize

from dcgan_core.data import glyphs, scale
from dcgan_core.metrics import letter_classifier
from dcgan_core.metrics.features import measure as classify
from dcgan_core.models import Generator
from dcgan_core.train import draw_latents, sample

STYLES = {"weight": ("regular", "bold"), "slant": ("upright", "slanted"), "serif": ("plain", "serif")}
STEP = 2.0  # how far a latent is moved, each way, where a direction is measured
LEAST_EFFECT = 1 / 3  # of all letters must change their style on the way, or the direction is left out
RIDGE = 300.0  # from 30 to 1,000, the judge is right equally often
LATENT_RIDGE = 10.0


def styles_of(letters: glyphs.Glyphs) -> Tensor:
    """Weight, slant and serif of rendered letters, (N, 3): 1 for bold, slanted, with serifs; -1 for the opposite."""
    with_serifs = torch.tensor([not name.startswith(("DejaVuSans", "cmss")) for name, _, _ in glyphs.FONTS])
    factors = (torch.from_numpy(letters.weight), torch.from_numpy(letters.slant))
    return 2.0 * torch.stack([*factors, with_serifs[torch.from_numpy(letters.font)]], dim=1) - 1


class StyleJudge:
    """Says how bold, how slanted and how serifed letters are: a ridge regression on the letter classifier's last maps.

    It learns from `num_letters` rendered letters of the train split. `accuracy` holds, for each style, the share of as
    many letters of the test split on which the sign of the score is right.
    """

    def __init__(self, num_letters: int = 4_000) -> None:
        self.classifier = letter_classifier()
        layers = list(self.classifier.body)
        flat = next(place for place, layer in enumerate(layers) if isinstance(layer, nn.Flatten))
        self.maps = nn.Sequential(*layers[: flat + 1])  # (B, 64 * 4 * 4)
        known, unknown = (glyphs.render(num_letters, seed=1, split=split) for split in glyphs.SPLITS)
        self.regression = make_pipeline(StandardScaler(), Ridge(RIDGE))
        self.regression.fit(self._features(scale(torch.from_numpy(known.images))), styles_of(known).numpy())
        right = self(scale(torch.from_numpy(unknown.images))).sign() == styles_of(unknown)
        self.accuracy = dict(zip(STYLES, right.double().mean(dim=0).tolist(), strict=True))

    def __call__(self, images: Tensor) -> Tensor:
        """Scores (N, 3) of images (N, 1, S, S) in [-1, 1], above 0 for bold, slanted, with serifs."""
        return torch.from_numpy(self.regression.predict(self._features(images)))

    def letters(self, images: Tensor) -> Tensor:
        """Which letter the classifier takes each image for, (N,)."""
        return classify(self.classifier, images)[1].argmax(dim=1)

    @torch.no_grad()
    def _features(self, images: Tensor) -> np.ndarray:
        found = torch.cat([self.maps(self.classifier._prepare(part)) for part in images.split(500)])
        return found.double().numpy()


@dataclass(frozen=True)
class Direction:
    """A unit vector in latent space, and what moving `num_latents` fresh latents along it by `STEP` each way does."""

    name: str
    ends: tuple[str, str]  # what the letters are called at the far ends
    vector: Tensor  # (latent_size,)
    num_latents: int
    shares: tuple[float, float, float]  # called by the second name: moved back, as they are, moved forward
    change: float  # last share minus first
    margin: float  # half of the 95% interval of `change`, from its standard error over the latents
    letter_kept: float  # share of moved letters that are still taken for the same letter
    letter_kept_by_chance: float  # the same for steps of the same length in random directions

    @property
    def works(self) -> bool:
        """Whether at least `LEAST_EFFECT` of the letters change their style, with 95% confidence."""
        return self.change - self.margin >= LEAST_EFFECT


def find_directions(
    generator: Generator, judge: StyleJudge, *, num_samples: int = 4_000, num_latents: int = 500
) -> list[Direction]:
    """One direction for each style, from `num_samples` judged samples, measured on `num_latents` others.

    The regression gives the direction in which each score rises fastest. Since these are not at right angles (bold
    letters are slanted more often), each is cut free from the other two: it rises along its own and along no other
    (the "conditional manipulation" of Shen et al. 2020, arXiv:1907.10786).
    """
    latents = draw_latents(num_samples, generator.latent_size, seed=11)
    scores = judge(sample(generator, latents)).clamp(-1.5, 1.5)  # ±1 is what the judge was taught
    rises = torch.from_numpy(Ridge(LATENT_RIDGE).fit(latents.double(), scores).coef_.T)  # (latent_size, 3)
    free = rises @ torch.linalg.inv(rises.T @ rises)
    return measure(generator, judge, normalize(free.T, dim=1).float(), num_latents=num_latents)


def measure(generator: Generator, judge: StyleJudge, vectors: Tensor, *, num_latents: int) -> list[Direction]:
    """What unit vectors (3, latent_size), meant for weight, slant and serif, do to latents they were not found by."""
    latents = draw_latents(num_latents, generator.latent_size, seed=12)
    images = sample(generator, latents)
    letters = judge.letters(images)
    at_rest = (judge(images) > 0).double()

    def kept(moved: Tensor) -> float:
        return (judge.letters(moved) == letters).double().mean().item()

    chance = normalize(draw_latents(num_latents, generator.latent_size, seed=13), dim=1)  # another one for each
    by_chance = kept(sample(generator, latents + STEP * chance))
    found = []
    for place, (name, ends) in enumerate(STYLES.items()):
        back, forward = (sample(generator, latents + way * STEP * vectors[place]) for way in (-1, 1))
        before, after = ((judge(moved)[:, place] > 0).double() for moved in (back, forward))
        change = after - before
        found.append(
            Direction(
                name=name,
                ends=ends,
                vector=vectors[place],
                num_latents=num_latents,
                shares=(before.mean().item(), at_rest[:, place].mean().item(), after.mean().item()),
                change=change.mean().item(),
                margin=1.96 * change.std().item() / num_latents**0.5,
                letter_kept=(kept(back) + kept(forward)) / 2,
                letter_kept_by_chance=by_chance,
            )
        )
    return found
