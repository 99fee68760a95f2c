"""Chapter 06, the discriminator's layers: altered discriminators, the pictures, and checks of its exercises."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn.functional import dropout2d, softplus

from dcgan_core.models import initialise, num_blocks
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, NEUTRAL, REAL

Reduction = Literal["stride", "max", "average"]


def altered_discriminator(
    *,
    image_size: int = 16,
    width: int = 8,
    reduction: Reduction = "stride",
    slope: float = 0.2,
    norm: bool = True,
    norm_at_input: bool = False,
    dropout: float = 0.0,
    head: Literal["linear", "average"] = "linear",
    seed: int = 0,
) -> nn.Sequential:
    """The discriminator for one-channel images, with single layers replaced; without arguments it is the usual one.

    `reduction` "max" and "average" put a 3x3 convolution with stride 1 and a pooling layer in the place of each strided
    convolution. `head` "average" averages each map over its positions before the linear layer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.BatchNorm2d(1)] if norm_at_input else []
        widths = [width * 2**block for block in range(num_blocks(image_size))]
        for block, (before, after) in enumerate(itertools.pairwise([1, *widths])):
            if reduction == "stride":
                layers.append(nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1, bias=not norm))
            else:
                layers.append(nn.Conv2d(before, after, kernel_size=3, padding=1, bias=not norm))
            if norm and block:
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.LeakyReLU(slope))
            if reduction != "stride":
                layers.append(nn.MaxPool2d(2) if reduction == "max" else nn.AvgPool2d(2))
            if dropout:
                layers.append(nn.Dropout2d(dropout))
        if head == "average":
            layers.append(nn.AdaptiveAvgPool2d(1))
        features = widths[-1] * (16 if head == "linear" else 1)
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 1, bias=False), nn.Flatten(0))
        initialise(network)
    return network


def learn_to_tell_apart(
    network: nn.Module, real: Tensor, fake: Tensor, *, steps: int, seed: int, one_batch: bool = False
) -> nn.Module:
    """Trains a discriminator for `steps` batches of 32 + 32 images against *fixed* fakes; returns it in eval mode.

    `real` and `fake` are (N, 1, S, S) in [-1, 1]. With `one_batch`, real and fake images pass as one batch of 64.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, betas=(0.5, 0.999))
    rng = torch.Generator().manual_seed(seed)
    network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for dropout
        for _ in range(steps):
            some_real = real[torch.randint(len(real), (32,), generator=rng)]
            some_fake = fake[torch.randint(len(fake), (32,), generator=rng)]
            if one_batch:
                real_logits, fake_logits = network(torch.cat([some_real, some_fake])).chunk(2)
            else:
                real_logits, fake_logits = network(some_real), network(some_fake)
            loss = softplus(-real_logits).mean() + softplus(fake_logits).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def share_ranked(network: nn.Module, higher: Tensor, lower: Tensor) -> float:
    """Share of pairs in which an image of the first set has a higher logit than one of the second: 0.5 is guessing."""
    network.eval()
    return float((network(higher)[:, None] > network(lower)).float().mean())


def with_slope(network: nn.Module, slope: float) -> nn.Module:
    """A copy of the network in which every LeakyReLU has another slope."""
    changed = copy.deepcopy(network)
    for module in changed.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = slope
    return changed


def gradient_flow(network: nn.Module, images: Tensor) -> tuple[float, float]:
    """Median norm of the logit's gradient at an image, and share of values whose activation stops the gradient.

    In eval mode, so that every image is on its own. A gradient is stopped where the LeakyReLU's local slope is 0.
    """
    stopped, values = 0, 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal stopped, values
        assert isinstance(layer, nn.LeakyReLU)
        if layer.negative_slope == 0:
            stopped += int((inputs[0] <= 0).sum())
        values += inputs[0].numel()

    network = copy.deepcopy(network).eval()
    layers = [module for module in network.modules() if isinstance(module, nn.LeakyReLU)]
    for layer in layers:
        layer.inplace = False
        layer.register_forward_hook(count)
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images).sum(), images)
    return float(gradient.flatten(1).norm(dim=1).median()), stopped / values


def _show_map(axes: Axes, values: Tensor, title: str, limit: float | None = None) -> None:
    """Draws one map (H, W), with zero in the middle of colours that reach to `limit`, or to its own largest value."""
    limit = limit or float(values.abs().max()) or 1.0
    axes.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def plot_reductions(image: Tensor, response: Tensor, reduced: Mapping[str, Tensor]) -> None:
    """An image (S, S), a filter's response (H, W), and what each way of halving keeps of it, on one colour scale."""
    _, axes = plt.subplots(1, 2 + len(reduced), figsize=(5.6, 1.5))
    axes[0].imshow(image, cmap="gray", interpolation="nearest")
    axes[0].set_title("image", fontsize=10)
    axes[0].set_axis_off()
    limit = float(response.abs().max())
    for place, (name, values) in zip(axes[1:], {"stride 1": response, **reduced}.items(), strict=True):
        _show_map(place, values, name, limit)


