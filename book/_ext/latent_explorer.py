"""Sphinx extension: gives the latent explorer the recorded generator, and its page what was measured on it.

Before the pages are read it writes `_static/latent_explorer/weights.js`, so that no weight is committed twice and no
number is typed: the layers in their order, the weights exactly as they are recorded, the style directions that work,
and some of the latents that were watched in training. Beside it lie the measurements, `facts.json`, which the directive
`latent-facts` turns into text. Both are made again when the package, this file or a version that counts has changed.

A weight is a half-precision number, 16 bits; a character of a UTF-16 file has 16 bits, too. So the weights are one
string with one character for each weight. The file is a quarter smaller than with base64, needs no decoding, and its
byte order mark tells every browser what it is, whatever the server says. Sixteen bits that are half of a surrogate pair
cannot stand alone: they would be weights between -128 and -512, and such a weight is refused.

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
from dcgan_core.teaching.chapter_05 import layer_outputs
from dcgan_core.teaching.directions import LEAST_EFFECT, STEP, StyleJudge, find_directions
from dcgan_core.teaching.walks import recognised_halfway

RUN = "glyphs32"
NUM_WATCHED = 8  # of the latents that were watched in training: the page opens on them
VERSIONS = ("torch", "numpy", "matplotlib", "pillow", "scikit-learn")


def write_explorer(app):
    """Writes weights.js and facts.json, unless they are there and nothing that they depend on has changed."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static" / "latent_explorer"
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    stamp = fresh_outputs.fingerprint(["dcgan_core"], VERSIONS, []) + own
    facts = folder / "facts.json"
    if facts.exists() and (folder / "weights.js").exists() and json.loads(facts.read_text())["stamp"] == stamp:
        return
    folder.mkdir(parents=True, exist_ok=True)
    run = recorded.load(RUN)
    judge = StyleJudge()
    directions = find_directions(run.generator, judge)
    (folder / "weights.js").write_bytes(script(run, [direction for direction in directions if direction.works]))
    facts.write_text(
        json.dumps({"stamp": stamp, "text": describe(run, judge, directions, recognised_halfway(run.generator))})
    )


# ------------------------------------------------------------------------------------------------------- the generator


def layers_of(generator):
    """What the page must know of each layer, and all weights in one float16 array, one layer after another.

    A layer has its name and shape as chapter 05 prints them. `weights` counts how many of the numbers are its own, in
    PyTorch's order. Batch normalisation has `factor` and `summand`, a number for each channel.
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
            values = next(layer.parameters()).detach().numpy().ravel()
            entry["weights"] = values.size
            weights.append(values.astype(np.float16))
        layers.append(entry)
    return layers, np.concatenate(weights)


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


def characters(weights):
    """The inside of a JavaScript string, in UTF-16, of which each character is a float16."""
    bits = weights.view(np.uint16)
    if not np.isfinite(weights).all() or ((bits & 0xF800) == 0xD800).any():
        raise ValueError("a weight is not finite or between -128 and -512: this generator cannot be written as a text.")
    return "".join(ESCAPED.get(unit, chr(unit)) for unit in bits.tolist())


def script(run, directions):
    """The bytes of weights.js."""
    layers, weights = layers_of(run.generator)
    about = {
        "latentSize": run.config.latent_size,
        "imageSize": run.config.image_size,
        "channels": run.config.channels,
        "numWeights": weights.size,
        "layers": layers,
        "directions": [{"name": d.name, "ends": d.ends, "vector": single(d.vector)} for d in directions],
        "watched": [single(latent) for latent in run.latents[:NUM_WATCHED]],
    }
    text = f'globalThis.RECORDED_GENERATOR = {{...{json.dumps(about)}, weights: "{characters(weights)}"}};\n'
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
        f"{STEP:g} forward. The third and the fourth column say how many letters the judge then calls by the second "
        "name; the change is in percentage points, with a 95% interval; the last column says how many are still "
        "taken for the same letter.",
        "",
        "| direction | from, to | back | forward | change | same letter |",
        "|---|---|---|---|---|---|",
    ]
    for direction in working:
        back, _, forward = direction.shares
        lines.append(
            f"| {direction.name} | {' to '.join(direction.ends)} | {back:.0%} | {forward:.0%} "
            f"| {100 * direction.change:+.0f} ± {100 * direction.margin:.0f} | {direction.letter_kept:.0%} |"
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
