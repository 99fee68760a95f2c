"""On what a run goes on: what decides its numbers stays as it was in the session before, or is said to have changed."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import NAMES
from dcgan_core.runs.folder import PROVENANCE, read_provenance
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

AsBefore = Literal["as-before"]


def same_machine(
    out: str | Path,
    *,
    device: Device | AsBefore = "as-before",
    precision: Precision | AsBefore = "as-before",
    compile: Literal["on", "off"] | AsBefore = "as-before",
    capture: Switch | AsBefore = "as-before",
) -> Machine:
    """The machine for the run in the folder `out`: as its last session had it, but for what is asked for here.

    Kind of device, precision, compiler and recording are read from provenance.json. What this machine does not have
    becomes what a new run would get here: a warning says so, and `Machine.changed`. Without provenance.json, everything
    is as for a new run, and if it is damaged, a warning says that, too.
    """
    last = _last_session(Path(out))
    changed = []
    if device == "as-before":
        device = _kind(last)
        if not is_here(device):
            changed.append(f"the device, since torch can use no {device} here")
            device = "auto"
    kind = cast(Device, choose_machine(device, "float32").device.type)  # which one "auto" is

    why = "as asked"
    if precision == "as-before":
        precision, why = cast(Precision, last.get("precision", "auto")), "as before"
        insisted = NOT_MADE_FOR_IT in last.get("precision_because", "")
        if precision != "auto" and precision not in native_precisions(kind) and not insisted:
            changed.append(f"the precision, since {device_name(kind)} is not made for {precision}")
            precision = "auto"
    if capture == "as-before":
        capture = _capture(last)
        if capture == "on" and (impossible := choose_machine(kind, "float32").no_graph):
            changed.append(f"the recording of iterations, since {impossible}")
            capture = "auto"
    to_compile = last.get("compiled", False) if compile == "as-before" else compile == "on"
    machine = choose_machine(kind, precision, compiled=to_compile, capture=capture, why=why)
    if not changed:
        return machine
    sentence = f"the run cannot go on as before. What changes is {', and '.join(changed)}"
    if machine.rank == 0:
        warnings.warn(f"{sentence}.", stacklevel=2)
    return replace(machine, changed=sentence)


def lengthened(config: Config, total_images: int | None, *, seen: int) -> Config:
    """The config of a run that has `seen` so many images, with a new length if one is asked for."""
    if total_images is None:
        return config
    if total_images < seen:
        raise InvalidInput(f"total_images is {total_images}, but the run has already seen {seen} images.")
    return replace(config, total_images=total_images)


def moved(config: Config, data: str | None, data_root: str | None) -> Config:
    """The config with the places where its data are now; None is where they were.

    Raises `InvalidInput` if a folder of images was there, is there no more, and no new place is given.
    """
    if data is None and config.data not in NAMES and not Path(config.data).exists():
        raise InvalidInput(
            f"the run's data are not (or no longer) at {config.data!r}, seen from the folder that you are in: "
            "say with --data where they are."
        )
    return replace(config, data=data or config.data, data_root=data_root or config.data_root)


def _last_session(out: Path) -> dict[str, Any]:
    """The last entry of provenance.json; an empty one, with a warning, if that cannot be understood."""
    if not (out / PROVENANCE).exists():
        return {}
    known = {"device_kind": Device, "precision": Precision, "capture": Switch}
    with suppress(InvalidInput):
        last = read_provenance(out)[-1]
        if all(last.get(name, "auto") in get_args(choices) for name, choices in known.items()):
            return last
    warnings.warn(
        f"{str(out / PROVENANCE)!r} is damaged, so that nobody knows what the run computed with: it goes on as a new "
        "one would; to overrule that, pass its precision and device.",
        stacklevel=3,
    )
    return {}


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
