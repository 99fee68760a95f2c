"""What the build writes for the page that trains a DCGAN, and what the page says of its measurements."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from dcgan_core.data.glyphs import LETTERS, render

BOOK = Path(__file__).parent.parent / "book"
sys.path.insert(0, str(BOOK))
sys.path.insert(0, str(BOOK / "_ext"))

import make_multiply  # noqa: E402
import training_page  # noqa: E402


@pytest.fixture(scope="module")
def record():
    return json.loads(training_page.RECORD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def built():
    """What multiply.js says."""
    text = make_multiply.SCRIPT.read_text(encoding="utf-8")
    return json.loads(text.removeprefix("globalThis.MULTIPLY = ").removesuffix(";\n"))


def test_letters_in_the_page_are_those_of_the_data_set_in_sixteen_levels():
    about = json.loads(
        training_page.letters_script().removeprefix("globalThis.TRAINING_LETTERS = ").removesuffix(";\n")
    )
    packed = np.frombuffer(base64.b64decode(about["pixels"]), np.uint8)
    levels = np.stack([packed >> 4, packed & 15], axis=1).reshape(len(about["names"]), about["each"], 16, 16)
    assert about["names"] == LETTERS and about["side"] == 16
    for place in (0, 18, 25):
        images = render(about["each"], image_size=16, characters=LETTERS[place], seed=place).images[:, 0]
        assert np.abs(17.0 * levels[place] - images).max() <= 8.5
    assert len({one.tobytes() for one in levels.reshape(-1, 256)}) > 0.99 * levels.size / 256


def test_the_program_was_built_from_the_source_that_lies_beside_it(built):
    assert built["source"] == hashlib.sha256(make_multiply.SOURCE.read_bytes()).hexdigest(), (
        "multiply.c has changed: python book/make_multiply.py"
    )
    program = base64.b64decode(built["program"])
    assert program[:8] == b"\0asm\1\0\0\0" and len(program) < 4096  # larger ones may not be compiled at once


@pytest.mark.skipif(not (shutil.which("clang") and shutil.which("wasm-ld")), reason="no clang with wasm-ld")
def test_the_same_compiler_builds_the_same_program(built):
    if make_multiply.compiler() != built["compiler"]:
        pytest.skip("another clang")
    assert make_multiply.compiled() == base64.b64decode(built["program"])


def test_what_the_page_says_of_candidates_follows_from_the_record(record):
    """Guards: `plain JavaScript does the work … several times slower`, `most of the time goes into products`."""
    found = record["candidates"]
    assert found["javascript"]["work"] > 3 * found["simd"]["work"]
    assert found["cpu"]["work"] > 10 * found["simd"]["work"]
    assert found["simd"]["work"] * 1000 < 3 * 60_000, "a thousand rounds take more than three minutes"
    assert found["wasm"]["refused"].startswith("Kernel 'Conv2DBackpropFilter' not registered")
    assert found["onnxruntime"]["bytes"] > 500_000 > 10 * found["simd"]["bytes"]


def test_what_the_page_says_of_growing_follows_from_the_record(record):
    grown = record["grown"]
    assert grown["real"] > 0.98 and len(grown["shares"]) == 3
    for shares in grown["shares"]:
        assert shares[0] == 0 and shares[grown["rounds"].index(1000)] > 0.3


def test_the_table_has_the_numbers_of_the_record():
    record = {
        "browser": "Chromium 1",
        "processor": "P",
        "cores": 2,
        "load": 7.6,
        "candidates": {
            "simd": {"bytes": 9400, "work": 12.4, "median": 41.0},
            "webgl": {"bytes": 368_163, "median": 800.0},
            "wasm": {"bytes": 1000, "refused": "no such kernel"},
            "tensorflow": "4.22.0",
            "webgpu": False,
        },
        "grown": {"letters": "AB", "rate": 0.0005, "rounds": [0, 1000], "shares": [[0.0, 0.614]], "real": 0.998},
    }
    text = training_page.describe(record)
    assert "one loop in WebAssembly with SIMD | 9 kB | 12 ms | 41 ms | 12 s |" in text
    assert "WebGL in software | 368 kB | – | 800 ms | – |" in text and "“no such kernel”" in text
    assert "| seed 0 | 0% | 61% |" in text and "recognises 99.8% of the real" in text and "no WebGPU" in text
    assert "ONNX" not in text


def test_the_page_names_the_tolerance_and_the_pause_of_its_tests_and_scripts():
    page = (BOOK / "training.md").read_text(encoding="utf-8")
    script = (BOOK / "_static" / "training" / "page.js").read_text(encoding="utf-8")
    engine = (BOOK / "_static" / "training" / "engine.js").read_text(encoding="utf-8")
    test = (BOOK.parent / "tests" / "site" / "test_training_engine.py").read_text(encoding="utf-8")
    assert "within a ten-thousandth of the largest in its tensor" in page and "TOLERANCE = 1e-4 " in test
    assert "by itself after 5,000 rounds" in page and "PAUSE_AT = 5000;" in script
    assert "on 32 images" in page and "BATCH = 32," in script and "batch = 32, width = 16, shown = 25" in engine
    assert f"{training_page.EACH} of each" in page and "latent_size=32" in page and "LATENT = 32," in engine
