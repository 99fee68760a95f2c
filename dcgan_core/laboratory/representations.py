"""What an image can be turned into before a linear classifier looks at it, without any label.

A representation is a function from uint8 images (N, 1, S, S) to blocks of features: a list of tensors (N, F). A network
has one block for each layer; the others have a single one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, unfold

from dcgan_core.data import scale

Represent = Callable[[Tensor], list[Tensor]]
GRID = 4  # places along a side that every map is pooled to
PATCH = 6  # pixels along a side
NUM_PATCHES = 30_000  # that the centres are found in
CONTRAST = 10.0  # added to the variance of a patch, whose pixels go from 0 to 255
CHUNK, FEW = 250, 10  # images at a time: for networks, and for patches, of which each image has hundreds


def pixels(images: Tensor) -> list[Tensor]:
    """The pixels themselves, from 0 to 1."""
    return [images.flatten(1).float() / 255]


def principal_components(images: Tensor, num_components: int = 100, seed: int = 0) -> Represent:
    """The pixels' coordinates along the directions in which these images vary most."""
    pca = PCA(num_components, svd_solver="randomized", random_state=seed).fit(pixels(images)[0].numpy())
    return lambda images: [torch.from_numpy(pca.transform(pixels(images)[0].numpy())).float()]


def patch_dictionary(
    images: Tensor, num_centres: int = 168, num_patches: int = NUM_PATCHES, seed: int = 0
) -> Represent:
    """How near each patch of an image is to each centre that k-means found in patches, averaged over a grid of 4x4.

    Patches are brought to equal brightness and contrast, and whitened; a patch is as near to a centre as the centre is
    nearer than the mean of all, or 0. 168 centres in 16 places make 2,688 features, as many as the discriminator's
    three layers have. Source: Coates, Lee, Ng 2011, "An analysis of single-layer networks in unsupervised feature
    learning" (AISTATS), section 3; the images there are in four quarters.
    """
    rng = np.random.default_rng(seed)
    side = images.shape[-1] - PATCH + 1
    row, down, across = (torch.from_numpy(rng.integers(end, size=num_patches)) for end in (len(images), side, side))
    windows = images[:, 0].unfold(1, PATCH, 1).unfold(2, PATCH, 1)  # (N, side, side, 6, 6), without a copy
    some = _normalised(windows[row, down, across].flatten(1).float())  # (num_patches, 36)
    whitening = PCA(0.99, whiten=True, svd_solver="full").fit(some.numpy())
    centres = KMeans(num_centres, n_init=1, max_iter=30, random_state=seed).fit(whitening.transform(some.numpy()))
    mean, matrix = (torch.from_numpy(np.asarray(part)).float() for part in (whitening.mean_, whitening.components_))
    matrix = (matrix / torch.from_numpy(whitening.explained_variance_).float().sqrt()[:, None]).T  # (36, D)
    points = torch.from_numpy(centres.cluster_centers_).float()

    def encode(part: Tensor) -> Tensor:
        patches = _normalised(unfold(part.float(), PATCH).transpose(1, 2))  # (N, side * side, 36)
        distances = torch.cdist((patches - mean) @ matrix, points.expand(len(part), -1, -1))  # (N, side * side, K)
        near = (distances.mean(dim=2, keepdim=True) - distances).clamp(min=0).transpose(1, 2)
        return adaptive_avg_pool2d(near.unflatten(2, (side, side)), GRID).flatten(1)

    def represent(images: Tensor) -> list[Tensor]:
        features = torch.empty(len(images), num_centres * GRID**2)  # filled in place: many small parts scatter memory
        for part, found in zip(images.split(FEW), features.split(FEW), strict=True):
            found.copy_(encode(part))
        return [features]

    return represent


def _normalised(patches: Tensor) -> Tensor:
    """Patches (..., 36) of equal brightness and contrast; a plain one stays plain."""
    patches = patches - patches.mean(dim=-1, keepdim=True)
    return patches / (patches.square().mean(dim=-1, keepdim=True) + CONTRAST).sqrt()


def pooled_layers(network: nn.Module) -> Represent:
    """What each LeakyReLU of a discriminator lets through, the maximum within each of 4x4 places.

    The network should be in eval mode, with the batch statistics of these data. Source: Radford, Metz, Chintala 2016
    (arXiv:1511.06434), section 5.1.
    """

    @torch.no_grad()
    def represent(images: Tensor) -> list[Tensor]:
        parts = [_layers(network, scale(part)) for part in images.split(CHUNK)]
        return [torch.cat(block) for block in zip(*parts, strict=True)]

    return represent


def _layers(network: nn.Module, maps: Tensor) -> list[Tensor]:
    found = []
    for layer in network.layers:  # type: ignore[union-attr]
        maps = layer(maps)
        if isinstance(layer, nn.LeakyReLU):
            found.append(adaptive_max_pool2d(maps, GRID).flatten(1).clone())  # (N, 16 C)
        if isinstance(layer, nn.Flatten):
            break
    return found


def on_one_scale(blocks: Sequence[Tensor], images: Sequence[Tensor]) -> Tensor:
    """The blocks (N, F) side by side, each centred and divided by one number, so that all count alike.

    `images` are the blocks of the unlabelled images: for these, every block has features of mean 0 and a mean squared
    length of 1 divided by the number of blocks, so that a strength of regularisation means the same for all methods.
    """
    found = []
    for block, own in zip(blocks, images, strict=True):
        mean = own.mean(dim=0)
        length = (own - mean).square().sum(dim=1).mean().sqrt()
        found.append((block - mean) / (length * len(images) ** 0.5))
    return torch.cat(found, dim=1)
