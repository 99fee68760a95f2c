"""Chapter 04, the architecture: its figures, and checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from dcgan_core.models import Discriminator, Generator, num_parameters
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, NEUTRAL

Shape = tuple[int, ...]
Step = tuple[nn.Module, Shape, Shape]  # a layer, what goes in, what comes out, both without the batch

SHORT = {nn.Linear: "linear", nn.Conv2d: "strided\nconv", nn.ConvTranspose2d: "transp.\nconv", nn.Sequential: "double"}


def plot_stacks(generator: Sequence[Step], discriminator: Sequence[Step]) -> None:
    """Draws both stacks, generator above, from their traces: one box for each shape, the layer's name at each arrow.

    A box's height grows with the side of the maps, its width with the logarithm of their number.
    """
    _, rows = plt.subplots(2, 1, figsize=(5.6, 5.0))
    for axes, steps, name, colour in (
        (rows[0], generator, "generator", FAKE),
        (rows[1], discriminator, "discriminator", DISCRIMINATOR),
    ):
        boxes, arrows = _shape_changes(steps)
        at = 0.0
        edges = []
        for shape in boxes:
            width, height = _box(shape)
            axes.add_patch(
                Rectangle((at, -height / 2), width, height, facecolor=colour, alpha=0.35, edgecolor=colour, lw=1.5)
            )
            text = "×".join(map(str, shape)) if len(shape) == 3 else str(shape[0] if shape else 1)
            axes.text(at + width / 2, -0.68, text.replace("×", "×\n", 1), ha="center", va="top", fontsize=10)
            edges.append((at, at + width))
            at += width + 0.62
        for (_, start), (end, _), label in zip(edges[:-1], edges[1:], arrows, strict=True):
            axes.annotate("", (end - 0.05, 0), (start + 0.05, 0), arrowprops={"arrowstyle": "->", "color": NEUTRAL})
            axes.text((start + end) / 2, 0.6, label, ha="center", va="bottom", fontsize=10, color=NEUTRAL)
        axes.set(xlim=(-0.15, at - 0.45), ylim=(-1.1, 0.95), title=name)
        axes.axis("off")


def _shape_changes(steps: Sequence[Step]) -> tuple[list[Shape], list[str]]:
    """The shapes one after another without repetitions, and the layer that makes each but the first."""
    boxes, arrows = [steps[0][1]], []
    label = ""
    for layer, _, shape in steps:
        label = SHORT.get(type(layer), label)
        reshaped = isinstance(layer, (nn.Flatten, nn.Unflatten)) or (isinstance(layer, nn.Linear) and shape[0] > 1)
        if shape == boxes[-1] or (reshaped and not isinstance(layer, nn.Unflatten)):
            continue  # batch normalisation and activations keep the shape; flat copies of maps are not drawn
        boxes.append(shape)
        arrows.append(label)
    return boxes, arrows


def _box(shape: Shape) -> tuple[float, float]:
    if len(shape) < 3:
        return 0.12, 0.9 if shape and shape[0] > 1 else 0.12
    return 0.07 * float(np.log2(shape[0])) + 0.05, 1.1 * (shape[1] / 64) ** 0.6


def plot_shares(
    networks: Mapping[str, Sequence[Step]], cost: Callable[[nn.Module, Shape, Shape], tuple[int, int]]
) -> None:
    """Bars for each layer of the traced networks: its share of the network's parameters and of its FLOPs.

    `cost` gives (parameters, FLOPs) of one step. Layers without FLOPs are left out.
    """
    _, panels = plt.subplots(2, 1, figsize=(5.4, 5.0))
    for axes, (name, steps) in zip(panels, networks.items(), strict=True):
        rows = [(_between(*step), *cost(*step)) for step in steps if cost(*step)[1]]
        places = np.arange(len(rows))
        parameters = np.array([row[1] for row in rows], dtype=float)
        flops = np.array([row[2] for row in rows], dtype=float)
        colour = FAKE if name == "generator" else DISCRIMINATOR
        axes.bar(places - 0.2, parameters / parameters.sum(), 0.4, color="white", edgecolor=colour, hatch="///")
        axes.bar(places + 0.2, flops / flops.sum(), 0.4, color=colour)
        axes.bar(0, 0, color="white", edgecolor=colour, hatch="///", label="parameters")
        axes.bar(0, 0, color=colour, label="FLOPs")
        axes.set_xticks(places, [row[0] for row in rows])
        axes.set(ylim=(0, 0.9), ylabel="share", title=name)
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper right" if name == "generator" else "upper left", ncols=2, fontsize=10)


def _between(layer: nn.Module, before: Shape, after: Shape) -> str:
    return "linear" if isinstance(layer, nn.Linear) else f"{before[-1]} to {after[-1]}"


def plot_growth(
    sizes: Sequence[int], parameters: Mapping[str, Sequence[int]], flops: Mapping[str, Sequence[int]]
) -> None:
    """Parameters, and FLOPs for one image, of each network over the side of the image; all axes are logarithmic."""
    _, panels = plt.subplots(1, 2, figsize=(5.4, 2.9))
    for axes, counts, unit, title in (
        (panels[0], parameters, 1e6, "parameters (millions)"),
        (panels[1], flops, 1e9, "GFLOPs for one image"),
    ):
        for (name, values), colour, marker in zip(counts.items(), (FAKE, DISCRIMINATOR), ("o-", "s--"), strict=True):
            axes.plot(sizes, [value / unit for value in values], marker, color=colour, label=name)
        axes.set(xscale="log", yscale="log", title=title, xlabel="side of the image (pixels)")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
    panels[0].legend(fontsize=10)


def plot_bill(bill: Mapping[str, int], of_generator: Collection[str]) -> None:
    """Bars for the parts of one iteration as shares of all its FLOPs; those named in `of_generator` in its colour."""
    total = sum(bill.values())
    colours = [FAKE if name in of_generator else DISCRIMINATOR for name in bill]
    shares = {name: flops / total for name, flops in bill.items()}
    _bars(shares, colours, [f"{share:.0%}" for share in shares.values()], "share of the FLOPs of one iteration")


def plot_parameters(parameters: Mapping[str, int], imagined: str) -> None:
    """Bars for the parameters of layers, in millions; the layer named `imagined` is hatched."""
    millions = {name: count / 1e6 for name, count in parameters.items()}
    colours = ["white" if name == imagined else DISCRIMINATOR for name in parameters]
    _bars(millions, colours, [f"{count:.3g}" for count in millions.values()], "parameters (millions)")


def _bars(values: Mapping[str, float], colours: Sequence[str], texts: Sequence[str], label: str) -> None:
    _, axes = plt.subplots(figsize=(5.4, 2.8))
    hatches = ["///" if colour == "white" else "" for colour in colours]
    edges = [DISCRIMINATOR if colour == "white" else colour for colour in colours]
    axes.barh(list(values), list(values.values()), color=colours, edgecolor=edges, hatch=hatches)
    for place, (value, text) in enumerate(zip(values.values(), texts, strict=True)):
        axes.text(value, place, f" {text}", va="center", fontsize=10)
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    axes.grid(axis="y", visible=False)
    axes.set(xlabel=label, xlim=(0, 1.15 * max(values.values())))


def plot_pulls(fake_logits: Tensor, pulls: Mapping[str, Tensor]) -> None:
    """Gradients of losses by the logit of a fake (N,), over the probability D(G(z)) that the logit stands for."""
    _, axes = plt.subplots(figsize=(5.2, 3.0))
    styles = ((DISCRIMINATOR, "-"), (EXTRA[0], "--"), (FAKE, "-"))
    for (name, values), (colour, line) in zip(pulls.items(), styles, strict=True):
        axes.plot(torch.sigmoid(fake_logits.detach()), values, line, color=colour, label=name)
    axes.axhline(0, color=NEUTRAL, linewidth=1)
    axes.set(xlabel="D(G(z)): from surely fake (0) to surely real (1)", ylabel="gradient by the logit")
    axes.legend(fontsize=10)


def plot_receptive_fields(gradients: Sequence[Tensor], corners: Sequence[tuple[int, int]]) -> None:
    """One panel for each layer: size of the gradient (S, S) of one unit by pixel; blank where it is exactly zero.

    `corners` are the first and last pixel of the field that the formula gives, on both axes; drawn as a square.
    """
    figure, panels = plt.subplots(2, 2, figsize=(5.2, 5.4))
    for block, (axes, gradient, (first, last)) in enumerate(zip(panels.flat, gradients, corners, strict=True), start=1):
        shown = np.ma.masked_equal((gradient / gradient.max()).numpy(), 0)
        picture = axes.imshow(shown, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
        square = Rectangle(
            (first - 0.5, first - 0.5), last - first + 1, last - first + 1, fill=False, edgecolor=FAKE, lw=1.8
        )
        axes.add_patch(square)
        axes.set(title=f"block {block}: {last - first + 1} pixels", facecolor="#eeeeee")
        axes.set(xticks=(0, 32, 63), yticks=(0, 32, 63))
        axes.grid(False)
    bar = figure.colorbar(picture, ax=panels, location="bottom", shrink=0.8, aspect=30)
    bar.set_label("size of the gradient / largest")


@check
def check_shapes(shapes: Callable[[int, int, int], list[Shape]]) -> str:
    """Exercise 04.1: the shapes (channels, side, side) of the generator's maps, from 4x4 to the image."""
    for image_size, channels, width in ((64, 3, 64), (16, 1, 8), (128, 3, 2)):
        right = _generator_shapes(image_size, channels, width)
        found = [tuple(shape) for shape in shapes(image_size, channels, width)]
        call = f"For {image_size} pixels, {channels} channels and width {width}"
        require(bool(found), f"{call} your list is empty.")
        require(
            all(len(shape) == 3 for shape in found),
            f"{call} every shape needs three numbers: (channels, height, width).",
        )
        require(
            found[0][1:] == (4, 4), f"{call} your first maps are {found[0][1]} pixels high; every stack starts at 4."
        )
        require(
            len(found) == len(right),
            f"{call} your list has {len(found)} shapes, but {len(right)} are needed: the 4x4 maps, and one more for "
            "each doubling.",
        )
        require(
            found[-1] == (channels, image_size, image_size),
            f"{call} your last shape is {found[-1]}, but the last shape is the image itself, with {channels} channels.",
        )
        hint = (
            " The generator has most channels where the maps are smallest: you count them the other way round."
            if found[0][0] < right[0][0] and found[-2][0] >= right[0][0]
            else " The width is the number of channels one step before the image; each step back doubles it."
        )
        require(found == right, f"{call} your shapes are {found}, but the network's are {right}.{hint}")
    return "Your list agrees with the shapes of the constructed generators of 16, 64 and 128 pixels."


