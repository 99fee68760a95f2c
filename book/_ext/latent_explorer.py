"""Sphinx extension: gives the latent explorer the recorded generator, and its page what was measured on it.

Before the pages are read it writes three scripts into `_static/latent_explorer`, so that no weight is committed twice
and no number is typed:

- `sketch.js`, which a page loads at once: the layers in their order, their weights rounded to 235 levels a channel, the
  style directions that work, and some of the latents that were watched in training;
- `weights.js`, which follows at the reader's first touch: the weights exactly as they are recorded;
- `classifier_weights.js`: the letter classifier in half precision, which says what the letter on screen is.

Beside them lie the measurements, `facts.json`, which the directive `latent-facts` turns into text. All are made again
when the package, this file or a version that counts has changed.

A weight is a half-precision number, 16 bits; a character of a UTF-16 file has 16 bits, too. So the weights are one
string with one character for each weight. The file is a quarter smaller than with base64, needs no decoding, and its
byte order mark tells every browser what it is, whatever the server says. Sixteen bits that are half of a surrogate pair
cannot stand alone: they would be weights between -128 and -512, and such a weight is refused. In the sketch a character
holds two weights: 235 * 235 is just below the first surrogate.

Batch normalisation in eval mode is written as one factor and one summand a channel. It is not folded into the
weights before it: so these stay what was recorded, bit for bit, and the page can show every layer.
"""

import hashlib
import json
from pathlib import Path

import fresh_outputs
import numpy as np
import torch
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from torch import nn

from dcgan_core import recorded
from dcgan_core.metrics import RECOGNISED_AT, letter_classifier
from dcgan_core.metrics.classifiers import CLASSIFIER_SIZE
from dcgan_core.models import FIRST_SIZE
from dcgan_core.teaching import goals
from dcgan_core.teaching.chapter_05 import layer_outputs
from dcgan_core.teaching.directions import LEAST_EFFECT, STEP, StyleJudge, find_directions
from dcgan_core.teaching.walks import recognised_halfway

RUN = "glyphs32"
NUM_WATCHED = 8  # of the latents that were watched in training: the page opens on them
LEVELS = 235  # of a rounded weight, an odd number, so that one of them is 0
VERSIONS = ("torch", "numpy", "matplotlib", "pillow", "scikit-learn")


def write_explorer(app):
    """Writes weights.js and facts.json, unless they are there and nothing that they depend on has changed."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static" / "latent_explorer"
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    stamp = fresh_outputs.fingerprint(["dcgan_core"], VERSIONS, []) + own
    facts = folder / "facts.json"
    files = (facts, *(folder / name for name in ("sketch.js", "weights.js", "classifier_weights.js")))
    if all(path.exists() for path in files) and json.loads(facts.read_text())["stamp"] == stamp:
        return
    folder.mkdir(parents=True, exist_ok=True)
    run = recorded.load(RUN)
    judge = StyleJudge()
    directions = find_directions(run.generator, judge)
    (folder / "sketch.js").write_bytes(sketch_script(run, [direction for direction in directions if direction.works]))
    (folder / "weights.js").write_bytes(weights_script(run))
    (folder / "classifier_weights.js").write_bytes(classifier_script(letter_classifier()))
    facts.write_text(
        json.dumps({"stamp": stamp, "text": describe(run, judge, directions, recognised_halfway(run.generator))})
    )


# ------------------------------------------------------------------------------------------------------- the generator


def layers_of(generator):
    """What the page must know of each layer, and the weights of each that has any: float16, in PyTorch's order.

    A layer has its name and shape as chapter 05 prints them. `weights` counts its weights; `scales` is, for each
    channel that it makes, one level of a rounded weight. Batch normalisation has `factor` and `summand` for each.
    """
    outputs = layer_outputs(generator, torch.zeros(1, generator.latent_size))
    layers, weights = [], []
    for layer, output in zip(generator.layers, outputs, strict=True):
        entry = {"name": type(layer).__name__, "shape": list(output.shape[1:])}
        match layer:
            case nn.Linear(bias=None):
                entry |= {"kind": "linear"}
            case nn.Unflatten():
                entry |= {"kind": "reshape"}
            case nn.BatchNorm2d():
                entry |= {"kind": "normalise"} | factor_and_summand(layer)
            case nn.ReLU():
                entry |= {"kind": "relu"}
            case nn.Tanh():
                entry |= {"kind": "tanh"}
            case nn.ConvTranspose2d(kernel_size=(4, 4), stride=(2, 2), padding=(1, 1), bias=None):
                entry |= {"kind": "transposed"}
            case nn.Sequential() if is_nearest(layer):
                entry |= {"kind": "nearest"}
            case _:
                raise ValueError(f"the latent explorer cannot compute this layer: {layer}. Teach it to generator.js.")
        if entry["kind"] in ("linear", "transposed", "nearest"):
            values = next(layer.parameters()).detach().numpy().astype(np.float16)
            entry |= {"weights": values.size, "scales": single(scales_of(channels_first(entry["kind"], values)))}
            weights.append(values)
        layers.append(entry)
    return layers, weights


def channels_first(kind, values):
    """Weights with one row for each channel that they make: (channels, ...)."""
    if kind == "linear":  # the reshaping that follows makes 16 rows of the matrix one channel
        return values.reshape(-1, FIRST_SIZE**2 * values.shape[1])
    return values.swapaxes(0, 1) if kind == "transposed" else values


def scales_of(rows):
    """How much one level of a rounded weight is worth in each row: the largest weight has the last level."""
    largest = np.abs(rows.reshape(len(rows), -1).astype(np.float64)).max(axis=1)
    return torch.from_numpy(np.where(largest > 0, largest, 1) / (LEVELS // 2))


def is_nearest(layer):
    """Whether this is the book's other way to double: nearest-neighbour upsampling, then a 3x3 convolution."""
    match list(layer):
        case [nn.Upsample(scale_factor=2.0, mode="nearest"), nn.Conv2d(kernel_size=(3, 3), padding=(1, 1), bias=None)]:
            return True
    return False


