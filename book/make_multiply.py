"""Builds the one compiled loop of the training page: `python book/make_multiply.py`.

It compiles `_static/training/multiply.c` for WebAssembly with SIMD and writes the program, one or two kB, into
`_static/training/multiply.js`, beside the checksum of its source and the compiler's version. Needs clang and wasm-ld
(Debian: apt-get install clang lld); nobody who builds or reads the book needs them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent / "_static" / "training"
SOURCE, SCRIPT = FOLDER / "multiply.c", FOLDER / "multiply.js"
COMMAND = ["clang", "--target=wasm32", "-O3", "-msimd128", "-nostdlib", "-ffreestanding"]
LINKING = ["-Wl,--no-entry,--import-memory,--strip-all"]


def compiled() -> bytes:
    """The program that clang makes of the source."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "multiply.wasm")
        subprocess.run([*COMMAND, *LINKING, "-o", str(target), str(SOURCE)], check=True)
        return target.read_bytes()


def compiler() -> str:
    """The first line in which clang tells its version."""
    return subprocess.run(["clang", "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]


def written(program: bytes, made_by: str) -> str:
    """The text of multiply.js."""
    about = {
        "source": hashlib.sha256(SOURCE.read_bytes()).hexdigest(),
        "compiler": made_by,
        "program": base64.b64encode(program).decode(),
    }
    return f"globalThis.MULTIPLY = {json.dumps(about, indent=1)};\n"


if __name__ == "__main__":
    SCRIPT.write_text(written(compiled(), compiler()), encoding="utf-8")
