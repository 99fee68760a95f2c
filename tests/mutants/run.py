"""Wrong changes to the package, one at a time, each against its own room's tests: `make mutants`, or ROOM=losses alone.

`ROOM.toml` beside this file lists the mutants of a room: what is wrong, the text that is replaced, which must occur
exactly once, and the text in its place. A mutant is caught if one of the room's tests fails, crashes or hangs. Each
gets a fresh copy of the package and its tests in a temporary folder, and a process forked from one that has imported
the libraries already, but not the package.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

ROOT = Path(__file__).parent.parent.parent
LISTS = Path("tests", "mutants")  # below the root
COPIED = ("dcgan_core", "tests", "pyproject.toml")
LIBRARIES = (
    *("torch", "torchvision", "torchmetrics", "numpy", "scipy.stats", "sklearn.neighbors"),
    *("matplotlib.pyplot", "PIL.Image", "tqdm", "tyro", "hypothesis", "pytest"),
)
ENOUGH = 0.95  # of the mutants that are not equivalent
SECONDS, TIMES = 60, 5  # a mutant hangs if it takes so many seconds and so many times as long as the right code
NOT_RUN = 3  # as pytest says of an error of its own
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One wrong change to one room; without `old` it is none, and the room is right."""

    room: str  # laboratory.mixtures
    tests: tuple[str, ...]  # files of the room's tests
    wrong: str = ""  # what the change does, in words
    old: str = ""
    new: str = ""
    caught_by: str = ""  # pytest's -k: tests that are tried before all of the room's
    equivalent: str = ""  # why nobody can notice it


@dataclass(frozen=True)
class Outcome:
    """What a room's tests said of a mutant."""

    mutant: Mutant
    verdict: str  # "caught", "hung" or "survived"
    seconds: float
    output: str  # pytest's


def place(root: Path, room: str) -> Path:
    return root / "dcgan_core" / f"{room.replace('.', '/')}.py"