def plot_maps(rows: Mapping[str, Tensor]) -> None:
    """Rows of feature maps (N, H, W), one row a name; every map in its own scale, with zero in the middle."""
    columns = len(next(iter(rows.values())))
    _, axes = plt.subplots(len(rows), columns, figsize=(5.6, 0.85 * len(rows)), squeeze=False)
    for row, (name, maps) in zip(axes, rows.items(), strict=True):
        for place, values in zip(row, maps, strict=True):
            _show_map(place, values, "")
        row[0].set_ylabel(name, fontsize=10, rotation=0, ha="right", va="center")


def plot_apart(shares: Mapping[str, Tensor]) -> None:
    """Shares (C,) of each channel's variance that come from the distance of two means, every line in its own order."""
    _, axes = plt.subplots(figsize=(5.2, 2.7))
    for (name, share), colour, line in zip(shares.items(), (NEUTRAL, FAKE), ("--", "-"), strict=True):
        axes.plot(share.sort(descending=True).values.numpy(), line, color=colour, label=name)
    axes.set(xlabel="channels, in order of their share", ylabel="share of the variance", ylim=(-0.03, 1))
    axes.legend(fontsize=10)


def plot_two_ways(found: Mapping[str, Mapping[str, list[float]]]) -> None:
    """One panel for each score, a row of dots for each way of training: one dot per seed, the median as a bar."""
    _, panels = plt.subplots(1, len(found), figsize=(5.4, 2.1), sharey=True, squeeze=False)
    for axes, (score, ways) in zip(panels[0], found.items(), strict=True):
        for row, values in enumerate(ways.values()):
            axes.plot(values, [row] * len(values), "o", color=DISCRIMINATOR, alpha=0.6, markersize=5)
            axes.plot([np.median(values)] * 2, [row - 0.3, row + 0.3], color=NEUTRAL, linewidth=2.5)
        axes.set_yticks(range(len(ways)), list(ways))
        axes.locator_params(axis="x", nbins=4)
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.grid(axis="y", visible=False)
        axes.set(title=score, ylim=(len(ways) - 0.5, -0.5))


