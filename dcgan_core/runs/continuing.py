"""On what a run goes on: what decides its numbers stays as it was in the session before, or is said to have changed."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from dcgan_core.config import InvalidInput
from dcgan_core.runtime import (
    NOT_MADE_FOR_IT,
    Device,
    Machine,
    Precision,
    Switch,
    choose_machine,
    device_name,
    is_here,
    native_precisions,
)


def same_machine(
    out: str | Path,
    *,
    device: Device | None = None,
    precision: Precision | None = None,
    compiled: bool | None = None,
    capture: Switch | None = None,
) -> Machine:
    """The machine for the run in the folder `out`: as its last session had it, but for what is asked for here.

    Kind of device, precision, compiler and recording are read from provenance.json. What this machine does not have
    becomes what a new run would get here: a warning says so, and `Machine.changed`. Without provenance.json, everything
    is as for a new run. Raises `InvalidInput` if it is damaged.
    """
    last = _last_session(Path(out))
    changed = []
    before = _kind(last)
    if device is None and not is_here(before):
        changed.append(f"the device, since torch can use no {before} here")
        before = "auto"
    kind = cast(Device, choose_machine(device or before, "float32").device.type)  # which one "auto" is

    why = "as asked"
    if precision is None:
        precision, why = last.get("precision", "auto"), "as before"
        insisted = NOT_MADE_FOR_IT in last.get("precision_because", "")
        if precision != "auto" and precision not in native_precisions(kind) and not insisted:
            changed.append(f"the precision, since {device_name(kind)} is not made for {precision}")
            precision = "auto"
    if compiled is None:
        compiled = last.get("compiled", False)
    if capture is None:
        capture = _capture(last)
        if capture == "on" and (impossible := choose_machine(kind, "float32").no_graph):
            changed.append(f"the recording of iterations, since {impossible}")
            capture = "auto"
    machine = choose_machine(kind, precision, compiled=compiled, capture=capture, why=why)
    if not changed:
        return machine
    sentence = f"the run cannot go on as before. What changes is {', and '.join(changed)}"
    if machine.rank == 0:
        warnings.warn(f"{sentence}.", stacklevel=2)
    return replace(machine, changed=sentence)


def _last_session(out: Path) -> dict[str, Any]:
    path = out / "provenance.json"
    if not path.exists():
        return {}
    damaged = InvalidInput(
        f"{str(path)!r} is damaged: restore it, or delete it to go on with what this machine chooses."
    )
    try:
        last = dict(json.loads(path.read_text())[-1])
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise damaged from error
    known = {"device_kind": Device, "precision": Precision, "capture": Switch}
    if any(last.get(name, "auto") not in get_args(choices) for name, choices in known.items()):
        raise damaged
    return last


def _kind(last: dict[str, Any]) -> Device:
    """The kind of device of a session. Older entries know its name only: "x86_64 cpu with 2 threads", or a card's."""
    if "device_kind" in last or "device" not in last:
        return last.get("device_kind", "auto")
    named: tuple[Device, ...] = ("cpu", "mps")
    return next((kind for kind in named if f" {kind} with " in last["device"]), "cuda")


def _capture(last: dict[str, Any]) -> Switch:
    """What was asked for. Older entries know only whether it was, and nothing was recorded unless it was."""
    if "capture" in last or "captured" not in last:
        return last.get("capture", "auto")
    return "auto" if last["captured"] or _kind(last) != "cuda" else "off"
