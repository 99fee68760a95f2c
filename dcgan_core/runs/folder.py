"""The folder of a run: how it is begun, continued and read; what survives a kill at any moment.

Every file in it is replaced as a whole, but for metrics.jsonl, which grows by lines. The last checkpoint is written
before the copy of it that is the best one, and says which one is best; so nothing in the folder is ever ahead of it
for long: `go_back` puts right what a kill left between two writes.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from dcgan_core import parallel
from dcgan_core.config import Config, InvalidInput
from dcgan_core.runs import checkpoint, lock
from dcgan_core.runs.ending import EVALUATION
from dcgan_core.runs.files import PARTIAL, read_json, sweep, write_json
from dcgan_core.runs.journal import METRICS, forget_after
from dcgan_core.runs.restoring import all_finite, restore
from dcgan_core.runs.writing import Writer
from dcgan_core.runtime import Machine, choose_machine, provenance
from dcgan_core.state import State, random_states, start

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
FILES = {"last": CHECKPOINT, "best": BEST}
CONFIG, PROVENANCE = "config.json", "provenance.json"
MAY_CHANGE = {"data", "data_root", "total_images", "patience"}  # in config.json, while the run goes on
MAY_CHANGE |= {f"{what}_every_images" for what in ("log", "sample", "checkpoint", "evaluate")}
OF_A_START = {CONFIG, PROVENANCE, METRICS, lock.NAME, "samples", "tensorboard"}  # before there is a checkpoint


class Diverged(RuntimeError):
    """A loss or a weight is no longer finite. The last checkpoint from before is kept."""


def load_state(
    out: str | Path, machine: Machine | None = None, *, checkpoint: Literal["last", "best"] = "last"
) -> State:
    """The state that the run in the folder `out` has saved last, or the one with the lowest Fréchet distance."""
    return load(Path(out), machine or choose_machine(), FILES[checkpoint])[0]


def choose_checkpoint(out: str | Path, asked: Literal["auto", "best", "last"]) -> Literal["best", "last"]:
    """Which checkpoint of the run in the folder `out` counts: auto is the best where there is one, else the last.

    Whoever opens a run to use it (sample, evaluate, export, report) asks here.
    """
    if asked != "auto":
        return asked
    return "best" if (Path(out) / BEST).exists() else "last"


def load(out: Path, machine: Machine, name: str) -> tuple[State, dict[str, Any]]:
    """The state in the file `name` of the folder, and the facts beside it: step, config, best; and, as "notes", words
    on what could not be restored exactly. Raises `InvalidInput` if anything about them is impossible.
    """
    in_folder = read_config(out)
    tensors, facts = checkpoint.load(out / name)
    try:
        trained = _check_facts(facts)
        config = _agree(in_folder, trained, out)
        state = start(config, machine)
        notes = restore(state, tensors, facts["step"], machine.rank)
    except InvalidInput as error:
        raise InvalidInput(
            f"the checkpoint {str(out / name)!r} cannot be used: {str(error).rstrip('.')}; "
            "restore the file that belongs to the run, or start a new run."
        ) from error
    return state, facts | {"notes": notes}


def _check_facts(facts: dict[str, Any]) -> Config:
    """The config in the facts of a checkpoint. Raises `InvalidInput` if a fact is missing or impossible."""
    step, best = facts.get("step"), facts.get("best")
    if not _is_count(step):
        raise InvalidInput(f"its step is {step!r}, but must be 0 or more.")
    if best is not None:
        fits = isinstance(best, dict) and _is_count(best.get("step")) and _is_number(best.get("frechet_distance"))
        if not fits:
            raise InvalidInput("what it says of the best checkpoint makes no sense.")
    if not (facts.get("line") is None or isinstance(facts["line"], dict)):
        raise InvalidInput("its unfinished line of metrics makes no sense.")
    if not isinstance(facts.get("config"), dict):
        raise InvalidInput("it holds no config.")
    return Config.from_dict(facts["config"])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _agree(in_folder: Config, trained: Config, out: Path) -> Config:
    """The config that counts: of config.json what may change while a run goes on, all else of the checkpoint."""
    ours, theirs = in_folder.to_dict(), trained.to_dict()
    differing = [name for name in ours if ours[name] != theirs[name]]
    counts = {name: ours[name] if name in MAY_CHANGE else theirs[name] for name in differing}
    told = MAY_CHANGE - {
        "total_images",
        "patience",
    }  # which `resume` itself may have changed, and stopped before saving
    for which, names in (("it", told), ("the checkpoint", set(ours) - MAY_CHANGE)):
        said = [f"{name} is {value!r}" for name, value in counts.items() if name in names]
        if said:
            warnings.warn(
                f"{str(out / CONFIG)!r} says otherwise than the checkpoint; {which} counts: {', '.join(said)}.",
                stacklevel=4,
            )
    return replace(trained, **counts)


def read_config(out: str | Path) -> Config:
    """The config of the run in the folder `out`."""
    path = Path(out) / CONFIG
    if not path.exists():
        raise InvalidInput(f"{str(out)!r} holds no run (it has no config.json): check the path, or 'train' one first.")
    try:
        return Config.from_dict(read_json(path))
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be read ({error.strerror}): check it, or start a new run.") from error
    except InvalidInput as error:
        raise InvalidInput(str(error) if str(path) in str(error) else f"{str(path)!r} is damaged: {error}") from error


def read_provenance(out: str | Path) -> list[dict[str, Any]]:
    """Who made the run in the folder `out`: one entry for each session. Raises `InvalidInput` if that is damaged."""
    path = Path(out) / PROVENANCE
    try:
        found = read_json(path)
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be read ({error.strerror}): restore it from a copy.") from error
    if not (isinstance(found, list) and found and all(isinstance(entry, dict) for entry in found)):
        raise InvalidInput(f"{str(path)!r} is damaged (no list of sessions): restore it from a copy.")
    return found


def refuse_used(out: Path, config: Config) -> None:
    """Raises `InvalidInput` unless `out` is a new or an empty folder, or one in which a run had failed to start."""
    if not out.exists() or _failed_to_start(out):
        return
    if (out / CONFIG).exists():
        there = read_config(out)
        asked = config if config.channels else replace(config, channels=there.channels)  # None: as the data have
        same = "a run" if there == asked else "a run with another config"
        raise InvalidInput(
            f"the folder {str(out)!r} already holds {same}: continue it with 'resume', or choose another --out."
        )
    if not out.is_dir() or any(out.iterdir()):
        raise InvalidInput(f"{str(out)!r} already exists and is not an empty folder: choose another --out.")


def _failed_to_start(out: Path) -> bool:
    """True if a run was begun here that has neither a checkpoint nor a line of metrics: nothing would be lost."""
    if not out.is_dir() or not any(out.iterdir()):
        return False
    names = {path.name for path in out.iterdir() if not path.name.endswith(PARTIAL)}
    if names - OF_A_START or ((out / METRICS).exists() and (out / METRICS).stat().st_size):
        return False
    with lock.locked(out):  # raises if a run is starting there just now
        return not (out / CHECKPOINT).exists()


def make(out: Path, config: Config, machine: Machine) -> None:
    """Begins the folder of a new run: as a whole or not at all."""
    target = out.resolve()
    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        (new / "samples").mkdir(parents=True)
        write_json(new / PROVENANCE, [provenance(machine)])
        write_json(new / CONFIG, config.to_dict())
        if target.exists() and _failed_to_start(target):
            shutil.rmtree(target)
        with suppress(FileNotFoundError):
            target.rmdir()  # an empty one
        os.rename(new, target)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise InvalidInput(f"cannot write into {str(out)!r} ({error.strerror}): choose another --out.") from error


def go_back(out: Path, state: State, facts: dict[str, Any], machine: Machine) -> None:
    """Brings the files of a run to where its last checkpoint is."""
    sweep(out)
    try:
        entry = provenance(machine) | {"resumed_at_images": state.images}
        if notes := facts.get("notes"):
            entry["started_again"] = notes
        write_json(out / PROVENANCE, [*_history(out), entry])
        write_json(out / CONFIG, state.config.to_dict())
        forget_after(out, state.images)
        (out / EVALUATION).unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot write into {str(out)!r} ({error.strerror}): make room or copy the run.") from error
    _copy_if_best(out, facts)


def _history(out: Path) -> list[dict[str, Any]]:
    """The sessions so far; a damaged file is set aside, with a warning."""
    path = out / PROVENANCE
    if not path.exists():
        return []
    try:
        return read_provenance(out)
    except InvalidInput:
        aside = path.with_name(f"{PROVENANCE}.damaged")
        os.replace(path, aside)
        warnings.warn(f"{str(path)!r} is damaged: it was renamed to {aside.name!r}, and a new one begun.", stacklevel=2)
        return []


def note(out: Path, facts: dict[str, Any]) -> None:
    """Adds to the session that goes on what only trying could tell: whether its iterations are recorded, say."""
    if not facts:
        return
    *before, last = read_provenance(out)
    try:
        write_json(out / PROVENANCE, [*before, last | facts])
    except OSError as error:
        raise InvalidInput(f"cannot write into {str(out)!r} ({error.strerror}): make room or copy the run.") from error


def save(
    state: State,
    out: Path,
    machine: Machine,
    best: dict[str, Any],
    line: dict[str, Any] | None = None,
    *,
    writer: Writer | None = None,
) -> None:
    """Writes the last checkpoint and, if it is the best so far, a copy of it as the best one.

    `line` is a line of metrics whose evaluation was broken off, to be finished by `resume`. `writer` may do the writing
    later; what is written is the state as it is now. Raises `Diverged`, and writes nothing, if a tensor holds what is
    not finite. Waits for the device.
    """
    others = parallel.gather(random_states(), machine)[1:]
    named = {f"process_{rank}.{name}": value for rank, own in enumerate(others, 1) for name, value in own.items()}
    facts = {"step": state.step, "config": state.config.to_dict(), "best": best or None, "line": line}
    if parallel.anywhere(not all_finite(state.tensors()), machine):
        raise Diverged(
            f"weights are no longer finite at {state.images} images: the checkpoint from before is kept; "
            "start again with lower learning rates."
        )

    def save_now() -> None:
        later = writer is not None and writer.pool is not None
        tensors = {name: value.detach().to("cpu", copy=later) for name, value in (state.tensors() | named).items()}

        def write() -> None:
            checkpoint.save(out / CHECKPOINT, tensors, facts)
            _copy_if_best(out, facts)

        (writer or Writer(beside=False))(write)

    parallel.by_first(machine, save_now)


def _copy_if_best(out: Path, facts: dict[str, Any]) -> None:
    if (facts.get("best") or {}).get("step") == facts.get("step", -1):
        checkpoint.copy(out / CHECKPOINT, out / BEST)
