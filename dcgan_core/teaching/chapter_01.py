"""Chapter 01, dark data: the supervised baseline that it measures, a figure, and checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from dcgan_core.data import scale
from dcgan_core.teaching.exercises import check, require


def pick_labelled(labels: Tensor, num_labels: int, *, seed: int) -> Tensor:
    """Indices of `num_labels` images, chosen at random with equally many of each class."""
    classes = int(labels.max()) + 1
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    each = num_labels // classes
    return torch.cat([order[labels[order] == label][:each] for label in range(classes)])


def posed(images: Tensor) -> Tensor:
    """The same images (N, C, S, S) in [-1, 1], each turned by up to 10 degrees, scaled by up to 10%, and shifted."""
    num_images = len(images)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(num_images) * 2 - 1) * limit

    angle, size = torch.deg2rad(uniform(10)), 1 + uniform(0.1)
    cos, sin = size * angle.cos(), size * angle.sin()
    across, down = uniform(0.1), uniform(0.1)  # of half the side
    matrices = torch.stack([torch.stack([cos, -sin, across], 1), torch.stack([sin, cos, down], 1)], 1)
    grid = affine_grid(matrices, list(images.shape), align_corners=False)
    return grid_sample(images + 1, grid, align_corners=False) - 1  # 0 outside is black


def train_small_cnn(images: Tensor, labels: Tensor, *, steps: int = 150, seed: int = 0) -> nn.Module:
    """A small supervised CNN for 26 classes from uint8 images (N, 1, 32, 32) and their `posed` copies."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 26))
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
        for _ in range(steps):
            chosen = torch.randperm(len(images))[:64]
            loss = cross_entropy(network(posed(scale(images[chosen]))), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def cnn_accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of uint8 images (N, 1, 32, 32) that the network gives the right label."""
    return float((network(scale(images)).argmax(dim=1) == labels).float().mean())


def show_costs(amounts: Sequence[int], costs: Mapping[str, Sequence[float]]) -> Axes:
    """The cost of each task, in units of the wage's currency, over the number of labels, on logarithmic axes."""
    _, axes = plt.subplots(figsize=(5.2, 3.2))
    for (name, values), marker in zip(costs.items(), "os^", strict=False):
        axes.plot(amounts, values, marker + "-", label=name)
    axes.set(xscale="log", yscale="log", xlabel="labels", ylabel="cost, in the wage's currency")
    axes.set_xticks(amounts, [f"{amount:,}" for amount in amounts])
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()
    axes.set_ylim(top=3e6)  # room for the legend
    axes.legend(loc="upper left", fontsize=10)
    return axes


@check
def check_labelling_cost(cost: Callable[[int, float, float, int], float]) -> str:
    """Exercise 01.1: cost of labels when several people label each image."""
    one = float(cost(3_600, 1.0, 20.0, 1))
    require(
        abs(one - 72_000) > 1e-6,
        "3,600 images at 1 second each are one hour of work, but yours costs 3,600 hourly wages: an hour has 3,600 "
        "seconds.",
    )
    require(
        abs(one - 20) < 1e-9,
        f"3,600 images at 1 second each and 20 an hour, labelled once, cost 20; yours says {one:g}.",
    )
    three = float(cost(3_600, 1.0, 20.0, 3))
    require(
        abs(three - one) > 1e-9, "Your cost does not depend on how many people label each image: each of them is paid."
    )
    require(
        abs(three - 60) < 1e-9, f"Three people who each label 3,600 images in an hour cost 60; yours says {three:g}."
    )
    return "Three opinions cost three times as much, which is why most labels are one person's."


@check
def check_purity(purity: Callable[[np.ndarray, np.ndarray], float]) -> str:
    """Exercise 01.2: the share of images whose class is the most frequent one of their cluster."""
    clusters, classes = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 2, 2])
    value = float(purity(clusters, classes))
    require(
        abs(value - 1 / 3) > 1e-9,
        "You counted images whose cluster number equals their class number; but clusters come in no order.",
    )
    require(abs(value - 5 / 6) < 1e-9, f"For {clusters} and {classes} it is 5/6; yours is {value:.3f}.")
    uneven = float(purity(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 1, 2])))
    require(
        abs(uneven - 0.75) > 1e-9,
        "You averaged over clusters, so a small cluster weighs as much as a large one: count images instead.",
    )
    require(abs(uneven - 5 / 6) < 1e-9, f"Four pure images and two of two classes give 5/6; yours gives {uneven:.3f}.")
    return "And with as many clusters as images it is 1: never compare purities at different numbers of clusters."


@check
def check_summary(summary: Callable[[Sequence[float]], tuple[float, float, float]]) -> str:
    """Exercise 01.3: the median of several seeds, and the range that they span."""
    median, low, high = summary([0.2, 0.3, 0.9, 0.4, 0.25])
    require(
        abs(median - 0.41) > 1e-9, "That is the mean: one lucky seed (0.9) has moved it above four of the five values."
    )
    require(abs(median - 0.3) < 1e-9, f"The median of 0.2, 0.3, 0.9, 0.4, 0.25 is 0.3, not {median:g}. Sort first.")
    require(
        (low, high) == (0.2, 0.9), f"The seeds span 0.2 to 0.9, but yours says {low:g} to {high:g}: keep the extremes."
    )
    even = summary([0.4, 0.1, 0.2, 0.9])[0]
    require(
        abs(even - 0.3) < 1e-9,
        f"Of an even number of values, the median is the mean of the two in the middle: 0.3 for 0.1, 0.2, 0.4, 0.9; "
        f"yours says {even:g}.",
    )
    return "Five seeds are few, so the book shows all that they span."
