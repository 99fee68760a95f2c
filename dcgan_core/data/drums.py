"""A quarter of a second of a drum, computed: kick, snare, tom, hi-hat and clap, no two alike.

Sounds are float32 (N, 3024) in [-1, 1], 12,000 samples per second. Each follows from a seed and a number alone. They
are made of falling tones and of noise that dies away, as drum machines make them. Nothing is
sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

RATE = 12_000  # samples per second
NUM_SAMPLES = 3_024
TIME = np.arange(NUM_SAMPLES) / RATE  # seconds
EDGE = 0.004  # seconds in which every sound fades out at its end


def kick(rng: np.random.Generator) -> np.ndarray:
    """A tone that falls quickly to a very low one, with a click."""
    tone = _falling(rng.uniform(160, 320), rng.uniform(45, 70), rng.uniform(0.015, 0.035))
    click = rng.uniform(0.1, 0.4) * rng.standard_normal(NUM_SAMPLES) * _decay(0.003)
    return tone * _decay(rng.uniform(0.05, 0.11)) + click


def snare(rng: np.random.Generator) -> np.ndarray:
    """A short tone and noise of all but the lowest frequencies."""
    tone = _falling(rng.uniform(260, 340), rng.uniform(160, 210), 0.02) * _decay(rng.uniform(0.03, 0.06))
    noise = _filtered(rng.standard_normal(NUM_SAMPLES), "highpass", rng.uniform(900, 1_500))
    return rng.uniform(0.5, 0.9) * tone + rng.uniform(0.3, 0.5) * noise * _decay(rng.uniform(0.04, 0.09))


def tom(rng: np.random.Generator) -> np.ndarray:
    """A tone that falls a little, between 90 and 220 Hz in the end."""
    end = rng.uniform(90, 220)
    tone = _falling(end * rng.uniform(1.3, 1.6), end, rng.uniform(0.03, 0.06)) * _decay(rng.uniform(0.07, 0.14))
    return tone + 0.1 * rng.standard_normal(NUM_SAMPLES) * _decay(0.01)


def hi_hat(rng: np.random.Generator) -> np.ndarray:
    """High noise with a metallic ring, closed (short) or half open."""
    ring = sum(np.sign(np.sin(2 * np.pi * rng.uniform(2_400, 5_600) * TIME)) for _ in range(5))
    noise = 0.6 * rng.standard_normal(NUM_SAMPLES) + 0.2 * ring
    length = rng.uniform(0.012, 0.03) if rng.random() < 0.6 else rng.uniform(0.05, 0.09)
    return _filtered(noise, "highpass", rng.uniform(3_400, 4_400)) * _decay(length)


def clap(rng: np.random.Generator) -> np.ndarray:
    """Noise around 1 kHz that begins three or four times within 40 milliseconds."""
    noise = _filtered(rng.standard_normal(NUM_SAMPLES), "bandpass", (rng.uniform(600, 900), rng.uniform(1_700, 2_600)))
    gap, claps = rng.uniform(0.009, 0.013), rng.integers(3, 5)
    envelope = np.zeros(NUM_SAMPLES)
    for number in range(claps):
        length = rng.uniform(0.05, 0.09) if number == claps - 1 else 0.005
        begin = round(number * gap * RATE)
        envelope[begin:] = np.maximum(envelope[begin:], _decay(length)[: NUM_SAMPLES - begin])
    return noise * envelope


DRUMS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "kick": kick,
    "snare": snare,
    "tom": tom,
    "hi-hat": hi_hat,
    "clap": clap,
}


def _falling(start: float, end: float, seconds: float) -> np.ndarray:
    """A tone whose frequency in Hz falls from `start` towards `end`; after `seconds`, by 63% of the way."""
    frequency = end + (start - end) * np.exp(-TIME / seconds)
    return np.sin(2 * np.pi * np.cumsum(frequency) / RATE)


def _decay(seconds: float) -> np.ndarray:
    """Falls from 1 to 1 / e in so many seconds."""
    return np.exp(-TIME / seconds)


def _filtered(sound: np.ndarray, kind: str, hertz: float | tuple[float, float]) -> np.ndarray:
    return sosfilt(butter(2, hertz, kind, fs=RATE, output="sos"), sound)


@dataclass(frozen=True)
class Drums:
    """Sounds and which drum each is; index i of both is the same sound."""

    sounds: np.ndarray  # float32 (N, 3024) in [-1, 1]
    labels: np.ndarray  # int64 (N,), places in `DRUMS`


def render(num_sounds: int, *, seed: int = 0) -> Drums:
    """So many sounds, the drums in turn, each as loud as it can be without being cut: peaks between 0.6 and 1."""
    makers = tuple(DRUMS.values())
    sounds = np.empty((num_sounds, NUM_SAMPLES), np.float32)
    for number in range(num_sounds):
        rng = np.random.default_rng([seed, number])
        sound = makers[number % len(makers)](rng)
        sound = sound * np.minimum(1, (TIME[-1] - TIME) / EDGE)
        sounds[number] = rng.uniform(0.6, 1) * sound / np.abs(sound).max()
    return Drums(sounds, np.arange(num_sounds) % len(makers))
