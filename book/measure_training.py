"""Measures what a DCGAN that trains in a page costs, and what it draws: `python book/measure_training.py`.

It writes `book/training.json`, from which the page takes its numbers. Needs Chromium and Playwright, as the tests of
the pages do. With `--node-modules FOLDER` it measures TensorFlow.js, too, and with `--onnxruntime FILE` it notes how
large the training build of ONNX Runtime is:

    npm install @tensorflow/tfjs @tensorflow/tfjs-backend-wasm      # makes node_modules
    npm pack onnxruntime-web@1.19.2                                 # the last one with ort-training-wasm-*.wasm

The work is the time for which the browser's thread was running; beside it stands the time that passed.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import threading
from pathlib import Path

import torch
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PageError

from dcgan_core.data.glyphs import LETTERS
from dcgan_core.metrics import RECOGNISED_AT, letter_classifier

BOOK = Path(__file__).parent
sys.path.insert(0, str(BOOK / "_ext"))

import training_page  # noqa: E402

SCRIPTS = BOOK / "_static" / "training"
WANTED = "ACEHSX"  # the letters with which the page opens
RATE, SEEDS, MOMENTS, NUM_SAMPLES = 5e-4, (0, 1, 2), (0, 100, 250, 500, 1000, 2500), 256
ROUNDS = {"simd": 100, "javascript": 20, "cpu": 4, "wasm": 4, "webgl": 6}
TENSORFLOW = ("tfjs/dist/tf.min.js", "tfjs-backend-wasm/dist/tf-backend-wasm.min.js")


def compressed(*files: Path) -> int:
    """Bytes that travel, with gzip as a server uses it."""
    return sum(len(gzip.compress(file.read_bytes(), 6)) for file in files)


def timing(page: Page, call: str, *arguments: object) -> dict:
    """The work and the time per round in milliseconds, or what the browser said instead.

    The work is how long the page's thread was running, in the second of two equal tries, when the browser has compiled
    what it runs often. It misses what other threads and processes do, such as WebGL's.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    try:
        page.evaluate(f"(given) => {call}(...given)", list(arguments))
        begin = worked()
        times = page.evaluate(f"(given) => {call}(...given)", list(arguments))
    except PageError as error:
        return {"refused": error.message.splitlines()[0].removeprefix("Page.evaluate: Error: ")}
    work = (worked() - begin) / len(times)
    return {"work": work, "fastest": min(times), "median": statistics.median(times), "rounds": len(times)}


def program() -> str:
    """The compiled loop, base64."""
    text = (SCRIPTS / "multiply.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("globalThis.MULTIPLY = ").removesuffix(";\n"))["program"]


def measured(browser: Browser, node_modules: Path | None, onnxruntime: Path | None) -> dict:
    """What each candidate takes for a round, and how much of it travels."""
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as address:
        names = ["engine.js", "measure.js"]
        shutil.copy(SCRIPTS / "engine.js", folder)
        shutil.copy(BOOK / "measure_training.js", Path(folder, "measure.js"))
        if node_modules:
            Path(folder, "node_modules").symlink_to(node_modules.resolve())
            names = [f"node_modules/@tensorflow/{name}" for name in TENSORFLOW] + names
        scripts = "".join(f'<script src="{name}"></script>' for name in names)
        Path(folder, "page.html").write_text(f"<!doctype html><meta charset=utf-8>{scripts}")
        page = browser.new_page()
        page.set_default_timeout(0)
        page.goto(f"{address}/page.html")
        own = [SCRIPTS / name for name in ("engine.js", "worker.js", "page.js")]
        found = {
            "simd": {
                "bytes": compressed(*own, SCRIPTS / "multiply.js"),
                **timing(page, "timeOurs", program(), ROUNDS["simd"]),
            },
            "javascript": {"bytes": compressed(*own), **timing(page, "timeOurs", None, ROUNDS["javascript"])},
        }
        if node_modules:
            library = [node_modules / "@tensorflow" / name for name in TENSORFLOW]
            simd = node_modules / "@tensorflow" / "tfjs-backend-wasm" / "dist" / "tfjs-backend-wasm-simd.wasm"
            for backend in ("cpu", "wasm", "webgl"):
                files = [*library, simd] if backend == "wasm" else library[:1]
                one = timing(page, "timeTensorFlow", backend, ROUNDS[backend])
                if backend == "webgl":
                    one.pop("work", None)  # it is another process that works
                found[backend] = {"bytes": compressed(*files), **one}
            found["tensorflow"] = page.evaluate("tf.version_core")
            found["webgpu"] = page.evaluate("async () => !!(await navigator.gpu?.requestAdapter())")
        if onnxruntime:
            found["onnxruntime"] = {"bytes": compressed(onnxruntime), "file": onnxruntime.name}
        page.close()
    return found


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class serve:
    """The address at which this machine serves a folder to itself, while the block runs."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(Quiet, directory=str(folder))
        self.web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.web.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.web.server_port}"

    def __exit__(self, *_: object) -> None:
        self.web.shutdown()


@torch.no_grad()
def recognised(images: torch.Tensor, letters: str = WANTED) -> float:
    """The fraction of images (N, 1, 16, 16) that the book's classifier takes for one of the letters, with certainty."""
    certainty, found = letter_classifier()(images).softmax(dim=1).max(dim=1)
    wanted = torch.tensor([LETTERS.index(letter) for letter in letters])
    return ((certainty >= RECOGNISED_AT) & torch.isin(found, wanted)).double().mean().item()


def grown(browser: Browser) -> dict:
    """The fraction recognised after so many rounds, for each seed, and of the real images."""
    latents = torch.randn(NUM_SAMPLES * 32, generator=torch.Generator().manual_seed(0))
    page = browser.new_page()
    page.set_default_timeout(0)
    page.add_script_tag(content=training_page.letters_script())
    for script in (SCRIPTS / "engine.js", BOOK / "measure_training.js"):
        page.add_script_tag(path=script)
    shares = []
    for seed in SEEDS:
        drawn = page.evaluate(
            "(given) => grow(...given)", [program(), WANTED, RATE, seed, list(MOMENTS), latents.tolist()]
        )
        shares.append([recognised(torch.tensor(images, dtype=torch.float32).view(-1, 1, 16, 16)) for images in drawn])
        print(seed, shares[-1], flush=True)
    page.close()
    levels = torch.from_numpy(training_page.letter_levels()).float().view(len(LETTERS), -1, 1, 16, 16)
    real = levels[[LETTERS.index(letter) for letter in WANTED]].flatten(0, 1) / 7.5 - 1
    return {"letters": WANTED, "rate": RATE, "rounds": MOMENTS, "shares": shares, "real": recognised(real)}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node-modules", type=Path)
    parser.add_argument("--onnxruntime", type=Path)
    asked = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        record = {
            "command": "python book/measure_training.py",
            "browser": f"Chromium {browser.version}",
            "processor": processor(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "graphics": "none: WebGL ran in software (SwiftShader)",
            "candidates": measured(browser, asked.node_modules, asked.onnxruntime),
        }
        print(json.dumps(record, indent=1), flush=True)
        record["grown"] = grown(browser)
        browser.close()
    training_page.RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
