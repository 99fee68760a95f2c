"""Chapter 05, the generator: the outputs of every layer, its figures, and checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn.functional import conv_transpose1d

from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import EXTRA, FAKE, NEUTRAL, REAL


@torch.no_grad()
def layer_outputs(generator: nn.Module, latents: Tensor) -> list[Tensor]:
    """What each layer of `generator.layers` makes of the latents: copies, because some layers work in place."""
    outputs, signal = [], latents
    for layer in generator.layers:  # type: ignore[union-attr]
        signal = layer(signal)
        outputs.append(signal.clone())
    return outputs


def show_maps(rows: Sequence[Tensor], labels: Sequence[str], *, magnify: bool = True) -> None:
    """Shows rows of maps (N, H, W), each row on its own grey scale from its smallest to its largest value."""
    columns = max(len(row) for row in rows)
    _, axes = plt.subplots(len(rows), columns, figsize=(5.6, 5.6 * len(rows) / columns + 0.1), squeeze=False)
    for line, row, label in zip(axes, rows, labels, strict=True):
        low, high = float(row.min()), float(row.max())
        for place in line:
            place.set(xticks=[], yticks=[])
            place.grid(False)
            place.spines[:].set_visible(False)
        for place, values in zip(line, row, strict=False):
            place.imshow(values.numpy(), cmap="gray", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")


def plot_matrices(matrices: Mapping[str, Tensor]) -> None:
    """Shows matrices beside each other, orange positive and blue negative, zeros white."""
    largest = max(float(matrix.abs().max()) for matrix in matrices.values())
    widths = [matrix.shape[1] for matrix in matrices.values()]
    _, axes = plt.subplots(1, len(matrices), figsize=(5.4, 3.6), width_ratios=[max(width, 14) for width in widths])
    for place, (name, matrix) in zip(axes, matrices.items(), strict=True):
        place.imshow(matrix.numpy(), cmap="PuOr_r", vmin=-largest, vmax=largest, interpolation="nearest")
        place.grid(False)
        place.set(title=name, xlabel="input pixel", ylabel="output pixel")


def plot_overlap(counts: Mapping[str, Tensor]) -> None:
    """Draws, for each layer, how many input pixels reach each output pixel, as a number on a grey square."""
    _, axes = plt.subplots(1, len(counts), figsize=(5.6, 3.0))
    for place, (name, count) in zip(axes, counts.items(), strict=True):
        place.imshow(count.numpy(), cmap="gray", vmin=0, vmax=5, interpolation="nearest")
        place.grid(False)
        place.set(title=name, xticks=[], yticks=[])
        place.spines[:].set_visible(False)
        for (row, column), number in np.ndenumerate(count.numpy()):
            colour = "black" if number > 2 else "white"
            place.text(column, row, f"{number:.0f}", ha="center", va="center", color=colour, fontsize=10)


def plot_channels(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> Axes:
    """Plots mean and standard deviation of every channel, before and after batch normalisation."""
    _, axes = plt.subplots()
    for (mean, deviation), name, colour in ((before, "before", NEUTRAL), (after, "after", FAKE)):
        axes.scatter(mean.numpy(), deviation.numpy(), s=12, color=colour, label=name, alpha=0.8)
    axes.set(xlabel="mean of the channel", ylabel="standard deviation", ylim=(0, None))
    axes.legend()
    return axes


def plot_fading(spreads: Mapping[str, Sequence[float]], places: Sequence[str]) -> None:
    """Standard deviation of the signal at each place in the generator, one line for each variant; logarithmic."""
    _, axes = plt.subplots(figsize=(5.2, 2.9))
    for (name, values), colour, line in zip(
        spreads.items(), (FAKE, EXTRA[0], NEUTRAL), ("o-", "s--", "^:"), strict=True
    ):
        axes.plot(places, values, line, color=colour, label=name)
    axes.set(ylabel="standard deviation", yscale="log")
    axes.legend(fontsize=10)


def plot_seeds(
    shares: Mapping[str, Sequence[float]],
    label: str,
    references: Mapping[str, float] | None = None,
    scale: str = "linear",
) -> None:
    """A row of dots, one for each seed, for every kind of layer, its median as a bar; references as vertical lines."""
    _, axes = plt.subplots(figsize=(5.4, 2.6))
    for row, values in enumerate(shares.values()):
        axes.plot(values, [row] * len(values), "o", color=NEUTRAL, alpha=0.5, markersize=5)
        axes.plot([np.median(values)] * 2, [row - 0.3, row + 0.3], color=FAKE, linewidth=2.5)
    styles = ((NEUTRAL, ":"), (REAL, "-"), (FAKE, ":"))
    for (name, value), (colour, line) in zip((references or {}).items(), styles, strict=False):
        axes.axvline(value, color=colour, linestyle=line, label=name)
    if references:
        axes.legend(fontsize=10, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=len(references))
    axes.set_yticks(range(len(shares)), list(shares))
    axes.grid(axis="y", visible=False)
    axes.set(xlabel=label, xscale=scale, ylim=(len(shares) - 0.5, -0.5))


def plot_spectra(images: Mapping[str, Tensor]) -> Axes:
    """Plots the mean power of images (N, 1, S, S) over horizontal frequency, each curve as a share of its total."""
    _, axes = plt.subplots()
    styles = zip((REAL, FAKE, NEUTRAL, EXTRA[0]), ("-", "-", "--", ":"), strict=True)
    for (name, batch), (colour, line) in zip(images.items(), styles, strict=False):
        centred = batch - batch.mean(dim=(-1, -2), keepdim=True)
        power = torch.fft.rfft2(centred).abs().square().mean(dim=(0, 1)).sum(dim=0)
        axes.plot((power / power.sum()).numpy(), color=colour, linestyle=line, label=name)
    axes.set(xlabel="horizontal frequency (cycles per image)", ylabel="share of the power", yscale="log")
    axes.legend(fontsize=10)
    return axes


def plot_output_range(before: Tensor, images: Tensor, real: Tensor) -> None:
    """Plots the values before the tanh beside the pixels after it and those of real images."""
    _, (left, right) = plt.subplots(1, 2, figsize=(5.6, 2.8))
    left.hist(before.flatten().numpy(), bins=60, density=True, color=NEUTRAL)
    left.set(xlabel="value before tanh", ylabel="density", yscale="log")
    edges = np.linspace(-1, 1, 41)
    right.hist(real.flatten().numpy(), bins=edges, density=True, color=REAL, histtype="step", label="real", lw=1.8)
    right.hist(images.flatten().numpy(), bins=edges, density=True, color=FAKE, histtype="step", label="fake", lw=1.8)
    right.set(xlabel="pixel", yscale="log")
    right.legend(fontsize=10, loc="upper center")


@check
def check_size(size: Callable[[int, int, int, int, int], int]) -> str:
    """Exercise 05.1: the side of a transposed convolution's output."""
    doubled = size(4, 4, 2, 1, 0)
    require(
        doubled != 2,
        "Yours makes 4 pixels into 2: that is the size of an ordinary convolution. Turn it round: which output size "
        "would a convolution have shrunk to 4?",
    )
    require(doubled != 12, "Yours grows with the padding; padding of a transposed convolution cuts the edge *off*.")
    for side, kernel, stride, padding, extra in ((4, 4, 2, 1, 0), (7, 4, 2, 1, 0), (1, 4, 1, 0, 0), (5, 3, 3, 0, 0)):
        layer = nn.ConvTranspose2d(1, 1, kernel, stride, padding, extra)
        truth = layer(torch.zeros(1, 1, side, side)).shape[-1]
        found = size(side, kernel, stride, padding, extra)
        require(
            found == truth,
            f"A side of {side}, kernel {kernel}, stride {stride}, padding {padding} gives {truth}; yours says {found}. "
            "Where does the first input pixel start to paint, and where does the last one stop?",
        )
    require(
        size(4, 3, 2, 1, 1) == 8,
        f"Kernel 3, stride 2, padding 1 and output_padding 1 give 8; yours says {size(4, 3, 2, 1, 1)}: output_padding "
        "adds to one side.",
    )
    return "And kernel 3 needs that output_padding to double at all; kernel 4 does not."