def _generator_shapes(image_size: int, channels: int, width: int) -> list[Shape]:
    """Read off a constructed network, not computed: the maps after reshaping and after each doubling."""
    generator = Generator(image_size=image_size, channels=channels, width=width, latent_size=4).eval()
    found: list[Shape] = []
    maps = torch.zeros(1, 4)
    with torch.no_grad():
        for layer in generator.layers:
            maps = layer(maps)
            if isinstance(layer, (nn.Unflatten, nn.ConvTranspose2d)):
                found.append(tuple(maps.shape[1:]))
    return found


@check
def check_num_parameters(count: Callable[[int, int, int], int]) -> str:
    """Exercise 04.2: the number of parameters of the discriminator, without building it."""
    for image_size, channels, width in ((64, 3, 64), (16, 1, 8), (32, 3, 5)):
        discriminator = Discriminator(image_size=image_size, channels=channels, width=width)
        right = num_parameters(discriminator)
        found = int(count(image_size, channels, width))
        difference = found - right
        norms = sum(2 * part.num_features for part in discriminator.modules() if isinstance(part, nn.BatchNorm2d))
        biases = sum(part.out_channels for part in discriminator.modules() if isinstance(part, nn.Conv2d))
        last = next(part.weight.numel() for part in discriminator.modules() if isinstance(part, nn.Linear))
        known = {
            -norms: "You left out batch normalisation: a scale and a shift for each channel.",
            -norms // 2: "Batch normalisation learns two numbers for each channel, a scale and a shift.",
            2 * width: "You counted a batch normalisation after the first convolution, where there is none.",
            biases: "You counted biases; these convolutions have none.",
            biases + 1: "You counted biases; these layers have none.",
            1: "You counted a bias of the linear layer; it has none.",
            -last: "You left out the last layer, which weighs all the 4x4 maps.",
        }
        hint = known.get(difference, "Go through the layers one by one and compare with the table of the chapter.")
        require(
            found == right,
            f"For {image_size} pixels, {channels} channels and width {width} you count {found:,} parameters, but the "
            f"discriminator has {right:,}. {hint}",
        )
    return "Your count agrees with three constructed discriminators, to the last parameter."


