"""Sphinx extension: gives the page that trains a DCGAN its letters, and the numbers that were measured on it.

Before the pages are read it writes `_static/training/letters.js`: 64 images of each capital letter at 16 pixels, drawn
by `dcgan_core.data.glyphs`, in 16 levels of grey, two pixels a byte. The directive `training-facts` turns the record of
`python book/measure_training.py` into text, so that no number of the page is typed.
"""

import base64
import json
from pathlib import Path

import numpy as np
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from dcgan_core.data.glyphs import LETTERS, render

RECORD = Path(__file__).parent.parent / "training.json"
SIDE = 16  # pixels
EACH = 64  # images of a letter
LEVELS = 16  # of grey


def write_letters(app):
    """Writes letters.js, unless it is there already and the same."""
    if app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "training" / "letters.js"
    script = letters_script()
    if target.exists() and target.read_text(encoding="utf-8") == script:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(script, encoding="utf-8")


def letter_levels():
    """The images in the order of the alphabet: uint8 (26 * EACH, SIDE, SIDE), 0 paper to 15 ink."""
    drawn = [
        render(EACH, image_size=SIDE, characters=letter, seed=place).images[:, 0]
        for place, letter in enumerate(LETTERS)
    ]
    return np.rint(np.concatenate(drawn) / 255 * (LEVELS - 1)).astype(np.uint8)


def letters_script():
    """The text of letters.js."""
    left, right = letter_levels().reshape(-1, 2).T
    about = {
        "side": SIDE,
        "each": EACH,
        "names": LETTERS,
        "pixels": base64.b64encode((left * LEVELS + right).astype(np.uint8).tobytes()).decode(),
    }
    return f"globalThis.TRAINING_LETTERS = {json.dumps(about)};\n"


# ------------------------------------------------------------------------------------------------------------ the facts

CANDIDATES = {
    "simd": "This page: JavaScript, and one loop in WebAssembly with SIMD",
    "javascript": "The same loop in JavaScript",
    "cpu": "TensorFlow.js, plain JavaScript",
    "wasm": "TensorFlow.js, WebAssembly with SIMD",
    "webgl": "TensorFlow.js, WebGL in software",
    "onnxruntime": "ONNX Runtime, training build",
}
WITHIN = 1000  # rounds, which the table counts


def describe(record):
    """What was measured, as Markdown: a table of candidates, and a table of what grew."""
    found, grown = record["candidates"], record["grown"]
    lines = [
        f"Measured in {record['browser']} on a processor of the kind {record['processor']}. Other programs kept its "
        f"{record['cores']} cores busy (load {record['load']:.0f}), so the table has the time for which the browser's "
        "thread was at work, beside the time that passed.",
        "",
        f"| | travels | work per round | median time per round | work in {WITHIN:,} rounds |",
        "|---|---|---|---|---|",
    ]
    for name, title in CANDIDATES.items():
        if name in found:
            one = found[name]
            work, median = one.get("work"), one.get("median")
            cells = [
                f"{one['bytes'] / 1000:,.0f} kB",
                f"{work:,.0f} ms" if work else "–",
                f"{median:,.0f} ms" if median else "–",
                duration(WITHIN * work / 1000) if work else "–",
            ]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    lines.append("")
    if "refused" in found.get("wasm", {}):
        lines += [
            f"TensorFlow.js {found['tensorflow']} cannot train a convolution with its WebAssembly: “"
            f"{found['wasm']['refused']}”. The machine had no graphics card, so WebGL ran in software, in a process of "
            "its own; that says nothing about a real card. "
            + ("" if found["webgpu"] else "There was no WebGPU. ")
            + "The sizes are those of the library alone.",
            "",
        ]
    if "onnxruntime" in found:
        lines += [
            "The training build of ONNX Runtime was left out unmeasured for its size. It is "
            f"`{found['onnxruntime']['file']}` of onnxruntime-web 1.19.2; releases 1.20.1 and 1.30.0 have none.",
            "",
        ]
    lines += [
        f"What grows, with the letters {', '.join(grown['letters'])} and the learning rate {grown['rate']:g}: the "
        "fraction of samples that the book's letter classifier takes for one of these letters with a certainty of at "
        f"least 90%, for each of {len(grown['shares'])} seeds. It recognises {grown['real']:.1%} of the real images.",
        "",
        "| rounds | " + " | ".join(f"{rounds:,}" for rounds in grown["rounds"]) + " |",
        "|---" * (len(grown["rounds"]) + 1) + "|",
    ]
    lines += [
        f"| seed {seed} | " + " | ".join(f"{share:.0%}" for share in shares) + " |"
        for seed, shares in enumerate(grown["shares"])
    ]
    return "\n".join(lines)


def duration(seconds):
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class TrainingFacts(SphinxDirective):
    """`training-facts`: what was measured of training in the page, from the record."""

    def run(self):
        self.env.note_dependency(str(RECORD))
        container = nodes.container()
        lines = describe(json.loads(RECORD.read_text(encoding="utf-8"))).splitlines()
        self.state.nested_parse(StringList(lines, source=str(RECORD)), self.content_offset, container)
        return container.children


def setup(app):
    app.connect("builder-inited", write_letters)
    app.add_directive("training-facts", TrainingFacts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
