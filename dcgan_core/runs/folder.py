"""The folder of a run: how it is begun, continued and read; what survives a kill at any moment.

Every file in it is replaced as a whole, but for metrics.jsonl, which grows by lines. The last checkpoint is written
before the copy of it that is the best one, and says which one is best; so nothing in the folder is ever ahead of it
for long: `go_back` puts right what a kill left between two writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from dcgan_core import parallel
from dcgan_core.config import Config, InvalidInput
from dcgan_core.runs import checkpoint
from dcgan_core.runs.journal import forget_after
from dcgan_core.runs.restoring import restore
from dcgan_core.runtime import Machine, choose_machine, provenance
from dcgan_core.state import State, random_states, start

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
FILES = {"last": CHECKPOINT, "best": BEST}


def load_state(
    out: str | Path, machine: Machine | None = None, *, checkpoint: Literal["last", "best"] = "last"
) -> State:
    """The state that the run in the folder `out` has saved last, or the one with the lowest Fréchet distance."""
    return load(Path(out), machine or choose_machine(), FILES[checkpoint])[0]


def load(out: Path, machine: Machine, name: str) -> tuple[State, dict[str, Any]]:
    """The state in the file `name` of the folder, and the facts beside it. Raises `InvalidInput` if they do not fit."""
    config = read_config(out)
    tensors, facts = checkpoint.load(out / name)
    state = start(config, machine)
    try:
        restore(state, tensors, facts["step"], machine.rank)
    except (RuntimeError, KeyError) as error:
        raise InvalidInput(
            f"the checkpoint {str(out / name)!r} does not fit the run's config.json: "
            "restore the file that belongs to it, or start a new run."
        ) from error
    return state, facts


def read_config(out: str | Path) -> Config:
    """The config of the run in the folder `out`."""
    path = Path(out) / "config.json"
    if not path.exists():
        raise InvalidInput(f"{str(out)!r} holds no run (it has no config.json): check the path, or 'train' one first.")
    try:
        return Config.from_dict(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError, AttributeError, TypeError) as error:
        raise InvalidInput(f"{str(path)!r} is damaged: restore it, or start a new run.") from error


def refuse_used(out: Path, config: Config) -> None:
    """Raises `InvalidInput` unless `out` is a new or an empty folder."""
    if (out / "config.json").exists():
        same = "a run" if read_config(out) == config else "a run with another config"
        raise InvalidInput(
            f"the folder {str(out)!r} already holds {same}: continue it with 'resume', or choose another --out."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{str(out)!r} already exists and is not an empty folder: choose another --out.")


def make(out: Path, config: Config, machine: Machine) -> None:
    """Begins the folder of a new run."""
    try:
        (out / "samples").mkdir(parents=True)
        _write_json(out / "provenance.json", [provenance(machine)])
        _write_json(out / "config.json", config.to_dict())
    except OSError as error:
        raise InvalidInput(f"cannot write into {str(out)!r} ({error.strerror}): choose another --out.") from error


def go_back(out: Path, state: State, facts: dict[str, Any], machine: Machine) -> None:
    """Brings the files of a run to where its last checkpoint is."""
    path = out / "provenance.json"
    try:
        history = json.loads(path.read_text()) if path.exists() else []
        _write_json(path, [*history, provenance(machine) | {"resumed_at_images": state.images}])
        _write_json(out / "config.json", state.config.to_dict())
        forget_after(out, state.images)
    except OSError as error:
        raise InvalidInput(f"cannot write into {str(out)!r} ({error.strerror}): make room or copy the run.") from error
    _copy_if_best(out, facts)


def note(out: Path, facts: dict[str, Any]) -> None:
    """Adds to the session that goes on what only trying could tell: whether its iterations are recorded, say."""
    if not facts:
        return
    path = out / "provenance.json"
    try:
        *before, last = json.loads(path.read_text())
        _write_json(path, [*before, last | facts])
    except OSError as error:
        raise InvalidInput(f"cannot write into {str(out)!r} ({error.strerror}): make room or copy the run.") from error


def save(state: State, out: Path, machine: Machine, best: dict[str, Any]) -> None:
    """Writes the last checkpoint and, if it is the best so far, a copy of it as the best one."""
    others = parallel.gather(random_states(), machine)[1:]
    named = {f"process_{rank}.{name}": value for rank, own in enumerate(others, 1) for name, value in own.items()}
    facts = {"step": state.step, "config": state.config.to_dict(), "best": best or None}

    def write() -> None:
        checkpoint.save(out / CHECKPOINT, state.tensors() | named, facts)
        _copy_if_best(out, facts)

    parallel.by_first(machine, write)


def _copy_if_best(out: Path, facts: dict[str, Any]) -> None:
    if (facts.get("best") or {}).get("step") == facts.get("step", -1):
        checkpoint.copy(out / CHECKPOINT, out / BEST)


def _write_json(path: Path, value: Any) -> None:
    checkpoint.write_whole(path, (json.dumps(value, indent=2) + "\n").encode())