@check
def check_receptive_field(field: Callable[[Sequence[tuple[int, int]]], int]) -> str:
    """Exercise 04.3: side of the receptive field after convolutions that are given as (kernel, stride) pairs."""
    for layers in (
        [(4, 2)],
        [(3, 1), (3, 1)],
        [(4, 2)] * 2,
        [(4, 2)] * 4,
        [(3, 1), (4, 2), (3, 1), (5, 2), (3, 1)],
    ):
        right = _measured_field(layers)
        found = int(field(layers))
        kernels = [kernel for kernel, _ in layers]
        jumps = np.cumprod([stride for _, stride in layers]).tolist()  # after each layer
        hint = ""
        if found == int(np.prod(kernels)):
            hint = " You multiply the kernels; but neighbouring windows overlap."
        elif found == 1 + sum(kernel - 1 for kernel in kernels):
            hint = " You forgot the strides: after a stride of 2, one step is two pixels wide."
        elif found == 1 + sum((kernel - 1) * jump for kernel, jump in zip(kernels, jumps, strict=True)):
            hint = " A layer's own stride does not widen its own window, only those of the layers after it."
        require(found == right, f"For {layers} you say {found} pixels, but gradients reach {right}.{hint}")
    return "Your formula agrees with the pixels that gradients reach, strides and kernels mixed."