def factor_and_summand(norm):
    """Batch normalisation in eval mode, folded: y = factor * x + summand for each channel (chapter 05)."""
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    summand = norm.bias.double() - norm.running_mean.double() * factor
    return {"factor": single(factor), "summand": single(summand)}


def single(values):
    """A list of numbers that are exact in single precision, written with as few digits as that needs."""
    return [float(str(value)) for value in values.detach().numpy().astype(np.float32)]


# ------------------------------------------------------------------------------------------------------------ the file

# What a JavaScript string cannot hold as it is.
ESCAPED = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", 0: "\\u0000"}


def quoted(units):
    """A JavaScript string, with its quotes, of these 16-bit numbers."""
    return '"' + "".join(ESCAPED.get(unit, chr(unit)) for unit in units) + '"'


def characters(values):
    """Float16 numbers as 16-bit numbers of which each can be one character."""
    bits = values.view(np.uint16)
    if not np.isfinite(values).all() or ((bits & 0xF800) == 0xD800).any():
        raise ValueError("a weight is not finite or between -128 and -512: this generator cannot be written as a text.")
    return bits.tolist()


def levels_of(layers, weights):
    """All weights, rounded to levels 0 to 234 of their channels' scales, in the order of the exact ones."""
    with_weights = [layer for layer in layers if "weights" in layer]
    levels = []
    for layer, values in zip(with_weights, weights, strict=True):
        rows = channels_first(layer["kind"], values).astype(np.float64)
        scales = np.array(layer["scales"]).reshape(-1, *[1] * (rows.ndim - 1))
        rounded = np.rint(rows / scales).astype(int) + LEVELS // 2
        levels.append((rounded.swapaxes(0, 1) if layer["kind"] == "transposed" else rounded).ravel())
    return np.concatenate(levels)


def sketch_script(run, directions):
    """The bytes of sketch.js."""
    layers, weights = layers_of(run.generator)
    levels = levels_of(layers, weights)
    pairs = np.pad(levels, (0, len(levels) % 2)).reshape(-1, 2)
    about = {
        "latentSize": run.config.latent_size,
        "imageSize": run.config.image_size,
        "channels": run.config.channels,
        "numWeights": len(levels),
        "numLevels": LEVELS,
        "layers": layers,
        "directions": [{"name": d.name, "ends": d.ends, "vector": single(d.vector)} for d in directions],
        "watched": [single(latent) for latent in run.latents[:NUM_WATCHED]],
        "recognisedAt": RECOGNISED_AT,
        "goals": [
            {"seed": goal.seed, "start": goal.start, "target": goal.target, "fewest": goal.fewest}
            for goal in goals.GOALS
        ],
    }
    units = (pairs @ [LEVELS, 1]).tolist()
    return as_file(f"globalThis.RECORDED_GENERATOR = {{...{json.dumps(about)}, pairs: {quoted(units)}}};\n")


def weights_script(run):
    """The bytes of weights.js."""
    values = np.concatenate([values.ravel() for values in layers_of(run.generator)[1]])
    return as_file(f"globalThis.RECORDED_WEIGHTS = {quoted(characters(values))};\n")


