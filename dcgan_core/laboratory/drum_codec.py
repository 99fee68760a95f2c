"""Sounds as pictures and back: spectrograms that a DCGAN can learn, and the sound that fits a spectrogram.

As in SpecGAN (Donahue, McAuley, Puckette 2019, arXiv:1802.04208, section 3.2): the logarithm of the magnitude, each
frequency brought to mean 0 and standard deviation 1, cut off at three standard deviations, divided by three. A picture
holds no phases; Griffin and Lim's algorithm looks for some that fit (doi:10.1109/TASSP.1984.1164317), here with the
momentum of Perraudin et al. 2013 (doi:10.1109/WASPAA.2013.6701851), as torchaudio has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import griffinlim

WINDOW, HOP = 128, 48  # samples: 10.7 ms, moved on by 4 ms
SIZE = 64  # frequencies and moments
FLOOR = 1e-2  # magnitudes below count as silence: 70 decibels below the loudest
CUT = 3.0  # standard deviations
ITERATIONS = 32


def magnitudes(sounds: Tensor) -> Tensor:
    """Sounds (N, 3024) to magnitudes (N, 65, 64), the highest frequency last."""
    window = torch.hann_window(WINDOW)
    return torch.stft(sounds, WINDOW, HOP, window=window, return_complex=True).abs()


@dataclass(frozen=True)
class Codec:
    """From sounds to pictures in [-1, 1] and back, by the statistics of each frequency over some training sounds."""

    mean: Tensor  # (64, 1), of the logarithms of magnitudes
    deviation: Tensor  # (64, 1)

    @classmethod
    def fit(cls, sounds: np.ndarray) -> Codec:
        """The codec for sounds like these, (N, 3024)."""
        logarithms = _logarithms(torch.from_numpy(sounds))
        return cls(logarithms.mean(dim=(0, 2))[:, None], logarithms.std(dim=(0, 2))[:, None])

    def pictures(self, sounds: np.ndarray) -> Tensor:
        """Sounds (N, 3024) to pictures (N, 1, 64, 64) in [-1, 1], the lowest frequency in the last row."""
        scaled = (_logarithms(torch.from_numpy(sounds)) - self.mean) / self.deviation / CUT
        return scaled.clamp(-1, 1).flip(1).unsqueeze(1)

    def sounds(self, pictures: Tensor) -> np.ndarray:
        """Pictures (N, 1, 64, 64) to sounds (N, 3024) in [-1, 1], with phases that Griffin and Lim's algorithm finds.

        It starts from phase zero, so equal pictures give equal sounds.
        """
        logarithms = pictures.squeeze(1).flip(1) * CUT * self.deviation + self.mean
        found = torch.zeros(len(pictures), SIZE + 1, SIZE)  # the highest frequency was left out
        found[:, :SIZE] = logarithms.exp()
        found[found <= 2 * FLOOR] = 0
        sounds = griffinlim(
            found,
            torch.hann_window(WINDOW),
            n_fft=WINDOW,
            hop_length=HOP,
            win_length=WINDOW,
            power=1.0,
            n_iter=ITERATIONS,
            momentum=0.99,
            length=(SIZE - 1) * HOP,
            rand_init=False,
        )
        loudest = sounds.abs().amax(dim=1, keepdim=True)
        return (sounds / loudest.clamp(min=1)).numpy()


def _logarithms(sounds: Tensor) -> Tensor:
    """Of the magnitudes of 64 frequencies at 64 moments, (N, 64, 64); the highest of 65 is left out."""
    return magnitudes(sounds)[:, :SIZE].clamp(min=FLOOR).log()