def _measured_field(layers: Sequence[tuple[int, int]]) -> int:
    """Builds the convolutions with weights of one and counts the pixels that change one unit in the middle."""
    size = 128
    line = torch.zeros(1, 1, size, requires_grad=True)
    maps = line
    for kernel, stride in layers:
        maps = nn.functional.conv1d(maps, torch.ones(1, 1, kernel), stride=stride)
    maps[0, 0, maps.shape[-1] // 2].backward()
    assert line.grad is not None
    return int((line.grad != 0).sum())


@check
def check_inspector(inspect: Callable[[nn.Module, nn.Module], set[int]]) -> str:
    """Exercise 04.4: which of the five guidelines a (generator, discriminator) pair breaks, as a set of numbers."""
    for upsampling in ("transposed", "nearest"):
        pair = _pair(upsampling)
        found = set(inspect(*pair))
        require(
            not found,
            f"The pair with upsampling {upsampling!r} follows all five, but you say that it breaks {sorted(found)}.",
        )
    for number, sin, pair in _sinners():
        found = set(inspect(*pair))
        require(number in found, f"You let pass {sin}: that is against guideline {number}.")
        require(found == {number}, f"The only fault is {sin}, guideline {number}, but you say {sorted(found)}.")
    return f"The right networks pass, and each of {len(_sinners())} wrong ones is found out."


def _pair(upsampling: str = "transposed") -> tuple[nn.Module, nn.Module]:
    options = {"image_size": 16, "channels": 1, "width": 4}
    upsample = {"upsampling": upsampling}
    return Generator(**options, latent_size=8, **upsample).layers, Discriminator(**options).layers  # type: ignore[arg-type]


def _changed(which: int, edit: Callable[[list[nn.Module]], object]) -> tuple[nn.Module, nn.Module]:
    """The right pair after an edit of the list of layers of the generator (0) or the discriminator (1)."""
    pair = list(_pair())
    layers = list(pair[which].children())
    edit(layers)
    pair[which] = nn.Sequential(*layers)
    return pair[0], pair[1]


def _sinners() -> list[tuple[int, str, tuple[nn.Module, nn.Module]]]:
    """Pairs that break exactly one guideline: its number, the fault in words, the pair."""

    def replace(kind: type[nn.Module], new: Callable[[], nn.Module]) -> Callable[[list[nn.Module]], None]:
        def edit(layers: list[nn.Module]) -> None:
            layers[:] = [new() if isinstance(layer, kind) else layer for layer in layers]

        return edit

    def pooled(layers: list[nn.Module]) -> None:
        layers[2:3] = [nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.MaxPool2d(2)]

    def averaged(layers: list[nn.Module]) -> None:
        layers[2:3] = [nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.AvgPool2d(2)]

    def hidden(layers: list[nn.Module]) -> None:
        layers[-2:] = [nn.Linear(128, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Flatten(0)]

    return [
        (1, "max pooling in the discriminator", _changed(1, pooled)),
        (1, "average pooling in the discriminator", _changed(1, averaged)),
        (2, "batch normalisation on the generator's output", _changed(0, lambda layers: layers.insert(-1, _norm(1)))),
        (2, "batch normalisation on the discriminator's input", _changed(1, lambda layers: layers.insert(0, _norm(1)))),
        (2, "batch normalisation after the first convolution", _changed(1, lambda layers: layers.insert(1, _norm(4)))),
        (2, "a generator without batch normalisation", _changed(0, replace(nn.BatchNorm2d, nn.Identity))),
        (3, "a hidden fully-connected layer in the discriminator", _changed(1, hidden)),
        (4, "LeakyReLU in the generator", _changed(0, replace(nn.ReLU, lambda: nn.LeakyReLU(0.2)))),
        (4, "a sigmoid as the generator's output", _changed(0, replace(nn.Tanh, nn.Sigmoid))),
        (5, "ReLU in the discriminator", _changed(1, replace(nn.LeakyReLU, nn.ReLU))),
        (5, "a slope of 0.01 in the discriminator", _changed(1, replace(nn.LeakyReLU, nn.LeakyReLU))),
    ]


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)
