"""One command for whoever has a GPU: tests, speeds and recorded runs in one folder, within minutes.

    make gpu-report                                                  in a checkout, on any machine
    python -m dcgan_core.benchmark.gpu_report --out FOLDER           without make and without a virtual environment

Every part (see `gpu_parts`) is a program of its own with a time limit, so that one which hangs or fails takes no other
with it, and the report is written again after each. PyTorch, NumPy, Matplotlib and Pillow must be there; where another
package is missing, the parts that need it are skipped. Without a CUDA device everything runs in a small form, whose
numbers say nothing about speed. The folder holds

    report.txt       what people read
    report.json      the same for programs
    log.txt          what the parts printed
    recorded/NAME/   trained runs, each as `export` leaves it, to be copied into dcgan_core/recorded_runs

Keys of report.json, which stay as they are as long as `format` is 1; others may be added:

    format, small, started, seconds
    missing     package to the parts that are skipped without it
    goals       list of goal, wanted, at_least (or at most), found (or null), reached (null where it means nothing)
    parts       name to status ("finished", "failed", "out of time" or "skipped"), why (or null), seconds, and result
                (or null), which has

    machine              versions, the device and what it has
    tests                passed, failed (names), skipped (name to reason)
    ladder-*, and        config, machine, counts, matrix_flop_per_second, copy_bytes_per_second, rows; each row has
    precision-*          change and skipped (null, or why), then images_per_second, ratio (to the first row),
                         largest_deviation, tolerance, flop_per_image, bytes_per_image, share_of_matrix_speed,
                         share_of_copy_speed
    train-*              config, machine, images, evaluations, images_per_second, between_evaluations,
                         bare_images_per_second, ratio, pause_seconds, not_captured_because (or null)
    profile-*            as_trained and eager, each as `kernels.profile` returns it, machine, not_captured_because
    costs-*              costs (change to its spread), iterations, turns, machine: a line of laboratory/costs.jsonl
    record-*             folder, images, asked_images, seconds, evaluation, bytes (file name to size)
    all but tests        peak_memory_bytes on the device in this part (null on a CPU)

A speed or a ratio that was measured several times is [median, lowest, highest].
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from dcgan_core.benchmark.gpu_goals import goals
from dcgan_core.benchmark.gpu_plan import FILES, MINUTES, ORDER, Part, is_missing, missing
from dcgan_core.benchmark.gpu_text import text
from dcgan_core.config import InvalidInput

ROOT = Path(__file__).parent.parent.parent  # of the checkout, where there is one
TESTS = ROOT / "tests"
FORMAT = 1
LEAST_SECONDS = 5  # for which no part is started


@dataclass(frozen=True)
class Asked:
    """What the user asked for; `data_root` and `out` are absolute."""

    out: Path
    small: bool
    data_root: Path
    only: tuple[str, ...]


def tests_command(result: Path) -> list[str]:
    """Runs every test that needs a GPU, and no file that has none: it might need packages that are not here.

    Warnings are no errors: they come from versions that nobody has tried here yet.
    """
    files = [path for path in sorted(TESTS.rglob("test_*.py")) if "mark.gpu" in path.read_text(encoding="utf-8")]
    options = ["-m", "gpu", "-rfEs", "-p", "no:cacheprovider", "-o", "filterwarnings=default", f"--junitxml={result}"]
    if not is_missing("xdist"):
        options += ["-p", "xdist.plugin", "-n", str(min(8, os.cpu_count() or 1))]
    if not is_missing("pytest_timeout"):
        options += ["-p", "pytest_timeout", "--timeout=120"]
    return [sys.executable, "-m", "pytest", *options, *(str(path.relative_to(ROOT)) for path in files)]


def run(asked: Asked, minutes: float = MINUTES) -> dict[str, Any]:
    """Runs all parts, and writes the report after each; pytest starts without the plugins of others."""
    begin = time.perf_counter()
    report: dict[str, Any] = {
        "format": FORMAT,
        "small": asked.small,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": 0.0,
        "missing": missing(ORDER),
        "parts": {},
        "goals": [],
    }
    with tempfile.TemporaryDirectory() as scratch:
        for row in ORDER:
            left = 60 * minutes - (time.perf_counter() - begin)
            for name, outcome in _side_by_side(row, asked, Path(scratch), left).items():
                report["parts"][name] = outcome
                print(f"{name}: {outcome['status']} after {outcome['seconds']:.0f} s", outcome["why"] or "", flush=True)
            report["seconds"] = time.perf_counter() - begin
            report["goals"] = goals(report)
            _write(report, asked.out)
    return report


def _side_by_side(row: tuple[Part, ...], asked: Asked, scratch: Path, left: float) -> dict[str, dict[str, Any]]:
    """Starts the parts together and waits for each, up to its limit; name to outcome."""
    outcomes, running = {}, {}
    begin = time.perf_counter()
    try:
        for part in row:
            limit = min(part.seconds, left)
            if why := _why_skipped(part, asked, limit):
                outcomes[part.name] = _outcome("skipped", why)
                continue
            with open(scratch / f"{part.name}.log", "wb") as log:
                running[part.name] = (
                    limit,
                    subprocess.Popen(
                        _command(part, asked, scratch, limit),
                        cwd=ROOT,
                        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONUNBUFFERED": "1"},
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    ),
                )
        for name, (limit, process) in running.items():
            try:
                process.wait(max(0.0, limit - (time.perf_counter() - begin)))
                outcome = _finished(name, process.returncode, scratch)
            except subprocess.TimeoutExpired:
                outcome = _outcome("out of time", f"killed after {limit:.0f} s")
            outcomes[name] = outcome | {"seconds": time.perf_counter() - begin}
    finally:
        for name, (_, process) in running.items():
            process.kill()
            process.wait()
            _add_to_log(asked.out, name, _printed(scratch, name))
    return {part.name: outcomes[part.name] for part in row}


def _why_skipped(part: Part, asked: Asked, limit: float) -> str | None:
    if asked.only and part.name not in asked.only:
        return "not asked for"
    for package in part.needs:
        if is_missing(package):
            return f"{package} is missing: pip install {package}"
    if part.name == "tests" and not TESTS.is_dir():
        return "there are no tests beside the package: run this in a checkout of the repository"
    if asked.small and not part.small:
        return "not part of the small form"
    if part.data and not any((asked.data_root / FILES[part.data]).glob("train-images*")):
        return f"its files are not in {FILES[part.data]} below the data's root: see --data-root"
    return None if limit >= LEAST_SECONDS else "no time was left"


def _command(part: Part, asked: Asked, scratch: Path, limit: float) -> list[str]:
    if part.name == "tests":
        return tests_command(scratch / "tests.xml")
    options = ["--result", str(scratch / f"{part.name}.json"), "--folder", str(asked.out / "recorded")]
    options += ["--data-root", str(asked.data_root), "--seconds", str(limit), *(["--small"] if asked.small else [])]
    return [sys.executable, "-m", "dcgan_core.benchmark.gpu_parts", part.name, *options]


def _finished(name: str, code: int, scratch: Path) -> dict[str, Any]:
    """The outcome of a part that ended by itself; tests that failed are a result, too."""
    if name == "tests" and code in (0, 1) and (scratch / "tests.xml").exists():
        return _outcome("finished", result=read_tests(scratch / "tests.xml"))
    if code == 0 and name != "tests":
        return _outcome("finished", result=json.loads((scratch / f"{name}.json").read_text(encoding="utf-8")))
    lines = _printed(scratch, name).strip().splitlines()
    return _outcome("failed", f"{lines[-1] if lines else 'it printed nothing'} (exit code {code}; see log.txt)")


def read_tests(path: Path) -> dict[str, Any]:
    """What pytest's XML says: how many passed, which failed, and which were skipped for what reason."""
    cases = list(ElementTree.parse(path).iter("testcase"))
    failed = [_name(case) for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = {_name(case): _reason(mark) for case in cases if (mark := case.find("skipped")) is not None}
    return {"passed": len(cases) - len(failed) - len(skipped), "failed": failed, "skipped": skipped}


def _name(case: ElementTree.Element) -> str:
    return f"{case.get('classname')}.{case.get('name')}"


def _reason(skipped: ElementTree.Element) -> str:
    """Of a file that was skipped as a whole, pytest writes the reason elsewhere than of a test."""
    message = skipped.get("message", "")
    return skipped.text or message if message == "collection skipped" else message


def _outcome(status: str, why: str | None = None, result: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"status": status, "why": why, "seconds": 0.0, "result": result}


def _printed(scratch: Path, name: str) -> str:
    """What a part printed; of a progress bar, its last state."""
    lines = (scratch / f"{name}.log").read_text(encoding="utf-8", errors="replace").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def _add_to_log(out: Path, name: str, printed: str) -> None:
    with open(out / "log.txt", "a", encoding="utf-8") as log:
        log.write(f"=== {name}\n{printed}\n")


def _write(report: dict[str, Any], out: Path) -> None:
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (out / "report.txt").write_text(text(report), encoding="utf-8")


def main() -> int:
    """Reads the command line, runs everything, and says where the report is; 1 if a part or a test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder for the report")
    parser.add_argument("--small", action="store_true", help="the small form, also where there is a GPU")
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path(os.environ.get("DCGAN_DATA", "data")),
        help="folder with mnist/ and fashion-mnist/; by default $DCGAN_DATA, or data",
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for everything together")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="some of the parts; the rest is skipped")
    given = parser.parse_args()
    try:
        out = _make(given.out)
        asked = Asked(out, given.small or not torch.cuda.is_available(), given.data_root.absolute(), tuple(given.only))
        _check(asked)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not torch.cuda.is_available():
        print("There is no CUDA device here: the small form, whose numbers say nothing about speed.")
    for package, parts in missing(ORDER).items():
        print(f"{package} is missing (pip install {package}): skipped are {', '.join(parts)}.")
    report = run(asked, given.minutes)
    print(f"\n{text(report)}\nall of this is in {out}")
    bad = any(part["status"] in ("failed", "out of time") for part in report["parts"].values())
    tests = report["parts"].get("tests", {}).get("result") or {}
    return 1 if bad or tests.get("failed") else 0


def _make(out: Path) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{str(out)!r} already exists and is not an empty folder: choose another --out.")
    try:
        (out / "recorded").mkdir(parents=True)
    except OSError as error:
        raise InvalidInput(f"cannot write into {str(out)!r} ({error.strerror}): choose another --out.") from error
    return out.absolute()


def _check(asked: Asked) -> None:
    names = [part.name for row in ORDER for part in row]
    if unknown := [name for name in asked.only if name not in names]:
        raise InvalidInput(f"there is no part {unknown[0]!r}: choose some of {', '.join(names)}.")


if __name__ == "__main__":
    sys.exit(main())
