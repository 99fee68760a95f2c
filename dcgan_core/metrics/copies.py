"""Samples that are copies of training images, and how many real images would seem to be."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dcgan_core.data import scale
from dcgan_core.metrics.neighbours import nearest_neighbours

THUMBNAIL = 8  # pixels a side
LEAST_CONTRAST = 0.1  # standard deviation of pixels in [-1, 1]; plainer thumbnails are not stretched to it
FALSE_ALARMS = 0.01  # share of real images, none of them a copy, that the search may take for one
MIN_HELD_OUT = 20  # images: below, the nearness that only one in a hundred reaches is a guess


CHUNK = 250  # images that are floats at a time


class Copies(NamedTuple):
    """Shares of images that lie suspiciously near to a training image."""

    share: float  # of the samples
    real_share: float  # of held-out images; well above 0.01, the data themselves hold duplicates across the split


def thumbnails(images: Tensor) -> Tensor:
    """Images (N, C, S, S) in [-1, 1] as 8 x 8 pixels in a row, (N, 64 C), of mean 0 and standard deviation 1.

    A copy that is a little blurred, noisy or dim has nearly the thumbnail of the original; in the features of a network
    it may be far from it. One that has moved by a pixel or two may not be found.
    """
    small = interpolate(images.float(), THUMBNAIL, mode="bilinear", antialias=True, align_corners=False).flatten(1)
    small = small - small.mean(dim=1, keepdim=True)
    return small / small.std(dim=1, keepdim=True).clamp(min=LEAST_CONTRAST)


def thumbnails_of_pixels(pixels: Tensor, chosen: Tensor | None = None) -> Tensor:
    """The same of a data set's images, uint8 (N, C, S, S), a part at a time, so that memory stays near their size; or
    of the `chosen` ones (M,) alone, which are never copied all at once.
    """
    rows = torch.arange(len(pixels)) if chosen is None else chosen
    return torch.cat([thumbnails(scale(pixels[part])) for part in rows.split(CHUNK)])


def copies(samples: Tensor, training: Tensor, held_out: Tensor) -> Copies | None:
    """How many samples (N, F) are copies of training images (T, F), judged by held-out images (M, F) in random order.

    A plain image has near neighbours everywhere, so nearness alone proves nothing: what counts is the distance to the
    nearest training image divided by that to the nearest held-out one, of which the generator knows nothing. A sample
    is a copy if this ratio is as small as only 1 in 100 held-out images has it. Half of the held-out images set this
    limit and the other half is counted beside the samples, then they change places; shares are means of both. What a
    change hides from the vectors, for example `thumbnails`, it hides from this search. None with fewer than 20 held-out
    images, or if these are training images themselves: nothing can be told apart then.

    Three sets, one of which the generator has not seen: Meehan et al. 2020 (arXiv:2004.05675).
    """
    if len(held_out) < MIN_HELD_OUT:
        return None
    to_training = nearest_neighbours(samples, training).distances[:, 0]
    halves = [half.double() for half in held_out.chunk(2)]
    near = [nearest_neighbours(half, training).distances[:, 0] for half in halves]
    if not torch.cat(near).any():
        return None
    apart = [nearest_neighbours(halves[own], halves[1 - own]).distances[:, 0] for own in (0, 1)]
    real = [_ratio(first, second) for first, second in zip(near, apart, strict=True)]
    shares, real_shares = [], []
    for limiting, counted in ((0, 1), (1, 0)):
        limit = torch.quantile(real[limiting], FALSE_ALARMS)
        to_others = nearest_neighbours(samples, halves[counted]).distances[:, 0]
        shares.append(float((_ratio(to_training, to_others) <= limit).double().mean()))
        real_shares.append(float((real[counted] <= limit).double().mean()))
    return Copies(sum(shares) / 2, sum(real_shares) / 2)


def _ratio(to_training: Tensor, to_others: Tensor) -> Tensor:
    """0 for an exact copy; one for an image that equals both, such as a blank one, which proves nothing."""
    return torch.where(to_others > 0, to_training / to_others, torch.ones_like(to_others))