def plot_logits(panels: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """One histogram for each pair of real and fake logits, all with the same horizontal axis."""
    figure, axes = plt.subplots(len(panels), 1, sharex=True, figsize=(5.2, 1.6 * len(panels)), squeeze=False)
    every = torch.cat([torch.cat(pair) for pair in panels.values()])
    edges = np.linspace(float(every.min()), float(every.max()), 41)
    for place, (name, (real, fake)) in zip(axes[:, 0], panels.items(), strict=True):
        place.hist(real.numpy(), edges, color=REAL, alpha=0.7, label="real")
        place.hist(fake.numpy(), edges, color=FAKE, histtype="step", linewidth=1.8, label="fake")
        place.set(title=name, ylabel="images")
    axes[-1, 0].set_xlabel("logit")
    axes[0, 0].legend()
    figure.align_ylabels()


def plot_pre_activations(values: Mapping[str, Tensor]) -> None:
    """Histograms of what arrives at each activation, with the share below zero."""
    _, axes = plt.subplots(1, len(values), figsize=(5.6, 2.2), sharey=True, squeeze=False)
    for place, (name, arriving) in zip(axes[0], values.items(), strict=True):
        flat = arriving.flatten()
        limit = 3 * float(flat.std())
        weights = np.full(len(flat), 1 / len(flat))
        place.hist(flat.numpy(), np.linspace(-limit, limit, 41), weights=weights, color=DISCRIMINATOR)
        place.axvline(0, color=NEUTRAL, linewidth=1)
        place.set(title=f"{name}\n{float((flat < 0).float().mean()):.0%} negative", xlabel="value")
    axes[0, 0].set_ylabel("share of values")


def plot_brightness(added: list[float], logits: Mapping[str, list[float]]) -> None:
    """Mean logit of a batch over the brightness that was added to all of its images."""
    _, axes = plt.subplots(figsize=(5.2, 2.8))
    for (name, values), colour, marker in zip(
        logits.items(), (DISCRIMINATOR, EXTRA[0], EXTRA[1]), ("o", "s", "^"), strict=False
    ):
        axes.plot(added, values, color=colour, marker=marker, label=name)
    axes.axhline(0, color=NEUTRAL, linewidth=1, linestyle=":")
    axes.set(xlabel="brightness added to every image of the batch", ylabel="mean logit")
    axes.legend()


def plot_contributions(images: Tensor, contributions: Tensor, titles: list[str]) -> None:
    """Images (N, S, S) above the share (N, 4, 4) that each position of the last maps adds to the logit."""
    figure, axes = plt.subplots(2, len(images), figsize=(5.6, 2.3))
    limit = float(contributions.abs().max())
    for column in range(len(images)):
        axes[0, column].imshow(images[column], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axes[0, column].set_title(titles[column], fontsize=10)
        drawn = axes[1, column].imshow(contributions[column], cmap="PuOr", vmin=-limit, vmax=limit)
    for place in axes.flat:
        place.set_axis_off()
    figure.colorbar(drawn, ax=axes[1, :], label="adds to logit", shrink=0.9)


def plot_pixel_gradients(images: Tensor, gradients: Tensor, pixels_moved: Tensor, redrawn: Tensor) -> None:
    """Images (N, 1, S, S), the gradient of their logits, and what follows from it in pixels and in latents, in rows."""
    rows = {"fake": images, "gradient": gradients, "pixels\nmoved": pixels_moved, "latent\nmoved": redrawn}
    _, axes = plt.subplots(len(rows), len(images), figsize=(5.6, 3.1))
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for place, image in zip(line, row, strict=True):
            _show_map(place, image[0], "")
            if name != "gradient":
                place.images[0].set(cmap="gray", clim=(-1, 1))
        line[0].set_ylabel(name, fontsize=10, rotation=0, ha="right", va="center")


def plot_losses(logits: Tensor, losses: Mapping[str, Tensor], seen: Tensor) -> None:
    """Ways to compute one loss over the logit, above the logits that a trained network gives."""
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(5.2, 3.8), height_ratios=(3, 1))
    styles = (("-", DISCRIMINATOR, 4.0), ("--", FAKE, 1.8), (":", EXTRA[0], 2.4))
    for (name, values), (style, colour, width) in zip(losses.items(), styles, strict=False):
        above.plot(logits, values, linestyle=style, color=colour, linewidth=width, label=name)
        finite = torch.isfinite(values)
        if not bool(finite.all()):
            first = int((~finite).nonzero()[0])
            above.plot(logits[first - 1], values[first - 1], marker="x", color=colour, markersize=9)
    above.set(ylabel="loss (nats)")
    above.legend()
    below.hist(seen.numpy(), 40, color=FAKE)
    below.set(xlabel="logit of a fake image", ylabel="images")
    figure.align_ylabels()


@check
def check_mixed_statistics(
    statistics: Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]],
) -> str:
    """Exercise 06.1: mean and variance of a batch of which a given share is real."""
    torch.manual_seed(0)
    for num_real, num_fake in ((32, 32), (48, 16)):
        real = torch.randn(num_real, 5, dtype=torch.float64) * 2 + 1
        fake = torch.randn(num_fake, 5, dtype=torch.float64) - 3
        real_variance, fake_variance = real.var(0, correction=0), fake.var(0, correction=0)
        share = num_real / (num_real + num_fake)
        mean, variance = statistics(real.mean(0), real_variance, fake.mean(0), fake_variance, share)
        whole = torch.cat([real, fake])
        company = f"{num_real} real and {num_fake} fake images"
        require(
            torch.allclose(mean, whole.mean(0)),
            f"For {company} the mean is wrong: weigh the two means by their shares, {share:g} and {1 - share:g}.",
        )
        inner = share * real_variance + (1 - share) * fake_variance
        require(
            not torch.allclose(variance, inner),
            "Your variance is the average of the two variances. It leaves out that the two means lie apart, which "
            "spreads the mixed batch further.",
        )
        require(
            torch.allclose(variance, whole.var(0, correction=0)),
            f"For {company} the mean is right and the variance is not. The variance is the mean of the squares minus "
            "the square of the mean; the mean of the squares can be averaged over the two groups.",
        )
    return "It agrees with the statistics of the whole batch, for equal and for unequal shares."