def classifier_script(classifier):
    """The bytes of classifier_weights.js. Raises ValueError for a layer that the page cannot compute."""
    modules = [*classifier.body, classifier.head]
    layers, weights, side = [], [], CLASSIFIER_SIZE
    for place, module in enumerate(modules):
        match module:
            case nn.Conv2d(kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=None):
                layers.append({"kind": "convolution"} | factor_and_summand(modules[place + 1]))
                side //= 2
            case nn.Linear():
                layers.append({"kind": "linear", "summand": single(module.bias)})
                if place and isinstance(modules[place - 1], nn.Flatten):
                    layers[-1]["places"] = side**2
            case nn.BatchNorm2d() | nn.ReLU() | nn.MaxPool2d(kernel_size=2) | nn.Flatten():
                continue
            case _:
                raise ValueError(f"the latent explorer cannot compute this layer: {module}. Teach it to classifier.js.")
        values = module.weight.detach().numpy().astype(np.float16)
        layers[-1] |= {"before": values.shape[1], "after": values.shape[0]}
        weights.append(values.ravel())
    names = [chr(ord("A") + number) for number in range(classifier.num_classes)]
    about = {"imageSize": CLASSIFIER_SIZE, "names": names, "layers": layers}
    units = characters(np.concatenate(weights))
    return as_file(f"globalThis.RECORDED_CLASSIFIER = {{...{json.dumps(about)}, weights: {quoted(units)}}};\n")


def as_file(text):
    return ("\ufeff" + text).encode("utf-16-le")


# ------------------------------------------------------------------------------------------------------------ the facts


def describe(run, judge, directions, halfway):
    """What was measured, as Markdown: the run, the judge, a table of the directions, and the middles of ways."""
    working = [direction for direction in directions if direction.works]
    left_out = [direction.name for direction in directions if not direction.works]
    accuracy = ", ".join(f"{name} {share:.1%}" for name, share in judge.accuracy.items())
    first = directions[0]
    lines = [
        run.caption(),
        "",
        f"The judge is right about held-out letters in so many cases: {accuracy}. "
        f"Each row moves {first.num_latents} latents, which the direction was not found by, {STEP:g} back and "
        f"{STEP:g} forward. The second and the third column say how many letters the judge then calls by the second "
        "name; the change is in percentage points, with a 95% interval; the last column says how many are still "
        "taken for the same letter.",
        "",
        "| direction | back | forward | change | same letter |",
        "|---|---|---|---|---|",
    ]
    for direction in working:
        back, _, forward = direction.shares
        lines.append(
            f"| {direction.name}: {' to '.join(direction.ends)} | {back:.0%} | {forward:.0%} "
            f"| {100 * direction.change:+.0f}&nbsp;±&nbsp;{100 * direction.margin:.0f} | {direction.letter_kept:.0%} |"
        )
    difference = halfway["spherical"].double() - halfway["linear"].double()
    margin = 1.96 * difference.std().item() / len(difference) ** 0.5
    shares = {name: f"{found.double().mean().item():.0%}" for name, found in halfway.items()}
    lines += [
        "",
        f"A step of the same length in a random direction keeps {first.letter_kept_by_chance:.0%} of the letters. "
        + (
            f"Left out, because fewer than {LEAST_EFFECT:.0%} of the letters follow: {', '.join(left_out)}."
            if left_out
            else "No direction had to be left out."
        ),
        "",
        f"Halfway between two latents, {len(difference)} pairs: the letter classifier recognises {shares['linear']} of "
        f"the letters in the middle of the straight way and {shares['spherical']} on the sphere, a difference of "
        f"{100 * difference.mean().item():+.0f} ± {margin * 100:.0f} points; of letters from latents as they are drawn "
        f"it recognises {shares['drawn']}, and of two images laid over each other, half of each, {shares['pixels']}.",
    ]
    return "\n".join(lines)


class LatentFacts(SphinxDirective):
    """`latent-facts`: what was measured on the recorded generator, computed by this build."""

    def run(self):
        facts = Path(self.env.app.outdir) / "_static" / "latent_explorer" / "facts.json"
        if not facts.exists():  # a builder other than HTML
            return []
        self.env.note_dependency(str(facts))  # new facts, new page
        container = nodes.container()
        lines = json.loads(facts.read_text())["text"].splitlines()
        self.state.nested_parse(StringList(lines, source=str(facts)), self.content_offset, container)
        return container.children


def setup(app):
    app.connect("builder-inited", write_explorer)
    app.add_directive("latent-facts", LatentFacts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