def read(root: Path) -> list[Mutant]:
    """All mutants that are listed, room by room."""
    found = []
    for path in sorted((root / LISTS).glob("*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        tests = tuple(content.pop("tests"))
        found += [Mutant(room=path.stem, tests=tests, **entry) for entry in content.pop("mutants")]
        assert not content, f"{path.name} has {', '.join(content)}"
    return found


def mutated(source: str, mutant: Mutant) -> str:
    """The source of the room with the mutant's change in it; raises ValueError if the list is stale."""
    if not mutant.wrong:
        return source
    occurs = source.count(mutant.old)
    if occurs != 1:
        raise ValueError(f"The list of {mutant.room} is stale: {mutant.old!r} ({mutant.wrong}) occurs {occurs} times.")
    return source.replace(mutant.old, mutant.new)


def copy_with(root: Path, mutant: Mutant) -> Path:
    """A temporary folder that holds the package with the mutant in it, and the tests."""
    copy = Path(tempfile.mkdtemp(prefix="mutant-"))
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (root / name).exists():
            shutil.copy(root / name, copy)
    path = place(copy, mutant.room)
    path.write_text(mutated(path.read_text(encoding="utf-8"), mutant), encoding="utf-8")
    return copy


def run_tests(copy: Path, mutant: Mutant) -> None:
    """Runs the room's tests in this process, which ends with pytest's exit code."""
    os.setsid()  # a group of its own, which is ended together with what the tests start
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(copy)
    with (copy / "output").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={copy / 'scratch'}"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # plugins are imported already
    options += ["--hypothesis-seed=0"] if "hypothesis" in sys.modules else []
    options += ["-k", mutant.caught_by] if mutant.caught_by else []
    code = NOT_RUN
    try:
        code = int(sys.modules["pytest"].main([*options, *(f"tests/{name}" for name in mutant.tests)]))
        package = sys.modules.get("dcgan_core")
        if package and package.__file__ != str(copy / "dcgan_core" / "__init__.py"):
            print("The tests imported", package.__file__)
            code = NOT_RUN
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # without waiting for threads that a test has left behind


def verdict_of(exit_code: int | None) -> str:
    """What an exit code of the tests means; None: they were still running when their time was up."""
    if exit_code is None:
        return "hung"
    if exit_code == 0:
        return "survived"
    if exit_code in (1, 2) or exit_code < 0:  # failed, could not be collected, crashed
        return "caught"
    return f"not tested, because pytest ended with {exit_code}"


def play(
    root: Path, mutants: Sequence[Mutant], seconds: dict[tuple[str, ...], float], workers: int
) -> Iterator[Outcome]:
    """The outcomes of mutants in the order in which they are known. `seconds` says how long the right code takes."""
    waiting = deque(mutants)
    playing: dict[BaseProcess, tuple[Mutant, Path, float]] = {}
    try:
        while waiting or playing:
            while waiting and len(playing) < workers:
                mutant = waiting.popleft()
                copy = copy_with(root, mutant)
                process = FORK.Process(target=run_tests, args=(copy, mutant))
                process.start()
                playing[process] = mutant, copy, time.monotonic()
            wait([process.sentinel for process in playing], timeout=1)
            for process, (mutant, copy, begin) in list(playing.items()):
                taken = time.monotonic() - begin
                late = taken > SECONDS + TIMES * seconds.get(mutant.tests, 600)
                if process.is_alive() and not late:
                    continue
                code = None if process.is_alive() else process.exitcode
                output = (copy / "output").read_text(errors="replace") if (copy / "output").exists() else ""
                end(process, copy)
                del playing[process]
                verdict = verdict_of(code)
                if mutant.caught_by and verdict == "survived":
                    waiting.append(replace(mutant, caught_by=""))
                else:
                    yield Outcome(mutant, verdict, taken, output)
    finally:
        for process, (_, copy, _) in playing.items():
            end(process, copy)


def end(process: BaseProcess, copy: Path) -> None:
    """Ends the tests and whatever they have started, and removes their copy."""
    assert process.pid
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # the usual case: nothing is left of it
        process.kill()
    process.join()
    shutil.rmtree(copy, ignore_errors=True)


def difference(mutant: Mutant) -> str:
    """The lines that go and the lines that come."""
    signed = [("-", mutant.old), ("+", mutant.new)]
    return "\n".join(f"    {sign} {line}" for sign, text in signed for line in text.splitlines())


def report(room: str, outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """Prints a room's score and survivors; returns how many were caught and how many are not equivalent."""
    survivors = [outcome for outcome in outcomes if outcome.verdict == "survived"]
    equivalent = [outcome for outcome in survivors if outcome.mutant.equivalent]
    caught, wrong = len(outcomes) - len(survivors), len(outcomes) - len(equivalent)
    hung = sum(outcome.verdict == "hung" for outcome in outcomes)
    notes = [f"{hung} by hanging"] * (hung > 0) + [f"{len(equivalent)} more are equivalent"] * (len(equivalent) > 0)
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"{room:24}{caught:3} of {wrong:3} caught  {seconds:5.0f} s  {', '.join(notes)}")
    for outcome in survivors:
        mutant = outcome.mutant
        print(f"  {'equivalent' if mutant.equivalent else 'SURVIVED'}: {mutant.wrong}\n{difference(mutant)}")
        if mutant.equivalent:
            print(f"    {mutant.equivalent}")
    for outcome in outcomes:
        if outcome.mutant.equivalent and outcome.verdict != "survived":
            print(f"  NOT EQUIVALENT, for it is caught: {outcome.mutant.wrong}\n{difference(outcome.mutant)}")
    return caught, wrong


def score(root: Path, asked: str = "", workers: int = 1) -> int:
    """Plays the mutants of a room, a folder or (by default) all rooms; the exit code is 0 if enough are caught."""
    mutants = [mutant for mutant in read(root) if not asked or f"{mutant.room}.".startswith(f"{asked}.")]
    if not mutants:
        print(f"There is no list of mutants for {asked or 'any room'}.")
        return 2
    try:
        for mutant in mutants:
            mutated(place(root, mutant.room).read_text(encoding="utf-8"), mutant)
    except ValueError as stale:
        print(stale)
        return 2
    seconds: dict[tuple[str, ...], float] = {}
    right = {mutant.tests: Mutant(room=mutant.room, tests=mutant.tests) for mutant in mutants}
    for outcome in play(root, list(right.values()), seconds, workers):
        if outcome.verdict != "survived":
            print(outcome.output)
            print(f"Without any mutant, {', '.join(outcome.mutant.tests)} must pass first.")
            return 2
        seconds[outcome.mutant.tests] = outcome.seconds
    all_caught = all_wrong = 0
    for room in dict.fromkeys(mutant.room for mutant in mutants):
        outcomes = list(play(root, [mutant for mutant in mutants if mutant.room == room], seconds, workers))
        for outcome in outcomes:
            if outcome.verdict.startswith("not tested"):
                print(outcome.output)
                print(f"{room}: {outcome.mutant.wrong!r} was {outcome.verdict}.")
                return 2
        caught, wrong = report(room, outcomes)
        sys.stdout.flush()
        all_caught, all_wrong = all_caught + caught, all_wrong + wrong
    share = all_caught / max(all_wrong, 1)
    print(f"{'all':24}{all_caught:3} of {all_wrong:3} caught: {share:.1%}, and {ENOUGH:.0%} are asked for")
    return 0 if share >= ENOUGH else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", default="", help="a room (laboratory.mixtures) or a folder of rooms (laboratory)")
    parser.add_argument("--workers", type=int, default=1, help="mutants that are played at the same time")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is still running is ended, too
    os.environ["OMP_NUM_THREADS"] = "1"  # in this process and in all that it starts
    for name in LIBRARIES:
        importlib.import_module(name)
    return score(ROOT, arguments.room, arguments.workers)


if __name__ == "__main__":
    sys.exit(main())