@check
def check_dropout(drop: Callable[[Tensor, float, bool], Tensor]) -> str:
    """Exercise 06.2: dropout of whole channels, in train mode and in eval mode."""
    torch.manual_seed(0)
    maps = torch.rand(200, 20, 4, 4) + 1
    same = drop(maps, 0.25, False)
    require(torch.equal(same, maps), "In eval mode (training is False) dropout must return its input unchanged.")
    dropped = drop(maps, 0.25, True)
    require(dropped.shape == maps.shape, f"The shape changed from {tuple(maps.shape)} to {tuple(dropped.shape)}.")
    zeros = (dropped == 0).flatten(2)
    require(bool(zeros.any()), "Nothing is zero in train mode: draw for each channel of each image whether it is kept.")
    require(
        torch.equal(zeros.any(2), zeros.all(2)),
        "Some channels are zero in parts only: one draw decides about a whole channel of an image, so the mask has the "
        "shape (B, C, 1, 1).",
    )
    require(
        bool((zeros.any(2) != zeros.any(2)[:1]).any()),
        "All images lose the same channels: each image gets draws of its own.",
    )
    require(
        not bool((zeros.all(2) == zeros.all(2)[:, :1]).all()),
        "Each image loses all of its channels or none: one draw decides about one channel, not about the image.",
    )
    share = float(zeros.float().mean())
    require(
        abs(share - 0.25) < 0.05,
        f"With p = 0.25, {share:.0%} of the channels were zeroed: p is the share that is dropped, not kept.",
    )
    require(
        torch.allclose(dropped[dropped != 0], (maps / 0.75)[dropped != 0]),
        "The surviving values have the wrong scale: divide by 1 - p, so that the mean is the same in train and eval "
        "mode.",
    )
    torch.manual_seed(1)
    reference = dropout2d(maps, 0.25)
    return f"As torch does it: {share:.0%} dropped (torch: {float((reference == 0).float().mean()):.0%}), mean kept."


@check
def check_softplus(function: Callable[[Tensor], Tensor]) -> str:
    """Exercise 06.3: softplus by hand, right at both ends in float32."""
    middle = torch.tensor([-3.0, 0.0, 2.0])
    require(
        torch.allclose(function(middle), softplus(middle), atol=1e-5),
        f"At {middle.tolist()} softplus is {[round(value, 4) for value in softplus(middle).tolist()]}, but yours gives "
        f"{[round(value, 4) for value in function(middle).tolist()]}.",
    )
    for logit in (20.0, 100.0, 1e4):
        value = torch.tensor(logit, requires_grad=True)
        result = function(value)
        require(
            bool(torch.isfinite(result)) and abs(result.item() - logit) < 1e-3,
            f"At {logit:g} the answer is {logit:g}, but yours gives {result.item():g}: exp({logit:g}) overflows. Take "
            "the large part out first: log(1 + exp(t)) = t + log(1 + exp(-t)).",
        )
        (slope,) = torch.autograd.grad(result, value)
        require(
            bool(torch.isfinite(slope)) and abs(float(slope) - 1) < 1e-3,
            f"At {logit:g} the value is right but its gradient is {float(slope):g} instead of 1: an overflow hides in "
            "a branch that is not used, and 0 times infinity is nan.",
        )
    small = float(function(torch.tensor(-20.0)))
    require(
        abs(small / 2.0611537e-09 - 1) < 0.01,
        f"At -20 softplus is 2.06e-09, but yours gives {small:.3g}: 1 + 2e-09 rounds to 1. log1p(x) is log(1 + x) "
        "without that rounding.",
    )
    return "Right in the middle, finite at 10,000 with gradient 1, and not rounded to 0 at -20."
