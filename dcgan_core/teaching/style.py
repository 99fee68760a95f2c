"""Style shift: a latent search that changes the style of a letter and keeps the letter, and who judges the result.

Nobody marks their own work: the directions of chapter 14 were found with `StyleJudge`, which also chooses among
candidates here, together with the letter classifier. What comes out is measured by support vector machines that look at
pixels and have learnt from other rendered letters.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from torch import Tensor
from torch.nn.functional import normalize

from dcgan_core.data import glyphs
from dcgan_core.metrics.features import measure as classify
from dcgan_core.models import Generator
from dcgan_core.teaching.directions import STYLES, StyleJudge, styles_of
from dcgan_core.train import draw_latents, sample

LETTER_WEIGHT = 0.1  # of the negative log probability of the letter, beside the mean square of what the scores miss
FACTORS = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # how far candidates go along the directions, in unit steps
DETOURS, DETOUR = 4, 1.5  # candidates for each of them, and how far all but the first lie beside the way


class Outsider:
    """Says which letter an image shows, and its styles, by its pixels alone; nothing here has met the generator."""

    def __init__(self, num_letters: int = 3_000) -> None:
        known, unknown = (glyphs.render(num_letters, seed=1_600, split=split) for split in glyphs.SPLITS)
        self.letter = make_pipeline(PCA(60), SVC(C=10)).fit(_flat(known.images), known.letter)
        styles = styles_of(known).numpy()
        self.styles = [make_pipeline(PCA(60), SVC(C=10)).fit(_flat(known.images), each) for each in styles.T]
        right = self.letters(torch.from_numpy(unknown.images)).numpy() == unknown.letter
        self.accuracy = {"letter": float(right.mean())}
        found = self(torch.from_numpy(unknown.images)) == styles_of(unknown)
        self.accuracy |= dict(zip(STYLES, found.double().mean(dim=0).tolist(), strict=True))

    def __call__(self, images: Tensor) -> Tensor:
        """Styles (N, 3) of images (N, 1, S, S), uint8 or in [-1, 1]: 1 for bold, slanted, with serifs, or -1."""
        return torch.from_numpy(np.stack([each.predict(_flat(images)) for each in self.styles], axis=1))

    def letters(self, images: Tensor) -> Tensor:
        """Which letters the images show, (N,)."""
        return torch.from_numpy(self.letter.predict(_flat(images)))


def _flat(images: Tensor | np.ndarray) -> np.ndarray:
    """Pixels (N, F) from 0 to 1."""
    if isinstance(images, Tensor):
        images = images.numpy() if images.dtype == torch.uint8 else (255 * (images + 1) / 2).numpy()
    return images.reshape(len(images), -1) / 255.0


def towards(judge: StyleJudge, images: Tensor, scores: Tensor, directions: Tensor) -> Tensor:
    """For each image (T, 1, S, S) the sum of the directions (3, latent_size) that it lacks, (T, latent_size).

    A style that differs by 2, from regular to bold, counts in full; one that is right, not at all.
    """
    lacks = ((scores - judge(images)) / 2).clamp(-1, 1).float()
    return lacks @ directions


def missed(judge: StyleJudge, images: Tensor, letters: Tensor, scores: Tensor) -> Tensor:
    """By how much each image (N, 1, S, S) misses each wish, a letter (T,) and style scores (T, 3): (N, T)."""
    apart = (judge(images).clamp(-1.5, 1.5)[:, None] - scores).square().mean(dim=2)
    sure = classify(judge.classifier, images)[1][:, letters]
    return apart - LETTER_WEIGHT * sure.clamp(min=1e-6).log()


def shift(
    generator: Generator, judge: StyleJudge, latents: Tensor, letters: Tensor, scores: Tensor, directions: Tensor
) -> Tensor:
    """Latents (T, latent_size) of the same letters (T,) with style scores near `scores` (T, 3).

    Of 28 candidates for each letter, which lie along the directions (3, latent_size) and a little beside, the one that
    misses least. With directions of zero, only chance and choice are left, which is the control.
    """
    way = towards(judge, sample(generator, latents), scores, directions)
    options: list[Tensor] = []
    for factor in FACTORS:
        for detour in range(DETOURS):
            aside = normalize(draw_latents(len(latents), latents.shape[1], seed=1_600 + len(options)), dim=1)
            options.append(latents + factor * way + (DETOUR * aside if detour else 0))
    losses = [missed(judge, sample(generator, option), letters, scores).diagonal() for option in options]
    best = torch.stack(losses).argmin(dim=0)
    return torch.stack(options)[best, torch.arange(len(latents))]


def chosen(judge: StyleJudge, pool: Tensor, letters: Tensor, scores: Tensor) -> Tensor:
    """Of a pool of images (P, 1, S, S), the row that misses each wish least, a letter (T,) and a style (T, 3): (T,)."""
    return missed(judge, pool, letters, scores).argmin(dim=0)