@check
def check_batch_norm(norm: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> str:
    """Exercise 05.2: batch normalisation in train mode of maps (B, C, H, W)."""
    torch.manual_seed(0)
    maps = torch.randn(3, 2, 2, 2) * 2 + 1
    gamma, beta = torch.tensor([1.5, 0.5]), torch.tensor([-1.0, 2.0])
    found = norm(maps, gamma, beta, 0.1)
    require(found.shape == maps.shape, f"The shape must stay {tuple(maps.shape)}; yours is {tuple(found.shape)}.")

    def wrong(dims: tuple[int, ...] = (0, 2, 3), unbiased: bool = False, outside: bool = False) -> Tensor:
        variance = maps.var(dim=dims, unbiased=unbiased, keepdim=True)
        scale = variance.sqrt() + 0.1 if outside else (variance + 0.1).sqrt()
        normal = (maps - maps.mean(dim=dims, keepdim=True)) / scale
        return normal * gamma.view(1, -1, 1, 1) + beta.view(1, -1, 1, 1)

    for mistake, message in (
        (
            wrong(dims=(0,)),
            "You take a mean for every position. All positions of a channel share one mean and one variance.",
        ),
        (wrong(dims=(2, 3)), "You take a mean for every image; that is instance normalisation. Include the batch."),
        (wrong(dims=(1, 2, 3)), "You mix the channels; that is layer normalisation. Every channel has its own mean."),
        (wrong(unbiased=True), "Divide by n, not by n - 1: the unbiased variance is for the running statistics only."),
        (wrong(outside=True), "eps belongs under the root: it is added to the variance."),
    ):
        require(not torch.allclose(found, mistake, atol=1e-5), message)
    difference = float((found - wrong()).abs().max())
    require(difference < 1e-5, f"The largest difference from torch's answer is {difference:.3f}. Check gamma and beta.")
    return "Equal to torch's, eps and all."


@check
def check_transposed(transposed: Callable[[Tensor, Tensor, int], Tensor]) -> str:
    """Exercise 05.3: a transposed convolution in one dimension, without padding."""
    signal, kernel = torch.tensor([1.0, 10.0, 100.0]), torch.tensor([1.0, 2.0, 3.0])
    truth = conv_transpose1d(signal.view(1, 1, -1), kernel.view(1, 1, -1), stride=2).flatten()
    found = transposed(signal, kernel, 2)
    require(
        found.shape == truth.shape,
        f"Three values, kernel 3, stride 2 make {len(truth)}: (3 - 1) * 2 + 3. Yours have shape {tuple(found.shape)}.",
    )
    flipped = conv_transpose1d(signal.view(1, 1, -1), kernel.flip(0).view(1, 1, -1), stride=2).flatten()
    require(not torch.equal(found, flipped), "Your kernel is the wrong way round: each value paints it unturned.")
    last = torch.tensor([1.0, 2.0, 10.0, 20.0, 100.0, 200.0, 300.0])
    require(not torch.equal(found, last), "Where two copies overlap, the later one has overwritten the earlier: add.")
    require(torch.allclose(found, truth), f"It should be {truth.tolist()}; yours is {found.tolist()}.")
    even = transposed(torch.ones(4), torch.ones(4), 2)
    require(
        torch.equal(even, conv_transpose1d(torch.ones(1, 1, 4), torch.ones(1, 1, 4), stride=2).flatten()),
        "It is right for kernel 3, but not for a kernel of 4.",
    )
    wide = conv_transpose1d(signal.view(1, 1, -1), kernel.view(1, 1, -1), stride=3).flatten()
    found = transposed(signal, kernel, 3)
    require(
        found.shape == wide.shape and torch.allclose(found, wide),
        "It is right for stride 2, but not for a stride of 3: use the stride that you are given.",
    )
    return "Each value paints one scaled kernel, and overlaps add."


@check
def check_folded(folded: Callable[..., tuple[Tensor, Tensor]]) -> str:
    """Exercise 05.4: batch normalisation in eval mode, folded into the linear layer before it."""
    torch.manual_seed(0)
    linear, norm = nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3, eps=0.1).eval()
    learnt = {"weight": 0.5, "bias": -1.0, "running_mean": 0.5, "running_var": 0.5}
    norm.load_state_dict({name: torch.empty(3).uniform_(low, 2.0) for name, low in learnt.items()}, strict=False)
    values = norm.state_dict()
    weight, bias = folded(linear.weight.data, *(values[name] for name in learnt), norm.eps)
    require(weight.shape == (3, 5), f"The weight must stay (out, in) = (3, 5); yours is {tuple(weight.shape)}.")
    require(bias.shape == (3,), f"The bias has one number per output: (3,); yours is {tuple(bias.shape)}.")
    with torch.no_grad():
        shift = norm(linear(torch.zeros(1, 5)))[0]
        slope = (norm(linear(torch.eye(5))) - shift).T  # (3, 5)
    require(
        not torch.allclose(weight, linear.weight.data * norm.weight.data[:, None]),
        "You multiplied by gamma, but did not divide by the running standard deviation.",
    )
    require(
        torch.allclose(weight, slope, atol=1e-5),
        "The weights differ. Each *output* (a row of the weight) is multiplied by its own gamma / sqrt(var + eps).",
    )
    require(
        not torch.allclose(bias, norm.bias.data),
        "Your bias is beta alone: what became of the running mean that is subtracted?",
    )
    require(torch.allclose(bias, shift, atol=1e-5), "The weight is right; the bias is beta - mean * (the same factor).")
    return "One layer instead of two, and the same output: batch normalisation costs nothing once training is over."
