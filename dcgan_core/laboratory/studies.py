"""A study: many runs, several at a time, each recorded as a line of JSON; stopped, it goes on where it was.

What the runs are, a study says itself: see `laboratory.longer` and `laboratory.amounts`.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import Dataset
from dcgan_core.metrics import Judge
from dcgan_core.runs.card import publishable
from dcgan_core.runs.files import add_line
from dcgan_core.runs.stopping import BrokenOff, Stopped, stopping
from dcgan_core.runtime import Device, Machine, choose_machine
from dcgan_core.train import CHECKPOINT, Diverged, read_metrics, resume, train

Job = tuple[Any, ...]  # what a run is told from the others by
SECONDS_TO_SAVE = 60.0
LINE = "line.json"  # in the folder of a run that is none of `train`: all that is recorded of it, left there at its end
FOUND = "found.json"  # in the folder of a run: what is measured after its end, where a study measures anything then


@dataclass(frozen=True)
class Playing:
    """How a study is played."""

    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    processes: int = 1
    """How many runs at a time."""
    minutes: float = 600.0
    """When to stop, with what was found so far; a run that was not finished is recorded as such."""
    keep: Path | None = None
    """Folder for the runs themselves. With it, a run that was not finished goes on the next time, and is not recorded
    before its end."""


HOW = Playing()


def command_line(study: Callable[..., None], prog: str) -> None:
    """Plays a study as the command `prog`: mistakes of the user, and being stopped, come out as one sentence."""
    import tyro  # here: the study itself can be called where it is not installed

    try:
        tyro.cli(study, config=(tyro.conf.OmitArgPrefixes,), prog=prog)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print("stopped: what was finished is recorded, and the same command plays the rest.", file=sys.stderr)
        sys.exit(128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT))


def train_or_go_on(folder: Path, config: Config, machine: Machine, dataset: Dataset, judge: Judge) -> None:
    """Trains the run into `folder`, or goes on with it; one that diverges has what it found until then."""
    with suppress(Diverged):
        if (folder / CHECKPOINT).exists():
            resume(folder, progress=False, dataset=dataset, judge=judge)
        else:
            train(config, folder, machine=machine, progress=False, dataset=dataset, judge=judge)


def work(queue: Any, scratch: Path, play: Callable[..., None]) -> None:
    """Plays the jobs of a queue, `play(folder, *job)`, up to the None that ends it."""
    while (job := queue.get()) is not None:
        try:
            play(folder_of(scratch, job), *job)
        except KeyboardInterrupt:  # or SIGTERM: the run is saved, and no other one is begun
            return
        except Exception:
            traceback.print_exc()


def folder_of(scratch: Path, job: Job) -> Path:
    """Where a job's run is kept."""
    return scratch / "-".join(map(str, job))


def read_lines(out: Path) -> list[dict[str, Any]]:
    """The lines of a record; none if there is no file."""
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] if out.exists() else []


def run_jobs(
    out: Path,
    names: Sequence[str],
    jobs: Iterable[Job],
    play: Callable[..., None],
    playing: Playing,
    measured_after: bool = False,
) -> None:
    """Plays the jobs that `out` does not hold yet, for so many minutes, and adds a line for each run at its end.

    `names` are what a line calls the parts of a job. Without a folder to keep them in, a run that was not finished in
    time is recorded as such; with one, the run stays there and goes on the next time. If runs are `measured_after`
    their end, a run is finished once its folder holds what was found, see `FOUND`.
    """
    keep, processes = playing.keep, playing.processes
    deadline = time.monotonic() + 60 * playing.minutes
    done = {tuple(line.get(name) for name in names) for line in read_lines(out) if line.get("finished")}
    wanted = [job for job in jobs if job not in done]
    if not wanted:
        return
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    for entry in [*wanted, *[None] * processes]:
        queue.put(entry)
    with tempfile.TemporaryDirectory() as name:
        scratch = keep or Path(name)
        workers = [context.Process(target=work, args=(queue, scratch, play), daemon=True) for _ in range(processes)]
        for worker in workers:
            worker.start()
        noted: set[Job] = set()
        try:
            with stopping(choose_machine("cpu")) as asked, asked.breaking_off():
                while any(worker.is_alive() for worker in workers) and time.monotonic() < deadline:
                    workers[0].join(min(5.0, max(0.0, deadline - time.monotonic())))
                    for job in wanted:
                        if job not in noted and note(out, folder_of(scratch, job), names, job, True, measured_after):
                            noted.add(job)
        except BrokenOff as broken:
            raise Stopped(asked.number or signal.SIGINT) from broken
        finally:
            _stop(workers)
            for job in wanted:
                if job not in noted:
                    note(out, folder_of(scratch, job), names, job, keep is not None, measured_after)


def _stop(workers: Sequence[BaseProcess]) -> None:
    """Lets the runs in hand save where they are, for a minute."""
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(SECONDS_TO_SAVE)
        worker.kill()
        worker.join()


def note(
    out: Path, folder: Path, names: Sequence[str], job: Job, only_finished: bool, measured_after: bool = False
) -> bool:
    """Adds the line of one run, and says whether it did."""
    if (folder / LINE).exists():
        found = json.loads((folder / LINE).read_text(encoding="utf-8"))
        add_line(out, json.dumps(dict(zip(names, job, strict=True)) | {"finished": True} | found))
        return True
    if not (folder / "provenance.json").exists():  # it was not begun
        return False
    metrics = read_metrics(folder)
    config = json.loads((folder / "config.json").read_text())
    ended = bool(metrics) and metrics[-1]["images"] >= config["total_images"] - config["batch_size"]
    finished = (folder / FOUND).exists() if measured_after else ended
    if only_finished and not finished:
        return False
    line = dict(zip(names, job, strict=True)) | {"finished": finished, "metrics": metrics}
    if (folder / FOUND).exists():
        line |= json.loads((folder / FOUND).read_text())
    line |= publishable({"config": config, "provenance": json.loads((folder / "provenance.json").read_text())})
    add_line(out, json.dumps(line))
    return True
